//! Our reader of Talos, from the socket to its checked nouns, against what the real side wrote down.

use std::{fmt::Display, time::Duration};

use serde_json::{Value, json};
use sources::talos::{
    AddressStatus, Affiliate, ClusterIdentity, ClusterInfo, Diagnostic, EtcdMember,
    HardwareAddress, Hostname, Kind, KubePrism, KubeSpanEndpoint, LinkStatus, MachineStatus,
    Member, NetworkStatus, NodeAddresses, NodeIp, NodeStatus, Nodename, PeerSpec, PeerStatus,
    ProbeStatus, RouteStatus, RoutingRule, Service, Talos, TimeServers, TimeStatus, Version,
};
use tonic::transport::Channel;

use crate::{cosi::Dump, report::Row};

/// Where a value stands in what the real side wrote down, and what the reader made of it.
type Fields = Vec<(&'static str, Value)>;

/// Asks as the agent does, type by type.
pub(crate) struct Readers<'a> {
    pub(crate) talos: Talos<Channel>,
    pub(crate) dump: &'a Dump,
    pub(crate) row: Row,
}

impl Readers<'_> {
    pub(crate) async fn all(mut self) -> Row {
        self.kubespan().await;
        self.cluster().await;
        self.network().await;
        self.machine().await;
        self.row
    }

    async fn kubespan(&mut self) {
        self.read::<PeerSpec>(|spec| {
            vec![
                ("/address", maybe(spec.address)),
                ("/allowedIPs", list(&spec.allowed_ips)),
                ("/endpoints", list(&spec.endpoints)),
                ("/label", json!(spec.label)),
            ]
        })
        .await;
        self.read::<PeerStatus>(|status| {
            vec![
                ("/endpoint", maybe(status.endpoint)),
                ("/label", json!(status.label)),
                ("/state/name", json!(status.state.as_str())),
                ("/receiveBytes", json!(status.receive_bytes)),
                ("/transmitBytes", json!(status.transmit_bytes)),
                ("/lastHandshakeTime", time(status.last_handshake)),
                ("/lastUsedEndpoint", maybe(status.last_used_endpoint)),
                ("/lastEndpointChange", time(status.last_endpoint_change)),
            ]
        })
        .await;
        self.read::<KubeSpanEndpoint>(|found| {
            vec![
                ("/affiliateID", json!(found.affiliate)),
                ("/endpoint", maybe(found.endpoint)),
            ]
        })
        .await;
    }

    async fn cluster(&mut self) {
        self.read::<Affiliate>(affiliate).await;
        self.read::<Member>(|member| {
            vec![
                ("/nodeId", json!(member.node_id)),
                ("/addresses", list(&member.addresses)),
                ("/hostname", json!(member.hostname)),
                ("/operatingSystem", json!(member.operating_system)),
                ("/controlPlane/port", json!(member.api_server_port)),
            ]
        })
        .await;
        self.read::<ClusterIdentity>(|own| vec![("/nodeId", json!(own.node_id))])
            .await;
        self.read::<ClusterInfo>(|info| {
            vec![
                ("/clusterId", json!(info.cluster_id.as_str())),
                ("/clusterName", json!(info.cluster_name)),
            ]
        })
        .await;
    }

    async fn network(&mut self) {
        self.read::<NodeAddresses>(|found| vec![("/addresses", list(&found.addresses))])
            .await;
        self.read::<LinkStatus>(link).await;
        self.read::<TimeServers>(|told| vec![("/timeServers", list(&told.servers))])
            .await;
        self.read::<AddressStatus>(|status| {
            vec![
                ("/address", maybe(status.address)),
                ("/linkName", json!(status.link)),
            ]
        })
        .await;
        self.read::<RouteStatus>(|route| {
            vec![
                ("/dst", maybe(route.destination)),
                ("/gateway", maybe(route.gateway)),
                ("/outLinkName", json!(route.link)),
                ("/table/number", json!(route.table)),
                ("/priority", json!(route.priority)),
                ("/mtu", json!(route.mtu)),
            ]
        })
        .await;
        self.read::<RoutingRule>(|rule| {
            vec![
                ("/family/number", json!(rule.family)),
                ("/table/number", json!(rule.table)),
                ("/priority", json!(rule.priority)),
                ("/fwMark", json!(rule.mark)),
                ("/fwMask", json!(rule.mask)),
            ]
        })
        .await;
        self.read::<Hostname>(|name| {
            vec![
                ("/hostname", json!(name.hostname)),
                ("/domainname", json!(name.domainname)),
            ]
        })
        .await;
        self.read::<NetworkStatus>(|NetworkStatus(status)| {
            vec![
                ("/addressReady", json!(status.addresses)),
                ("/connectivityReady", json!(status.connectivity)),
                ("/hostnameReady", json!(status.hostname)),
                ("/etcFilesReady", json!(status.etc_files)),
            ]
        })
        .await;
        self.read::<HardwareAddress>(|found| vec![("/name", json!(found.link))])
            .await;
        self.read::<ProbeStatus>(|probe| {
            vec![
                ("/success", json!(probe.success)),
                ("/lastError", json!(probe.last_error)),
            ]
        })
        .await;
    }

    async fn machine(&mut self) {
        self.read::<MachineStatus>(|status| {
            vec![
                ("/stage/name", json!(status.stage.as_str())),
                ("/status/ready", json!(status.ready)),
                (
                    "/status/unmetConditions/0/name",
                    json!(status.unmet[0].name),
                ),
                (
                    "/status/unmetConditions/1/reason",
                    json!(status.unmet[1].reason),
                ),
            ]
        })
        .await;
        self.read::<Version>(|version| vec![("/version", json!(version.version))])
            .await;
        self.read::<TimeStatus>(|status| {
            vec![
                ("/synced", json!(status.synced)),
                ("/epoch", json!(status.epoch)),
                ("/syncDisabled", json!(status.sync_disabled)),
            ]
        })
        .await;
        self.read::<Service>(|service| vec![("/running", json!(service.running))])
            .await;
        self.read::<Diagnostic>(|found| {
            vec![
                ("/message", json!(found.message)),
                ("/details", json!(found.details)),
            ]
        })
        .await;
        self.read::<KubePrism>(|found| {
            vec![
                ("/host", json!(found.host)),
                ("/healthy", json!(found.healthy)),
            ]
        })
        .await;
        self.read::<NodeIp>(|found| vec![("/addresses", list(&found.addresses))])
            .await;
        self.read::<Nodename>(|found| vec![("/nodename", json!(found.nodename))])
            .await;
        self.read::<NodeStatus>(|status| {
            vec![
                ("/nodename", json!(status.nodename)),
                ("/nodeReady", json!(status.ready)),
                ("/unschedulable", json!(status.unschedulable)),
            ]
        })
        .await;
        self.read::<EtcdMember>(|member| vec![("/memberID", json!(member.member_id))])
            .await;
    }

    /// All resources of a type in its usual namespace: none refused, none missing, each field as it was given.
    async fn read<R: Kind>(&mut self, fields: fn(&R) -> Fields) {
        let listed = self.talos.list::<R>().await.unwrap();
        let of_kind = |kind: &str, namespace: &str| kind == R::TYPE && namespace == R::NAMESPACE;
        let entries = self.dump.resources.iter();
        let entries: Vec<_> = entries
            .filter(|entry| of_kind(&entry.kind, &entry.namespace))
            .collect();
        self.row.expect(R::TYPE, &listed.refused, &0);
        self.row
            .expect(R::TYPE, &listed.resources.len(), &entries.len());
        for entry in entries {
            let found = listed.resources.iter().find(|found| found.id == entry.id);
            let Some(found) = found else {
                self.row
                    .differences
                    .push(format!("{} {} is missing", R::TYPE, entry.id));
                continue;
            };
            for (pointer, ours) in fields(&found.spec) {
                let real = entry.spec.pointer(pointer).cloned().unwrap_or_default();
                self.row
                    .expect(&format!("{} {pointer}", R::TYPE), &ours, &real);
            }
        }
    }
}

