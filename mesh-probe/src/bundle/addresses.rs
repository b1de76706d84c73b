//! Pseudonyms for addresses that keep what a judgement looks at: which are equal, which lies in which prefix, their
//! order, and of which kind they are.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// All addresses of a bundle, as numbers of 128 bits; those of IPv4 at their upper end.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    v4: BTreeSet<u128>,
    v6: BTreeSet<u128>,
}

impl Addresses {
    pub(super) fn add(&mut self, address: IpAddr) {
        let set = match address.to_canonical() {
            IpAddr::V4(_) => &mut self.v4,
            IpAddr::V6(_) => &mut self.v6,
        };
        set.insert(bits(address.to_canonical()));
    }

    /// The pseudonym. Two addresses differ first at the same bit as their pseudonyms do, and there in the same way; every bit
    /// that tells no two addresses apart, and does not tell their kind, is zero.
    pub(super) fn pseudonym(&self, address: IpAddr) -> IpAddr {
        let canonical = address.to_canonical();
        let (set, width) = match canonical {
            IpAddr::V4(_) => (&self.v4, 32),
            IpAddr::V6(_) => (&self.v6, 128),
        };
        let real = bits(canonical);
        let mut kept = kind(canonical);
        for at in 0..width {
            let bit = 1_u128 << (127 - at);
            // Addresses that are the same up to this bit and differ in it.
            let lowest = (real & !(bit - 1)) ^ bit;
            let highest = lowest | (bit - 1);
            if set.range(lowest..=highest).next().is_some() {
                kept |= bit;
            }
        }
        let pseudonym = real & kept;
        match (address, canonical) {
            (IpAddr::V6(_), IpAddr::V4(_)) => IpAddr::V6(v4(pseudonym).to_ipv6_mapped()),
            (_, IpAddr::V4(_)) => IpAddr::V4(v4(pseudonym)),
            (_, IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::from_bits(pseudonym)),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn v4(bits: u128) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap_or_default())
}

/// The bits by which an address is private, link-local, `KubeSpan`'s and so on. They are the same for all of a kind.
fn kind(address: IpAddr) -> u128 {
    let first = |bits: u32| u128::MAX.checked_shl(128 - bits).unwrap_or(0);
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [0 | 127 | 224.., ..] => u128::MAX,
            [172, 16..=31, ..] => first(12),
            [100, 64..=127, ..] => first(10),
            [100 | 169 | 172 | 192, ..] => first(16),
            _ => first(8),
        },
        IpAddr::V6(v6) if v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() => u128::MAX,
        IpAddr::V6(v6) => match v6.octets() {
            // Talos says by the eighth byte what a prefix of its own is for.
            [0xfc | 0xfd, ..] => first(8) | (0xff << 64),
            [0xfe, ..] => first(64),
            _ => first(16),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pseudonyms(texts: &[&str]) -> Vec<String> {
        let all: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        let mut addresses = Addresses::default();
        for address in &all {
            addresses.add(*address);
        }
        all.iter()
            .map(|address| addresses.pseudonym(*address).to_string())
            .collect()
    }

    #[test]
    fn what_tells_no_two_apart_is_gone_and_the_kind_stays() {
        assert_eq!(pseudonyms(&["203.0.113.77"]), ["203.0.0.0"]);
        assert_eq!(pseudonyms(&["192.168.178.21"]), ["192.168.0.0"]);
        assert_eq!(pseudonyms(&["2a01:4f8:c0c:1234::1"]), ["2a01::"]);
        assert_eq!(
            pseudonyms(&["fd5c:1a2b:3c4d:5e02:211:32ff:fe11:2233"]),
            ["fd00:0:0:2::"]
        );
        assert_eq!(pseudonyms(&["127.0.0.1", "::1"]), ["127.0.0.1", "::1"]);
    }

    #[test]
    fn order_prefixes_and_equality_stay() {
        let real = ["10.5.0.0", "10.5.0.7", "10.5.0.200", "10.6.0.7", "10.5.0.7"];
        let made = pseudonyms(&real);
        let parsed = |texts: &[String]| -> Vec<IpAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let texts: Vec<String> = real.iter().map(ToString::to_string).collect();
        let (real, made) = (parsed(&texts), parsed(&made));
        for (index, one) in real.iter().enumerate() {
            for (other, another) in real.iter().enumerate() {
                assert_eq!(one.cmp(another), made[index].cmp(&made[other]));
                let common = |a: IpAddr, b: IpAddr| (bits(a) ^ bits(b)).leading_zeros();
                assert_eq!(common(*one, *another), common(made[index], made[other]));
            }
        }
    }

    #[test]
    fn an_address_of_ipv4_inside_of_ipv6_is_the_same_one() {
        let made = pseudonyms(&["203.0.113.7", "203.0.113.9", "::ffff:203.0.113.7"]);
        assert_eq!(format!("::ffff:{}", made[0]), made[2]);
    }
}
