//! Networks from which came a short while ago what is no handshake, or one with a certificate that is not taken. Pure: the time is an argument.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// For how long a network is remembered after its last failure.
const REMEMBERED: Duration = Duration::from_mins(1);
/// Most networks that are remembered: over it, the one whose failure is oldest is forgotten.
const MOST: usize = 4096;
/// Bits of an address of IPv6 that its holder does not choose as he likes.
const PREFIX: u32 = 64;

/// What holders of addresses are told apart by: an address of IPv4, or 64 bits of one of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - PREFIX);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The networks, each with its last failure.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    failed: BTreeMap<IpAddr, Instant>,
}

impl Suspects {
    /// A handshake from there was wrong.
    pub(super) fn note(&mut self, network: IpAddr, now: Instant) {
        self.failed.insert(network, now);
        if self.failed.len() <= MOST {
            return;
        }
        let oldest = self.failed.iter().min_by_key(|(_, at)| **at);
        if let Some(oldest) = oldest.map(|(network, _)| *network) {
            self.failed.remove(&oldest);
        }
    }

    /// Whether one was wrong of late. What is too old is forgotten.
    pub(super) fn has(&mut self, network: IpAddr, now: Instant) -> bool {
        let Some(at) = self.failed.get(&network) else {
            return false;
        };
        let is_late = now.saturating_duration_since(*at) <= REMEMBERED;
        if !is_late {
            self.failed.remove(&network);
        }
        is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_suspect_for_a_minute_after_its_last_failure() {
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let begun = Instant::now();
        let mut suspects = Suspects::default();
        assert!(!suspects.has(one, begun));
        suspects.note(one, begun);
        suspects.note(one, begun + REMEMBERED);
        assert!(suspects.has(one, begun + REMEMBERED * 2));
        assert!(!suspects.has(other, begun + REMEMBERED));
        let over = begun + REMEMBERED * 2 + Duration::from_millis(1);
        assert!(!suspects.has(one, over));
        assert!(suspects.failed.is_empty(), "what is over is forgotten");
    }

    #[test]
    fn so_many_are_remembered_and_the_oldest_failure_makes_room() {
        let begun = Instant::now();
        let mut suspects = Suspects::default();
        let at = |number: usize| IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
        for number in 0..=MOST {
            let later = Duration::from_millis(u64::try_from(number).unwrap());
            suspects.note(at(number), begun + later);
        }
        let now = begun + REMEMBERED;
        assert_eq!(suspects.failed.len(), MOST);
        assert!(!suspects.has(at(0), now));
        assert!(suspects.has(at(1), now));
    }

    #[test]
    fn the_holder_of_a_network_of_ipv6_is_one_and_neighbours_of_ipv4_are_several() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
