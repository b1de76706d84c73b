//! A well-formed message of each kind, to be spoilt by the tests.

use proto::{
    convert::{ConvertError, Incoming, incoming},
    wire::{self, fact::Fact as WireFact, report_request::Body},
};

pub(crate) const KEY: [u8; 32] = [1; 32];

pub(crate) fn key() -> Vec<u8> {
    KEY.to_vec()
}

pub(crate) fn endpoint() -> wire::Endpoint {
    wire::Endpoint {
        address: vec![192, 0, 2, 1],
        port: 51_820,
    }
}

pub(crate) fn identity() -> wire::Identity {
    wire::Identity {
        name: "vps-1".to_owned(),
        public_key: key(),
        kubespan_address: vec![0xfd; 16],
        addresses: vec![vec![192, 0, 2, 1]],
        boot_id: "boot".to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
    }
}

pub(crate) fn source() -> wire::Source {
    wire::Source {
        id: wire::SourceId::Tap.into(),
        read_at_ms: 2,
        gap: Some("not permitted".to_owned()),
        since_ms: 1,
    }
}

pub(crate) fn device() -> wire::Device {
    wire::Device {
        listen_port: Some(51_820),
        fwmark: Some(0x20),
        mtu: Some(1420),
        up: Some(true),
    }
}

pub(crate) fn peer() -> wire::Peer {
    wire::Peer {
        public_key: key(),
        endpoint: Some(endpoint()),
        allowed_ips: vec!["fd00::1/128".to_owned()],
        last_handshake_ms: Some(1),
        rx_bytes: 1,
        tx_bytes: 2,
        rx_moved_ms: Some(2),
        since_ms: 1,
        keepalive_seconds: Some(25),
        endpoint_changes: vec![wire::EndpointChange {
            at_ms: 60,
            from: Some(wire::Endpoint {
                address: vec![192, 0, 2, 7],
                port: 51_820,
            }),
            to: Some(wire::Endpoint {
                address: vec![192, 0, 2, 8],
                port: 4711,
            }),
        }],
    }
}

pub(crate) fn echo_sent() -> wire::EchoSent {
    wire::EchoSent {
        public_key: key(),
        ..wire::EchoSent::default()
    }
}

pub(crate) fn echo_heard() -> wire::EchoHeard {
    wire::EchoHeard {
        public_key: key(),
        ..wire::EchoHeard::default()
    }
}

pub(crate) fn inert() -> wire::Inert {
    wire::Inert {
        public_key: key(),
        sent_times_ms: vec![1],
        to: Some(endpoint()),
        heard_from: Some(endpoint()),
        replies: Some(inert_replies()),
        ..wire::Inert::default()
    }
}

pub(crate) fn inert_replies() -> wire::InertReplies {
    wire::InertReplies {
        mapped: Some(endpoint()),
        ..wire::InertReplies::default()
    }
}

pub(crate) fn initiation() -> wire::Initiation {
    wire::Initiation {
        to: Some(endpoint()),
        ..wire::Initiation::default()
    }
}

pub(crate) fn initiated() -> wire::Initiated {
    wire::Initiated {
        public_key: key(),
        initiations: vec![initiation()],
    }
}

pub(crate) fn arrival() -> wire::Arrival {
    wire::Arrival {
        from: Some(endpoint()),
        ..wire::Arrival::default()
    }
}

pub(crate) fn steering() -> wire::Steering {
    let family = wire::SteeringFamily {
        rule_priority: Some(32_500),
        default_route: true,
        undecoded: false,
    };
    wire::Steering {
        since_ms: 1,
        ipv4: Some(family),
        ipv6: Some(family),
        chains: Some(wire::SteeringChains {
            outgoing: true,
            prerouting: true,
        }),
    }
}

pub(crate) fn steered_prefix() -> wire::SteeredPrefix {
    wire::SteeredPrefix {
        prefix: "192.0.2.1/32".to_owned(),
        outgoing: Some(true),
        prerouting: Some(true),
        marked_via: Some("kubespan".to_owned()),
        source: vec![192, 0, 2, 2],
    }
}

pub(crate) fn steered() -> wire::Steered {
    wire::Steered {
        public_key: key(),
        since_ms: 1,
        prefixes: vec![steered_prefix()],
        left_out: 0,
        endpoint: Some(wire::EndpointWay {
            address: vec![192, 0, 2, 1],
            port: 51_820,
            via: Some("eth0".to_owned()),
            looped_ms: Some(1),
            mtu: Some(1500),
        }),
    }
}

pub(crate) fn vxlan() -> wire::Vxlan {
    wire::Vxlan {
        since_ms: 1,
        devices: vec![vxlan_device()],
        left_out: 0,
    }
}

pub(crate) fn vxlan_device() -> wire::VxlanDevice {
    wire::VxlanDevice {
        name: "flannel.1".to_owned(),
        id: 1,
        port: 8472,
        external: false,
        local: vec![192, 0, 2, 2],
        remote: Vec::new(),
        mtu: 1370,
        up: true,
    }
}

