//! The network as Talos sees it.

use std::net::{IpAddr, SocketAddr};

use evidence::PublicKey;
use upstream::talos::{self, NfTablesHook, NfTablesVerdict};

use crate::{
    talos::{
        Kind, Malformed,
        address::{bounded, ip, prefix, prefixes, text},
    },
    wireguard::AllowedIp,
};

const NAMESPACE: &str = "network";
/// Bytes of a hardware address; `InfiniBand` has the longest.
const HARDWARE_ADDRESS: usize = 20;

/// The addresses of a node for one use: `NodeAddresses`. The identifier says for which; `routed-no-k8s` are those that the node
/// advertises, `current-no-k8s` those that become endpoint candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddresses {
    /// The addresses with the lengths of their networks.
    pub addresses: Vec<AllowedIp>,
}

impl Kind for NodeAddresses {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "NodeAddresses.net.talos.dev";
    type Body = talos::NodeAddress;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            addresses: prefixes("addresses", &body.addresses)?,
        })
    }
}

/// A link: `LinkStatuses`. The identifier is its name.
///
/// Talos writes the preshared keys of `WireGuard` peers into this resource. There is no field for them here: they are dropped
/// where they are decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStatus {
    /// The kernel's number.
    pub index: u32,
    /// The hardware address; empty if it has none.
    pub hardware_address: Vec<u8>,
    /// The longest packet.
    pub mtu: u32,
    /// Whether it can carry (operational state 6).
    pub up: bool,
    /// Such as `wireguard`; empty for a physical link.
    pub kind: String,
    /// The device, if it is one of `WireGuard`.
    pub wireguard: Option<LinkWireGuard>,
}

/// A `WireGuard` device in a [`LinkStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkWireGuard {
    /// Its public key; none as long as it has no private key.
    pub public_key: Option<PublicKey>,
    /// Its port.
    pub listen_port: u16,
    /// The mark of its outer packets.
    pub firewall_mark: u32,
    /// Its peers.
    pub peers: Vec<LinkWireGuardPeer>,
}

/// A peer in a [`LinkStatus`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkWireGuardPeer {
    /// Who it is.
    pub public_key: PublicKey,
    /// Where it is; none until one is known.
    pub endpoint: Option<SocketAddr>,
    /// Its addresses.
    pub allowed_ips: Vec<AllowedIp>,
}

impl Kind for LinkStatus {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "LinkStatuses.net.talos.dev";
    type Body = talos::LinkStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        const UP: u32 = 6;
        Ok(Self {
            index: body.index,
            hardware_address: hardware_address(body.hardware_addr)?,
            mtu: body.mtu,
            up: body.operational_state == UP,
            kind: text("kind", body.kind)?,
            wireguard: body
                .wireguard
                .as_ref()
                .map(wireguard)
                .transpose()?
                .flatten(),
        })
    }
}

fn hardware_address(bytes: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    if bytes.len() > HARDWARE_ADDRESS {
        return Err(Malformed::new("hardware_addr", "at most 20 bytes"));
    }
    Ok(bytes)
}

/// Other links carry an empty one.
fn wireguard(body: &talos::Wireguard) -> Result<Option<LinkWireGuard>, Malformed> {
    if *body == talos::Wireguard::default() {
        return Ok(None);
    }
    bounded("wireguard.peers", &body.peers)?;
    let port = u16::try_from(body.listen_port);
    let mark = u32::try_from(body.firewall_mark);
    Ok(Some(LinkWireGuard {
        public_key: match body.public_key.as_str() {
            "" => None,
            text => Some(public_key(text)?),
        },
        listen_port: port
            .map_err(|_| Malformed::new("wireguard.listen_port", "a port of 16 bits"))?,
        firewall_mark: mark
            .map_err(|_| Malformed::new("wireguard.firewall_mark", "a mark of 32 bits"))?,
        peers: body.peers.iter().map(peer).collect::<Result<_, _>>()?,
    }))
}

fn peer(body: &talos::WireguardPeer) -> Result<LinkWireGuardPeer, Malformed> {
    let endpoint = match body.endpoint.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| {
            Malformed::new(
                "wireguard.peers.endpoint",
                "an address and a port, or nothing",
            )
        })?),
    };
    Ok(LinkWireGuardPeer {
        public_key: public_key(&body.public_key)?,
        endpoint,
        allowed_ips: prefixes("wireguard.peers.allowed_ips", &body.allowed_ips)?,
    })
}

fn public_key(text: &str) -> Result<PublicKey, Malformed> {
    text.parse()
        .map_err(|_| Malformed::new("wireguard.public_key", "a public key in base64"))
}

/// An address on a link: `AddressStatuses`. The public address that the discovery service saw is in namespace `cluster`,
/// id `service`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressStatus {
    /// The address.
    pub address: Option<AllowedIp>,
    /// The link.
    pub link: String,
}

impl Kind for AddressStatus {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "AddressStatuses.net.talos.dev";
    type Body = talos::AddressStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            address: prefix("address", body.address.as_ref())?,
            link: text("link_name", body.link_name)?,
        })
    }
}

/// A route: `RouteStatuses`. The identifier is opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteStatus {
    /// Where to; none is everywhere.
    pub destination: Option<AllowedIp>,
    /// By whom.
    pub gateway: Option<IpAddr>,
    /// By which link.
    pub link: String,
    /// In which table.
    pub table: u32,
    /// Its metric.
    pub priority: u32,
    /// Its own limit of packets; 0 if it has none.
    pub mtu: u32,
}

