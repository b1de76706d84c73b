//! A well-formed fact of each kind, as it goes over the wire.

use proto::wire::{self, fact::Fact as Kind};

const KEY: [u8; 32] = [2; 32];

pub(super) fn all() -> Vec<wire::Fact> {
    let arrivals = vec![arrival()];
    let kinds = [
        Kind::Identity(identity()),
        Kind::Source(source()),
        Kind::Device(device()),
        Kind::Peer(peer()),
        Kind::EchoSent(echo_sent()),
        Kind::EchoHeard(echo_heard()),
        Kind::Inert(inert()),
        Kind::Initiated(initiated()),
        Kind::Arrivals(wire::Arrivals { arrivals }),
        Kind::NodeEcho(node_echo()),
    ];
    kinds.map(|kind| wire::Fact { fact: Some(kind) }).to_vec()
}

pub(super) fn keys() -> Vec<wire::FactKey> {
    let kinds = (1..=9).chain([wire::FactKind::NodeEcho.into()]);
    let key = |kind| wire::FactKey {
        kind,
        public_key: KEY.to_vec(),
        source: wire::SourceId::Tap.into(),
    };
    kinds.map(key).collect()
}

fn node_echo() -> wire::NodeEcho {
    let address = || vec![192, 0, 2, 1];
    wire::NodeEcho {
        public_key: KEY.to_vec(),
        asked: vec![wire::NodeAsked {
            to: address(),
            answered: 3,
            last_answered_ms: Some(4),
            back_via: Some("kubespan".to_owned()),
            through: Some(true),
            ..wire::NodeAsked::default()
        }],
        heard: vec![wire::NodeHeard {
            at: address(),
            heard: 2,
            last_ms: 3,
            via: Some("eth0".to_owned()),
            around: 1,
            around_since_ms: Some(3),
        }],
    }
}

fn endpoint() -> wire::Endpoint {
    wire::Endpoint {
        address: vec![192, 0, 2, 1],
        port: 51_820,
    }
}

fn identity() -> wire::Identity {
    wire::Identity {
        name: "vps-1".to_owned(),
        public_key: KEY.to_vec(),
        kubespan_address: vec![0xfd; 16],
        addresses: vec![vec![192, 0, 2, 1], vec![0x20; 16]],
        boot_id: "boot".to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
    }
}

fn source() -> wire::Source {
    wire::Source {
        id: wire::SourceId::Tap.into(),
        read_at_ms: 2,
        gap: Some("not permitted".to_owned()),
        since_ms: 1,
    }
}

fn device() -> wire::Device {
    wire::Device {
        listen_port: Some(51_820),
        fwmark: Some(0x20),
        mtu: Some(1420),
        up: Some(true),
    }
}

fn peer() -> wire::Peer {
    wire::Peer {
        public_key: KEY.to_vec(),
        endpoint: Some(endpoint()),
        allowed_ips: vec!["fd00::1/128".to_owned()],
        last_handshake_ms: Some(1),
        rx_bytes: 1,
        tx_bytes: 2,
        rx_moved_ms: Some(2),
        since_ms: 1,
        keepalive_seconds: Some(25),
        endpoint_changes: vec![wire::EndpointChange {
            at_ms: 1,
            from: Some(endpoint()),
            to: Some(endpoint()),
        }],
    }
}

fn echo_sent() -> wire::EchoSent {
    let rtt = wire::Rtt {
        last_us: 1,
        min_us: 1,
        mean_us: 1,
        max_us: 1,
    };
    wire::EchoSent {
        public_key: KEY.to_vec(),
        rtt: Some(rtt),
        loss_since_ms: Some(-5),
        ..wire::EchoSent::default()
    }
}

fn echo_heard() -> wire::EchoHeard {
    wire::EchoHeard {
        public_key: KEY.to_vec(),
        ..wire::EchoHeard::default()
    }
}

fn inert() -> wire::Inert {
    wire::Inert {
        public_key: KEY.to_vec(),
        sent_times_ms: vec![1, 2],
        to: Some(endpoint()),
        heard_from: Some(endpoint()),
        replies: Some(wire::InertReplies {
            count: 1,
            mapped: Some(endpoint()),
            hop_limit_there: 61,
            ..wire::InertReplies::default()
        }),
        ..wire::Inert::default()
    }
}

fn initiated() -> wire::Initiated {
    let initiation = wire::Initiation {
        to: Some(endpoint()),
        ..wire::Initiation::default()
    };
    wire::Initiated {
        public_key: KEY.to_vec(),
        initiations: vec![initiation],
    }
}

fn arrival() -> wire::Arrival {
    wire::Arrival {
        from: Some(endpoint()),
        for_us: Some(true),
        ..wire::Arrival::default()
    }
}
