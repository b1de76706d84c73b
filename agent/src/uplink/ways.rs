//! Which ways lead to a collector, and in which order they are tried. Pure: who dials says how each try ended.
//!
//! Past the tunnel first, as reports are to tell when the tunnel is broken. Where nobody answers there, through it: at the `KubeSpan`
//! address of the node that has the collector's, as the allowed IPs of `WireGuard` tell it. An unmarked packet to the collector's own address is
//! led into the tunnel as well, but the collector answers past it, which never gets to a node behind NAT: that way is the last.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use evidence::{Fact, FactKey, Facts, UplinkWay};
use proto::transport::{DialError, Mark};

use crate::readers::chain;

/// Most addresses of one collector that are tried.
pub(crate) const ADDRESSES: usize = 8;
/// Most errors of one way that are told.
const TOLD: usize = 2;

/// One try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Try {
    pub(crate) to: SocketAddr,
    pub(crate) way: UplinkWay,
    /// Where the same collector is in the tunnel, if that is known: what was found there is found of the same host.
    inside: Option<SocketAddr>,
}

impl Try {
    pub(crate) const fn mark(&self) -> Mark {
        match self.way {
            UplinkWay::Underlay => Mark::Underlay,
            // The tunnel's own prefix is on its link: no mark leads elsewhere.
            UplinkWay::Routes | UplinkWay::Tunnel => Mark::None,
        }
    }

    fn is_of_the_host_of(&self, other: &Self) -> bool {
        self.to == other.to || (self.inside.is_some() && self.inside == other.inside)
    }
}

/// The search for a collector: [`Search::next`] says what is to be tried, as long as that makes sense, and is told by
/// [`Search::failed`] how it ended.
#[derive(Debug)]
pub(crate) struct Search {
    tries: VecDeque<Try>,
    failed: Vec<(Try, DialError)>,
}

impl Search {
    /// To a collector at these addresses, by what the node knows of its peers.
    pub(crate) fn to(addresses: &[SocketAddr], facts: &Facts) -> Self {
        let own = kubespan_address(facts);
        let addresses = addresses.iter().take(ADDRESSES).map(|address| {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let inside = own.and_then(|own| inside(address.ip(), own, facts));
            (
                address,
                inside.map(|ip| SocketAddr::new(ip.into(), address.port())),
            )
        });
        let addresses: Vec<(SocketAddr, Option<SocketAddr>)> = addresses.collect();
        let outside = |way| {
            let outside = addresses
                .iter()
                .filter(|(address, inside)| *inside != Some(*address));
            outside.map(move |&(to, inside)| Try { to, way, inside })
        };
        let mut tries: Vec<Try> = outside(UplinkWay::Underlay).collect();
        for to in addresses.iter().filter_map(|(_, inside)| *inside) {
            let way = UplinkWay::Tunnel;
            let inside = Some(to);
            let through = Try { to, way, inside };
            if !tries.contains(&through) {
                tries.push(through);
            }
        }
        tries.extend(outside(UplinkWay::Routes));
        Self {
            tries: tries.into(),
            failed: Vec::new(),
        }
    }

    pub(crate) fn next(&mut self) -> Option<Try> {
        loop {
            let next = self.tries.pop_front()?;
            if !is_settled(&next, &self.failed) {
                return Some(next);
            }
        }
    }

    pub(crate) fn failed(&mut self, tried: Try, error: DialError) {
        self.failed.push((tried, error));
    }

    /// All was tried in vain, and what came after the first way took so long.
    pub(crate) fn given_up(self, second: Duration) -> Unreached {
        let failed = self.failed.into_iter();
        let failed = failed.map(|(tried, error)| (tried.way, error)).collect();
        Unreached { failed, second }
    }
}

/// Whether what failed before says how this would end.
fn is_settled(one: &Try, failed: &[(Try, DialError)]) -> bool {
    if one.way == UplinkWay::Underlay {
        return false;
    }
    let mut of_host = failed
        .iter()
        .filter(|(other, _)| other.is_of_the_host_of(one));
    let is_there =
        |error: &DialError| !error.is_unanswered() && !matches!(error, DialError::Mark(_));
    let may_mark = !failed
        .iter()
        .any(|(_, error)| matches!(error, DialError::Mark(_)));
    of_host.any(|(other, error)| {
        // Nothing came through the tunnel, and where the routes lead elsewhere it was tried already, with the mark.
        let is_dead = one.way == UplinkWay::Routes
            && other.way == UplinkWay::Tunnel
            && matches!(error, DialError::ConnectTimeout(_));
        is_there(error) || (is_dead && may_mark)
    })
}

/// The node's own address in the tunnel.
fn kubespan_address(facts: &Facts) -> Option<Ipv6Addr> {
    let Some(Fact::Identity(identity)) = facts.get(&FactKey::Identity) else {
        return None;
    };
    identity.kubespan_address
}

/// The `KubeSpan` address of the node that has `address`: itself, if it is one, or that of the peer to which `WireGuard` gives it, which
/// is one at most.
fn inside(address: IpAddr, own: Ipv6Addr, facts: &Facts) -> Option<Ipv6Addr> {
    let is_inside = |one: &Ipv6Addr| one.octets()[..8] == own.octets()[..8];
    if let IpAddr::V6(address) = address
        && is_inside(&address)
    {
        return Some(address);
    }
    let single = |text: &String| -> Option<IpAddr> {
        let (ip, length) = text.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let whole = if ip.is_ipv4() { "32" } else { "128" };
        (length == whole).then_some(ip)
    };
    facts.iter().find_map(|fact| {
        let Fact::Peer(_, peer) = fact else {
            return None;
        };
        let mut singles = peer.allowed_ips.iter().filter_map(single);
        if !singles.any(|ip| ip == address) {
            return None;
        }
        let mut singles = peer.allowed_ips.iter().filter_map(single);
        singles.find_map(|ip| match ip {
            IpAddr::V6(ip) if is_inside(&ip) => Some(ip),
            _ => None,
        })
    })
}

/// Nobody was reached: each way that was tried and what came of it, in this order.
#[derive(Debug)]
pub(crate) struct Unreached {
    failed: Vec<(UplinkWay, DialError)>,
    /// What the ways after the first took.
    second: Duration,
}

impl Unreached {
    /// What is left of a pause. The other ways are tried in it, so that past the tunnel a dead collector is tried as often as if there
    /// were none.
    pub(crate) fn rest(&self, pause: Duration, least: Duration) -> Duration {
        pause.saturating_sub(self.second).max(least.min(pause))
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.failed.as_slice();
        while let Some((way, _)) = rest.first() {
            let same = rest.iter().take_while(|(other, _)| other == way).count();
            let (now, later) = rest.split_at(same);
            let mut told: Vec<String> = now.iter().map(|(_, error)| chain(error)).collect();
            told.dedup();
            let more = told.len().saturating_sub(TOLD);
            told.truncate(TOLD);
            write!(f, "{way}: {}", told.join(", "))?;
            if more > 0 {
                write!(f, " and {more} more")?;
            }
            if !later.is_empty() {
                f.write_str("; ")?;
            }
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
