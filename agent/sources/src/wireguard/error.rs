//! Why a `WireGuard` device could not be read. No variant carries text of the device: it could hold a key.

use std::{io, time::Duration};

use thiserror::Error;

/// Why [`read`](super::read) or [`preshared_key`](super::preshared_key) has no answer.
#[derive(Debug, Error)]
pub enum WireGuardError {
    /// A name that no Linux interface can have.
    #[error("read WireGuard: {name:?} is not an interface name")]
    BadInterfaceName {
        /// What was asked for.
        name: String,
    },
    /// There is no such interface on this node.
    #[error("read WireGuard device {interface}: no such interface")]
    NoSuchInterface {
        /// What was asked for.
        interface: String,
    },
    /// The interface exists and is of another kind, without a userspace daemon behind it.
    #[error("read WireGuard device {interface}: the interface is not a WireGuard device")]
    NotWireGuard {
        /// What was asked for.
        interface: String,
    },
    /// The interface exists, yet neither the kernel family nor a UAPI socket does.
    #[error(
        "read WireGuard device {interface}: no netlink family and no UAPI socket speaks for it"
    )]
    NoFamilyNoSocket {
        /// What was asked for.
        interface: String,
    },
    /// The kernel (`EPERM`) or the socket file (`EACCES`) refused.
    #[error("{operation} of WireGuard device {interface}: permission denied")]
    NoPermission {
        /// What was refused.
        operation: &'static str,
        /// What was asked for.
        interface: String,
    },
    /// There is a socket file without a daemon behind it.
    #[error("read WireGuard device {interface}: its UAPI socket exists, but no daemon listens")]
    DaemonGone {
        /// What was asked for.
        interface: String,
    },
    /// The daemon answered with an error number of its own.
    #[error("read WireGuard device {interface}: the daemon answered errno {errno}")]
    DaemonRefused {
        /// What was asked for.
        interface: String,
        /// The number as it stood in the reply.
        errno: i64,
    },
    /// The reply is not what the protocol says. `line` is the UAPI line or the netlink message, counted from 1.
    #[error("decode WireGuard reply, line {line}: {what}")]
    Malformed {
        /// Which line or message.
        line: usize,
        /// What was expected.
        what: &'static str,
    },
    /// More bytes than any sane device has.
    #[error("read WireGuard device {interface}: the reply is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        interface: String,
        /// The limit.
        limit: usize,
    },
    /// The device kept changing while it was dumped.
    #[error("read WireGuard device {interface}: it changed during each of {attempts} dumps")]
    KeptChanging {
        /// What was asked for.
        interface: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// No answer in time.
    #[error("read WireGuard device {interface}: no answer within {after:?}")]
    TimedOut {
        /// What was asked for.
        interface: String,
        /// The bound.
        after: Duration,
    },
    /// Any other failure of a system call.
    #[error("{operation} of WireGuard device {interface}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What was asked for.
        interface: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No peer, hence no preshared key to agree on.
    #[error("find the mesh key: WireGuard device {interface} has no peers")]
    NoPeers {
        /// What was asked for.
        interface: String,
    },
    /// Peers, but none of them has a preshared key.
    #[error("find the mesh key: no peer of WireGuard device {interface} has a preshared key")]
    NoPresharedKey {
        /// What was asked for.
        interface: String,
    },
    /// Not all peers share one preshared key, so none of them is the cluster's.
    #[error(
        "find the mesh key: the peers of WireGuard device {interface} do not share one preshared key"
    )]
    DifferentPresharedKeys {
        /// What was asked for.
        interface: String,
    },
}

impl WireGuardError {
    /// What a person can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::BadInterfaceName { .. } => {
                "name the WireGuard interface, on Talos 'kubespan' (at most 15 bytes, no '/')"
            }
            Self::NoSuchInterface { .. } => {
                "enable KubeSpan (machine config kind KubeSpanConfig, or machine.network.kubespan) and cluster discovery, and look in the host's network namespace"
            }
            Self::NotWireGuard { .. } => "name the WireGuard interface, on Talos 'kubespan'",
            Self::NoFamilyNoSocket { .. } => {
                "use a kernel with WireGuard, or make the daemon's directory /var/run/wireguard visible here"
            }
            Self::NoPermission { .. } => {
                "give the process CAP_NET_ADMIN in the host's network namespace, or for a userspace device access to its socket"
            }
            Self::DaemonGone { .. } => "start the userspace WireGuard daemon again",
            Self::DaemonRefused { .. } => "look into the log of the userspace WireGuard daemon",
            Self::Malformed { .. } => {
                "report it with the kernel or daemon version: this reply was not understood"
            }
            Self::TooLarge { .. } => "reduce the peers and allowed IPs of the device",
            Self::KeptChanging { .. } => "wait for the next reading",
            Self::TimedOut { .. } => {
                "look for a hung daemon or a kernel that holds the rtnl lock (dmesg: blocked tasks)"
            }
            Self::Io { .. } => "the cause is the system's own message",
            Self::NoPeers { .. } => {
                "wait until discovery has found a peer, or configure the mesh key by file or environment"
            }
            Self::NoPresharedKey { .. } | Self::DifferentPresharedKeys { .. } => {
                "configure the mesh key by file or environment; only KubeSpan sets one preshared key for the whole cluster"
            }
        }
    }
}
