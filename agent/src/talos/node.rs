//! What is asked of Talos about the node itself, and the fact that it becomes.

use std::net::IpAddr;

use evidence::{Condition, Moment, TalosService, TalosTime, limits};
use sources::{
    Gap,
    discovery::Endpoint,
    talos::{
        AddressStatus, Carrier, ClusterInfo, Diagnostic, DiscoveryConfig, Hostname, Kind,
        KubePrism, MachineStatus, NetworkStatus, NodeAddresses, NodeIp, Resource, Service, Talos,
        TalosError, TimeServers, TimeStatus, Version,
    },
    wireguard::AllowedIp,
};

use super::Told;

/// The namespace in which the address that discovery saw is kept, apart from those of links.
const DISCOVERED: &str = "cluster";

/// The answers of one round; what is `None` this Talos does not say.
#[derive(Debug, Default)]
pub(super) struct NodeAnswers {
    pub(super) machine: Option<MachineStatus>,
    pub(super) version: Option<Version>,
    pub(super) hostname: Option<Hostname>,
    pub(super) routed: Option<NodeAddresses>,
    pub(super) node_ip: Option<NodeIp>,
    pub(super) discovered: Vec<Resource<AddressStatus>>,
    pub(super) cluster: Option<ClusterInfo>,
    pub(super) time: Option<TimeStatus>,
    pub(super) network: Option<NetworkStatus>,
    pub(super) kubeprism: Option<KubePrism>,
    pub(super) services: Vec<Resource<Service>>,
    pub(super) diagnostics: Vec<Resource<Diagnostic>>,
    pub(super) time_servers: Option<TimeServers>,
    pub(super) discovery: Registry,
}

/// What Talos says of its use of the discovery service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Registry {
    /// Talos keeps it from readers, and nobody allowed more.
    #[default]
    NotAsked,
    /// It was asked for, and not told.
    Kept(String),
    /// The service is not used.
    Off,
    /// It is, at these endpoints.
    At(Vec<Endpoint>),
}

/// One round. The first question is of every version: an error there is of the connection. What Talos keeps from readers is asked
/// for only if `as_admin`.
pub(super) async fn ask<T: Carrier>(
    talos: &Talos<T>,
    as_admin: bool,
) -> Result<NodeAnswers, TalosError> {
    let machine = talos.get("machine").await;
    Ok(NodeAnswers {
        machine: machine?,
        version: one(talos, "version").await?,
        hostname: one(talos, "hostname").await?,
        routed: one(talos, "routed-no-k8s").await?,
        node_ip: one(talos, "kubelet").await?,
        discovered: all(talos, DISCOVERED).await?,
        cluster: one(talos, "current").await?,
        time: one(talos, "node").await?,
        network: one(talos, "status").await?,
        kubeprism: one(talos, "k8s-loadbalancer").await?,
        services: all(talos, Service::NAMESPACE).await?,
        diagnostics: all(talos, Diagnostic::NAMESPACE).await?,
        time_servers: one(talos, "timeservers").await?,
        discovery: if as_admin {
            registry(talos).await?
        } else {
            Registry::NotAsked
        },
    })
}

async fn registry<T: Carrier>(talos: &Talos<T>) -> Result<Registry, TalosError> {
    let kept = |reason: String| Registry::Kept(reason);
    Ok(match talos.get::<DiscoveryConfig>("cluster").await {
        Ok(None) => kept("Talos has no configuration of discovery yet".to_owned()),
        Ok(Some(config)) if !config.service => Registry::Off,
        Ok(Some(config)) => Registry::At(config.endpoints),
        Err(error @ TalosError::Malformed { .. }) => kept(Gap::from(&error).reason),
        Err(error) if error.is_unsupported() => kept(Gap::from(&error).reason),
        Err(error) => return Err(error),
    })
}

/// What is not understood costs itself alone.
fn unless_malformed<R>(error: TalosError) -> Result<Option<R>, TalosError> {
    match error {
        TalosError::Malformed { .. } => Ok(None),
        error => Err(error),
    }
}

