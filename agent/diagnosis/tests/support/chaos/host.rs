//! What a node may say of its clock, its time servers and itself.

use evidence::{
    Clock, Drops, Fact, Fingerprint, Host, Ntp, NtpServer, NtpStage, Ports, ReversePath, Step,
    WallReading,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::any_moment;
use crate::support::NOW;

/// Clocks that agree or do not, and absurd ones.
pub(super) fn any_wall() -> impl Strategy<Value = WallReading> {
    let wall = prop_oneof![
        6 => Just(1_795_000_000_000_i64).prop_map(|wall| wall + NOW.as_millis()),
        2 => 1_795_000_000_000..1_795_100_000_000_i64,
        1 => any::<i64>(),
    ];
    let error = prop_oneof![3 => 0..20_000_u32, 1 => any::<u32>()];
    (any_moment(), wall, error).prop_map(|(at, wall_ms, error_us)| WallReading {
        at,
        wall_ms,
        error_us,
    })
}

pub(super) fn any_clock() -> impl Strategy<Value = Fact> {
    let step = option::weighted(0.2, (any_moment(), any::<i64>()));
    (any_wall(), any_moment(), step).prop_map(|(reading, booted, step)| {
        Fact::Clock(Clock {
            reading,
            booted,
            kernel: None,
            stepped: step.map(|(at, by_ms)| Step { at, by_ms }),
        })
    })
}

pub(super) fn any_host() -> impl Strategy<Value = Fact> {
    let drops = || option::of(any_moment()).prop_map(|last| Drops { count: 1, last });
    let filter = option::of((0..3_u8, any::<bool>(), drops()));
    let uuid = option::of(0..3_u8);
    (filter, option::of(0..3_u32), uuid, drops()).prop_map(
        |(filter, sockets, uuid, address_changes)| {
            Fact::Host(Box::new(Host {
                system_uuid: uuid.map(|byte| Fingerprint([byte; 16])),
                reverse_path: filter.map(|(all, src_valid_mark, dropped)| ReversePath {
                    all,
                    src_valid_mark,
                    dropped: Some(dropped),
                }),
                ports: sockets.map(|tunnel_sockets| Ports {
                    tunnel_sockets,
                    ..Ports::default()
                }),
                address_changes,
                checksum_errors: Some(address_changes),
                checksum_errors_lately: Some(20),
                ..Host::default()
            }))
        },
    )
}

pub(super) fn any_ntp() -> impl Strategy<Value = Fact> {
    let stage = select(NtpStage::ALL.to_vec());
    let told = option::of(any_wall());
    let server =
        (any_moment(), stage, 0..6_u32, told).prop_map(|(asked, stage, failed_in_a_row, told)| {
            NtpServer {
                name: "time.example.org".to_owned(),
                asked,
                address: None,
                stage,
                detail: None,
                failed_in_a_row,
                told,
                stratum: None,
            }
        });
    vec(server, 0..3).prop_map(|servers| Fact::Ntp(Ntp { servers }))
}
