//! Who belongs to the cluster.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use evidence::PublicKey;
use sha2::{Digest as _, Sha256};
use upstream::talos;

use crate::{
    discovery::Endpoint,
    talos::{
        Kind, Malformed,
        address::{bounded, endpoints, ip, ips, prefixes, text},
    },
    wireguard::AllowedIp,
};

const NAMESPACE: &str = "cluster";

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineType {
    /// It does not say, or it is one of a later version.
    Unknown,
    /// A control plane.
    ControlPlane,
    /// A worker.
    Worker,
}

impl From<talos::MachineType> for MachineType {
    fn from(kind: talos::MachineType) -> Self {
        match kind {
            talos::MachineType::MachineUnknown => Self::Unknown,
            talos::MachineType::Init | talos::MachineType::Controlplane => Self::ControlPlane,
            talos::MachineType::Worker => Self::Worker,
        }
    }
}

/// A machine that wants to be of the cluster, from whatever registry: `Affiliates`. The identifier is the node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affiliate {
    /// The node's identifier.
    pub node_id: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its host name.
    pub hostname: String,
    /// Its name in Kubernetes; without one it is no member.
    pub nodename: String,
    /// Its operating system.
    pub operating_system: String,
    /// What it is for.
    pub machine_type: MachineType,
    /// What it says for `KubeSpan`.
    pub kubespan: Option<AffiliateKubeSpan>,
    /// The port of its API server.
    pub api_server_port: Option<u16>,
}

/// What an affiliate says for `KubeSpan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffiliateKubeSpan {
    /// Its public key.
    pub public_key: PublicKey,
    /// Its address in the tunnel.
    pub address: Option<IpAddr>,
    /// Networks that it has beyond its own addresses.
    pub additional_addresses: Vec<AllowedIp>,
    /// Where it may be dialled.
    pub endpoints: Vec<SocketAddr>,
    /// Networks that are not to be reached through it.
    pub exclude_advertised_networks: Vec<AllowedIp>,
}

impl Kind for Affiliate {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "Affiliates.cluster.talos.dev";
    type Body = talos::Affiliate;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            machine_type: body.machine_type().into(),
            addresses: ips("addresses", &body.addresses)?,
            kubespan: body.kube_span.as_ref().map(kubespan).transpose()?.flatten(),
            api_server_port: port(body.control_plane)?,
            node_id: text("node_id", body.node_id)?,
            hostname: text("hostname", body.hostname)?,
            nodename: text("nodename", body.nodename)?,
            operating_system: text("operating_system", body.operating_system)?,
        })
    }
}

/// None without a key: such an affiliate has no `KubeSpan`.
fn kubespan(body: &talos::KubeSpanAffiliate) -> Result<Option<AffiliateKubeSpan>, Malformed> {
    if body.public_key.is_empty() {
        return Ok(None);
    }
    let public_key = body.public_key.parse();
    Ok(Some(AffiliateKubeSpan {
        public_key: public_key
            .map_err(|_| Malformed::new("kube_span.public_key", "a public key in base64"))?,
        address: ip("kube_span.address", body.address.as_ref())?,
        additional_addresses: prefixes(
            "kube_span.additional_addresses",
            &body.additional_addresses,
        )?,
        endpoints: endpoints("kube_span.endpoints", &body.endpoints)?,
        exclude_advertised_networks: prefixes(
            "kube_span.exclude_advertised_networks",
            &body.exclude_advertised_networks,
        )?,
    }))
}

fn port(body: Option<talos::ControlPlane>) -> Result<Option<u16>, Malformed> {
    let port = body.map(|body| u16::try_from(body.api_server_port));
    port.transpose()
        .map_err(|_| Malformed::new("control_plane.api_server_port", "a port of 16 bits"))
}

/// A machine of the cluster: `Members`. The identifier is the node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node's identifier.
    pub node_id: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its host name.
    pub hostname: String,
    /// What it is for.
    pub machine_type: MachineType,
    /// Its operating system.
    pub operating_system: String,
    /// The port of its API server.
    pub api_server_port: Option<u16>,
}

impl Kind for Member {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "Members.cluster.talos.dev";
    type Body = talos::Member;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            machine_type: body.machine_type().into(),
            addresses: ips("addresses", &body.addresses)?,
            api_server_port: port(body.control_plane)?,
            node_id: text("node_id", body.node_id)?,
            hostname: text("hostname", body.hostname)?,
            operating_system: text("operating_system", body.operating_system)?,
        })
    }
}

/// The node's own identifier: `Identities`, id `local`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The identifier.
    pub node_id: String,
}

impl Kind for ClusterIdentity {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "Identities.cluster.talos.dev";
    type Body = talos::ClusterIdentity;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            node_id: text("node_id", body.node_id)?,
        })
    }
}