pub(crate) fn talos_condition() -> wire::TalosCondition {
    wire::TalosCondition {
        name: "services".to_owned(),
        reason: "kubelet is not healthy".to_owned(),
    }
}

pub(crate) fn talos_service() -> wire::TalosService {
    wire::TalosService {
        name: "kubelet".to_owned(),
        running: true,
        healthy: Some(false),
    }
}

pub(crate) fn talos() -> wire::Talos {
    wire::Talos {
        since_ms: 1,
        version: Some("v1.13.9".to_owned()),
        hostname: Some("vps-1".to_owned()),
        stage: Some(wire::TalosStage::Running.into()),
        ready: Some(false),
        unmet: vec![talos_condition()],
        addresses: vec![vec![192, 0, 2, 1]],
        discovered: vec![vec![198, 51, 100, 2]],
        cluster: vec![1; 8],
        services: vec![talos_service()],
        diagnostics: vec![talos_condition()],
        ..wire::Talos::default()
    }
}

pub(crate) fn talos_candidate() -> wire::TalosCandidate {
    wire::TalosCandidate {
        address: vec![192, 0, 2, 1],
        port: 51_820,
        way: Some(wire::TalosCandidateWay {
            via: Some("eth0".to_owned()),
            on_link: true,
        }),
    }
}

pub(crate) fn talos_endpoint() -> wire::TalosEndpoint {
    wire::TalosEndpoint {
        address: vec![192, 0, 2, 1],
        port: 51_820,
    }
}

pub(crate) fn talos_peer() -> wire::TalosPeer {
    wire::TalosPeer {
        public_key: key(),
        since_ms: 1,
        label: "vps-1".to_owned(),
        address: vec![0xfd; 16],
        allowed_ips: vec!["192.0.2.1/32".to_owned()],
        candidates: vec![talos_candidate()],
        left_out: 0,
        status: Some(wire::TalosPeerStatus {
            state: wire::TalosPeerState::Up.into(),
            endpoint: Some(talos_endpoint()),
            last_used: Some(talos_endpoint()),
            last_change_ms: Some(1),
        }),
    }
}

pub(crate) fn peer_identity() -> wire::PeerIdentity {
    wire::PeerIdentity {
        name: "vps-1".to_owned(),
        public_key: key(),
        kubespan_address: vec![0xfd; 16],
        reporting: true,
    }
}

pub(crate) fn sizes() -> wire::Sizes {
    wire::Sizes {
        public_key: vec![1; 32],
        layers: vec![layer_sizes()],
    }
}

pub(crate) fn layer_sizes() -> wire::LayerSizes {
    wire::LayerSizes {
        layer: wire::Layer::Tunnel.into(),
        to: vec![10, 0, 0, 1],
        full: 1420,
        full_arrived_ms: Some(1),
        mended_ms: Some(1),
        seen_arriving_ms: Some(5),
        lost: 3,
        lost_since_ms: Some(2),
        bracket: Some(wire::Bracket {
            at_ms: 3,
            passed: Some(1300),
            failed: 1301,
        }),
        too_big: Some(wire::TooBig {
            at_ms: 4,
            reporter: vec![10, 0, 0, 2],
            mtu: 1300,
        }),
        in_fragments_ms: Some(6),
    }
}

pub(crate) fn data_seen() -> wire::DataSeen {
    let messages = wire::DataMessages {
        data: 3,
        keepalives: 1,
        last_ms: Some(2),
    };
    wire::DataSeen {
        public_key: key(),
        since_ms: 1,
        until_ms: 4,
        from_peer: Some(messages),
        to_peer: Some(messages),
        missed: 0,
    }
}

pub(crate) fn clock() -> wire::Clock {
    wire::Clock {
        reading: Some(wire::WallReading::default()),
        ..wire::Clock::default()
    }
}

pub(crate) fn ntp() -> wire::Ntp {
    wire::Ntp {
        servers: vec![ntp_server()],
    }
}

pub(crate) fn ntp_server() -> wire::NtpServer {
    wire::NtpServer {
        name: "time.example.org".to_owned(),
        address: vec![192, 0, 2, 1],
        stage: wire::NtpStage::Answered.into(),
        stratum: Some(2),
        ..wire::NtpServer::default()
    }
}

pub(crate) fn host() -> wire::Host {
    wire::Host {
        machine_id: vec![1; 16],
        system_uuid: vec![2; 16],
        links: vec![host_link()],
        reverse_path: Some(wire::ReversePath::default()),
        ports: Some(wire::Ports::default()),
        ..wire::Host::default()
    }
}

pub(crate) fn host_link() -> wire::HostLink {
    wire::HostLink {
        name: "eth0".to_owned(),
        address: vec![2; 6],
        ..wire::HostLink::default()
    }
}

