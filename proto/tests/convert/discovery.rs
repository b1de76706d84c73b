//! What is wrong with a fact about the discovery service is refused by its name.

use proto::{
    convert::ConvertError,
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

fn with_endpoint(spoil: impl FnOnce(&mut wire::DiscoveryEndpoint)) -> ConvertError {
    let mut discovery = sample::discovery();
    spoil(&mut discovery.endpoints[0]);
    sample::fact(WireFact::Discovery(discovery)).unwrap_err()
}

fn with_address(spoil: impl FnOnce(&mut wire::DiscoveryAddress)) -> ConvertError {
    with_endpoint(|endpoint| spoil(&mut endpoint.addresses[0]))
}

fn with_affiliates(spoil: impl FnOnce(&mut wire::Affiliates)) -> ConvertError {
    with_endpoint(|endpoint| spoil(endpoint.affiliates.as_mut().unwrap()))
}

fn escape() -> String {
    "a\u{1b}b".to_owned()
}

#[test]
fn each_field_of_an_endpoint_that_is_wrong_is_refused_by_its_name() {
    let cases = [
        (
            "discovery.host",
            with_endpoint(|endpoint| endpoint.host = escape()),
        ),
        (
            "discovery.port",
            with_endpoint(|endpoint| endpoint.port = 65_536),
        ),
        (
            "discovery.public_address",
            with_endpoint(|endpoint| endpoint.public_address = vec![1; 5]),
        ),
        (
            "discovery.redirect",
            with_endpoint(|endpoint| endpoint.redirect = Some(escape())),
        ),
        (
            "discovery.names",
            with_endpoint(|endpoint| endpoint.names.as_mut().unwrap().ipv6 = None),
        ),
        (
            "discovery.address",
            with_address(|address| address.address.clear()),
        ),
        (
            "discovery.certificate.issuer",
            with_address(|address| address.certificate.as_mut().unwrap().issuer = escape()),
        ),
        (
            "affiliates.sealed",
            with_affiliates(|affiliates| affiliates.sealed = vec![escape()]),
        ),
        (
            "affiliate.public_key",
            with_affiliates(|affiliates| affiliates.unknown[0].public_key.clear()),
        ),
        (
            "affiliates.rivals",
            with_affiliates(|affiliates| affiliates.rivals[0].other = None),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn stages_out_of_order_or_behind_a_failure_are_refused() {
    let reversed = with_address(|address| address.stages.reverse());
    assert_eq!(reversed.field, "discovery.stages");
    let twice = with_address(|address| address.stages.push(address.stages[0].clone()));
    assert_eq!(twice.field, "discovery.stages");
    let behind = with_address(|address| {
        address.stages[0].failure = Some(sample::failure());
    });
    assert_eq!(behind.field, "discovery.stages");
    let unknown = with_address(|address| address.stages[0].stage = 0);
    assert_eq!(unknown.field, "discovery.stage");
}
