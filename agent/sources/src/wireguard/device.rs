//! What a reading of a `WireGuard` device contains. No key but public ones has a place in these types.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use evidence::PublicKey;

/// Most peers that one reading keeps; the rest is counted in [`Dropped::peers`].
pub const MAX_PEERS: usize = 1024;

/// Most allowed IPs kept per peer; the rest is counted in [`Dropped::allowed_ips`].
pub const MAX_ALLOWED_IPS: usize = 256;

/// One `WireGuard` device at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node's own public key; none as long as the device has no private key.
    pub public_key: Option<PublicKey>,
    /// The UDP port of the outer packets; 0 if none was set.
    pub listen_port: u16,
    /// The mark of the outer packets; 0 if none was set.
    pub fwmark: u32,
    /// Each key once, in ascending order of the keys' bytes.
    pub peers: Vec<Peer>,
    /// Who answered.
    pub source: Backend,
    /// What did not fit the limits.
    pub dropped: Dropped,
}

impl Device {
    /// Whether the reading holds everything that the device said.
    pub fn is_complete(&self) -> bool {
        self.dropped == Dropped::default()
    }

    /// The peer with this key.
    pub fn peer(&self, key: &PublicKey) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.public_key == *key)
    }
}

/// Who implements the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel, read over generic netlink.
    Kernel,
    /// A daemon such as wireguard-go, read over its UAPI socket.
    Userspace,
}

/// Counts of what was left out of a reading because of [`MAX_PEERS`] and [`MAX_ALLOWED_IPS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Peers beyond the limit.
    pub peers: u64,
    /// Allowed IPs beyond the limit of their peer.
    pub allowed_ips: u64,
}

/// One peer of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub public_key: PublicKey,
    /// Where outer packets go now; none until one is configured or learnt.
    pub endpoint: Option<SocketAddr>,
    /// Which inner addresses belong to it.
    pub allowed_ips: Vec<AllowedIp>,
    /// Wall-clock time of the last completed handshake, since the Unix epoch; none if there never was one.
    pub last_handshake: Option<Duration>,
    /// Bytes received and accepted.
    pub rx_bytes: u64,
    /// Bytes sent, unanswered handshakes included.
    pub tx_bytes: u64,
    /// The keepalive interval in seconds; none if off.
    pub keepalive: Option<u16>,
}

impl Peer {
    /// A peer of which only the key is known.
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            endpoint: None,
            allowed_ips: Vec::new(),
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            keepalive: None,
        }
    }
}

/// An address with a prefix length, as it stands in a peer's allowed IPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AllowedIp {
    address: IpAddr,
    prefix_len: u8,
}

impl AllowedIp {
    /// None if the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        (prefix_len <= bits(address)).then_some(Self {
            address,
            prefix_len,
        })
    }

    /// The address part.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that count.
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Whether `WireGuard` would take `address` as belonging to this prefix.
    pub fn contains(&self, address: IpAddr) -> bool {
        let shift = |width: u8| u32::from(width - self.prefix_len);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.checked_shr(shift(32)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.checked_shr(shift(128)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for AllowedIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// The text is not `address/prefix-length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address with a prefix length")]
pub struct AllowedIpError;

impl FromStr for AllowedIp {
    type Err = AllowedIpError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix_len) = text.split_once('/').ok_or(AllowedIpError)?;
        let address = address.parse().map_err(|_| AllowedIpError)?;
        let prefix_len = prefix_len.parse().map_err(|_| AllowedIpError)?;
        Self::new(address, prefix_len).ok_or(AllowedIpError)
    }
}

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> AllowedIp {
        text.parse().unwrap()
    }

    #[test]
    fn an_allowed_ip_contains_the_addresses_of_its_prefix_only() {
        let net = allowed("10.244.2.0/23");
        assert!(net.contains("10.244.3.255".parse().unwrap()));
        assert!(!net.contains("10.244.4.0".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        assert!(allowed("0.0.0.0/0").contains("1.2.3.4".parse().unwrap()));
        assert!(allowed("::/0").contains("fd00::1".parse().unwrap()));
        assert!(allowed("fd00::1/128").contains("fd00::1".parse().unwrap()));
        assert!(!allowed("fd00::1/128").contains("fd00::2".parse().unwrap()));
    }

    #[test]
    fn an_allowed_ip_round_trips_and_refuses_a_prefix_longer_than_its_address() {
        for text in ["10.0.0.0/8", "192.168.3.4/32", "fd00::/64"] {
            assert_eq!(allowed(text).to_string(), text);
        }
        for text in [
            "10.0.0.0/33",
            "fd00::/129",
            "10.0.0.0",
            "/8",
            "a/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(text.parse::<AllowedIp>(), Err(AllowedIpError), "{text}");
        }
    }
}
