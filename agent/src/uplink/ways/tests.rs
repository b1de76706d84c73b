use std::io;

use evidence::{Identity, Moment, NodeName, Peer, PublicKey};

use super::*;

const OWN: &str = "fd7f:175a:b97c:5602::99";

/// What a node knows that is in the tunnel, or not yet, and has peers with such allowed IPs.
fn node(own: Option<&str>, peers: &[&[&str]]) -> Facts {
    let identity = Identity {
        name: NodeName::parse("home-cp").unwrap(),
        public_key: None,
        kubespan_address: own.map(|own| own.parse().unwrap()),
        addresses: Vec::new(),
        boot_id: String::new(),
        instance: 1,
        version: String::new(),
    };
    let peers = peers.iter().zip(1..).map(|(allowed_ips, number)| {
        let peer = Peer {
            endpoint: None,
            allowed_ips: allowed_ips.iter().map(ToString::to_string).collect(),
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            rx_moved: None,
            since: Moment::ZERO,
            keepalive: None,
            endpoint_changes: Vec::new(),
        };
        Fact::Peer(PublicKey::from_bytes([number; 32]), peer)
    });
    peers.chain([Fact::Identity(identity)]).collect()
}

/// vps-1, vps-2, and one with a whole network.
fn meshed() -> Facts {
    node(
        Some(OWN),
        &[
            &[
                "fd7f:175a:b97c:5602::1/128",
                "203.0.113.11/32",
                "2001:db8::11/128",
            ],
            &["203.0.113.12/32", "fd7f:175a:b97c:5602::2/128"],
            &["fd7f:175a:b97c:5602::3/128", "203.0.113.0/24"],
        ],
    )
}

#[derive(Clone, Copy)]
enum Answer {
    Silent,
    Refused,
    /// Somebody is there, and it comes to nothing.
    Hostile,
    Slow,
    MayNot,
    Good,
}

use Answer::{Good, Hostile, MayNot, Refused, Silent, Slow};

impl Answer {
    fn of(self, address: SocketAddr) -> Result<(), DialError> {
        let error = |text: &str| io::Error::other(text.to_owned());
        Err(match self {
            Silent => DialError::ConnectTimeout(address),
            Refused => DialError::Connect {
                address,
                source: error("refused"),
            },
            Hostile => DialError::Tls {
                address,
                source: error("another authority"),
            },
            Slow => DialError::TlsTimeout(address),
            MayNot => DialError::Mark(error("not permitted")),
            Good => return Ok(()),
        })
    }
}

/// What is dialled one after the other, if that comes of it, and how it ends.
fn searched(
    addresses: &[&str],
    facts: &Facts,
    answers: &[Answer],
) -> (Vec<String>, Result<UplinkWay, String>) {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|one| one.parse().unwrap()).collect();
    let mut search = Search::to(&addresses, facts);
    let mut dialled = Vec::new();
    let mut found = None;
    for answer in answers {
        assert_eq!(found, None, "{dialled:?} is the end");
        let next = search.next().expect("one more try");
        let is_marked = next.mark() == Mark::Underlay;
        dialled.push(format!(
            "{}{}",
            if is_marked { "marked " } else { "" },
            next.to
        ));
        match answer.of(next.to) {
            Ok(()) => found = Some(next.way),
            Err(error) => search.failed(next, error),
        }
    }
    if let Some(way) = found {
        return (dialled, Ok(way));
    }
    assert_eq!(search.next(), None, "after {dialled:?}");
    let reason = search.given_up(Duration::ZERO).to_string();
    (dialled, Err(reason))
}

const VPS_1: &str = "203.0.113.11:21820";
const VPS_1_INSIDE: &str = "[fd7f:175a:b97c:5602::1]:21820";

#[test]
fn who_is_not_there_past_the_tunnel_is_tried_through_it_and_then_as_the_routes_lead() {
    let marked = format!("marked {VPS_1}");
    let (dialled, found) = searched(&[VPS_1], &meshed(), &[Good]);
    assert_eq!(
        (dialled, found),
        (vec![marked.clone()], Ok(UplinkWay::Underlay))
    );

    for nobody in [Silent, Refused] {
        let (dialled, found) = searched(&[VPS_1], &meshed(), &[nobody, Good]);
        assert_eq!(dialled, [marked.as_str(), VPS_1_INSIDE]);
        assert_eq!(found, Ok(UplinkWay::Tunnel));
    }
    let (dialled, found) = searched(&[VPS_1], &meshed(), &[Silent, Refused, Good]);
    assert_eq!(dialled, [marked.as_str(), VPS_1_INSIDE, VPS_1]);
    assert_eq!(found, Ok(UplinkWay::Routes));
}

