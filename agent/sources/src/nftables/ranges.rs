//! Ranges of addresses, as the kernel keeps them in sets of intervals.

use std::net::IpAddr;

use super::decode::Element;

/// Addresses of both families, each family sorted and without overlaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    ipv4: Vec<Range>,
    ipv6: Vec<Range>,
}

/// First and last address.
type Range = (u128, u128);

impl Ranges {
    /// The addresses of a set. In a set of intervals an element opens a range, and the next one with the end flag, or
    /// the end of all addresses, closes it. A key of neither family's length is no address.
    pub(super) fn of(elements: &[Element], interval: bool) -> Self {
        let mut ranges = Self::default();
        for (length, bits) in [(4, 32), (16, 128)] {
            let of_family = |element: &&Element| element.key.len() == length;
            let keys = elements.iter().filter(of_family);
            let keys = keys.map(|element| (number(&element.key), element.end));
            let list = if length == 4 {
                &mut ranges.ipv4
            } else {
                &mut ranges.ipv6
            };
            if interval {
                list.extend(intervals(keys.collect(), highest(bits)));
            } else {
                list.extend(keys.map(|(key, _)| (key, key)));
            }
            merge(list);
        }
        ranges
    }

    pub(super) fn add(&mut self, address: IpAddr, prefix_len: u8) {
        let range = prefix(address, prefix_len);
        let list = self.of_family(address);
        list.push(range);
        merge(list);
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.ipv4.extend(&other.ipv4);
        self.ipv6.extend(&other.ipv6);
        merge(&mut self.ipv4);
        merge(&mut self.ipv6);
    }

    /// Whether every address of the prefix is in here.
    pub(super) fn cover(&self, address: IpAddr, prefix_len: u8) -> bool {
        let (first, last) = prefix(address, prefix_len);
        let ranges = match address {
            IpAddr::V4(_) => &self.ipv4,
            IpAddr::V6(_) => &self.ipv6,
        };
        ranges
            .iter()
            .any(|range| range.0 <= first && last <= range.1)
    }

    fn of_family(&mut self, address: IpAddr) -> &mut Vec<Range> {
        match address {
            IpAddr::V4(_) => &mut self.ipv4,
            IpAddr::V6(_) => &mut self.ipv6,
        }
    }
}

fn intervals(mut keys: Vec<(u128, bool)>, highest: u128) -> Vec<Range> {
    // Where one range ends and the next begins at the same address, the end comes first.
    keys.sort_unstable_by_key(|(key, end)| (*key, !end));
    let mut ranges = Vec::new();
    let mut open: Option<u128> = None;
    for (key, end) in keys {
        if !end {
            open.get_or_insert(key);
        } else if let Some(first) = open.take().filter(|first| *first < key) {
            ranges.push((first, key - 1));
        }
    }
    ranges.extend(open.map(|first| (first, highest)));
    ranges
}

/// Sorts, and makes one of those that overlap or touch.
fn merge(list: &mut Vec<Range>) {
    list.sort_unstable();
    list.dedup_by(|next, range| {
        let touches = next.0 <= range.1.saturating_add(1);
        if touches {
            range.1 = range.1.max(next.1);
        }
        touches
    });
}

fn prefix(address: IpAddr, prefix_len: u8) -> Range {
    let (bits, value) = match address {
        IpAddr::V4(ip) => (32, u128::from(ip.to_bits())),
        IpAddr::V6(ip) => (128, ip.to_bits()),
    };
    let free = bits - u32::from(prefix_len).min(bits);
    let hosts = highest(free);
    (value & !hosts, value | hosts)
}

/// The greatest number of so many bits.
fn highest(bits: u32) -> u128 {
    u128::MAX.checked_shr(128 - bits).unwrap_or(0)
}

/// Keys are in network order.
fn number(key: &[u8]) -> u128 {
    key.iter()
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element(key: &str, end: bool) -> Element {
        let key = match key.parse().unwrap() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        Element { key, end }
    }

    fn covers(ranges: &Ranges, prefix: &str) -> bool {
        let (address, length) = prefix.split_once('/').unwrap();
        ranges.cover(address.parse().unwrap(), length.parse().unwrap())
    }

    /// As nft 1.0.6 dumps `{ 203.0.113.12, 10.244.0.0/24, 255.255.255.255 }`: descending, the last without an end.
    #[test]
    fn a_set_of_intervals_covers_what_was_put_in_and_nothing_else() {
        let elements = [
            element("255.255.255.255", false),
            element("203.0.113.13", true),
            element("203.0.113.12", false),
            element("10.244.1.0", true),
            element("10.244.0.0", false),
            element("0.0.0.0", true),
        ];
        let ranges = Ranges::of(&elements, true);
        for inside in [
            "203.0.113.12/32",
            "10.244.0.0/24",
            "10.244.0.128/25",
            "255.255.255.255/32",
        ] {
            assert!(covers(&ranges, inside), "{inside}");
        }
        for outside in [
            "203.0.113.13/32",
            "203.0.113.12/31",
            "10.244.0.0/23",
            "0.0.0.0/0",
            "::cb00:710c/128",
        ] {
            assert!(!covers(&ranges, outside), "{outside}");
        }
    }

    #[test]
    fn the_keys_of_a_plain_set_are_single_addresses() {
        let elements = [
            element("192.168.50.11", false),
            element("2001:db8::1", false),
        ];
        let ranges = Ranges::of(&elements, false);
        assert!(covers(&ranges, "192.168.50.11/32") && covers(&ranges, "2001:db8::1/128"));
        assert!(!covers(&ranges, "192.168.50.12/32") && !covers(&ranges, "2001:db8::/127"));
    }

    #[test]
    fn ranges_that_touch_cover_a_prefix_across_both() {
        let elements = [
            element("10.0.0.0", false),
            element("10.0.0.1", true),
            element("10.0.0.1", false),
            element("10.0.0.2", true),
        ];
        assert!(covers(&Ranges::of(&elements, true), "10.0.0.0/31"));
    }

    #[test]
    fn everything_is_one_range_without_an_end() {
        let all = Ranges::of(&[element("0.0.0.0", false)], true);
        assert!(covers(&all, "0.0.0.0/0") && covers(&all, "203.0.113.12/32"));
        let all = Ranges::of(&[element("::", false)], true);
        assert!(covers(&all, "::/0"));
    }

    proptest! {
        #[test]
        fn whatever_the_keys_what_is_covered_lies_in_a_range(
            keys in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..18), any::<bool>()), 0..20),
            interval: bool,
            address: u32,
        ) {
            let elements: Vec<_> = keys.into_iter().map(|(key, end)| Element { key, end }).collect();
            let ranges = Ranges::of(&elements, interval);
            let address = IpAddr::V4(address.into());
            let first = elements.iter().filter(|element| element.key.len() == 4 && !element.end);
            let first = first.map(|element| number(&element.key)).min();
            if ranges.cover(address, 32) {
                prop_assert!(first.is_some_and(|first| first <= prefix(address, 32).0));
            }
        }

        #[test]
        fn a_prefix_that_was_added_is_covered(address: u128, prefix_len in 0..=128_u8) {
            let mut ranges = Ranges::default();
            let address = IpAddr::V6(address.into());
            ranges.add(address, prefix_len);
            prop_assert!(ranges.cover(address, prefix_len) && ranges.cover(address, 128));
        }
    }
}
