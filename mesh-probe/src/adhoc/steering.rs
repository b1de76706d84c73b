//! `steering`: does this node lead marked packets into `KubeSpan`?

use evidence::PublicKey;
use serde::Serialize;
use sources::{
    links::{self, FORCE_MARK, FORCE_MASK, TABLE},
    wireguard,
};

use super::{Facts, Lines, line};
use crate::exit::Exit;

/// The mark of `WireGuard`'s own packets, by which they pass beside the tunnel.
const OUTER_MARK: u32 = 0x20;
/// Peers that are listed.
const MAX_LISTED: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Steering {
    pub interface: &'static str,
    /// Of the link; none if there is no such link.
    pub mtu: Option<u32>,
    pub ipv4: Family,
    pub ipv6: Family,
    /// Rules and routes that could not be decoded: with some of them, what is missing may be there.
    pub undecoded: u64,
    /// Of the device: the mark of its own packets. None if it could not be read.
    pub device: Option<Device>,
    /// Why it could not be read.
    pub unreadable: Option<String>,
}

/// The rule and the route of one address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Family {
    pub rule_priority: Option<u32>,
    pub default_route: bool,
    pub route_mtu: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    pub mark: u32,
    pub peers: Vec<Peer>,
}

/// A peer, and what goes to it once it is in the tunnel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    pub public_key: PublicKey,
    pub allowed_ips: Vec<String>,
}

impl From<links::FamilySteering> for Family {
    fn from(read: links::FamilySteering) -> Self {
        Self {
            rule_priority: read.rule_priority,
            default_route: read.default_route,
            route_mtu: read.route_mtu,
        }
    }
}

impl From<wireguard::Device> for Device {
    fn from(read: wireguard::Device) -> Self {
        let peer = |peer: wireguard::Peer| Peer {
            public_key: peer.public_key,
            allowed_ips: peer.allowed_ips.iter().map(ToString::to_string).collect(),
        };
        Self {
            mark: read.fwmark,
            peers: read.peers.into_iter().map(peer).collect(),
        }
    }
}

impl Family {
    fn words(self, interface: &str) -> String {
        let rule = self.rule_priority.map_or_else(
            || "no rule".to_owned(),
            |priority| {
                format!("rule {priority}: fwmark {FORCE_MARK:#x}/{FORCE_MASK:#x} lookup {TABLE}")
            },
        );
        let route = match (self.default_route, self.route_mtu) {
            (false, _) => format!("table {TABLE} has no default route by {interface}"),
            (true, None) => format!("table {TABLE}: default by {interface}"),
            (true, Some(mtu)) => format!("table {TABLE}: default by {interface}, MTU {mtu}"),
        };
        format!("{rule}; {route}")
    }

    /// What is missing; none if nothing is.
    fn lack(self, name: &str) -> Option<String> {
        let missing = match (self.rule_priority.is_some(), self.default_route) {
            (true, true) => return None,
            (true, false) => "the route is missing",
            (false, true) => "the rule is missing",
            (false, false) => "rule and route are missing",
        };
        Some(format!("{name} is not steered: {missing}"))
    }
}

impl Steering {
    fn lacks(&self) -> Vec<String> {
        let mut lacks: Vec<String> = self
            .mtu
            .is_none()
            .then(|| format!("there is no link {}: no KubeSpan here", self.interface))
            .into_iter()
            .collect();
        lacks.extend(self.ipv4.lack("IPv4"));
        lacks.extend(self.ipv6.lack("IPv6"));
        let mark = self.device.as_ref().map(|device| device.mark);
        lacks.extend(mark.filter(|mark| mark & FORCE_MASK != OUTER_MARK).map(|mark| {
            format!("WireGuard's own packets carry the mark {mark:#x} instead of {OUTER_MARK:#x}: they can be led into the tunnel themselves")
        }));
        lacks
    }
}

impl Facts for Steering {
    const KIND: &'static str = "Steering";

    fn title(&self) -> String {
        format!("steering of this node's packets into {}", self.interface)
    }

    fn lines(&self) -> Lines {
        let mtu = self
            .mtu
            .map_or_else(|| "none".to_owned(), |mtu| format!("MTU {mtu}"));
        let mut lines = vec![
            line("link", mtu),
            line("IPv4", self.ipv4.words(self.interface)),
            line("IPv6", self.ipv6.words(self.interface)),
        ];
        if self.undecoded > 0 {
            lines.push(line(
                "not understood",
                format!("{} rules or routes", self.undecoded),
            ));
        }
        if let Some(why) = &self.unreadable {
            lines.push(line("WireGuard", format!("not readable: {why}")));
        }
        if let Some(device) = &self.device {
            lines.push(line(
                "mark of its own packets",
                format!("{:#x}", device.mark),
            ));
            let listed = device.peers.iter().take(MAX_LISTED);
            lines.extend(listed.map(|peer| {
                let allowed = if peer.allowed_ips.is_empty() {
                    "nothing".to_owned()
                } else {
                    peer.allowed_ips.join(" ")
                };
                line(&format!("to {}", peer.public_key), allowed)
            }));
            let rest = device.peers.len().saturating_sub(MAX_LISTED);
            if rest > 0 {
                lines.push(line("more peers", rest.to_string()));
            }
        }
        lines
    }

    fn conclusions(&self) -> Vec<String> {
        let lacks = self.lacks();
        if !lacks.is_empty() {
            let mut lacks = lacks;
            if self.undecoded > 0 {
                lacks.push(
                    "cannot tell for sure: some rules or routes were not understood".to_owned(),
                );
            }
            return lacks;
        }
        let steered = format!(
            "packets with the mark {FORCE_MARK:#x} go into {}, in both families",
            self.interface
        );
        match &self.unreadable {
            None => vec![steered],
            Some(_) => vec![
                steered,
                "cannot tell whether WireGuard's own packets stay out of it: the device is not readable".to_owned(),
            ],
        }
    }

    fn method(&self) -> String {
        "read by netlink, nothing was sent; which packets get the mark is up to the nftables rules of Talos, which are not read"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        let is_known = self.unreadable.is_none() && self.undecoded == 0;
        match (self.lacks().is_empty(), is_known) {
            (true, true) => Exit::Ready,
            (false, _) if self.undecoded == 0 => Exit::NotReady,
            _ => Exit::CannotTell,
        }
    }
}
