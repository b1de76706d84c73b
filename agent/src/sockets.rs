//! The sockets that the observer owns: opened when they can be, and a stated gap while they cannot.

mod nodes;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use evidence::{KernelClock, Moment, SourceId};
use probe_core::{Stamp, Wall, data::Look};
use probe_io::{
    EchoEvent, EchoReplies, EchoSocket, InertSender, NodeDatagram, OVERLAY_PORT, SizeListener,
    TooLong, UNDERLAY_MARK, WholeSender, clock, mark_socket,
};
use tracing::{debug, info, warn};

use crate::{
    data::DataWatch,
    observer::{Looked, Ways},
    readers::{TUNNEL_PORT, chain},
};
use nodes::Nodes;

/// Pause before a socket that could not be opened is tried again.
const REOPEN: Duration = Duration::from_secs(5);
const NO_ADDRESS: &str = "no KubeSpan address on this node yet";

/// All of them, as an observer on a node has them.
#[derive(Debug)]
pub struct Sockets {
    pub(crate) echo: Echo,
    pub(crate) overlay: Overlay,
    nodes: Nodes,
    raw: Raw,
    data: DataWatch,
}

/// The echo socket on the node's `KubeSpan` address, and the one that keeps the replies until there is time for them.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(crate) socket: Option<(Ipv6Addr, EchoSocket)>,
    pub(crate) replies: Option<EchoReplies>,
    pub(crate) gap: Option<String>,
    pub(crate) retry_at: Moment,
}

/// The sockets that send as an overlay would: from any port, by the routes that hold for everybody.
#[derive(Debug)]
pub(crate) struct Overlay {
    v4: Option<EchoSocket>,
    v6: Option<EchoSocket>,
    /// Hears such packets of others.
    pub(crate) listener: Option<SizeListener>,
    /// Why there is no listener.
    pub(crate) gap: Option<String>,
    retry_at: Moment,
}

/// The raw sender of inert datagrams.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) sender: Option<InertSender>,
    /// For sizes: nobody may fragment what it sends.
    whole: Option<WholeSender>,
    pub(crate) gap: Option<String>,
    pub(crate) retry_at: Moment,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            echo: Echo::closed(),
            overlay: Overlay::closed(),
            nodes: Nodes::closed(),
            raw: Raw::closed(),
            data: DataWatch::default(),
        }
    }
}

impl Ways for Sockets {
    fn now(&self) -> Stamp {
        clock::stamp()
    }

    fn wall(&self) -> Wall {
        clock::wall()
    }

    fn kernel_clock(&self) -> io::Result<KernelClock> {
        clock::kernel()
    }

    fn random(&mut self) -> u64 {
        rand::random()
    }

    fn links_changed(&mut self, now: Moment) {
        self.echo.retry_at = now;
    }

    fn reopen(&mut self, own: Option<Ipv6Addr>, now: Moment) {
        if self.echo.is_to_open(own, now) {
            self.nodes.step_aside(now);
        }
        self.echo.follow(own, now);
        self.nodes.open(now);
        self.raw.open(now);
        self.overlay.open(now);
    }

    fn gap(&self, source: SourceId) -> Option<String> {
        match source {
            SourceId::Echo => self.echo.gap.clone(),
            SourceId::Inert => self.raw.gap.clone(),
            SourceId::Overlay => self.overlay.gap.clone(),
            SourceId::NodeEcho => self.nodes.gap.clone(),
            _ => None,
        }
    }

    fn echo(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.echo.send(bytes, to);
    }

    fn next_echo(&mut self, now: Moment) -> Option<EchoEvent> {
        self.echo.try_next(now)
    }

    fn inert(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        self.raw.send(to, bytes)
    }

    fn unsolicited(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        send_unsolicited(to, bytes)
    }

    fn size_past(&mut self, to: SocketAddr, bytes: &[u8], may_fragment: bool) {
        self.raw.send_size(to, bytes, may_fragment);
    }

    fn next_word(&mut self) -> Option<TooLong> {
        self.raw.next_word()
    }

