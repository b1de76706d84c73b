//! Addresses and prefixes, as text from a node's device.

use std::{net::IpAddr, num::NonZeroU32, sync::Arc};

use evidence::{PublicKey, SteeredPrefix};

use crate::mesh::Places;

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

/// Which address it is: its place, and one.
pub(crate) type Number = NonZeroU32;

/// Which peer of a device has which address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    /// Single addresses, which almost all are: the place of the key, and one, by the place of the address.
    hosts: Vec<u32>,
    wider: Vec<(Prefix, PublicKey)>,
}

/// Reads the allowed IPs of one device after the other. Almost all say the same of a peer, which is read once.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    addresses: Places<IpAddr>,
    last: Vec<(Vec<String>, Vec<Allowed>)>,
    /// The same of the prefixes that are said to be steered.
    steered: Vec<Hosts>,
}

/// Prefixes of a peer, and which of them are single addresses.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    texts: Vec<String>,
    pub(crate) each: Vec<Option<Number>>,
    pub(crate) all: Arc<[Number]>,
}

#[derive(Clone, Copy, Debug)]
enum Allowed {
    Host(usize),
    Wider(Prefix),
}

impl Reader {
    /// Takes in what a peer of a device has, told with its key and the place of that.
    pub(crate) fn read(
        &mut self,
        into: &mut Holdings,
        (place, key, allowed_ips): (usize, PublicKey, &[String]),
        keys: &Places<PublicKey>,
    ) {
        if self.last.len() <= place {
            self.last.resize_with(place + 1, Default::default);
        }
        let Some((texts, allowed)) = self.last.get_mut(place) else {
            return;
        };
        if *texts != allowed_ips {
            *texts = allowed_ips.to_vec();
            *allowed = parse(allowed_ips, &mut self.addresses);
        }
        for one in allowed {
            into.add(*one, (place, key), keys);
        }
    }

    /// What of the prefixes that a node steers towards the key of this place are single addresses.
    pub(crate) fn steered(&mut self, place: usize, prefixes: &[SteeredPrefix]) -> Option<&Hosts> {
        if self.steered.len() <= place {
            self.steered.resize_with(place + 1, Default::default);
        }
        let (addresses, hosts) = (&mut self.addresses, self.steered.get_mut(place)?);
        let texts = prefixes.iter().map(|told| &told.prefix);
        if !hosts.texts.iter().eq(texts.clone()) {
            let host = |text: &String| match allowed(text, addresses)? {
                Allowed::Host(address) => number(address),
                Allowed::Wider(_) => None,
            };
            hosts.each = texts.clone().map(host).collect();
            hosts.all = hosts.each.iter().flatten().copied().collect();
            hosts.texts = texts.cloned().collect();
        }
        Some(hosts)
    }

    /// The number of an address, a new one if it has none.
    pub(crate) fn number(&mut self, address: IpAddr) -> Option<Number> {
        number(self.addresses.give(address))
    }

    /// The number of an address that has one.
    pub(crate) fn known(&self, address: IpAddr) -> Option<Number> {
        number(self.of(address)?)
    }

    /// The address with this number.
    pub(crate) fn address(&self, number: Number) -> Option<IpAddr> {
        self.addresses
            .at(usize::try_from(number.get()).ok()?.checked_sub(1)?)
    }

    /// How many addresses have been read.
    pub(crate) fn len(&self) -> usize {
        self.addresses.len()
    }

    /// The place of an address.
    fn of(&self, address: IpAddr) -> Option<usize> {
        self.addresses.of(&address)
    }
}

fn number(place: usize) -> Option<Number> {
    Number::new(u32::try_from(place + 1).ok()?)
}

fn parse(allowed_ips: &[String], addresses: &mut Places<IpAddr>) -> Vec<Allowed> {
    let one = |text: &String| allowed(text, addresses);
    allowed_ips.iter().filter_map(one).collect()
}

fn allowed(text: &str, addresses: &mut Places<IpAddr>) -> Option<Allowed> {
    let prefix = Prefix::parse(text)?;
    let host = text.split_once('/').and_then(|(ip, _)| ip.parse().ok());
    Some(match host {
        Some(ip) if prefix.length == prefix.width => Allowed::Host(addresses.give(ip)),
        _ => Allowed::Wider(prefix),
    })
}

impl Holdings {
    /// Addresses that a node is expected to have, at most; a device may give it more.
    pub(crate) const ADDRESSES: usize = 16;

    /// A device gives an address to one peer. Of one that is said to give it to several, it is the one with the last key, in whatever
    /// order they come.
    fn add(
        &mut self,
        allowed: Allowed,
        (place, key): (usize, PublicKey),
        keys: &Places<PublicKey>,
    ) {
        match allowed {
            Allowed::Host(address) => {
                if self.hosts.len() <= address {
                    self.hosts.resize(address + 1, 0);
                }
                if let Some(holder) = self.hosts.get_mut(address) {
                    let other = usize::try_from(*holder).ok();
                    let other = other.and_then(|other| keys.at(other.checked_sub(1)?));
                    if other.is_none_or(|other| other <= key) {
                        *holder = u32::try_from(place + 1).unwrap_or(0);
                    }
                }
            }
            Allowed::Wider(prefix) => self.wider.push((prefix, key)),
        }
    }

    /// Whether the peer with the key of this place has this very address.
    pub(crate) fn gives(&self, address: Number, place: usize) -> bool {
        let index = usize::try_from(address.get() - 1).ok();
        let holder = index.and_then(|index| self.hosts.get(index));
        holder.copied() == u32::try_from(place + 1).ok()
    }

    /// The peer that has this very address.
    pub(crate) fn host(
        &self,
        address: IpAddr,
        reader: &Reader,
        keys: &Places<PublicKey>,
    ) -> Option<PublicKey> {
        let holder = self.hosts.get(reader.of(address)?)?.checked_sub(1)?;
        keys.at(usize::try_from(holder).ok()?)
    }

    /// The peer to which the device sends what is for this address: the one with the longest prefix.
    pub(crate) fn holder(
        &self,
        address: IpAddr,
        reader: &Reader,
        keys: &Places<PublicKey>,
    ) -> Option<PublicKey> {
        let wider = || {
            let containing = self
                .wider
                .iter()
                .filter(|(prefix, _)| prefix.contains(address));
            let longest = containing.max_by_key(|(prefix, key)| (prefix.length(), *key));
            longest.map(|(_, key)| *key)
        };
        self.host(address, reader, keys).or_else(wider)
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
        let allowed = [
            vec!["10.0.0.0/8".to_owned(), "fd00::1/128".to_owned()],
            vec!["10.1.0.0/16".to_owned(), "nonsense".to_owned()],
            vec!["10.1.2.3/32".to_owned()],
        ];
        let keys: Places<PublicKey> = (1..4).map(key).collect();
        let mut reader = Reader::default();
        let mut holdings = Holdings::default();
        for (at, ips) in allowed.iter().enumerate() {
            reader.read(&mut holdings, (at, keys.at(at).unwrap(), ips), &keys);
        }
        let holder = |address: &str| holdings.holder(address.parse().unwrap(), &reader, &keys);
        assert_eq!(holder("10.2.2.3"), Some(key(1)));
        assert_eq!(holder("10.1.2.4"), Some(key(2)));
        assert_eq!(holder("10.1.2.3"), Some(key(3)));
        assert_eq!(holder("fd00::1"), Some(key(1)));
        assert_eq!(holder("203.0.113.1"), None);
    }
}
