//! The sockets and clocks of a simulated node, as its observer sees them.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use evidence::{KernelClock, Moment, SourceId};
use mesh_agent::{Looked, Ways};
use probe_core::{
    Stamp, Wall,
    data::{LOOK, Look, MAX_MESSAGES, Message},
};
use probe_io::{EchoEvent, NodeDatagram, TooLong};
use rand::{Rng as _, rngs::StdRng};

/// Wall-clock time at the beginning of all simulations: 2026-11-20, in microseconds.
pub const EPOCH: i64 = 1_795_000_000_000_000;

/// What an observer wants sent.
#[derive(Clone, Debug)]
pub enum Sent {
    Echo(SocketAddr, Vec<u8>),
    Inert(SocketAddr, Vec<u8>),
    Unsolicited(SocketAddr, Vec<u8>),
    SizePast(SocketAddr, Vec<u8>),
    Overlay(IpAddr, Vec<u8>),
    Node(SocketAddr, Vec<u8>),
}

/// The sockets of one agent.
#[derive(Debug)]
pub struct SimWays {
    pub now: Stamp,
    pub wall: Wall,
    pub sent: Vec<Sent>,
    pub inbox: VecDeque<EchoEvent>,
    pub nodes: VecDeque<NodeDatagram>,
    pub look: Option<(Look, Vec<Message>)>,
    own: Option<Ipv6Addr>,
    random: StdRng,
}

impl SimWays {
    pub fn new(now: Stamp, random: StdRng) -> Self {
        Self {
            now,
            wall: Wall::from_micros(0),
            sent: Vec::new(),
            inbox: VecDeque::new(),
            nodes: VecDeque::new(),
            look: None,
            own: None,
            random,
        }
    }

    /// A data message passed an interface.
    pub fn saw(&mut self, message: Message) {
        if let Some((look, messages)) = &mut self.look {
            let wanted = look.peers.contains_key(&message.remote);
            if wanted && message.at.since(look.since) <= LOOK && messages.len() < MAX_MESSAGES {
                messages.push(message);
            }
        }
    }
}

impl Ways for SimWays {
    fn now(&self) -> Stamp {
        self.now
    }

    fn wall(&self) -> Wall {
        self.wall
    }

    fn kernel_clock(&self) -> io::Result<KernelClock> {
        Ok(KernelClock {
            synchronized: true,
            max_error_us: 20_000,
            estimated_error_us: 500,
        })
    }

    fn random(&mut self) -> u64 {
        self.random.random()
    }

    fn links_changed(&mut self, _now: Moment) {}

    fn reopen(&mut self, own: Option<Ipv6Addr>, _now: Moment) {
        self.own = own;
    }

    fn gap(&self, source: SourceId) -> Option<String> {
        let closed = source == SourceId::Echo && self.own.is_none();
        closed.then(|| "no KubeSpan address on this node yet".to_owned())
    }

    fn echo(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.own.is_some() {
            self.sent.push(Sent::Echo(to, bytes.to_vec()));
        }
    }

    fn next_echo(&mut self, _now: Moment) -> Option<EchoEvent> {
        self.inbox.pop_front()
    }

    fn inert(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        self.sent.push(Sent::Inert(to, bytes.to_vec()));
        true
    }

    fn unsolicited(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        self.sent.push(Sent::Unsolicited(to, bytes.to_vec()));
        true
    }

    fn size_past(&mut self, to: SocketAddr, bytes: &[u8], _may_fragment: bool) {
        self.sent.push(Sent::SizePast(to, bytes.to_vec()));
    }

    fn next_word(&mut self) -> Option<TooLong> {
        None
    }

    fn overlay(&mut self, to: IpAddr, bytes: &[u8]) {
        self.sent.push(Sent::Overlay(to, bytes.to_vec()));
    }

    fn next_overlay(&mut self) -> Option<EchoEvent> {
        None
    }

    fn node(&mut self, _from: Option<IpAddr>, to: SocketAddr, bytes: &[u8]) {
        self.sent.push(Sent::Node(to, bytes.to_vec()));
    }

    fn next_node(&mut self, _now: Moment) -> Option<NodeDatagram> {
        self.nodes.pop_front()
    }

    fn look_for_data(&mut self, look: Look) {
        self.look = Some((look, Vec::new()));
    }

    fn data_looked(&mut self) -> Option<(Look, Option<Looked>)> {
        let now = self.now.moment();
        let over = |(look, _): &mut (Look, Vec<Message>)| {
            now.since(look.since) >= LOOK + Duration::from_millis(1)
        };
        let (look, messages) = self.look.take_if(over)?;
        let looked = Looked {
            messages,
            until: look.since.plus(LOOK),
            missed: 0,
        };
        Some((look, Some(looked)))
    }
}
