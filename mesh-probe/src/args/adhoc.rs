//! Arguments of the commands that look for themselves, without a collector.

use std::{fmt, net::Ipv6Addr, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use evidence::PublicKey;
use sources::{
    discovery::{ClusterId, Endpoint},
    talosconfig,
};
use thiserror::Error;

/// `WireGuard`'s port, as Talos sets it for `KubeSpan`.
pub const WIREGUARD_PORT: u16 = 51820;

#[derive(Debug, Args)]
pub struct MtuArgs {
    /// Name or address of the other end
    pub host: Host,
    #[command(flatten)]
    pub path: PathArgs,
}

#[derive(Debug, Args)]
pub struct UdpArgs {
    /// Name or address of the other end; the port may be left out (51820)
    #[arg(value_name = "HOST[:PORT]")]
    pub host: HostPort,
    #[command(flatten)]
    pub path: PathArgs,
}

#[derive(Debug, Args)]
pub struct HandshakeArgs {
    /// Name or address of the other end; the port may be left out (51820)
    #[arg(value_name = "HOST[:PORT]")]
    pub host: HostPort,
    /// Public key of the other end's device
    #[arg(long, value_name = "KEY")]
    pub peer_key: PublicKey,
    /// File with a private key that is for diagnosis only, as wg genkey writes it. Never that of a node
    #[arg(long, value_name = "FILE")]
    pub key_file: PathBuf,
    /// File with the preshared key that the other end has for this peer, if any
    #[arg(long, value_name = "FILE")]
    pub psk_file: Option<PathBuf>,
    #[command(flatten)]
    pub path: PathArgs,
}

#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Socket on which machined listens, on a node of Talos
    #[arg(long, value_name = "PATH", env = "MESH_MACHINED_SOCKET", hide_env_values = true, default_value = sources::talos::MACHINED_SOCKET)]
    pub machined_socket: PathBuf,
    /// Ask Talos where the discovery service is: that one resource as os:admin, its key dropped unread
    #[arg(long, env = "MESH_DISCOVERY_FROM_TALOS", hide_env_values = true)]
    pub discovery_from_talos: bool,
    /// Endpoints of the discovery service, as URLs
    #[arg(
        long = "discovery",
        value_name = "URL",
        env = "MESH_DISCOVERY",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub discovery: Vec<Endpoint>,
    /// Time servers of this node, by name or address
    #[arg(long = "ntp-server", value_name = "HOST", env = "MESH_NTP_SERVERS", hide_env_values = true, value_delimiter = ',', value_parser = mesh_agent::server_name)]
    pub ntp_servers: Vec<String>,
    /// The cluster whose affiliates are listed. Whoever knows it can overwrite them: better in the environment
    #[arg(
        long,
        value_name = "ID",
        env = "MESH_CLUSTER_ID",
        hide_env_values = true
    )]
    pub cluster_id: Option<ClusterId>,
}

#[derive(Debug, Args)]
pub struct VxlanArgs {
    /// Name or address of the other end, as the overlay knows it
    pub host: Host,
    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long)]
    pub ipv6: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub struct TapArgs {
    /// How long to watch
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = super::positive)]
    pub duration: Duration,
    /// End after so many messages
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// The UDP port of the tunnel
    #[arg(long, value_name = "PORT", default_value_t = WIREGUARD_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
}

/// Spelled as talosctl spells them.
#[derive(Debug, Args)]
pub struct TalosArgs {
    /// Nodes to ask; without this those of the talosconfig, or all members of the cluster
    #[arg(short, long, value_name = "NODE", value_delimiter = ',')]
    pub nodes: Vec<talosconfig::Endpoint>,
    /// Who tells the members of the cluster, instead of the talosconfig's endpoints; nobody is asked through them
    #[arg(short, long, value_name = "ENDPOINT", value_delimiter = ',')]
    pub endpoints: Vec<talosconfig::Endpoint>,
    /// The talosconfig; without this `TALOSCONFIG`, `~/.talos/config`, or that of a pod
    #[arg(long, value_name = "FILE")]
    pub talosconfig: Option<PathBuf>,
    /// The context to use instead of the current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// Which way packets take.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct PathArgs {
    /// Use IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Firewall mark; 0 for none. Without this: 0x20, which leads beside `KubeSpan`, if it is permitted
    #[arg(long, value_name = "MARK", value_parser = mark)]
    pub mark: Option<u32>,
}

/// A name or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(String);

/// The same with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    pub host: Host,
    pub port: u16,
}

/// Why a text is neither.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    #[error("expected a host name or an address, as vps-1, 203.0.113.11 or 2001:db8::11")]
    Host,
    #[error("expected a port from 1 to 65535 behind the colon, and an IPv6 address in brackets")]
    Port,
}

/// Why a text is no mark.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected a number, as 0x20 or 32")]
pub struct MarkError;

impl Host {
    /// As the resolver takes it: an IPv6 address without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_ipv6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        match bare {
            Some(address) if is_ipv6(address) => Ok(Self(address.to_owned())),
            None if is_ipv6(text) || evidence::NodeName::parse(text).is_ok() => {
                Ok(Self(text.to_owned()))
            }
            _ => Err(HostError::Host),
        }
    }
}

impl FromStr for HostPort {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') && text.parse::<Ipv6Addr>().is_err() => {
                (host, port.parse().map_err(|_| HostError::Port)?)
            }
            _ => (text, WIREGUARD_PORT),
        };
        if port == 0 {
            return Err(HostError::Port);
        }
        Ok(Self {
            host: host.parse()?,
            port,
        })
    }
}

fn mark(text: &str) -> Result<u32, MarkError> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| MarkError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, u16)> {
        let HostPort { host, port } = text.parse().ok()?;
        Some((host.to_string(), port))
    }

    #[test]
    fn the_port_is_that_of_wireguard_unless_given() {
        let full = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("vps-1"), full("vps-1", 51820));
        assert_eq!(parsed("203.0.113.11:99"), full("203.0.113.11", 99));
        assert_eq!(parsed("2001:db8::11"), full("2001:db8::11", 51820));
        assert_eq!(parsed("[2001:db8::11]:99"), full("2001:db8::11", 99));
        assert_eq!(parsed("[2001:db8::11]"), full("2001:db8::11", 51820));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", ":1", "a:0", "a:x", "a b", "[x]:1", "[2001:db8::1"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn a_mark_is_read_as_people_write_it() {
        assert_eq!((mark("0x20"), mark("32")), (Ok(32), Ok(32)));
        assert_eq!(mark("x"), Err(MarkError));
    }
}