fn affiliate(found: &Affiliate) -> Fields {
    let kubespan = found.kubespan.as_ref().unwrap();
    let excluded = list(&kubespan.exclude_advertised_networks);
    vec![
        ("/nodeId", json!(found.node_id)),
        ("/addresses", list(&found.addresses)),
        ("/hostname", json!(found.hostname)),
        ("/nodename", json!(found.nodename)),
        ("/operatingSystem", json!(found.operating_system)),
        ("/controlPlane/port", json!(found.api_server_port)),
        ("/kubespan/publicKey", json!(kubespan.public_key)),
        ("/kubespan/address", maybe(kubespan.address)),
        (
            "/kubespan/additionalAddresses",
            list(&kubespan.additional_addresses),
        ),
        ("/kubespan/endpoints", list(&kubespan.endpoints)),
        ("/kubespan/excludeAdvertisedNetworks", excluded),
    ]
}

fn link(status: &LinkStatus) -> Fields {
    let wireguard = status.wireguard.as_ref().unwrap();
    let peer = &wireguard.peers[1];
    vec![
        ("/index", json!(status.index)),
        ("/mtu", json!(status.mtu)),
        ("/kind", json!(status.kind)),
        ("/wireguard/publicKey", maybe(wireguard.public_key)),
        ("/wireguard/listenPort", json!(wireguard.listen_port)),
        ("/wireguard/firewallMark", json!(wireguard.firewall_mark)),
        ("/wireguard/peers/1/publicKey", json!(peer.public_key)),
        ("/wireguard/peers/1/endpoint", maybe(peer.endpoint)),
        ("/wireguard/peers/1/allowedIPs", list(&peer.allowed_ips)),
    ]
}

fn list<T: Display>(items: &[T]) -> Value {
    json!(items.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn maybe<T: Display>(value: Option<T>) -> Value {
    json!(value.map(|value| value.to_string()))
}

fn time(since_1970: Option<Duration>) -> Value {
    let time = since_1970.map(|since| std::time::UNIX_EPOCH + since);
    maybe(time.map(humantime::format_rfc3339_nanos))
}
