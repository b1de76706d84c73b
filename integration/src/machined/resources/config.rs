//! Where Talos finds the other nodes and the time.

use std::net::IpAddr;

use prost::Message;
use sources::talos::{self as kinds, Kind as _};
use upstream::talos;

use super::{Resources, host_prefix, net_ip};
use crate::machined::{
    given::{Discovery, Given},
    plan::Neighbour,
};

/// The configuration of discovery as Talos really writes it, with the key and the cluster's id.
#[derive(Clone, PartialEq, Message)]
struct ConfigWithKey {
    #[prost(bool, tag = "1")]
    discovery_enabled: bool,
    #[prost(bool, tag = "3")]
    registry_service_enabled: bool,
    #[prost(string, tag = "4")]
    service_endpoint: String,
    #[prost(bytes = "vec", tag = "6")]
    service_encryption_key: Vec<u8>,
    #[prost(string, tag = "7")]
    service_cluster_id: String,
}

impl Resources {
    /// The addresses of the node, and which of them the kubelet is given.
    pub(in crate::machined) fn addresses(&mut self, given: &Given, own: &Neighbour) {
        let mut all = vec![IpAddr::from(own.address)];
        all.extend(
            given
                .node_ips
                .iter()
                .filter(|ip| **ip != IpAddr::from(own.address)),
        );
        let kubelet = given.node_ips.first().copied().unwrap_or(all[0]);
        let body = |list: &[IpAddr]| talos::NodeAddress {
            addresses: list.iter().map(|ip| host_prefix(*ip)).collect(),
        };
        let lines = |list: &[IpAddr]| {
            let lines = list.iter().map(|ip| format!("    - {ip}\n"));
            format!("addresses:\n{}", lines.collect::<String>())
        };
        self.add::<kinds::NodeAddresses>("routed-no-k8s", &body(&all), lines(&all));
        let node_ip = talos::NodeIp {
            addresses: vec![net_ip(kubelet)],
        };
        self.add::<kinds::NodeIp>("kubelet", &node_ip, lines(&[kubelet]));
        all.push(own.kubespan.into());
        self.add::<kinds::NodeAddresses>("current-no-k8s", &body(&all), lines(&all));
    }

    /// The time servers, as a reader sees them, and the registries, with `key`, as none does. 1.13 has one endpoint.
    pub(in crate::machined) fn config(&mut self, given: &Given, cluster_id: &str, key: &[u8]) {
        let servers = talos::TimeServerStatus {
            ntp_servers: given.time_servers.clone(),
        };
        let yaml = format!("timeServers: [{}]\n", given.time_servers.join(", "));
        self.add::<kinds::TimeServers>("timeservers", &servers, yaml);
        let endpoints = match &given.discovery {
            Discovery::Off => &[][..],
            Discovery::At(endpoints) => endpoints,
        };
        let config = ConfigWithKey {
            discovery_enabled: !endpoints.is_empty(),
            registry_service_enabled: !endpoints.is_empty(),
            service_endpoint: endpoints.first().cloned().unwrap_or_default(),
            service_encryption_key: key.to_vec(),
            service_cluster_id: cluster_id.to_owned(),
        };
        let yaml = format!(
            "registryServiceEnabled: {}\nserviceEndpoint: {}\nserviceClusterID: {cluster_id}\n",
            config.registry_service_enabled, config.service_endpoint
        );
        let namespace = kinds::DiscoveryConfig::NAMESPACE;
        self.add_in::<kinds::DiscoveryConfig>(namespace, "cluster", &config, yaml);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_finds_the_endpoint_and_whether_it_is_used() {
        let read = |discovery: Discovery| {
            let given = Given {
                discovery,
                ..Given::default()
            };
            let mut resources = Resources::default();
            resources.config(&given, "id", &[7; 32]);
            let all = resources.0.iter();
            let mut configs = all.filter(|((space, _, _), _)| space == "config");
            let (_, config) = configs.next().unwrap();
            let body = config.spec.as_ref().unwrap().proto_spec.as_slice();
            kinds::DiscoveryConfig::check(talos::DiscoveryConfig::decode(body).unwrap()).unwrap()
        };
        let default = read(Discovery::default());
        assert!(default.service);
        let shown = default.endpoints[0].to_string();
        assert_eq!(shown, "https://discovery.talos.dev:443/");
        let off = read(Discovery::Off);
        assert!(!off.service && off.endpoints.is_empty());
    }
}
