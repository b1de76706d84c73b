//! What an observer needs of the world: to send, to be told what came back, and the clocks.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use evidence::{KernelClock, Moment, SourceId};
use probe_core::{
    Stamp, Wall,
    data::{Look, Message},
};
use probe_io::{EchoEvent, NodeDatagram, TooLong};

/// The world of one observer: sockets on a node, or those of a simulated one.
pub trait Ways {
    /// The monotonic clock.
    fn now(&self) -> Stamp;
    /// The wall clock.
    fn wall(&self) -> Wall;
    /// What the kernel says of the wall clock.
    fn kernel_clock(&self) -> io::Result<KernelClock>;
    /// What chance gives.
    fn random(&mut self) -> u64;
    /// The links changed: what could not be opened may be opened now.
    fn links_changed(&mut self, now: Moment);
    /// Opens what is not open and may be tried again; `own` is the node's present `KubeSpan` address.
    fn reopen(&mut self, own: Option<Ipv6Addr>, now: Moment);
    /// Why a source cannot be used, if it cannot.
    fn gap(&self, source: SourceId) -> Option<String>;
    /// Sends from the echo socket. What cannot be sent is lost.
    fn echo(&mut self, to: SocketAddr, bytes: &[u8]);
    /// The next of what waits at the echo socket.
    fn next_echo(&mut self, now: Moment) -> Option<EchoEvent>;
    /// Sends past the tunnel, from its port; says whether it left.
    fn inert(&mut self, to: SocketAddr, bytes: &[u8]) -> bool;
    /// Sends past the tunnel, from a port that nobody knows; says whether it left.
    fn unsolicited(&mut self, to: SocketAddr, bytes: &[u8]) -> bool;
    /// Sends a probe of size past the tunnel, from its port. What cannot be sent is lost.
    fn size_past(&mut self, to: SocketAddr, bytes: &[u8], may_fragment: bool);
    /// Word about probes of size that were sent past the tunnel.
    fn next_word(&mut self) -> Option<TooLong>;
    /// Sends to the overlay's port of a node address. What cannot be sent is lost.
    fn overlay(&mut self, to: IpAddr, bytes: &[u8]);
    /// The next of what waits at the sockets of the overlay's probes.
    fn next_overlay(&mut self) -> Option<EchoEvent>;
    /// Sends an echo to a node address, or answers one: from the address that was asked, or from the one that the routes give. What
    /// cannot be sent is lost.
    fn node(&mut self, from: Option<IpAddr>, to: SocketAddr, bytes: &[u8]);
    /// The next of what waits at the sockets of the echo to node addresses.
    fn next_node(&mut self, now: Moment) -> Option<NodeDatagram>;
    /// Begins to look for data messages at the interfaces.
    fn look_for_data(&mut self, look: Look);
    /// The look that is over, with what was seen, if it could be made.
    fn data_looked(&mut self) -> Option<(Look, Option<Looked>)>;
}

/// What a look for data messages saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The messages.
    pub messages: Vec<Message>,
    /// All that passed before this is among them,
    pub until: Moment,
    /// except so many.
    pub missed: u32,
}
