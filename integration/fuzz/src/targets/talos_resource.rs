//! A resource as Talos sends it, read as each of the types that are read.

use std::fmt::Debug;

use prost::Message as _;
use sources::{
    decode::talos_resource,
    talos::{
        AddressStatus, Affiliate, Chain, ClusterInfo, Diagnostic, DiscoveryConfig, ENTRIES,
        HardwareAddress, Kind, KubeSpanEndpoint, LinkStatus, MachineStatus, Member, NodeAddresses,
        PeerSpec, PeerStatus, RouteStatus, RoutingRule, Service, TEXT, TimeServers, TimeStatus,
    },
};
use upstream::{cosi, talos};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "talos-resource",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    taken::<AddressStatus>(bytes);
    taken::<Affiliate>(bytes);
    taken::<Chain>(bytes);
    taken::<ClusterInfo>(bytes);
    taken::<Diagnostic>(bytes);
    taken::<DiscoveryConfig>(bytes);
    taken::<HardwareAddress>(bytes);
    taken::<KubeSpanEndpoint>(bytes);
    taken::<MachineStatus>(bytes);
    taken::<Member>(bytes);
    taken::<NodeAddresses>(bytes);
    taken::<PeerStatus>(bytes);
    taken::<RouteStatus>(bytes);
    taken::<RoutingRule>(bytes);
    taken::<Service>(bytes);
    taken::<TimeServers>(bytes);
    taken::<TimeStatus>(bytes);
    if let Some(spec) = taken::<PeerSpec>(bytes) {
        let lengths = [spec.endpoints.len(), spec.allowed_ips.len()];
        assert!(lengths.iter().all(|length| *length <= ENTRIES));
        assert!(spec.label.len() <= TEXT && !spec.label.contains(char::is_control));
    }
    if let Some(device) = taken::<LinkStatus>(bytes).and_then(|link| link.wireguard) {
        assert!(device.peers.len() <= ENTRIES);
    }
}

/// What is taken is the same each time, and its identifier is short.
fn taken<R: Kind + Debug + PartialEq>(bytes: &[u8]) -> Option<R> {
    let first = talos_resource::<R>(bytes);
    assert_eq!(first, talos_resource::<R>(bytes));
    let resource = first.ok()?;
    assert!(resource.id.len() <= TEXT && !resource.id.contains(char::is_control));
    Some(resource.spec)
}

fn seeds() -> Vec<Vec<u8>> {
    let ip = |ip: &[u8]| talos::NetIp { ip: ip.to_vec() };
    let prefix = |length| talos::NetIpPrefix {
        ip: vec![10, 0, 0, 0],
        prefix_length: length,
    };
    let endpoint = |port| talos::NetIpPort {
        ip: vec![192, 0, 2, 1],
        port,
    };
    let spec = |length, port, label: &str| talos::KubeSpanPeerSpec {
        address: Some(ip(&[0xfd; 16])),
        allowed_ips: vec![prefix(length), prefix(32)],
        endpoints: vec![endpoint(port), talos::NetIpPort::default()],
        label: label.to_owned(),
    };
    let link = talos::LinkStatus {
        kind: "wireguard".to_owned(),
        wireguard: Some(talos::Wireguard {
            listen_port: 51_820,
            ..talos::Wireguard::default()
        }),
        ..talos::LinkStatus::default()
    };
    [
        spec(8, 51_820, "vps-1").encode_to_vec(),
        spec(33, 51_820, "vps-1").encode_to_vec(),
        spec(8, 70_000, "vps-1").encode_to_vec(),
        spec(8, 1, "\u{1b}[2J").encode_to_vec(),
        link.encode_to_vec(),
        vec![0xff; 8],
        Vec::new(),
    ]
    .map(resource)
    .to_vec()
}

fn resource(proto_spec: Vec<u8>) -> Vec<u8> {
    let metadata = cosi::Metadata {
        id: "kubespan".to_owned(),
        ..cosi::Metadata::default()
    };
    let spec = cosi::Spec {
        proto_spec,
        yaml_spec: "label: vps-1\n".to_owned(),
    };
    cosi::Resource {
        metadata: Some(metadata),
        spec: Some(spec),
    }
    .encode_to_vec()
}
