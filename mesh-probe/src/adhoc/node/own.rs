//! The node itself, its `kubespan` device with its peers, and its overlay devices.

use evidence::{Fact, FactKey, Facts, Moment, Peer, PublicKey, VxlanDevice};

use super::{Said, ago};

/// Most peers that are listed.
pub(super) const MAX_LISTED: usize = 64;

pub(super) fn node(facts: &Facts, _now: Moment) -> Vec<Said> {
    let Some(Fact::Identity(identity)) = facts.get(&FactKey::Identity) else {
        return Vec::new();
    };
    let addresses: Vec<_> = identity.addresses.iter().map(ToString::to_string).collect();
    let boot = if identity.boot_id.is_empty() {
        "not readable"
    } else {
        &identity.boot_id
    };
    vec![
        Said::new("name", identity.name.to_string()),
        Said::new("boot id", boot),
        Said::new("addresses outside the tunnel", list(&addresses)),
    ]
}

pub(super) fn kubespan(facts: &Facts, now: Moment) -> Vec<Said> {
    let mut said = device(facts);
    let peers: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Peer(key, peer) => Some((key, peer)),
            _ => None,
        })
        .collect();
    let listed = peers.iter().take(MAX_LISTED);
    said.extend(listed.map(|(key, peer)| peer_line(key, peer, now)));
    let rest = peers.len().saturating_sub(MAX_LISTED);
    if rest > 0 {
        said.push(Said::new("more peers", rest.to_string()));
    }
    said
}

fn device(facts: &Facts) -> Vec<Said> {
    let mut said = Vec::new();
    if let Some(Fact::Identity(identity)) = facts.get(&FactKey::Identity) {
        said.extend(
            identity
                .public_key
                .map(|key| Said::new("public key", key.to_string())),
        );
        said.extend(
            identity
                .kubespan_address
                .map(|address| Said::new("address", address.to_string())),
        );
    }
    if let Some(Fact::Device(device)) = facts.get(&FactKey::Device) {
        let known = |value: Option<u32>| value.map_or_else(unknown, |value| value.to_string());
        said.push(Said::new(
            "UDP port",
            known(device.listen_port.map(u32::from)),
        ));
        let mark = device
            .fwmark
            .map_or_else(unknown, |mark| format!("{mark:#x}"));
        said.push(Said::new("mark of its own packets", mark));
        let state = match device.up {
            Some(true) => "up".to_owned(),
            Some(false) => "down".to_owned(),
            None => unknown(),
        };
        said.push(Said::new(
            "link",
            format!("{state}, MTU {}", known(device.mtu)),
        ));
    }
    said
}

fn peer_line(key: &PublicKey, peer: &Peer, now: Moment) -> Said {
    let endpoint = peer
        .endpoint
        .map_or_else(|| "no endpoint".to_owned(), |endpoint| endpoint.to_string());
    let handshake = peer.last_handshake.map_or_else(
        || "no handshake yet".to_owned(),
        |at| format!("handshake {}", ago(at, now)),
    );
    let (rx, tx) = (peer.rx_bytes, peer.tx_bytes);
    Said::new(
        format!("peer {}", key.short()),
        format!(
            "{endpoint}; {handshake}; received {rx} bytes, sent {tx}; allowed {}",
            list(&peer.allowed_ips)
        ),
    )
}

pub(super) fn overlay(facts: &Facts, _now: Moment) -> Vec<Said> {
    let Some(Fact::Vxlan(vxlan)) = facts.get(&FactKey::Vxlan) else {
        return Vec::new();
    };
    if vxlan.devices.is_empty() {
        return vec![Said::new("VXLAN devices", "none")];
    }
    let mut said: Vec<_> = vxlan.devices.iter().map(vxlan_line).collect();
    if vxlan.left_out > 0 {
        said.push(Said::new("more VXLAN devices", vxlan.left_out.to_string()));
    }
    said
}

fn vxlan_line(device: &VxlanDevice) -> Said {
    let state = if device.up { "up" } else { "down" };
    let (id, port, mtu) = (device.id, device.port, device.mtu);
    Said::new(
        &device.name,
        format!("VXLAN {id} on UDP {port}, {state}, MTU {mtu}"),
    )
}

pub(super) fn list(parts: &[String]) -> String {
    if parts.is_empty() {
        return "none".to_owned();
    }
    parts.join(" ")
}

pub(super) fn unknown() -> String {
    "not known".to_owned()
}
