//! What Talos makes of the addresses that nodes advertise (`peer_spec.go`): a set of addresses for each peer, as
//! few prefixes as can say it, and no address for two peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A prefix: an address and how many leading bits of it count.
pub(super) type Prefix = (IpAddr, u8);

/// What one node advertises.
#[derive(Clone, Debug, Default)]
pub(super) struct Advertised {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) additional: Vec<Prefix>,
    pub(super) excluded: Vec<Prefix>,
    pub(super) kubespan: Option<Ipv6Addr>,
}

/// The allowed IPs of each peer, in the order of the peers: an address that an earlier one has is taken from the later.
pub(super) fn of_peers(peers: &[Advertised]) -> Vec<Vec<Prefix>> {
    let mut taken = Addresses::default();
    let each = peers.iter().map(|peer| {
        let mut own = Addresses::of(peer);
        own.remove_all(&taken);
        own.0.iter().for_each(|range| taken.add(*range));
        own.prefixes()
    });
    each.collect()
}

/// Addresses of one family from the first to the last, both included. Families never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    bits: u8,
    first: u128,
    last: u128,
}

impl Range {
    fn of((ip, length): Prefix) -> Self {
        let (bits, number) = match ip {
            IpAddr::V4(ip) => (32, u128::from(ip.to_bits())),
            IpAddr::V6(ip) => (128, ip.to_bits()),
        };
        let free = u128::MAX
            .checked_shr(u32::from(128 - bits + length.min(bits)))
            .unwrap_or(0);
        Self {
            bits,
            first: number & !free,
            last: number | free,
        }
    }

    fn meets(&self, other: &Self) -> bool {
        self.bits == other.bits && self.first <= other.last && other.first <= self.last
    }

    /// What is left on both sides of another.
    fn without(self, other: &Self) -> Vec<Self> {
        if !self.meets(other) {
            return vec![self];
        }
        let before = (self.first < other.first).then(|| Self {
            last: other.first - 1,
            ..self
        });
        let after = (self.last > other.last).then(|| Self {
            first: other.last + 1,
            ..self
        });
        before.into_iter().chain(after).collect()
    }
}

#[derive(Clone, Debug, Default)]
struct Addresses(Vec<Range>);

impl Addresses {
    fn of(peer: &Advertised) -> Self {
        let mut all = Self::default();
        let hosts = peer.addresses.iter().copied().map(host);
        for prefix in hosts.chain(peer.additional.iter().copied()) {
            all.add(Range::of(prefix));
        }
        for prefix in &peer.excluded {
            all.remove(&Range::of(*prefix));
        }
        if let Some(own) = peer.kubespan {
            all.add(Range::of(host(own.into())));
        }
        all
    }

    fn add(&mut self, range: Range) {
        self.remove(&range);
        self.0.push(range);
        self.0.sort_unstable();
    }

    fn remove(&mut self, range: &Range) {
        let left = self.0.iter().flat_map(|own| own.without(range));
        self.0 = left.collect();
    }

    fn remove_all(&mut self, others: &Self) {
        others.0.iter().for_each(|range| self.remove(range));
    }

    /// The largest prefixes that fit, from the first address on.
    fn prefixes(&self) -> Vec<Prefix> {
        let mut prefixes = Vec::new();
        let mut open = self.merged().into_iter();
        let mut next = open.next();
        while let Some(range) = next {
            let sizes =
                (0..=range.bits).map(|length| Range::of((ip(range.bits, range.first), length)));
            let fits = |one: &Range| one.first == range.first && one.last <= range.last;
            let (length, largest) = (0_u8..)
                .zip(sizes)
                .find(|(_, one)| fits(one))
                .expect("a single address fits where it is");
            prefixes.push((ip(range.bits, range.first), length));
            next = range.without(&largest).pop().or_else(|| open.next());
        }
        prefixes
    }

    /// Neighbours as one.
    fn merged(&self) -> Vec<Range> {
        let mut merged: Vec<Range> = Vec::new();
        for range in &self.0 {
            match merged.last_mut() {
                Some(last)
                    if last.bits == range.bits && last.last.checked_add(1) == Some(range.first) =>
                {
                    last.last = range.last;
                }
                _ => merged.push(*range),
            }
        }
        merged
    }
}

fn host(ip: IpAddr) -> Prefix {
    (ip, if ip.is_ipv4() { 32 } else { 128 })
}

fn ip(bits: u8, number: u128) -> IpAddr {
    match u32::try_from(number) {
        Ok(number) if bits == 32 => Ipv4Addr::from_bits(number).into(),
        _ => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Prefix {
        let (ip, length) = text.split_once('/').unwrap();
        (ip.parse().unwrap(), length.parse().unwrap())
    }

    fn prefixes(texts: &[&str]) -> Vec<Prefix> {
        texts.iter().map(|text| prefix(text)).collect()
    }

    const FIRST: &str = "fd50:8d60:4238:6302:f857:23ff:fe21:d1e0";
    const SECOND: &str = "fd50:8d60:4238:6302:f857:23ff:fe21:d1e1";

    fn advertised(own: &str, additional: &[&str]) -> Advertised {
        Advertised {
            additional: prefixes(additional),
            kubespan: Some(own.parse().unwrap()),
            ..Advertised::default()
        }
    }

    /// From Talos' own test of its peer specs (`peer_spec_test.go`).
    #[test]
    fn addresses_are_said_in_as_few_prefixes_as_can_be_without_what_is_excluded() {
        let mut peer = advertised(FIRST, &["10.244.3.1/24", "10.244.3.0/32"]);
        peer.addresses = vec!["192.168.3.4".parse().unwrap()];
        peer.excluded = prefixes(&["10.244.3.128/25"]);
        let own = format!("{FIRST}/128");
        assert_eq!(
            of_peers(&[peer]),
            [prefixes(&["10.244.3.0/25", "192.168.3.4/32", &own])]
        );
        let whole = advertised(FIRST, &["10.244.4.1/24"]);
        assert_eq!(of_peers(&[whole]), [prefixes(&["10.244.4.0/24", &own])]);
    }

    /// From the same test.
    #[test]
    fn what_an_earlier_peer_has_a_later_one_does_not_get() {
        let peers = [
            advertised(FIRST, &["10.244.3.1/24", "10.244.3.0/32"]),
            advertised(SECOND, &["10.244.2.0/23", "192.168.3.0/24"]),
        ];
        let own = format!("{SECOND}/128");
        assert_eq!(
            of_peers(&peers)[1],
            prefixes(&["10.244.2.0/24", "192.168.3.0/24", &own])
        );
    }

    #[test]
    fn neighbouring_addresses_become_one_prefix_and_everything_is_one_prefix() {
        let mut peer = Advertised {
            addresses: ["10.0.0.1", "10.0.0.0", "10.0.0.3"]
                .map(|ip| ip.parse().unwrap())
                .to_vec(),
            ..Advertised::default()
        };
        let expected = prefixes(&["10.0.0.0/31", "10.0.0.3/32"]);
        assert_eq!(of_peers(&[peer.clone()]), [expected]);
        peer.additional = prefixes(&["0.0.0.0/0", "::/0"]);
        assert_eq!(of_peers(&[peer]), [prefixes(&["0.0.0.0/0", "::/0"])]);
    }
}