    fn overlay(&mut self, to: IpAddr, bytes: &[u8]) {
        self.overlay.send(bytes, to);
    }

    fn next_overlay(&mut self) -> Option<EchoEvent> {
        self.overlay.try_next()
    }

    fn node(&mut self, from: Option<IpAddr>, to: SocketAddr, bytes: &[u8]) {
        self.nodes.send(from, to, bytes);
    }

    fn next_node(&mut self, _now: Moment) -> Option<NodeDatagram> {
        self.nodes.try_next()
    }

    fn look_for_data(&mut self, look: Look) {
        self.data.begin(look);
    }

    fn data_looked(&mut self) -> Option<(Look, Option<Looked>)> {
        self.data.take()
    }
}

impl Echo {
    pub(crate) fn closed() -> Self {
        Self {
            socket: None,
            replies: None,
            gap: Some(NO_ADDRESS.to_owned()),
            retry_at: Moment::ZERO,
        }
    }

    /// Whether [`Echo::follow`] would take the port.
    fn is_to_open(&self, own: Option<Ipv6Addr>, now: Moment) -> bool {
        let bound = self.socket.as_ref().map(|(address, _)| *address);
        own.is_some() && bound != own && now >= self.retry_at
    }

    /// Listens on the node's present `KubeSpan` address.
    pub(crate) fn follow(&mut self, own: Option<Ipv6Addr>, now: Moment) {
        let bound = self.socket.as_ref().map(|(address, _)| *address);
        if bound == own && (own.is_some() || self.gap.is_some()) {
            return;
        }
        let Some(address) = own else {
            self.close();
            self.gap = Some(NO_ADDRESS.to_owned());
            return;
        };
        if now < self.retry_at {
            return;
        }
        self.close();
        let local = SocketAddr::new(address.into(), proto::limits::PORT);
        match EchoSocket::bind_with_replies(local) {
            Ok((socket, replies)) => {
                self.replies = Some(replies);
                info!(%address, port = proto::limits::PORT, "the echo listens");
                self.socket = Some((address, socket));
                self.gap = None;
            }
            Err(error) => self.fail(&error, now),
        }
    }

    pub(crate) fn fail(&mut self, error: &dyn std::error::Error, now: Moment) {
        let reason = chain(error);
        if self.gap.as_ref() != Some(&reason) {
            warn!(%reason, "the echo socket does not work");
        }
        self.close();
        self.gap = Some(reason);
        self.retry_at = now.plus(REOPEN);
    }

    fn close(&mut self) {
        self.socket = None;
        self.replies = None;
    }

    /// The next event, if one is waiting in either socket.
    pub(crate) fn try_next(&mut self, now: Moment) -> Option<EchoEvent> {
        let replies = self.replies.as_mut().map(EchoReplies::try_next);
        let read = match replies {
            None | Some(Ok(None)) => self.socket.as_mut().map(|(_, socket)| socket.try_next()),
            some => some,
        };
        read?.unwrap_or_else(|error| {
            self.fail(&error, now);
            None
        })
    }

    /// A request that cannot be sent is a lost one: the prober counts it when no reply comes.
    pub(crate) fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        if let Some((_, socket)) = &mut self.socket
            && let Err(error) = socket.send_to(bytes, to)
        {
            debug!(%to, reason = chain(&error), "an echo could not be sent");
        }
    }
}

impl Overlay {
    pub(crate) const fn closed() -> Self {
        Self {
            v4: None,
            v6: None,
            listener: None,
            gap: None,
            retry_at: Moment::ZERO,
        }
    }

