//! What is asked, and where the answers go.

use sources::{
    links::{FamilySteering, Link, OperState},
    wireguard::Backend,
};

use super::*;

const OWN: &str = "fd7f:175a:b97c:5602::1";

fn link(index: u32, name: &str, address: Option<&str>) -> Link {
    let address = address.map(|ip| links::Address {
        ip: ip.parse().unwrap(),
        prefix_len: 64,
        scope: links::Scope::Global,
        tentative: false,
    });
    Link {
        index,
        name: name.to_owned(),
        mtu: 1420,
        up: true,
        oper_state: OperState::Up,
        kind: None,
        vxlan: None,
        hardware_address: None,
        addresses: address.into_iter().collect(),
    }
}

fn snapshot() -> Snapshot {
    let links = vec![link(2, "eth0", None), link(3, "kubespan", Some(OWN))];
    Snapshot { links, dropped: 0 }
}

fn device(allowed_ips: &[&str]) -> Device {
    let mut peer = Peer::new(PublicKey::from_bytes([1; 32]));
    peer.endpoint = Some("203.0.113.12:51820".parse().unwrap());
    peer.allowed_ips = allowed_ips.iter().map(|ip| ip.parse().unwrap()).collect();
    Device {
        source: Backend::Kernel,
        public_key: None,
        listen_port: 51820,
        fwmark: 0x20,
        peers: vec![peer],
        dropped: sources::wireguard::Dropped::default(),
    }
}

/// Peer by peer, prefix by prefix: which link each question is answered with.
fn reading(links: &[u32]) -> SteeringReading {
    let source = Some("192.168.3.4".parse().unwrap());
    let ways: Vec<_> = links
        .iter()
        .map(|link| {
            Some(Way {
                link: *link,
                source,
                on_link: false,
            })
        })
        .collect();
    let device = device(&["203.0.113.12/32", "fd7f:175a:b97c:5602::2/128"]);
    let asked = asked(&device, &snapshot());
    let steering = links::Steering {
        ipv4: FamilySteering {
            rule_priority: Some(32500),
            default_route: true,
            route_mtu: None,
        },
        ..links::Steering::default()
    };
    assemble(&steering, &asked, &ways, None, &snapshot())
}

#[test]
fn the_kubespan_address_of_a_peer_needs_no_steering_and_its_other_addresses_are_asked_with_and_without_the_mark()
 {
    let device = device(&[
        "fd7f:175a:b97c:5602::2/128",
        "10.0.0.0/8",
        "203.0.113.12/32",
    ]);
    let asked = asked(&device, &snapshot());
    let questions: Vec<_> = asked[0].questions(0x20).collect();
    let question = |to: &str, mark| Question {
        to: to.parse().unwrap(),
        mark,
    };
    let expected = [
        question("203.0.113.12", 0x20),
        question("203.0.113.12", 0x40),
        question("203.0.113.12", 0),
        question("10.0.0.0", 0x40),
        question("10.0.0.0", 0),
    ];
    assert_eq!(questions, expected);
}

#[test]
fn answers_come_to_the_peer_and_prefix_that_was_asked_about() {
    let reading = reading(&[2, 3, 2]);
    let steered = &reading.peers[&PublicKey::from_bytes([1; 32])];
    let endpoint = steered.endpoint.as_ref().unwrap();
    assert_eq!(endpoint.via.as_deref(), Some("eth0"));
    let prefix = &steered.prefixes[0];
    assert_eq!(prefix.prefix, "203.0.113.12/32");
    assert_eq!(prefix.marked_via.as_deref(), Some("kubespan"));
    assert_eq!(prefix.source, Some("192.168.3.4".parse().unwrap()));
    assert_eq!((prefix.outgoing, prefix.prerouting), (None, None));
    assert_eq!(steered.prefixes.len(), 1);
}

#[test]
fn a_link_that_nobody_has_named_yet_is_told_by_its_number() {
    assert_eq!(link_name(&snapshot(), 77), "#77");
}

#[test]
fn what_does_not_change_keeps_the_moment_at_which_it_began() {
    let mut first = reading(&[2, 3, 2]);
    first.date(None, Moment::from_millis(10));
    let mut same = reading(&[2, 3, 2]);
    same.date(Some(&first), Moment::from_millis(20));
    assert_eq!(same, first);
    let mut other = reading(&[2, 2, 2]);
    other.date(Some(&same), Moment::from_millis(30));
    let steered = other.peers.values().next().unwrap();
    assert_eq!(steered.since, Moment::from_millis(30));
    assert_eq!(other.node.since, Moment::from_millis(10));
}

#[test]
fn a_loop_is_remembered_with_the_moment_it_was_last_seen() {
    let looped = |reading: &SteeringReading| {
        let steered = reading.peers.values().next().unwrap();
        steered.endpoint.as_ref().unwrap().looped
    };
    let at = Moment::from_millis;
    let mut first = reading(&[3, 3, 2]);
    first.date(None, at(10));
    let mut second = reading(&[3, 3, 2]);
    second.date(Some(&first), at(20));
    assert_eq!(looped(&second), Some(at(20)));
    assert_eq!(second.peers.values().next().unwrap().since, at(10));
    let mut third = reading(&[2, 3, 2]);
    third.date(Some(&second), at(30));
    let mut fourth = reading(&[2, 3, 2]);
    fourth.date(Some(&third), at(40));
    assert_eq!(looped(&fourth), Some(at(20)));
    assert_eq!(fourth.peers.values().next().unwrap().since, at(30));
}

#[test]
fn prefixes_beyond_the_limit_are_counted() {
    let many: Vec<String> = (0..20).map(|n| format!("10.0.{n}.0/24")).collect();
    let device = device(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let asked = asked(&device, &snapshot());
    assert_eq!((asked[0].prefixes.len(), asked[0].left_out), (16, 4));
}