/// The cluster: `Infos`, id `current`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterInfo {
    /// Its identifier.
    pub cluster_id: ClusterId,
    /// Its name.
    pub cluster_name: String,
}

impl Kind for ClusterInfo {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "Infos.cluster.talos.dev";
    type Body = talos::ClusterInfo;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            cluster_id: ClusterId(text("cluster_id", body.cluster_id)?),
            cluster_name: text("cluster_name", body.cluster_name)?,
        })
    }
}

/// By which registries the node finds the others: `DiscoveryConfigs`, id `cluster`.
///
/// Talos keeps this type from readers, for it holds the cluster's secret as well. There is no field for that here: it is dropped
/// where it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// Whether the discovery service is used.
    pub service: bool,
    /// Whether the nodes of Kubernetes are.
    pub kubernetes: bool,
    /// Where the service is; the first is the only one before 1.14.
    pub endpoints: Vec<Endpoint>,
}

impl Kind for DiscoveryConfig {
    const NAMESPACE: &'static str = "config";
    const TYPE: &'static str = "DiscoveryConfigs.cluster.talos.dev";
    const SENSITIVE: bool = true;
    type Body = talos::DiscoveryConfig;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        bounded("service_endpoints", &body.service_endpoints)?;
        let several = body.service_endpoints.iter();
        let mut endpoints: Vec<Endpoint> = several
            .map(|one| service("service_endpoints.endpoint", &one.endpoint, one.insecure))
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() && !body.service_endpoint.is_empty() {
            endpoints.push(service(
                "service_endpoint",
                &body.service_endpoint,
                body.service_endpoint_insecure,
            )?);
        }
        Ok(Self {
            service: body.registry_service_enabled,
            kubernetes: body.registry_kubernetes_enabled,
            endpoints,
        })
    }
}

/// Host and port, and whether without TLS.
fn service(field: &'static str, written: &str, insecure: bool) -> Result<Endpoint, Malformed> {
    let wrong = |_| Malformed::new(field, "a host and a port");
    let endpoint: Endpoint = written.parse().map_err(wrong)?;
    Ok(Endpoint {
        tls: !insecure,
        ..endpoint
    })
}

/// A cluster's identifier, an opaque text. Whoever knows it may ask the discovery service, so it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterId(String);

impl ClusterId {
    /// The text itself, for the discovery service and nobody else.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Equal for equal identifiers, and of no use to whoever does not know the identifier.
    pub fn fingerprint(&self) -> [u8; 8] {
        let hash = Sha256::new_with_prefix(b"fingerprint of a cluster's identifier\0");
        let hash: [u8; 32] = hash.chain_update(&self.0).finalize().into();
        std::array::from_fn(|index| hash[index])
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_identifier_does_not_show_itself_and_its_fingerprint_tells_it_from_others() {
        let [one, other] = ["one", "other"].map(|id| ClusterId(id.to_owned()));
        assert_eq!(format!("{one:?}"), "ClusterId(..)");
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.fingerprint(), one.clone().fingerprint());
    }

    #[test]
    fn the_endpoints_of_1_14_count_and_before_it_there_is_one() {
        let one = talos::DiscoveryConfig {
            registry_service_enabled: true,
            service_endpoint: "discovery.talos.dev:443".to_owned(),
            ..talos::DiscoveryConfig::default()
        };
        let shown = |body: talos::DiscoveryConfig| {
            let checked = DiscoveryConfig::check(body).unwrap();
            let endpoints = checked.endpoints.iter().map(ToString::to_string);
            endpoints.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(one.clone()), "https://discovery.talos.dev:443/");
        let named = |endpoint: &str, insecure| talos::DiscoveryServiceEndpoint {
            name: "x".to_owned(),
            endpoint: endpoint.to_owned(),
            insecure,
        };
        let two = talos::DiscoveryConfig {
            service_endpoints: vec![
                named("discovery.talos.dev:443", false),
                named("[2001:db8::1]:80", true),
            ],
            ..one
        };
        assert_eq!(
            shown(two),
            "https://discovery.talos.dev:443/ http://[2001:db8::1]:80/"
        );
        let odd = talos::DiscoveryConfig {
            service_endpoint: "ftp://x".to_owned(),
            ..talos::DiscoveryConfig::default()
        };
        assert_eq!(
            DiscoveryConfig::check(odd).unwrap_err().field,
            "service_endpoint"
        );
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_no_key_is_no_kubespan() {
        let body = |key: &str| talos::KubeSpanAffiliate {
            public_key: key.to_owned(),
            ..talos::KubeSpanAffiliate::default()
        };
        assert_eq!(kubespan(&body("")), Ok(None));
        assert_eq!(
            kubespan(&body("short")).unwrap_err().field,
            "kube_span.public_key"
        );
    }
}