#[test]
fn where_no_peer_has_the_address_there_is_only_the_way_of_the_routes() {
    let elsewhere = "203.0.113.77:21820";
    let (dialled, found) = searched(&[elsewhere], &meshed(), &[Silent, Good]);
    assert_eq!(
        dialled[1], elsewhere,
        "a whole network is no node's address"
    );
    assert_eq!(found, Ok(UplinkWay::Routes));
    // As long as the own address is not known, nothing tells which of a peer's is in the tunnel.
    let early = node(None, &[&["fd7f:175a:b97c:5602::1/128", "203.0.113.11/32"]]);
    let (dialled, _) = searched(&[VPS_1], &early, &[Silent, Good]);
    assert_eq!(dialled[1], VPS_1);
}

#[test]
fn who_answered_and_refused_is_tried_no_other_way() {
    for there in [Hostile, Slow] {
        let (_, found) = searched(&[VPS_1], &meshed(), &[there]);
        let reason = found.unwrap_err();
        assert!(reason.starts_with("past the tunnel: "), "{reason}");
        assert!(!reason.contains("through"), "{reason}");
        let (dialled, found) = searched(&[VPS_1], &meshed(), &[Silent, there]);
        assert_eq!(dialled.len(), 2);
        assert!(found.unwrap_err().contains("; through the tunnel: "));
    }
}

#[test]
fn when_all_fails_every_way_is_told_with_its_reason_the_first_one_first() {
    let (_, found) = searched(&[VPS_1], &meshed(), &[Silent, Refused, Silent]);
    assert_eq!(
        found.unwrap_err(),
        "past the tunnel: no answer from 203.0.113.11:21820 within 3 s; \
         through the tunnel: failed to connect to [fd7f:175a:b97c:5602::1]:21820: refused; \
         as the routes lead there: no answer from 203.0.113.11:21820 within 3 s"
    );
}

#[test]
fn a_dead_collector_in_the_mesh_costs_two_silences_and_not_three() {
    let (dialled, _) = searched(&[VPS_1], &meshed(), &[Silent, Silent]);
    assert_eq!(dialled[1], VPS_1_INSIDE);
}

#[test]
fn who_may_not_set_the_mark_goes_on_without_and_tells_both() {
    let answers = [MayNot, Silent, Silent];
    let (dialled, found) = searched(&[VPS_1], &meshed(), &answers);
    assert_eq!(dialled[2], VPS_1, "without a mark it was not tried yet");
    let reason = found.unwrap_err();
    assert!(
        reason.starts_with("past the tunnel: failed to set mark"),
        "{reason}"
    );
    let (_, found) = searched(&[VPS_1], &meshed(), &[MayNot, Refused, Good]);
    assert_eq!(found, Ok(UplinkWay::Routes));
}

#[test]
fn of_a_name_with_several_addresses_all_are_tried_past_the_tunnel_before_any_other_way() {
    let vps_2 = "203.0.113.12:21820";
    let (dialled, found) = searched(&[VPS_1, vps_2], &meshed(), &[Silent, Hostile, Silent]);
    assert_eq!(
        dialled,
        [
            "marked 203.0.113.11:21820",
            "marked 203.0.113.12:21820",
            VPS_1_INSIDE
        ],
        "who refused us at the second address is asked no more"
    );
    assert!(found.is_err());

    // Two addresses of one node are one place in the tunnel; what answers there answers for both.
    let (dialled, _) = searched(
        &["[2001:db8::11]:21820", VPS_1],
        &meshed(),
        &[Refused, Silent, Hostile],
    );
    assert_eq!(dialled[2], VPS_1_INSIDE);
}

#[test]
fn an_address_inside_the_tunnel_is_not_called_past_it() {
    let (dialled, found) = searched(&[VPS_1_INSIDE, VPS_1], &meshed(), &[Silent, Good]);
    assert_eq!(dialled, ["marked 203.0.113.11:21820", VPS_1_INSIDE]);
    assert_eq!(found, Ok(UplinkWay::Tunnel));
    let (dialled, found) = searched(&[VPS_1_INSIDE], &meshed(), &[Good]);
    assert_eq!(
        (dialled, found),
        (vec![VPS_1_INSIDE.to_owned()], Ok(UplinkWay::Tunnel))
    );
}

#[test]
fn so_many_addresses_are_tried_and_so_many_reasons_told() {
    let many: Vec<String> = (1..=20)
        .map(|last| format!("198.51.100.{last}:21820"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (_, found) = searched(&many, &meshed(), &[Silent; 2 * ADDRESSES]);
    let reason = found.unwrap_err();
    assert_eq!(reason.matches(" and 6 more").count(), 2, "{reason}");
    assert!(reason.len() < evidence::limits::TEXT, "{}", reason.len());
}

#[test]
fn the_other_ways_are_tried_in_the_pause_and_add_to_it_only_what_it_does_not_have() {
    let least = Duration::from_millis(200);
    let rest = |second: u64, pause: u64| {
        let second = Duration::from_millis(second);
        let failed = Vec::new();
        let unreached = Unreached { failed, second };
        unreached
            .rest(Duration::from_millis(pause), least)
            .as_millis()
    };
    assert_eq!(rest(0, 5000), 5000);
    assert_eq!(rest(3000, 5000), 2000);
    assert_eq!(rest(9000, 5000), 200);
    assert_eq!(rest(3000, 150), 150);
}
