//! Everything that machined knows, as resources.

mod config;
mod link;
mod steering;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use evidence::Stage;
use prost::Message;
use prost_types::Timestamp;
use sources::talos::{self as kinds, Kind};
use upstream::{
    cosi::{Metadata, Resource, Spec},
    talos,
};

use super::{
    allowed_ips::{Prefix, of_peers},
    peers::Memory,
    plan::{Neighbour, Plan},
};

/// Where a resource is kept: namespace, type, identifier.
pub(super) type Place = (String, String, String);

/// Kubernetes' API server, behind the control planes.
const API_SERVER: i64 = 6443;
/// The version that is played.
const VERSION: &str = "v1.13.9";

/// The resources; the state gives them versions and times when it takes them.
#[derive(Default)]
pub(super) struct Resources(pub(super) BTreeMap<Place, Resource>);

impl Resources {
    /// What does not change while the lab is up.
    pub(super) fn of(plan: &Plan) -> Self {
        let mut all = Self::default();
        all.node(plan);
        all.cluster(plan);
        all.network(plan);
        all
    }

    fn add<R: Kind>(&mut self, id: &str, body: &R::Body, yaml: String) {
        self.add_in::<R>(R::NAMESPACE, id, body, yaml);
    }

    fn add_in<R: Kind>(&mut self, namespace: &str, id: &str, body: &impl Message, yaml: String) {
        let place = (namespace.to_owned(), R::TYPE.to_owned(), id.to_owned());
        let metadata = Metadata {
            namespace: namespace.to_owned(),
            r#type: R::TYPE.to_owned(),
            id: id.to_owned(),
            phase: "running".to_owned(),
            ..Metadata::default()
        };
        let spec = Spec {
            proto_spec: body.encode_to_vec(),
            yaml_spec: yaml,
        };
        let resource = Resource {
            metadata: Some(metadata),
            spec: Some(spec),
        };
        self.0.insert(place, resource);
    }

    /// How far the machine has come.
    pub(super) fn machine(&mut self, stage: Stage) {
        let running = stage == Stage::Running;
        let wire = match stage {
            Stage::Unknown => talos::MachineStage::StageUnknown,
            Stage::Booting => talos::MachineStage::Booting,
            Stage::Installing => talos::MachineStage::Installing,
            Stage::Maintenance => talos::MachineStage::Maintenance,
            Stage::Running => talos::MachineStage::Running,
            Stage::Rebooting => talos::MachineStage::Rebooting,
            Stage::ShuttingDown => talos::MachineStage::ShuttingDown,
            Stage::Resetting => talos::MachineStage::Resetting,
            Stage::Upgrading => talos::MachineStage::Upgrading,
        };
        let machine = talos::MachineStatus {
            stage: wire.into(),
            status: Some(talos::MachineStatusStatus {
                ready: running,
                unmet_conditions: Vec::new(),
            }),
        };
        let yaml = format!(
            "stage: {}\nstatus:\n    ready: {running}\n    unmetConditions: []\n",
            stage.as_str()
        );
        self.add::<kinds::MachineStatus>("machine", &machine, yaml);
    }

    fn node(&mut self, plan: &Plan) {
        self.machine(Stage::Running);
        let version = talos::Version {
            version: VERSION.to_owned(),
            name: "Talos".to_owned(),
        };
        self.add::<kinds::Version>("version", &version, format!("version: {VERSION}\n"));
        let time = talos::TimeStatus {
            synced: true,
            epoch: 1,
            sync_disabled: false,
        };
        let yaml = "synced: true\nepoch: 1\nsyncDisabled: false\n";
        self.add::<kinds::TimeStatus>("node", &time, yaml.to_owned());
        for name in services(plan.own.control_plane) {
            let service = talos::Service {
                running: true,
                healthy: true,
                unknown: name == "ext-mesh-agent",
            };
            let yaml = format!(
                "running: true\nhealthy: true\nunknown: {}\n",
                service.unknown
            );
            self.add::<kinds::Service>(name, &service, yaml);
        }
        let hostname = talos::HostnameStatus {
            hostname: plan.own.name.clone(),
            domainname: String::new(),
        };
        let yaml = format!("hostname: {}\ndomainname: \"\"\n", plan.own.name);
        self.add::<kinds::Hostname>("hostname", &hostname, yaml);
    }

