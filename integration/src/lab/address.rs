//! `KubeSpan` addresses as Talos derives them: the cluster's /64 and a node's address in it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// What Talos uses a derived prefix for; stands in the eighth byte.
const PURPOSE_KUBESPAN: u8 = 2;
/// First byte of every locally assigned unique local address (RFC 4193).
const ULA: u8 = 0xfd;

/// The prefix length of a cluster's `KubeSpan` network.
pub const PREFIX_LENGTH: u8 = 64;

/// The first eight bytes of every `KubeSpan` address of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterPrefix([u8; 8]);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a MAC address of six hexadecimal bytes")]
pub struct MacError(String);

impl ClusterPrefix {
    /// Hashes the cluster ID as text (it is not decoded) and keeps the upper half of the hash's tail.
    pub fn of_cluster(cluster_id: &str) -> Self {
        let hash: [u8; 32] = Sha256::digest(cluster_id.as_bytes()).into();
        let [_, b1, b2, b3, b4, b5, b6, ..] = hash[16..] else {
            unreachable!("a SHA-256 has sixteen bytes after the first sixteen")
        };
        Self([ULA, b1, b2, b3, b4, b5, b6, PURPOSE_KUBESPAN])
    }

    /// The address of the node whose first physical link has this MAC: a modified EUI-64 (RFC 4291, appendix A).
    pub fn address_of(self, mac: Mac) -> Ipv6Addr {
        let [p0, p1, p2, p3, p4, p5, p6, p7] = self.0;
        let [m0, m1, m2, m3, m4, m5] = mac.0;
        Ipv6Addr::from([
            p0,
            p1,
            p2,
            p3,
            p4,
            p5,
            p6,
            p7,
            m0 ^ 0x02,
            m1,
            m2,
            0xff,
            0xfe,
            m3,
            m4,
            m5,
        ])
    }
}

impl fmt::Display for ClusterPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.0);
        write!(f, "{}/{PREFIX_LENGTH}", Ipv6Addr::from(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.map(|byte| format!("{byte:02x}"));
        f.write_str(&bytes.join(":"))
    }
}

impl FromStr for Mac {
    type Err = MacError;
    fn from_str(text: &str) -> Result<Self, MacError> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok())
            .collect();
        let bytes = bytes.and_then(|bytes| <[u8; 6]>::try_from(bytes).ok());
        bytes.map(Self).ok_or_else(|| MacError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "8XuV9TZHW08DOk3bVxQjH9ih_TBKjnh-j44tsCLSBzo=";

    fn address(cluster: &str, mac: &str) -> String {
        let mac = mac.parse().unwrap();
        ClusterPrefix::of_cluster(cluster)
            .address_of(mac)
            .to_string()
    }

    #[test]
    fn the_prefix_comes_from_the_text_of_the_cluster_id() {
        let prefix = ClusterPrefix::of_cluster(CLUSTER);
        assert_eq!(prefix.to_string(), "fd7f:175a:b97c:5602::/64");
        let other = ClusterPrefix::of_cluster("v16UCWpO2iOm82n6F8dGCJ41ZXXBvDrjRDs2su7C_zs=");
        assert_eq!(other.to_string(), "fd8a:4396:731e:e702::/64");
    }

    #[test]
    fn the_address_comes_from_the_prefix_and_the_mac() {
        assert_eq!(
            address(CLUSTER, "2e:1a:b6:53:81:69"),
            "fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169"
        );
        assert_eq!(
            address(CLUSTER, "ea:71:1b:b2:cc:ee"),
            "fd7f:175a:b97c:5602:e871:1bff:feb2:ccee"
        );
        assert_eq!(
            address(
                "v16UCWpO2iOm82n6F8dGCJ41ZXXBvDrjRDs2su7C_zs=",
                "ea:71:1b:b2:cc:ee"
            ),
            "fd8a:4396:731e:e702:e871:1bff:feb2:ccee"
        );
    }

    #[test]
    fn a_mac_round_trips_and_anything_else_is_refused() {
        let mac: Mac = "2e:1a:b6:53:81:69".parse().unwrap();
        assert_eq!(mac.to_string(), "2e:1a:b6:53:81:69");
        for bad in [
            "",
            "2e:1a:b6:53:81",
            "2e:1a:b6:53:81:6g",
            "2e:1a:b6:53:81:69:00",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
