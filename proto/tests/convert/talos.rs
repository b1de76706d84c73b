//! What is wrong with a fact that Talos states is refused by its name.

use proto::{
    convert::ConvertError,
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

fn with_node(spoil: impl FnOnce(&mut wire::Talos)) -> ConvertError {
    let mut talos = sample::talos();
    spoil(&mut talos);
    sample::fact(WireFact::Talos(talos)).unwrap_err()
}

fn with_peer(spoil: impl FnOnce(&mut wire::TalosPeer)) -> ConvertError {
    let mut peer = sample::talos_peer();
    spoil(&mut peer);
    sample::fact(WireFact::TalosPeer(peer)).unwrap_err()
}

fn with_candidate(spoil: impl FnOnce(&mut wire::TalosCandidate)) -> ConvertError {
    with_peer(|peer| spoil(&mut peer.candidates[0]))
}

fn with_status(spoil: impl FnOnce(&mut wire::TalosPeerStatus)) -> ConvertError {
    with_peer(|peer| spoil(peer.status.as_mut().unwrap()))
}

fn control() -> String {
    "a\u{1b}b".to_owned()
}

fn assert_refused(cases: impl IntoIterator<Item = (&'static str, ConvertError)>) {
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn each_field_of_the_node_that_is_wrong_is_refused_by_its_name() {
    assert_refused([
        (
            "talos.version",
            with_node(|talos| talos.version = Some(control())),
        ),
        (
            "talos.hostname",
            with_node(|talos| talos.hostname = Some(control())),
        ),
        (
            "talos.unmet",
            with_node(|talos| talos.unmet[0].reason = control()),
        ),
        (
            "talos.diagnostics",
            with_node(|talos| talos.diagnostics[0].name = control()),
        ),
        (
            "talos.addresses",
            with_node(|talos| talos.addresses[0] = vec![1; 5]),
        ),
        (
            "talos.discovered",
            with_node(|talos| talos.discovered[0].clear()),
        ),
        (
            "talos.cluster",
            with_node(|talos| talos.cluster = vec![1; 9]),
        ),
        (
            "talos.service.name",
            with_node(|talos| talos.services[0].name = control()),
        ),
    ]);
}

#[test]
fn each_field_of_a_peer_that_is_wrong_is_refused_by_its_name() {
    let via = |candidate: &mut wire::TalosCandidate| {
        candidate.way.as_mut().unwrap().via = Some("x".repeat(17));
    };
    assert_refused([
        (
            "talos_peer.public_key",
            with_peer(|peer| peer.public_key.clear()),
        ),
        ("talos_peer.label", with_peer(|peer| peer.label = control())),
        (
            "talos_peer.address",
            with_peer(|peer| peer.address = vec![1; 4]),
        ),
        (
            "talos_peer.allowed_ips",
            with_peer(|peer| peer.allowed_ips[0] = control()),
        ),
        (
            "talos_peer.candidate",
            with_candidate(|candidate| candidate.address.clear()),
        ),
        (
            "talos_peer.candidate",
            with_candidate(|candidate| candidate.port = 65_536),
        ),
        ("talos_peer.candidate.via", with_candidate(via)),
        (
            "talos_peer.status.endpoint",
            with_status(|status| status.endpoint.as_mut().unwrap().port = 65_536),
        ),
        (
            "talos_peer.status.last_used",
            with_status(|status| status.last_used.as_mut().unwrap().address.clear()),
        ),
    ]);
}