impl Kind for RouteStatus {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "RouteStatuses.net.talos.dev";
    type Body = talos::RouteStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            destination: prefix("destination", body.destination.as_ref())?,
            gateway: ip("gateway", body.gateway.as_ref())?,
            link: text("out_link_name", body.out_link_name)?,
            table: body.table,
            priority: body.priority,
            mtu: body.mtu,
        })
    }
}

/// A policy rule, from 1.13: `RoutingRuleStatuses`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutingRule {
    /// The kernel's number of the family: 2 is IPv4, 10 is IPv6.
    pub family: u32,
    /// Where it leads.
    pub table: u32,
    /// Its place.
    pub priority: u32,
    /// The mark that it looks for.
    pub mark: u32,
    /// The bits of the mark that count.
    pub mask: u32,
}

impl Kind for RoutingRule {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "RoutingRuleStatuses.net.talos.dev";
    type Body = talos::RoutingRuleStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            family: body.family,
            table: body.table,
            priority: body.priority,
            mark: body.fw_mark,
            mask: body.fw_mask,
        })
    }
}

/// A chain of Talos' own table as Talos wants it: `NfTablesChains`. The identifier is its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Whether it is hooked where the node's own packets leave.
    pub output: bool,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// A rule of a [`Chain`], as far as it is about marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it accepts; none if it goes on.
    pub accepts: Option<bool>,
    /// The mark that it looks for: `(mark & mask) ^ xor == value`.
    pub matches: Option<Mark>,
    /// The mark that it sets: `(mark & mask) ^ xor`.
    pub sets: Option<Mark>,
    /// The destinations that it is about; none if all.
    pub destinations: Option<Vec<AllowedIp>>,
}

/// A comparison or change of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The bits that are kept.
    pub mask: u32,
    /// The bits that are turned.
    pub xor: u32,
    /// What must come out.
    pub value: u32,
}

impl From<talos::NfTablesMark> for Mark {
    fn from(talos::NfTablesMark { mask, xor, value }: talos::NfTablesMark) -> Self {
        Self { mask, xor, value }
    }
}

impl Kind for Chain {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "NfTablesChains.net.talos.dev";
    type Body = talos::NfTablesChain;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        bounded("rules", &body.rules)?;
        let output = body.hook() == NfTablesHook::Output;
        let rules = body.rules.into_iter().map(rule);
        Ok(Self {
            output,
            rules: rules.collect::<Result<_, _>>()?,
        })
    }
}

fn rule(body: talos::NfTablesRule) -> Result<Rule, Malformed> {
    let accepts = body
        .verdict
        .map(|_| body.verdict() == NfTablesVerdict::Accept);
    let destinations = body
        .match_destination_address
        .map(|matched| prefixes("rules.match_destination_address", &matched.include_subnets));
    Ok(Rule {
        accepts,
        matches: body.match_mark.map(Mark::from),
        sets: body.set_mark.map(Mark::from),
        destinations: destinations.transpose()?,
    })
}

/// The node's name: `HostnameStatuses`, id `hostname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname {
    /// Its first part.
    pub hostname: String,
    /// The rest.
    pub domainname: String,
}

impl Kind for Hostname {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "HostnameStatuses.net.talos.dev";
    type Body = talos::HostnameStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            hostname: text("hostname", body.hostname)?,
            domainname: text("domainname", body.domainname)?,
        })
    }
}

/// How far the network has come: `NetworkStatuses`, id `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkStatus(pub evidence::TalosNetwork);

impl Kind for NetworkStatus {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "NetworkStatuses.net.talos.dev";
    type Body = talos::NetworkStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self(evidence::TalosNetwork {
            addresses: body.address_ready,
            connectivity: body.connectivity_ready,
            hostname: body.hostname_ready,
            etc_files: body.etc_files_ready,
        }))
    }
}

/// The first physical link's hardware address, of which the `KubeSpan` address is made: `HardwareAddresses`, id `first`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardwareAddress {
    /// The link.
    pub link: String,
    /// Its address.
    pub address: Vec<u8>,
}

impl Kind for HardwareAddress {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "HardwareAddresses.net.talos.dev";
    type Body = talos::HardwareAddr;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            link: text("name", body.name)?,
            address: hardware_address(body.hardware_addr)?,
        })
    }
}

/// What a probe of Talos gave: `ProbeStatuses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeStatus {
    /// Whether it succeeds.
    pub success: bool,
    /// Why it failed last.
    pub last_error: String,
}

impl Kind for ProbeStatus {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "ProbeStatuses.net.talos.dev";
    type Body = talos::ProbeStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            success: body.success,
            last_error: text("last_error", body.last_error)?,
        })
    }
}

/// The time servers that Talos asks: `TimeServerStatuses`, id `timeservers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeServers {
    /// Names and addresses, and paths of clock devices.
    pub servers: Vec<String>,
}

impl Kind for TimeServers {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "TimeServerStatuses.net.talos.dev";
    type Body = talos::TimeServerStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        bounded("ntp_servers", &body.ntp_servers)?;
        let servers = body.ntp_servers.into_iter();
        Ok(Self {
            servers: servers
                .map(|server| text("ntp_servers", server))
                .collect::<Result<_, _>>()?,
        })
    }
}
