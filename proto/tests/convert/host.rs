//! What is wrong with a fact about clocks or about the host is refused by its name.

use proto::{
    convert::ConvertError,
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

fn with_server(spoil: impl FnOnce(&mut wire::NtpServer)) -> ConvertError {
    let mut ntp = sample::ntp();
    spoil(&mut ntp.servers[0]);
    sample::fact(WireFact::Ntp(ntp)).unwrap_err()
}

fn with_host(spoil: impl FnOnce(&mut wire::Host)) -> ConvertError {
    let mut host = sample::host();
    spoil(&mut host);
    sample::fact(WireFact::Host(host)).unwrap_err()
}

#[test]
fn a_clock_without_a_reading_is_no_fact() {
    let error = sample::fact(WireFact::Clock(wire::Clock::default())).unwrap_err();
    assert_eq!(error.field, "clock.reading");
}

#[test]
fn each_field_of_a_time_server_that_is_wrong_is_refused_by_its_name() {
    let cases = [
        (
            "ntp.name",
            with_server(|server| server.name = "a\u{1b}b".to_owned()),
        ),
        (
            "ntp.detail",
            with_server(|server| server.detail = Some("x".repeat(600))),
        ),
        (
            "ntp.address",
            with_server(|server| server.address = vec![1; 5]),
        ),
        ("ntp.stage", with_server(|server| server.stage = 0)),
        (
            "ntp.stratum",
            with_server(|server| server.stratum = Some(256)),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn each_field_of_a_host_that_is_wrong_is_refused_by_its_name() {
    let names = |count| wire::Ports {
        other_wireguard: vec!["wg0".to_owned(); count],
        ..wire::Ports::default()
    };
    let cases = [
        (
            "host.machine_id",
            with_host(|host| host.machine_id = vec![1; 15]),
        ),
        (
            "host.system_uuid",
            with_host(|host| host.system_uuid = vec![1; 17]),
        ),
        (
            "host.link.name",
            with_host(|host| host.links[0].name = "x".repeat(17)),
        ),
        (
            "host.link.kind",
            with_host(|host| host.links[0].kind = Some("\u{7}".to_owned())),
        ),
        (
            "host.link.address",
            with_host(|host| host.links[0].address = vec![1; 8]),
        ),
        (
            "host.link.rp_filter",
            with_host(|host| host.links[0].rp_filter = Some(256)),
        ),
        (
            "host.reverse_path.all",
            with_host(|host| {
                host.reverse_path = Some(wire::ReversePath {
                    all: 256,
                    ..wire::ReversePath::default()
                });
            }),
        ),
        (
            "host.ports.other_wireguard",
            with_host(|host| host.ports = Some(names(33))),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
    }
}
