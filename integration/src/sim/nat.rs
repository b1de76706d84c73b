//! What a site's router does to the addresses of its LAN.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddr},
};

use rand::{Rng as _, rngs::StdRng};

use super::time::{Micros, SECOND};

/// How long a translation is kept that nothing uses: Linux forgets a stream of UDP after so long.
const KEPT: Micros = 120 * SECOND;

/// Kinds by what they take for the same, and whom they let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// Routed, not translated.
    None,
    /// One port for a node, whoever it talks to; everybody may answer.
    FullCone,
    /// One port for a node, whoever it talks to; only those it talked to may answer, from the port it talked to.
    PortRestricted,
    /// Another port for every destination.
    Symmetric,
}

/// The translations of one router.
#[derive(Clone, Debug)]
pub struct Nat {
    pub kind: NatKind,
    wan: Ipv4Addr,
    out: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    back: BTreeMap<u16, Translation>,
}

#[derive(Clone, Debug)]
struct Translation {
    inside: SocketAddr,
    key: (SocketAddr, Option<SocketAddr>),
    used: Micros,
    talked_to: BTreeSet<SocketAddr>,
}

impl Nat {
    pub fn new(kind: NatKind, wan: Ipv4Addr) -> Self {
        Self {
            kind,
            wan,
            out: BTreeMap::new(),
            back: BTreeMap::new(),
        }
    }

    /// As what a datagram leaves.
    pub fn outward(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        now: Micros,
        random: &mut StdRng,
    ) -> SocketAddr {
        if self.kind == NatKind::None {
            return from;
        }
        let key = (from, (self.kind == NatKind::Symmetric).then_some(to));
        self.forget(key, now);
        let port = match self.out.get(&key) {
            Some(port) => *port,
            None => self.free_port(from.port(), random),
        };
        self.out.insert(key, port);
        let translation = self.back.entry(port).or_insert_with(|| Translation {
            inside: from,
            key,
            used: now,
            talked_to: BTreeSet::new(),
        });
        translation.used = now;
        translation.talked_to.insert(to);
        SocketAddr::from((self.wan, port))
    }

    /// For whom a datagram is that comes from outside, if it may come in.
    pub fn inward(&mut self, from: SocketAddr, to: SocketAddr, now: Micros) -> Option<SocketAddr> {
        if self.kind == NatKind::None {
            return Some(to);
        }
        let open = self.kind == NatKind::FullCone;
        let translation = self.back.get_mut(&to.port())?;
        let fresh = now - translation.used <= KEPT;
        let known = open || translation.talked_to.contains(&from);
        if !fresh || !known {
            return None;
        }
        translation.used = now;
        Some(translation.inside)
    }

    /// The router was switched off and on.
    pub fn forget_all(&mut self) {
        self.out.clear();
        self.back.clear();
    }

    fn forget(&mut self, key: (SocketAddr, Option<SocketAddr>), now: Micros) {
        let Some(port) = self.out.get(&key).copied() else {
            return;
        };
        let stale = |translation: &Translation| now - translation.used > KEPT;
        if self.back.get(&port).is_none_or(stale) {
            self.out.remove(&key);
            self.back.remove(&port);
        }
    }

    fn free_port(&mut self, wanted: u16, random: &mut StdRng) -> u16 {
        if self.kind != NatKind::Symmetric && !self.back.contains_key(&wanted) {
            return wanted;
        }
        loop {
            let port = random.random_range(20_000..60_000);
            if let Some(old) = self.back.get(&port) {
                if self.out.get(&old.key) == Some(&port) {
                    continue;
                }
                self.back.remove(&port);
            }
            return port;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const WAN: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

    fn inside(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 168, 50, host], 51_820))
    }

    fn outside(host: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, host], 51_820))
    }

    #[test]
    fn each_kind_lets_in_whom_it_lets_in() {
        let mut random = StdRng::seed_from_u64(1);
        for (kind, stranger_may, same_port) in [
            (NatKind::FullCone, true, true),
            (NatKind::PortRestricted, false, true),
            (NatKind::Symmetric, false, false),
        ] {
            let mut nat = Nat::new(kind, WAN);
            let seen = nat.outward(inside(11), outside(1), 0, &mut random);
            let other = nat.outward(inside(11), outside(2), 0, &mut random);
            assert_eq!(seen == other, same_port, "{kind:?}");
            assert_eq!(nat.inward(outside(1), seen, 1), Some(inside(11)));
            let stranger = nat.inward(outside(3), seen, 1);
            assert_eq!(stranger.is_some(), stranger_may, "{kind:?}");
        }
    }

    #[test]
    fn the_second_node_gets_another_port_and_what_nobody_uses_is_forgotten() {
        let mut random = StdRng::seed_from_u64(1);
        let mut nat = Nat::new(NatKind::PortRestricted, WAN);
        let first = nat.outward(inside(11), outside(1), 0, &mut random);
        let second = nat.outward(inside(12), outside(1), 0, &mut random);
        assert_eq!(first.port(), 51_820);
        assert_ne!(second.port(), 51_820);
        assert_eq!(nat.inward(outside(1), second, KEPT), Some(inside(12)));
        assert_eq!(nat.inward(outside(1), second, 3 * KEPT), None);
    }
}