    fn cluster(&mut self, plan: &Plan) {
        let info = talos::ClusterInfo {
            cluster_id: plan.cluster_id.clone(),
            cluster_name: "lab".to_owned(),
        };
        let yaml = format!("clusterId: {}\nclusterName: lab\n", plan.cluster_id);
        self.add::<kinds::ClusterInfo>("current", &info, yaml);
        let identity = talos::ClusterIdentity {
            node_id: plan.own.node_id.clone(),
        };
        let yaml = format!("nodeId: {}\n", plan.own.node_id);
        self.add::<kinds::ClusterIdentity>("local", &identity, yaml);
        for node in plan.others.iter().chain([&plan.own]) {
            let yaml = format!("nodeId: {}\nhostname: {}\n", node.node_id, node.name);
            self.add::<kinds::Affiliate>(&node.node_id, &affiliate(node), yaml.clone());
            self.add::<kinds::Member>(&node.name, &member(node), yaml);
        }
    }

    fn network(&mut self, plan: &Plan) {
        let status = talos::NetworkStatus {
            address_ready: true,
            connectivity_ready: true,
            hostname_ready: true,
            etc_files_ready: true,
        };
        let yaml = "addressReady: true\nconnectivityReady: true\nhostnameReady: true\netcFilesReady: true\n";
        self.add::<kinds::NetworkStatus>("status", &status, yaml.to_owned());
        let public = plan.own.public;
        let service = talos::AddressStatus {
            address: Some(host_prefix(public.into())),
            link_name: String::new(),
        };
        let yaml = format!("address: {public}/32\n");
        self.add_in::<kinds::AddressStatus>("cluster", "service", &service, yaml);
        let first = talos::HardwareAddr {
            name: "eth0".to_owned(),
            hardware_addr: plan.hardware_address.to_vec(),
        };
        self.add::<kinds::HardwareAddress>("first", &first, "name: eth0\n".to_owned());
    }

    /// The peers as they are to be, in the lab's plan or in the scenario's words.
    pub(super) fn specs(
        &mut self,
        plan: &Plan,
        candidates: impl Fn(&Neighbour) -> Vec<SocketAddr>,
    ) {
        for (node, allowed) in plan.others.iter().zip(allowed(plan)) {
            let candidates = candidates(node);
            let spec = talos::KubeSpanPeerSpec {
                address: Some(net_ip(node.kubespan.into())),
                allowed_ips: allowed
                    .iter()
                    .map(|(ip, length)| net_prefix(*ip, *length))
                    .collect(),
                endpoints: candidates.iter().map(|to| net_port(*to)).collect(),
                label: node.name.clone(),
            };
            let listed: Vec<String> = candidates
                .iter()
                .map(|to| format!("    - {to}\n"))
                .collect();
            let yaml = format!(
                "address: {}\nallowedIPs:\n    - {}/32\n    - {}/128\nendpoints:\n{listed}label: {}\n",
                node.kubespan,
                node.address,
                node.kubespan,
                node.name,
                listed = listed.concat(),
            );
            self.add::<kinds::PeerSpec>(&node.public_key, &spec, yaml);
        }
    }

