//! What leads a node's traffic for other nodes' addresses into the tunnel, and what its agent reads of it.

use std::net::{IpAddr, Ipv4Addr};

use evidence::{
    EndpointWay, Moment, Steered, SteeredPrefix, Steering, SteeringChains, SteeringFamily,
};
use mesh_agent::SteeringReading;

use super::{
    node::{TUNNEL, UPLINK, UplinkLink},
    orders::SteerChange,
    wireguard::{Device, Peer},
};

/// Why there is no reading while there is no device.
pub const WAITS: &str = "not asked: the kubespan device or the links cannot be read";
/// The priority of `KubeSpan`'s rule.
const PRIORITY: u32 = 32_500;

/// The steering of IPv4; that of IPv6 is as Talos makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steers {
    rule: bool,
    table: bool,
    bypass: Option<(Ipv4Addr, u8)>,
    unmarked: Option<Ipv4Addr>,
}

impl Default for Steers {
    fn default() -> Self {
        Self {
            rule: true,
            table: true,
            bypass: None,
            unmarked: None,
        }
    }
}

impl Steers {
    pub fn change(&mut self, change: SteerChange) {
        match change {
            SteerChange::Rule(there) => self.rule = there,
            SteerChange::Table(full) => self.table = full,
            SteerChange::Bypass(network) => self.bypass = network,
            SteerChange::Unmarked(address) => self.unmarked = address,
        }
    }

    /// Whether what the node sends to this address enters the tunnel.
    pub fn leads(&self, to: IpAddr) -> bool {
        let marked = self.unmarked.is_none_or(|address| to != address);
        marked && self.leads_marked(to)
    }

    /// The same of what is marked.
    fn leads_marked(&self, to: IpAddr) -> bool {
        let bypassed = |(network, length): (Ipv4Addr, u8)| match to {
            IpAddr::V4(to) => {
                let host_bits = 32_u32.saturating_sub(length.into());
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                u32::from(to) & mask == u32::from(network) & mask
            }
            IpAddr::V6(_) => false,
        };
        self.rule && self.table && !self.bypass.is_some_and(bypassed)
    }

    fn prefix(&self, ip: IpAddr, source: Option<Ipv4Addr>) -> SteeredPrefix {
        let marks = self.unmarked.is_none_or(|address| ip != address);
        let via = if self.leads_marked(ip) {
            TUNNEL
        } else {
            UPLINK
        };
        SteeredPrefix {
            prefix: format!("{ip}/32"),
            outgoing: Some(marks),
            prerouting: Some(marks),
            marked_via: Some(via.to_owned()),
            source: source.map(IpAddr::from),
        }
    }

    fn node(&self, since: Moment) -> Steering {
        let family = |rule: bool, default_route| SteeringFamily {
            rule_priority: rule.then_some(PRIORITY),
            default_route,
            undecoded: false,
        };
        Steering {
            since,
            ipv4: family(self.rule, self.table),
            ipv6: family(true, true),
            chains: Some(SteeringChains {
                outgoing: true,
                prerouting: true,
            }),
        }
    }
}

/// What an agent on a node with this address reads. What is as it was has been so since then.
pub fn read(
    (steers, device, uplink): (&Steers, &Device, UplinkLink),
    own: Option<Ipv4Addr>,
    last: Option<&SteeringReading>,
    now: Moment,
) -> SteeringReading {
    let mut node = steers.node(now);
    if let Some(last) = last {
        node.since = last.node.since;
        if node != last.node {
            node.since = now;
        }
    }
    let peers = device.peers.iter().map(|peer| {
        let last = last.and_then(|last| last.peers.get(&peer.key));
        let mut steered = steered(steers, peer, uplink, own);
        steered.since = last.map_or(now, |last| last.since);
        if last.is_some_and(|last| *last != steered) {
            steered.since = now;
        }
        (peer.key, steered)
    });
    SteeringReading {
        peers: peers.collect(),
        node,
        chains_gap: None,
    }
}

fn steered(steers: &Steers, peer: &Peer, uplink: UplinkLink, own: Option<Ipv4Addr>) -> Steered {
    let prefixes = peer.allowed.iter().filter(|ip| ip.is_ipv4());
    Steered {
        since: Moment::ZERO,
        prefixes: prefixes.map(|ip| steers.prefix(*ip, own)).collect(),
        left_out: 0,
        endpoint: peer.endpoint.map(|to| EndpointWay {
            to,
            via: uplink.up.then(|| UPLINK.to_owned()),
            mtu: uplink.up.then_some(uplink.mtu),
            looped: None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_steering_can_be_taken_away_and_given_back() {
        let near = IpAddr::from([192, 168, 50, 12]);
        let far = IpAddr::from([203, 0, 113, 12]);
        let lost = |change: SteerChange| {
            let mut steers = Steers::default();
            assert!(steers.leads(near) && steers.leads(far));
            steers.change(change);
            [steers.leads(near), steers.leads(far)]
        };
        assert_eq!(lost(SteerChange::Rule(false)), [false, false]);
        assert_eq!(lost(SteerChange::Table(false)), [false, false]);
        let network = (Ipv4Addr::new(192, 168, 50, 0), 24);
        assert_eq!(lost(SteerChange::Bypass(Some(network))), [false, true]);
        let one = Ipv4Addr::new(203, 0, 113, 12);
        assert_eq!(lost(SteerChange::Unmarked(Some(one))), [true, false]);
        assert_eq!(lost(SteerChange::Rule(true)), [true, true]);
    }
}
