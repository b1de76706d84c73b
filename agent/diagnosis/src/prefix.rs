//! Addresses and prefixes, as text from a node's device.

use std::{collections::BTreeMap, net::IpAddr};

use evidence::PublicKey;

/// An `address/length`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    bits: u128,
    length: u32,
    width: u32,
}

impl Prefix {
    /// None if the text is not a prefix: then nothing lies in it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let (bits, width) = split(address.parse().ok()?);
        let length = length.parse().ok().filter(|length| *length <= width)?;
        Some(Self {
            bits,
            length,
            width,
        })
    }

    /// How many leading bits count.
    pub(crate) const fn length(&self) -> u32 {
        self.length
    }

    /// Whether the address lies in it.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (bits, width) = split(address);
        let free = self.width - self.length;
        width == self.width && (bits ^ self.bits).checked_shr(free).unwrap_or(0) == 0
    }
}

/// Which peer of a device has which address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Single addresses, which almost all are.
    hosts: BTreeMap<IpAddr, PublicKey>,
    wider: Vec<(Prefix, PublicKey)>,
}

impl Holdings {
    /// Takes in the allowed IPs of a peer.
    pub(crate) fn add(&mut self, key: PublicKey, allowed_ips: &[String]) {
        for text in allowed_ips {
            let host = text.split_once('/').and_then(|(ip, _)| ip.parse().ok());
            match (Prefix::parse(text), host) {
                (Some(prefix), Some(ip)) if prefix.length == prefix.width => {
                    self.hosts.insert(ip, key);
                }
                (Some(prefix), _) => self.wider.push((prefix, key)),
                (None, _) => {}
            }
        }
    }

    /// The peer that has this very address.
    pub(crate) fn host(&self, address: IpAddr) -> Option<PublicKey> {
        self.hosts.get(&address).copied()
    }

    /// The peer to which the device sends what is for this address: the one with the longest prefix.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<PublicKey> {
        let wider = || {
            let containing = self
                .wider
                .iter()
                .filter(|(prefix, _)| prefix.contains(address));
            let longest = containing.max_by_key(|(prefix, key)| (prefix.length(), *key));
            longest.map(|(_, key)| *key)
        };
        self.hosts.get(&address).copied().or_else(wider)
    }
}

fn split(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(ip) => (u128::from(ip.to_bits()), 32),
        IpAddr::V6(ip) => (ip.to_bits(), 128),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(prefix: &str, address: &str) -> bool {
        Prefix::parse(prefix)
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn an_address_lies_in_a_prefix_of_its_family_whose_leading_bits_it_has() {
        assert!(contains("192.168.50.0/31", "192.168.50.1"));
        assert!(!contains("192.168.50.0/31", "192.168.50.2"));
        assert!(contains("0.0.0.0/0", "203.0.113.1") && contains("::/0", "fd00::1"));
        assert!(!contains("::/0", "203.0.113.1") && !contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::1/128", "fd00::1") && !contains("fd00::1/128", "fd00::2"));
    }

    #[test]
    fn what_is_no_prefix_is_none() {
        for text in [
            "",
            "10.0.0.1",
            "10.0.0.1/33",
            "::/129",
            "10.0.0.1/x",
            "/8",
            "a/8",
        ] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_belongs_to_the_peer_with_the_longest_prefix() {
        let key = |byte| PublicKey::from_bytes([byte; 32]);
        let mut holdings = Holdings::default();
        holdings.add(key(1), &["10.0.0.0/8".to_owned(), "fd00::1/128".to_owned()]);
        holdings.add(key(2), &["10.1.0.0/16".to_owned(), "nonsense".to_owned()]);
        holdings.add(key(3), &["10.1.2.3/32".to_owned()]);
        let holder = |address: &str| holdings.holder(address.parse().unwrap());
        assert_eq!(holder("10.2.2.3"), Some(key(1)));
        assert_eq!(holder("10.1.2.4"), Some(key(2)));
        assert_eq!(holder("10.1.2.3"), Some(key(3)));
        assert_eq!(holder("fd00::1"), Some(key(1)));
        assert_eq!(holder("203.0.113.1"), None);
    }
}