    /// What Talos thinks of them.
    pub(super) fn statuses(&mut self, plan: &Plan, memory: &Memory) {
        for (key, known) in &memory.0 {
            let key = key.to_string();
            let node = plan.others.iter().find(|node| node.public_key == key);
            let label = node.map_or_else(String::new, |node| node.name.clone());
            let state = known.state.as_str();
            let yaml = format!(
                "endpoint: {}\nlabel: {label}\nstate: {state}\nreceiveBytes: {}\ntransmitBytes: {}\n",
                shown(known.endpoint),
                known.rx,
                known.tx,
            );
            let status = talos::KubeSpanPeerStatus {
                endpoint: Some(
                    known
                        .endpoint
                        .map_or_else(talos::NetIpPort::default, net_port),
                ),
                label,
                state: match known.state {
                    evidence::TalosPeerState::Unknown => talos::KubeSpanPeerState::Unknown,
                    evidence::TalosPeerState::Up => talos::KubeSpanPeerState::Up,
                    evidence::TalosPeerState::Down => talos::KubeSpanPeerState::Down,
                }
                .into(),
                receive_bytes: i64::try_from(known.rx).unwrap_or(i64::MAX),
                transmit_bytes: i64::try_from(known.tx).unwrap_or(i64::MAX),
                last_handshake_time: Some(timestamp(known.last_handshake)),
                last_used_endpoint: Some(
                    known
                        .last_used
                        .map_or_else(talos::NetIpPort::default, net_port),
                ),
                last_endpoint_change: Some(timestamp(known.last_change)),
            };
            self.add::<kinds::PeerStatus>(&key, &status, yaml);
        }
    }
}

/// The allowed IPs of each of the others.
fn allowed(plan: &Plan) -> Vec<Vec<Prefix>> {
    let advertised: Vec<_> = plan.others.iter().map(Neighbour::advertised).collect();
    of_peers(&advertised)
}

fn services(control_plane: bool) -> Vec<&'static str> {
    let mut names = vec!["apid", "containerd", "cri", "ext-mesh-agent", "kubelet"];
    if control_plane {
        names.extend(["etcd", "trustd"]);
    }
    names
}

fn machine_type(node: &Neighbour) -> i32 {
    if node.control_plane {
        talos::MachineType::Controlplane.into()
    } else {
        talos::MachineType::Worker.into()
    }
}

fn control_plane(node: &Neighbour) -> Option<talos::ControlPlane> {
    node.control_plane.then_some(talos::ControlPlane {
        api_server_port: API_SERVER,
    })
}

fn affiliate(node: &Neighbour) -> talos::Affiliate {
    talos::Affiliate {
        node_id: node.node_id.clone(),
        addresses: vec![net_ip(node.address.into())],
        hostname: node.name.clone(),
        nodename: node.name.clone(),
        operating_system: format!("Talos ({VERSION})"),
        machine_type: machine_type(node),
        kube_span: Some(talos::KubeSpanAffiliate {
            public_key: node.public_key.clone(),
            address: Some(net_ip(node.kubespan.into())),
            additional_addresses: Vec::new(),
            endpoints: node.candidates().into_iter().map(net_port).collect(),
            exclude_advertised_networks: Vec::new(),
        }),
        control_plane: control_plane(node),
    }
}

fn member(node: &Neighbour) -> talos::Member {
    talos::Member {
        node_id: node.node_id.clone(),
        addresses: vec![net_ip(node.address.into()), net_ip(node.kubespan.into())],
        hostname: node.name.clone(),
        machine_type: machine_type(node),
        operating_system: format!("Talos ({VERSION})"),
        control_plane: control_plane(node),
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn net_ip(ip: IpAddr) -> talos::NetIp {
    talos::NetIp { ip: octets(ip) }
}

fn net_port(to: SocketAddr) -> talos::NetIpPort {
    talos::NetIpPort {
        ip: octets(to.ip()),
        port: i32::from(to.port()),
    }
}

fn net_prefix(ip: IpAddr, length: u8) -> talos::NetIpPrefix {
    talos::NetIpPrefix {
        ip: octets(ip),
        prefix_length: i32::from(length),
    }
}

fn host_prefix(ip: IpAddr) -> talos::NetIpPrefix {
    net_prefix(ip, if ip.is_ipv4() { 32 } else { 128 })
}

/// Go's zero time for what never was.
pub(super) fn timestamp(time: Option<Duration>) -> Timestamp {
    const GO_ZERO: i64 = -62_135_596_800;
    Timestamp {
        seconds: time.map_or(GO_ZERO, |time| {
            i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
        }),
        nanos: time.map_or(0, |time| i32::try_from(time.subsec_nanos()).unwrap_or(0)),
    }
}

fn shown(endpoint: Option<SocketAddr>) -> String {
    endpoint.map_or_else(String::new, |endpoint| endpoint.to_string())
}
