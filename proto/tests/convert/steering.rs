//! What is wrong with a fact about steering is refused by its name.

use proto::{
    convert::ConvertError,
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

fn with_steered(spoil: impl FnOnce(&mut wire::Steered)) -> ConvertError {
    let mut steered = sample::steered();
    spoil(&mut steered);
    sample::fact(WireFact::Steered(steered)).unwrap_err()
}

fn with_prefix(spoil: impl FnOnce(&mut wire::SteeredPrefix)) -> ConvertError {
    with_steered(|steered| spoil(&mut steered.prefixes[0]))
}

fn with_endpoint(spoil: impl FnOnce(&mut wire::EndpointWay)) -> ConvertError {
    with_steered(|steered| spoil(steered.endpoint.as_mut().unwrap()))
}

#[test]
fn each_field_that_is_wrong_is_refused_by_its_name() {
    let control = || "a\u{1b}b".to_owned();
    let cases = [
        (
            "steered.public_key",
            with_steered(|steered| steered.public_key.clear()),
        ),
        (
            "steered.prefix",
            with_prefix(|prefix| prefix.prefix = control()),
        ),
        (
            "steered.marked_via",
            with_prefix(|prefix| prefix.marked_via = Some(control())),
        ),
        (
            "steered.source",
            with_prefix(|prefix| prefix.source = vec![1; 5]),
        ),
        (
            "steered.endpoint",
            with_endpoint(|endpoint| endpoint.address.clear()),
        ),
        (
            "steered.endpoint",
            with_endpoint(|endpoint| endpoint.port = 65_536),
        ),
        (
            "steered.endpoint.via",
            with_endpoint(|endpoint| endpoint.via = Some(control())),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn a_link_has_a_name_as_short_as_the_kernel_allows() {
    let error = with_prefix(|prefix| prefix.marked_via = Some("x".repeat(17)));
    assert_eq!(
        error.to_string(),
        "field steered.marked_via: expected a link's name of at most 16 bytes, got 17"
    );
}

#[test]
fn both_families_must_be_told() {
    for (field, spoil) in [
        (
            "steering.ipv4",
            (|steering| steering.ipv4 = None) as fn(&mut wire::Steering),
        ),
        ("steering.ipv6", |steering| steering.ipv6 = None),
    ] {
        let mut steering = sample::steering();
        spoil(&mut steering);
        let error = sample::fact(WireFact::Steering(steering)).unwrap_err();
        assert_eq!(error.field, field);
    }
}
