//! The sockets under the probes: everything of probing that touches the kernel.
//!
//! - [`EchoSocket`] carries echo inside the tunnel and tells refused requests from lost ones;
//! - [`EchoReplies`] keeps the replies to it until there is time to read them;
//! - [`NodeSockets`] carry echo to node addresses, and tell by which link each datagram came in;
//! - [`Tap`] sees handshake and inert datagrams pass, before the host's firewall;
//! - [`SizeListener`] hears probes of size that were delivered to the ports of overlay and tunnel, behind the host's firewall;
//! - [`PathSocket`] sends packets that nobody may fragment, and tells how each fared;
//! - [`Knock`] sends to one UDP port and hears who answers or refuses;
//! - [`InertSender`] sends from the tunnel's own port without owning it;
//! - [`WholeSender`] does so with "don't fragment", and hears who objects;
//! - [`clock`] is the one clock of all drivers, [`mark_socket`] keeps a socket out of the tunnel.
//!
//! This is the only crate with `unsafe`; all of it is in `sys.rs`.

pub mod clock;

mod control;
mod echo_socket;
mod error_queue;
mod filter;
mod knock;
mod listener;
mod mark;
mod node_socket;
mod path_socket;
mod raw;
mod sys;
mod tap;
mod whole;

pub use echo_socket::{
    Cause, EchoEvent, EchoReplies, EchoSocket, EchoSocketCounters, EchoSocketError, MAX_DATAGRAM,
};
pub use filter::{MAX_REMOTES, OVERLAY_PORT, SNAP_LENGTH};
pub use knock::{Heard, Knock, KnockError};
pub use listener::{Delivered, ListenError, SizeListener};
pub use mark::{UNDERLAY_MARK, mark_socket};
pub use node_socket::{NodeDatagram, NodeSocketError, NodeSockets};
pub use path_socket::{PathSocket, PathSocketError, Way};
pub use raw::{InertSender, RawError};
pub use tap::{Sighted, Tap, TapError, TapStatistics};
pub use whole::{TooLong, WholeSender};