    pub(crate) fn open(&mut self, now: Moment) {
        let complete = self.v4.is_some() && self.v6.is_some() && self.listener.is_some();
        if complete || now < self.retry_at {
            return;
        }
        if self.listener.is_none() {
            match SizeListener::open(TUNNEL_PORT) {
                Ok(listener) => (self.listener, self.gap) = (Some(listener), None),
                Err(error) => self.fail(&error),
            }
        }
        // A node without IPv6 has one socket only.
        self.retry_at = now.plus(REOPEN);
        for (socket, any) in [
            (&mut self.v4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            (&mut self.v6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        ] {
            if socket.is_none() {
                match EchoSocket::bind(any) {
                    Ok(open) => *socket = Some(open),
                    Err(error) => debug!(reason = chain(&error), "no probes of the overlay's port"),
                }
            }
        }
    }

    /// Gives the listener up until it can be opened again.
    pub(crate) fn fail(&mut self, error: &dyn std::error::Error) {
        let reason = chain(error);
        if self.gap.as_ref() != Some(&reason) {
            warn!(%reason, "nobody listens for probes of the overlay's port");
        }
        (self.listener, self.gap) = (None, Some(reason));
    }

    /// A packet that cannot be sent is a lost one.
    pub(crate) fn send(&mut self, payload: &[u8], to: IpAddr) {
        let socket = if to.is_ipv4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        let to = SocketAddr::new(to, OVERLAY_PORT);
        if let Some(socket) = socket
            && let Err(error) = socket.send_to(payload, to)
        {
            debug!(%to, reason = chain(&error), "a probe of the overlay's port could not be sent");
        }
    }

    /// Word about packets sent before, if there is any.
    pub(crate) fn try_next(&mut self) -> Option<EchoEvent> {
        for socket in [&mut self.v4, &mut self.v6] {
            let Some(open) = socket else { continue };
            match open.try_next() {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(error) => {
                    debug!(
                        reason = chain(&error),
                        "a socket of the overlay's probes is given up"
                    );
                    *socket = None;
                }
            }
        }
        None
    }
}

impl Raw {
    pub(crate) const fn closed() -> Self {
        Self {
            sender: None,
            whole: None,
            gap: None,
            retry_at: Moment::ZERO,
        }
    }

    pub(crate) fn open(&mut self, now: Moment) {
        if self.sender.is_some() || now < self.retry_at {
            return;
        }
        let opened = InertSender::open(TUNNEL_PORT)
            .and_then(|sender| Ok((sender, WholeSender::open(TUNNEL_PORT)?)));
        match opened {
            Ok((sender, whole)) => {
                self.sender = Some(sender);
                self.whole = Some(whole);
                self.gap = None;
            }
            Err(error) => {
                let reason = chain(&error);
                if self.gap.as_ref() != Some(&reason) {
                    warn!(%reason, "no inert probes on the true five-tuple");
                }
                self.gap = Some(reason);
                self.retry_at = now.plus(REOPEN);
            }
        }
    }

    /// Sends a probe of size. One that cannot be sent is a lost one.
    pub(crate) fn send_size(&self, to: SocketAddr, payload: &[u8], may_fragment: bool) {
        if may_fragment {
            self.send(to, payload);
        } else if let Some(whole) = &self.whole
            && let Err(error) = whole.send(to, payload)
        {
            debug!(%to, reason = chain(&error), "a probe of size could not be sent");
        }
    }

    /// Word about probes of size sent before, if there is any.
    pub(crate) fn next_word(&self) -> Option<TooLong> {
        let word = self.whole.as_ref()?.next_word();
        word.unwrap_or_else(|error| {
            debug!(reason = chain(&error), "no word about probes of size");
            None
        })
    }

    /// Whether it left.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        let Some(sender) = &self.sender else {
            return false;
        };
        match sender.send(to, bytes) {
            Ok(()) => true,
            Err(error) => {
                debug!(%to, reason = chain(&error), "an inert datagram could not be sent");
                false
            }
        }
    }
}

/// Sends past the tunnel from a port that the kernel chooses anew; says whether it left.
fn send_unsolicited(to: SocketAddr, bytes: &[u8]) -> bool {
    match from_fresh_port(to, bytes) {
        Ok(()) => true,
        Err(error) => {
            debug!(%to, reason = chain(&error), "an unsolicited inert datagram could not be sent");
            false
        }
    }
}

fn from_fresh_port(to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    mark_socket(&socket, UNDERLAY_MARK)?;
    socket.send_to(bytes, to).map(drop)
}
