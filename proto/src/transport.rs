//! Connections: TCP with the `KubeSpan` mark, TLS 1.3 on it, HTTP/2 on that.

mod accepted;
mod dial;
mod listen;
mod suspects;

pub use accepted::Accepted;
pub use dial::{
    DialError, Mark, Reached, ReachedAgent, dial, dial_agent, dial_collector, dial_socket, resolve,
};
pub use listen::{
    Incoming, Lanes, ListenError, Unserved, incoming, incoming_few, incoming_with, listen,
};
pub use suspects::network;

/// `KubeSpan`'s own firewall mark (`KubeSpanDefaultFirewallMark`). A socket that carries it keeps to the underlay:
/// without it, traffic to a node address is pulled into the tunnel, and dies with the tunnel that it should report on.
pub const UNDERLAY_MARK: u32 = 0x20;