/// A fact of each kind.
pub(crate) fn facts() -> Vec<wire::Fact> {
    let arrivals = vec![arrival()];
    [
        WireFact::Identity(identity()),
        WireFact::Source(source()),
        WireFact::Device(device()),
        WireFact::Peer(peer()),
        WireFact::EchoSent(echo_sent()),
        WireFact::EchoHeard(echo_heard()),
        WireFact::Inert(inert()),
        WireFact::Initiated(initiated()),
        WireFact::Arrivals(wire::Arrivals { arrivals }),
        WireFact::Sizes(sizes()),
        WireFact::Steering(steering()),
        WireFact::Steered(steered()),
        WireFact::Vxlan(vxlan()),
        WireFact::Talos(talos()),
        WireFact::Discovery(discovery()),
        WireFact::TalosPeer(talos_peer()),
        WireFact::Health(wire::Health::default()),
        WireFact::DataSeen(data_seen()),
        WireFact::NodeEcho(crate::node_echo::sample()),
        WireFact::Clock(clock()),
        WireFact::Ntp(ntp()),
        WireFact::Host(host()),
    ]
    .map(|fact| wire::Fact { fact: Some(fact) })
    .to_vec()
}

pub(crate) fn snapshot(facts: Vec<wire::Fact>) -> Result<Incoming, ConvertError> {
    incoming(Some(Body::Snapshot(wire::Snapshot { facts }))).map(|taken| taken.said)
}

pub(crate) fn delta(delta: wire::Delta) -> Result<Incoming, ConvertError> {
    incoming(Some(Body::Delta(delta))).map(|taken| taken.said)
}

/// What is said of one fact.
pub(crate) fn fact(fact: WireFact) -> Result<Incoming, ConvertError> {
    snapshot(vec![wire::Fact { fact: Some(fact) }])
}

pub(crate) fn discovery() -> wire::Discovery {
    wire::Discovery {
        since_ms: 1,
        cluster: Some(7),
        endpoints: vec![discovery_endpoint()],
        registry_off: false,
    }
}

pub(crate) fn discovery_endpoint() -> wire::DiscoveryEndpoint {
    wire::DiscoveryEndpoint {
        host: "discovery.example".to_owned(),
        port: 443,
        tls: true,
        at_ms: 2,
        names: Some(discovery_names()),
        addresses: vec![discovery_address()],
        public_address: vec![192, 0, 2, 1],
        affiliates: Some(affiliates()),
        ..wire::DiscoveryEndpoint::default()
    }
}

pub(crate) fn discovery_names() -> wire::DiscoveryNames {
    let answer = wire::NameAnswer {
        outcome: wire::NameOutcome::Found.into(),
        ..wire::NameAnswer::default()
    };
    wire::DiscoveryNames {
        resolvers: vec![wire::SocketAddress {
            address: vec![192, 0, 2, 53],
            port: 53,
        }],
        ipv4: Some(answer.clone()),
        ipv6: Some(answer),
        ..wire::DiscoveryNames::default()
    }
}

pub(crate) fn discovery_address() -> wire::DiscoveryAddress {
    let stage = |stage: wire::DiscoveryStageId, failure| wire::DiscoveryStage {
        stage: stage.into(),
        at_ms: 2,
        took_us: 3,
        failure,
    };
    let tls = stage(wire::DiscoveryStageId::Tls, Some(failure()));
    wire::DiscoveryAddress {
        address: vec![192, 0, 2, 2],
        stages: vec![stage(wire::DiscoveryStageId::Tcp, None), tls],
        certificate: Some(wire::DiscoveryCertificate {
            issuer: "Example CA".to_owned(),
            names: vec!["discovery.example".to_owned()],
            ..wire::DiscoveryCertificate::default()
        }),
        ..wire::DiscoveryAddress::default()
    }
}

pub(crate) fn failure() -> wire::StageFailure {
    wire::StageFailure {
        kind: wire::StageFailureKind::Untrusted.into(),
        text: "unknown issuer".to_owned(),
    }
}

pub(crate) fn affiliate() -> wire::Affiliate {
    wire::Affiliate {
        name: "vps-1".to_owned(),
        public_key: key(),
        since_ms: 1,
        endpoints: vec![wire::SocketAddress {
            address: vec![192, 0, 2, 1],
            port: 51_820,
        }],
    }
}

pub(crate) fn rivals() -> wire::Rivals {
    wire::Rivals {
        address: vec![192, 0, 2, 1],
        one: Some(affiliate()),
        other: Some(affiliate()),
    }
}

pub(crate) fn affiliates() -> wire::Affiliates {
    wire::Affiliates {
        sealed: vec!["id".to_owned()],
        unknown: vec![affiliate()],
        rivals: vec![rivals()],
        unlisted: vec![key()],
        ..wire::Affiliates::default()
    }
}
