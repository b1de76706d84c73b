//! `node`: the screen from made-up facts, and the program in a namespace.

use evidence::{
    Candidate, Clock, Device, EndpointWay, Fact, Facts, Gap, Identity, Moment, NodeName, Peer,
    PublicKey, SourceId, SourceState, Steered, SteeredPrefix, Steering, SteeringChains,
    SteeringFamily, Talos, TalosPeer, Vxlan, VxlanDevice, WallReading,
};
use insta::assert_snapshot;
use mesh_probe::{
    adhoc::{Facts as _, NodeView},
    exit::Exit,
    render::{Style, node},
};

use crate::{
    namespace::inside,
    program::{bare, run},
};

const NOW: Moment = Moment::from_millis(100_000);
const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

fn seconds_ago(seconds: u64) -> Moment {
    NOW.minus(std::time::Duration::from_secs(seconds))
}

fn name() -> NodeName {
    NodeName::parse("home-worker").unwrap()
}

fn source(id: SourceId, gap: Option<&str>) -> Fact {
    let state = SourceState {
        read_at: seconds_ago(1),
        since: seconds_ago(60),
        gap: gap.map(|reason| Gap {
            reason: reason.to_owned(),
        }),
    };
    Fact::Source(id, state)
}

fn identity() -> Fact {
    Fact::Identity(Identity {
        name: name(),
        public_key: Some(PublicKey::from_bytes([1; 32])),
        kubespan_address: "fd00::1".parse().ok(),
        addresses: vec!["192.168.1.10".parse().unwrap()],
        boot_id: "b00t".to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
    })
}

fn device() -> [Fact; 2] {
    let device = Device {
        listen_port: Some(51_820),
        fwmark: Some(0x20),
        mtu: Some(1420),
        up: Some(true),
    };
    let peer = Peer {
        endpoint: "203.0.113.11:51820".parse().ok(),
        allowed_ips: vec!["10.0.0.11/32".to_owned()],
        last_handshake: Some(seconds_ago(42)),
        rx_bytes: 148,
        tx_bytes: 92,
        rx_moved: None,
        since: seconds_ago(1),
        keepalive: Some(25),
        endpoint_changes: Vec::new(),
    };
    [Fact::Device(device), Fact::Peer(PEER, peer)]
}

fn steering() -> [Fact; 2] {
    let steered = SteeringFamily {
        rule_priority: Some(32_500),
        default_route: true,
        undecoded: false,
    };
    let steering = Steering {
        since: seconds_ago(1),
        ipv4: steered,
        ipv6: SteeringFamily::default(),
        chains: Some(SteeringChains {
            outgoing: true,
            prerouting: false,
        }),
    };
    let prefix = SteeredPrefix {
        prefix: "10.0.0.11/32".to_owned(),
        outgoing: Some(true),
        prerouting: Some(false),
        marked_via: Some("kubespan".to_owned()),
        source: None,
    };
    let peer = Steered {
        since: seconds_ago(1),
        prefixes: vec![prefix],
        left_out: 0,
        endpoint: Some(EndpointWay {
            to: "203.0.113.11:51820".parse().unwrap(),
            via: Some("eth0".to_owned()),
            mtu: Some(1500),
            looped: None,
        }),
    };
    [Fact::Steering(steering), Fact::Steered(PEER, peer)]
}

fn overlay() -> Fact {
    let device = VxlanDevice {
        name: "cilium_vxlan".to_owned(),
        id: 2,
        port: 8472,
        external: true,
        local: None,
        remote: None,
        mtu: 1370,
        up: true,
    };
    Fact::Vxlan(Vxlan {
        since: seconds_ago(1),
        devices: vec![device],
        left_out: 0,
    })
}

fn talos() -> Fact {
    Fact::Talos(Box::new(Talos {
        version: Some("v1.13.9".to_owned()),
        hostname: Some("home-worker".to_owned()),
        discovered: vec!["198.51.100.2".parse().unwrap()],
        ..Talos::default()
    }))
}

/// Its only candidate is our own public address: dialled from inside, the router would have to turn it round.
fn talos_peer() -> Fact {
    let candidate = Candidate {
        to: "198.51.100.2:51820".parse().unwrap(),
        way: None,
    };
    Fact::TalosPeer(
        PEER,
        Box::new(TalosPeer {
            since: seconds_ago(1),
            label: "home-cp".to_owned(),
            address: None,
            allowed_ips: Vec::new(),
            candidates: vec![candidate],
            left_out: 0,
            status: None,
        }),
    )
}

fn clock() -> Fact {
    Fact::Clock(Clock {
        reading: WallReading {
            at: seconds_ago(1),
            wall_ms: 1_793_000_000_000,
            error_us: 0,
        },
        booted: seconds_ago(60),
        kernel: None,
        stepped: None,
    })
}

fn all_known() -> Facts {
    let sources = [
        SourceId::WireGuard,
        SourceId::Links,
        SourceId::Routes,
        SourceId::Nftables,
        SourceId::Talos,
        SourceId::Discovery,
        SourceId::Clock,
        SourceId::Ntp,
        SourceId::Host,
    ];
    let mut facts: Facts = sources.map(|id| source(id, None)).into_iter().collect();
    let said = [identity(), overlay(), talos(), talos_peer(), clock()];
    for fact in said.into_iter().chain(device()).chain(steering()) {
        facts.insert(fact);
    }
    facts
}

#[test]
fn a_node_says_all_that_its_sources_gave_in_groups() {
    let view = NodeView::new(name(), &all_known(), NOW);
    assert_eq!(view.exit(), Exit::Ready);
    assert_snapshot!(node(&view, Style::default()));
}

#[test]
fn what_a_source_could_not_give_is_said_with_its_reason() {
    let mut facts = all_known();
    facts.insert(source(SourceId::Nftables, Some("permission denied")));
    facts.remove(&evidence::FactKey::Source(SourceId::Routes));
    let view = NodeView::new(name(), &facts, NOW);
    assert_eq!(view.exit(), Exit::CannotTell);
    let gaps = view.conclusions();
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert!(
        gaps[0].starts_with("not known: routes: it was not asked"),
        "{gaps:?}"
    );
    assert_eq!(gaps[1], "not known: nftables: permission denied");
}

#[test]
fn a_machine_without_kubespan_still_says_what_it_is() {
    inside(
        "node::a_machine_without_kubespan_still_says_what_it_is",
        &[],
        async {
            let mut command = bare();
            command.args(["node", "-o", "json"]);
            let said = run(command).await;
            assert_eq!(said.code, 3, "{said:?}");
            let document = said.json();
            assert_eq!(document["kind"], "Node");
            let groups = document["facts"]["groups"].as_array().unwrap();
            let kubespan = groups.iter().find(|group| group["name"] == "kubespan");
            let gap = kubespan.unwrap()["sources"][0]["gap"].as_str().unwrap();
            assert!(gap.contains("no such interface"), "{gap}");
            let gaps = document["conclusions"].to_string();
            assert!(gaps.contains("not known: routes: not asked"), "{gaps}");
        },
    );
}
