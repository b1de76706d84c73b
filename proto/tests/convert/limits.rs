//! Each limit on what one side may say: as many are taken, one more is refused.

use evidence::limits;
use proto::{
    convert::{ConvertError, peers_from_wire},
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

/// Takes a number of things, and says whether they were taken.
type Say = fn(usize) -> Result<(), ConvertError>;

fn fact(fact: WireFact) -> Result<(), ConvertError> {
    sample::fact(fact).map(drop)
}

fn endpoint(endpoint: wire::DiscoveryEndpoint) -> Result<(), ConvertError> {
    fact(WireFact::Discovery(wire::Discovery {
        endpoints: vec![endpoint],
        ..sample::discovery()
    }))
}

fn moved(moved: wire::Moved) -> Result<(), ConvertError> {
    sample::delta(wire::Delta {
        moved: Some(moved),
        ..wire::Delta::default()
    })
    .map(drop)
}

fn device() -> wire::Fact {
    wire::Fact {
        fact: Some(WireFact::Device(sample::device())),
    }
}

fn device_key() -> wire::FactKey {
    wire::FactKey {
        kind: wire::FactKind::Device.into(),
        ..wire::FactKey::default()
    }
}

const ENTRIES: &[(&str, usize, Say)] = &[
    ("snapshot.facts", limits::FACTS, |count| {
        sample::snapshot(vec![device(); count]).map(drop)
    }),
    ("delta.upserts", limits::FACTS, |count| {
        sample::delta(wire::Delta {
            upserts: vec![device(); count],
            ..wire::Delta::default()
        })
        .map(drop)
    }),
    ("delta.removed", limits::FACTS, |count| {
        sample::delta(wire::Delta {
            removed: vec![device_key(); count],
            ..wire::Delta::default()
        })
        .map(drop)
    }),
    ("delta.moved.sources", limits::MOVED_SOURCES, |count| {
        moved(wire::Moved {
            sources: vec![wire::SourceId::Echo.into(); count],
            later_ms: vec![0; count],
            ..wire::Moved::default()
        })
    }),
    ("delta.moved.keys", limits::FACTS, |count| {
        moved(wire::Moved {
            keys: vec![1; count],
            kinds: vec![wire::FactKind::EchoHeard.into(); count],
            numbers: vec![1; count],
            by: vec![0; count],
            ..wire::Moved::default()
        })
    }),
    ("identity.addresses", limits::ADDRESSES, |count| {
        fact(WireFact::Identity(wire::Identity {
            addresses: vec![vec![192, 0, 2, 1]; count],
            ..sample::identity()
        }))
    }),
    ("peer.allowed_ips", limits::ALLOWED_IPS, |count| {
        fact(WireFact::Peer(wire::Peer {
            allowed_ips: vec!["fd00::1/128".to_owned(); count],
            ..sample::peer()
        }))
    }),
    ("inert.sent_times_ms", limits::INERT_TIMES, |count| {
        fact(WireFact::Inert(wire::Inert {
            sent_times_ms: vec![1; count],
            ..sample::inert()
        }))
    }),
    ("initiated.initiations", limits::INITIATED, |count| {
        fact(WireFact::Initiated(wire::Initiated {
            initiations: vec![sample::initiation(); count],
            ..sample::initiated()
        }))
    }),
    ("arrivals.arrivals", limits::ARRIVALS, |count| {
        let arrivals = vec![sample::arrival(); count];
        fact(WireFact::Arrivals(wire::Arrivals { arrivals }))
    }),
    ("sizes.layers", 3, |count| {
        let tunnel = sample::layer_sizes();
        let on = |layer: wire::Layer| wire::LayerSizes {
            layer: layer.into(),
            ..tunnel.clone()
        };
        let mut layers = vec![on(wire::Layer::Underlay), on(wire::Layer::Overlay)];
        layers.resize(count, tunnel);
        fact(WireFact::Sizes(wire::Sizes {
            layers,
            ..sample::sizes()
        }))
    }),
    ("steered.prefixes", limits::STEERED, |count| {
        fact(WireFact::Steered(wire::Steered {
            prefixes: vec![sample::steered_prefix(); count],
            ..sample::steered()
        }))
    }),
    ("node_echo.asked", limits::NODE_ADDRESSES, |count| {
        let mut echo = crate::node_echo::sample();
        echo.asked = vec![echo.asked.remove(0); count];
        fact(WireFact::NodeEcho(echo))
    }),
    ("node_echo.heard", limits::NODE_ADDRESSES, |count| {
        let mut echo = crate::node_echo::sample();
        echo.heard = vec![echo.heard.remove(0); count];
        fact(WireFact::NodeEcho(echo))
    }),
    ("vxlan.devices", limits::VXLAN_DEVICES, |count| {
        fact(WireFact::Vxlan(wire::Vxlan {
            devices: vec![sample::vxlan_device(); count],
            ..sample::vxlan()
        }))
    }),
    ("talos.unmet", limits::CONDITIONS, |count| {
        fact(WireFact::Talos(wire::Talos {
            unmet: vec![sample::talos_condition(); count],
            ..sample::talos()
        }))
    }),
    ("talos.diagnostics", limits::CONDITIONS, |count| {
        fact(WireFact::Talos(wire::Talos {
            diagnostics: vec![sample::talos_condition(); count],
            ..sample::talos()
        }))
    }),
    ("talos.addresses", limits::ADDRESSES, |count| {
        fact(WireFact::Talos(wire::Talos {
            addresses: vec![vec![192, 0, 2, 1]; count],
            ..sample::talos()
        }))
    }),
    ("talos.discovered", limits::ADDRESSES, |count| {
        fact(WireFact::Talos(wire::Talos {
            discovered: vec![vec![192, 0, 2, 1]; count],
            ..sample::talos()
        }))
    }),
    ("talos.services", limits::SERVICES, |count| {
        fact(WireFact::Talos(wire::Talos {
            services: vec![sample::talos_service(); count],
            ..sample::talos()
        }))
    }),
    ("talos_peer.allowed_ips", limits::ALLOWED_IPS, |count| {
        fact(WireFact::TalosPeer(wire::TalosPeer {
            allowed_ips: vec!["192.0.2.1/32".to_owned(); count],
            ..sample::talos_peer()
        }))
    }),
    ("talos_peer.candidates", limits::CANDIDATES, |count| {
        fact(WireFact::TalosPeer(wire::TalosPeer {
            candidates: vec![sample::talos_candidate(); count],
            ..sample::talos_peer()
        }))
    }),
    (
        "discovery.endpoints",
        limits::DISCOVERY_ENDPOINTS,
        |count| {
            fact(WireFact::Discovery(wire::Discovery {
                endpoints: vec![sample::discovery_endpoint(); count],
                ..sample::discovery()
            }))
        },
    ),
    (
        "discovery.addresses",
        limits::DISCOVERY_ADDRESSES,
        |count| {
            endpoint(wire::DiscoveryEndpoint {
                addresses: vec![sample::discovery_address(); count],
                ..sample::discovery_endpoint()
            })
        },
    ),
    ("discovery.resolvers", limits::RESOLVERS, |count| {
        let mut names = sample::discovery_names();
        names.resolvers = vec![names.resolvers[0].clone(); count];
        endpoint(wire::DiscoveryEndpoint {
            names: Some(names),
            ..sample::discovery_endpoint()
        })
    }),
    ("affiliates.unknown", limits::AFFILIATES, |count| {
        endpoint(wire::DiscoveryEndpoint {
            affiliates: Some(wire::Affiliates {
                unknown: vec![sample::affiliate(); count],
                ..sample::affiliates()
            }),
            ..sample::discovery_endpoint()
        })
    }),
    (
        "affiliate.endpoints",
        limits::AFFILIATE_ENDPOINTS,
        |count| {
            let mut affiliates = sample::affiliates();
            let known = affiliates.unknown[0].endpoints[0].clone();
            affiliates.unknown[0].endpoints = vec![known; count];
            endpoint(wire::DiscoveryEndpoint {
                affiliates: Some(affiliates),
                ..sample::discovery_endpoint()
            })
        },
    ),
    ("affiliates.rivals", limits::AFFILIATES, |count| {
        endpoint(wire::DiscoveryEndpoint {
            affiliates: Some(wire::Affiliates {
                rivals: vec![sample::rivals(); count],
                ..sample::affiliates()
            }),
            ..sample::discovery_endpoint()
        })
    }),
    ("ntp.servers", limits::NTP_SERVERS, |count| {
        let servers = vec![sample::ntp_server(); count];
        fact(WireFact::Ntp(wire::Ntp { servers }))
    }),
    ("host.links", limits::HOST_LINKS, |count| {
        fact(WireFact::Host(wire::Host {
            links: vec![sample::host_link(); count],
            ..sample::host()
        }))
    }),
    ("peers", limits::NODES, |count| {
        let peers = vec![sample::peer_identity(); count];
        peers_from_wire(wire::PeerList { peers }).map(drop)
    }),
];

const TEXTS: [(&str, Say); 7] = [
    ("source.gap", |bytes| {
        fact(WireFact::Source(wire::Source {
            gap: Some("x".repeat(bytes)),
            ..sample::source()
        }))
    }),
    ("identity.boot_id", |bytes| {
        fact(WireFact::Identity(wire::Identity {
            boot_id: "x".repeat(bytes),
            ..sample::identity()
        }))
    }),
    ("identity.version", |bytes| {
        fact(WireFact::Identity(wire::Identity {
            version: "x".repeat(bytes),
            ..sample::identity()
        }))
    }),
    ("steered.prefix", |bytes| {
        let prefix = wire::SteeredPrefix {
            prefix: "x".repeat(bytes),
            ..sample::steered_prefix()
        };
        fact(WireFact::Steered(wire::Steered {
            prefixes: vec![prefix],
            ..sample::steered()
        }))
    }),
    ("talos.version", |bytes| {
        fact(WireFact::Talos(wire::Talos {
            version: Some("x".repeat(bytes)),
            ..sample::talos()
        }))
    }),
    ("talos_peer.label", |bytes| {
        fact(WireFact::TalosPeer(wire::TalosPeer {
            label: "x".repeat(bytes),
            ..sample::talos_peer()
        }))
    }),
    ("peer.allowed_ips", |bytes| {
        fact(WireFact::Peer(wire::Peer {
            allowed_ips: vec!["x".repeat(bytes)],
            ..sample::peer()
        }))
    }),
];

#[test]
fn as_many_as_the_limit_are_taken_and_one_more_is_refused_with_field_limit_and_number() {
    for &(field, limit, say) in ENTRIES {
        assert_eq!(say(limit), Ok(()), "{field}");
        let error = say(limit + 1).unwrap_err();
        let got = limit + 1;
        assert_eq!(
            error.to_string(),
            format!("field {field}: expected at most {limit} entries, got {got}")
        );
    }
}

#[test]
fn a_text_may_be_as_long_as_the_limit_and_no_byte_longer() {
    let limit = limits::TEXT;
    for (field, say) in TEXTS {
        assert_eq!(say(limit), Ok(()), "{field}");
        let error = say(limit + 1).unwrap_err();
        assert_eq!(error.field, field);
        let got = limit + 1;
        assert_eq!(
            error.expected,
            format!("at most {limit} bytes without control characters, got {got} bytes")
        );
    }
}

/// The limit is one of memory, not of letters.
#[test]
fn a_text_is_measured_in_bytes() {
    let fits = "\u{e9}".repeat(limits::TEXT / 2);
    let gap = |text: String| {
        fact(WireFact::Source(wire::Source {
            gap: Some(text),
            ..sample::source()
        }))
    };
    assert_eq!(gap(fits.clone()), Ok(()));
    assert!(gap(fits + "e").is_err());
}