async fn one<T: Carrier, R: Kind>(talos: &Talos<T>, id: &str) -> Result<Option<R>, TalosError> {
    match talos.get(id).await {
        Err(error) if error.is_unsupported() => Ok(None),
        answer => answer.or_else(unless_malformed),
    }
}

async fn all<T: Carrier, R: Kind>(
    talos: &Talos<T>,
    namespace: &str,
) -> Result<Vec<Resource<R>>, TalosError> {
    match talos.list_in(namespace).await {
        Err(error) if error.is_unsupported() => Ok(Vec::new()),
        answer => answer.map(|listing| listing.resources),
    }
}

impl NodeAnswers {
    /// What other sources are told. An identifier that the service would not take is none.
    pub(super) fn told(&self) -> Told {
        let servers = self.time_servers.as_ref();
        let id = self.cluster.as_ref().map(|info| info.cluster_id.as_str());
        Told {
            time_servers: servers.map(|told| told.servers.clone()),
            registry: self.discovery.clone(),
            cluster_id: id.and_then(|id| id.parse().ok()),
            control_planes: None,
        }
    }

    /// The fact, with how many members and affiliates there are.
    pub(super) fn fact(
        &self,
        members: Option<usize>,
        affiliates: Option<usize>,
    ) -> evidence::Talos {
        let mut left_out = 0;
        let mut addresses: Vec<_> = self.routed.iter().flat_map(addresses).collect();
        cut(&mut addresses, limits::ADDRESSES, &mut left_out);
        let mut node_ips = self
            .node_ip
            .as_ref()
            .map_or_else(Vec::new, |ip| ip.addresses.clone());
        cut(&mut node_ips, limits::ADDRESSES, &mut left_out);
        let discovered = self.discovered.iter();
        let discovered = discovered.filter_map(|found| found.spec.address);
        let mut discovered: Vec<_> = discovered.map(|found| found.address()).collect();
        cut(&mut discovered, limits::ADDRESSES, &mut left_out);
        let mut unmet = self
            .machine
            .as_ref()
            .map_or_else(Vec::new, |machine| machine.unmet.clone());
        cut(&mut unmet, limits::CONDITIONS, &mut left_out);
        let mut services: Vec<_> = self.services.iter().map(service).collect();
        cut(&mut services, limits::SERVICES, &mut left_out);
        let mut diagnostics: Vec<_> = self.diagnostics.iter().map(diagnostic).collect();
        cut(&mut diagnostics, limits::CONDITIONS, &mut left_out);
        evidence::Talos {
            since: Moment::ZERO,
            version: self.version.as_ref().map(|version| version.version.clone()),
            hostname: self.hostname.as_ref().map(|name| name.hostname.clone()),
            stage: self.machine.as_ref().map(|machine| machine.stage),
            ready: self.machine.as_ref().map(|machine| machine.ready),
            unmet,
            addresses,
            node_ips,
            discovered,
            cluster: self
                .cluster
                .as_ref()
                .map(|info| info.cluster_id.fingerprint()),
            members: members.map(number),
            affiliates: affiliates.map(number),
            time: self.time.map(|time| TalosTime {
                synced: time.synced,
                disabled: time.sync_disabled,
            }),
            network: self.network.map(|NetworkStatus(network)| network),
            kubeprism: self.kubeprism.as_ref().map(|balancer| balancer.healthy),
            services,
            diagnostics,
            left_out: number(left_out),
        }
    }
}

fn addresses(routed: &NodeAddresses) -> impl Iterator<Item = IpAddr> {
    routed.addresses.iter().map(AllowedIp::address)
}

fn service(service: &Resource<Service>) -> TalosService {
    TalosService {
        name: service.id.clone(),
        running: service.spec.running,
        healthy: service.spec.healthy,
    }
}

fn diagnostic(found: &Resource<Diagnostic>) -> Condition {
    Condition {
        name: found.id.clone(),
        reason: found.spec.message.clone(),
    }
}

/// Keeps the first and counts the others.
pub(super) fn cut<T>(list: &mut Vec<T>, limit: usize, left_out: &mut usize) {
    *left_out += list.len().saturating_sub(limit);
    list.truncate(limit);
}

pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
