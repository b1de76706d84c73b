//! The link of the tunnel, with the preshared keys that Talos shows to every reader.

use prost::Message;
use sources::{
    talos::{Kind, LinkStatus},
    wireguard::Device,
};
use upstream::talos;

use super::{Resources, net_prefix, shown};
use crate::lab::kubespan::{LINK, MTU, PORT};

/// A peer of a link as Talos really writes it, with its preshared key.
#[derive(Clone, PartialEq, Message)]
struct PeerWithKey {
    #[prost(string, tag = "1")]
    public_key: String,
    #[prost(string, tag = "2")]
    preshared_key: String,
    #[prost(string, tag = "3")]
    endpoint: String,
    #[prost(message, repeated, tag = "5")]
    allowed_ips: Vec<talos::NetIpPrefix>,
}

#[derive(Clone, PartialEq, Message)]
struct DeviceWithKeys {
    #[prost(string, tag = "2")]
    public_key: String,
    #[prost(int64, tag = "3")]
    listen_port: i64,
    #[prost(int64, tag = "4")]
    firewall_mark: i64,
    #[prost(message, repeated, tag = "5")]
    peers: Vec<PeerWithKey>,
}

#[derive(Clone, PartialEq, Message)]
struct LinkWithKeys {
    #[prost(uint32, tag = "7")]
    mtu: u32,
    #[prost(uint32, tag = "10")]
    operational_state: u32,
    #[prost(string, tag = "11")]
    kind: String,
    #[prost(message, optional, tag = "29")]
    wireguard: Option<DeviceWithKeys>,
}

impl Resources {
    /// The device with its peers' preshared keys, as Talos shows it to every reader.
    pub(in crate::machined) fn link(&mut self, device: &Device, preshared_key: &str) {
        let peers = device.peers.iter().map(|peer| PeerWithKey {
            public_key: peer.public_key.to_string(),
            preshared_key: preshared_key.to_owned(),
            endpoint: shown(peer.endpoint),
            allowed_ips: peer
                .allowed_ips
                .iter()
                .map(|prefix| net_prefix(prefix.address(), prefix.prefix_len()))
                .collect(),
        });
        let peers: Vec<_> = peers.collect();
        let listed: Vec<String> = peers
            .iter()
            .map(|peer| {
                format!(
                    "        - publicKey: {}\n          presharedKey: {}\n",
                    peer.public_key, peer.preshared_key
                )
            })
            .collect();
        let link = LinkWithKeys {
            mtu: u32::from(MTU),
            operational_state: 6,
            kind: "wireguard".to_owned(),
            wireguard: Some(DeviceWithKeys {
                public_key: device
                    .public_key
                    .map_or_else(String::new, |key| key.to_string()),
                listen_port: i64::from(PORT),
                firewall_mark: i64::from(device.fwmark),
                peers,
            }),
        };
        let yaml = format!(
            "kind: wireguard\nmtu: {MTU}\nwireguard:\n    peers:\n{}",
            listed.concat()
        );
        self.add_in::<LinkStatus>(LinkStatus::NAMESPACE, LINK, &link, yaml);
    }
}
