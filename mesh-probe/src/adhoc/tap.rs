//! `tap`: which handshake messages pass the interfaces of this node.

use std::{collections::BTreeSet, net::SocketAddr};

use probe_core::{inert, packet::Datagram, sightings::Direction, wireguard::Handshake};
use serde::Serialize;

use super::{Facts, Lines, line};
use crate::{
    exit::Exit,
    render::text::{count, human_ms},
};

/// Remote ends that are counted; messages of more of them are counted together.
const MAX_REMOTES: usize = 256;
/// Messages that the document lists.
const MAX_MESSAGES: usize = 1000;
/// Messages that are remembered, so that one that passes two interfaces is counted once.
const MAX_REMEMBERED: usize = 4096;
/// A session is renewed after two minutes: whoever repeats a handshake sooner did not take the answer.
const RENEWAL_MS: u64 = 100_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TapView {
    pub port: u16,
    pub lasted_ms: u64,
    /// The first messages, in the order in which they passed.
    pub messages: Vec<Message>,
    /// Messages that are counted and not listed.
    pub not_listed: u64,
    pub remotes: Vec<Remote>,
    /// Messages of remote ends beyond the limit.
    pub of_other_remotes: u64,
    /// Messages that passed a second interface.
    pub seen_twice: u64,
    /// Packets that the tap lost: what it did not see is then no evidence.
    pub lost: u64,
    #[serde(skip)]
    remembered: BTreeSet<(bool, SocketAddr, Kind)>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    pub after_ms: u64,
    pub incoming: bool,
    pub remote: SocketAddr,
    pub kind: Kind,
    pub interface: String,
}

/// What it is, with the indices that name a handshake. Nothing else of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Kind {
    Initiation {
        sender: u32,
    },
    Response {
        sender: u32,
        receiver: u32,
    },
    CookieReply {
        receiver: u32,
    },
    /// A probe of an agent, which `WireGuard` drops.
    Inert,
}

/// What passed between this node and one remote end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remote {
    pub address: SocketAddr,
    pub incoming: Counts,
    pub outgoing: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub initiations: u64,
    pub responses: u64,
    pub cookie_replies: u64,
    pub inert: u64,
}

impl TapView {
    pub fn new(port: u16) -> Self {
        Self {
            port,
            ..Self::default()
        }
    }

    /// How many messages passed, each counted once.
    pub fn seen(&self) -> u64 {
        let listed = u64::try_from(self.messages.len()).unwrap_or(u64::MAX);
        listed.saturating_add(self.not_listed)
    }

    /// Takes a datagram that passed; returns its line, if it is a message and not seen before.
    pub fn see(
        &mut self,
        direction: Direction,
        interface: &str,
        datagram: &Datagram<'_>,
        after_ms: u64,
    ) -> Option<String> {
        let incoming = direction == Direction::In;
        let remote = if incoming {
            datagram.source
        } else {
            datagram.destination
        };
        let kind = Kind::of(datagram.payload)?;
        if !self.is_new(incoming, remote, kind) {
            self.seen_twice = self.seen_twice.saturating_add(1);
            return None;
        }
        let message = Message {
            after_ms,
            incoming,
            remote,
            kind,
            interface: interface.to_owned(),
        };
        self.count(&message);
        let line = message.line();
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(message);
        } else {
            self.not_listed = self.not_listed.saturating_add(1);
        }
        Some(line)
    }

    /// Indices are random, so what comes again with the same ones is the same message. Probes have none to be told by.
    fn is_new(&mut self, incoming: bool, remote: SocketAddr, kind: Kind) -> bool {
        if kind == Kind::Inert || self.remembered.len() >= MAX_REMEMBERED {
            return true;
        }
        self.remembered.insert((incoming, remote, kind))
    }

    fn count(&mut self, message: &Message) {
        let known = self
            .remotes
            .iter()
            .position(|remote| remote.address == message.remote);
        let at = match known {
            Some(at) => at,
            None if self.remotes.len() < MAX_REMOTES => {
                self.remotes.push(Remote::new(message.remote));
                self.remotes.len() - 1
            }
            None => {
                self.of_other_remotes = self.of_other_remotes.saturating_add(1);
                return;
            }
        };
        let remote = &mut self.remotes[at];
        let counts = if message.incoming {
            &mut remote.incoming
        } else {
            &mut remote.outgoing
        };
        counts.count(message.kind);
    }
}

impl Message {
    fn line(&self) -> String {
        let way = if self.incoming { "in " } else { "out" };
        let after = human_ms(self.after_ms);
        format!(
            "{after:>8}  {way}  {:<24}  {:<54}  {}",
            self.remote.to_string(),
            self.kind.words(),
            self.interface
        )
    }
}

impl Kind {
    fn of(payload: &[u8]) -> Option<Self> {
        if payload.starts_with(&inert::MAGIC) && payload.len() == inert::LENGTH {
            return Some(Self::Inert);
        }
        Some(match Handshake::parse(payload).ok()? {
            Handshake::Initiation(initiation) => Self::Initiation {
                sender: initiation.sender_index(),
            },
            Handshake::Response {
                sender_index,
                receiver_index,
            } => Self::Response {
                sender: sender_index,
                receiver: receiver_index,
            },
            Handshake::CookieReply { receiver_index } => Self::CookieReply {
                receiver: receiver_index,
            },
        })
    }

    fn words(self) -> String {
        match self {
            Self::Initiation { sender } => format!("initiation {sender:08x}"),
            Self::Response { sender, receiver } => {
                format!("response {sender:08x} to initiation {receiver:08x}")
            }
            Self::CookieReply { receiver } => format!("cookie reply to {receiver:08x}"),
            Self::Inert => "inert probe of an agent".to_owned(),
        }
    }
}

impl Remote {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            incoming: Counts::default(),
            outgoing: Counts::default(),
        }
    }

    /// What the counts say of its handshakes; `None` if there were none.
    fn conclusion(&self, lasted_ms: u64) -> Option<String> {
        let (incoming, outgoing) = (self.incoming, self.outgoing);
        let text = if outgoing.initiations > 1 && incoming.responses > 1 && lasted_ms < RENEWAL_MS {
            "answers come and are not taken: the preshared keys differ, or a firewall of this host drops them behind this tap"
        } else if outgoing.initiations > 0 && incoming.responses > 0 {
            "answers our handshakes"
        } else if outgoing.initiations > 0 {
            "does not answer our handshakes: they or the answers are dropped on the way, or it does not know our key"
        } else if incoming.initiations > 0 && outgoing.responses > 0 {
            "is answered when it shakes hands"
        } else if incoming.initiations > 0 {
            "shakes hands and is not answered: we do not know its key, it dials another key than ours, or a firewall of this \
             host drops it behind this tap"
        } else {
            return None;
        };
        Some(format!("{}: {text}", self.address))
    }
}

impl Counts {
    const fn count(&mut self, kind: Kind) {
        let counter = match kind {
            Kind::Initiation { .. } => &mut self.initiations,
            Kind::Response { .. } => &mut self.responses,
            Kind::CookieReply { .. } => &mut self.cookie_replies,
            Kind::Inert => &mut self.inert,
        };
        *counter = counter.saturating_add(1);
    }

    fn words(self) -> String {
        let kinds = [
            (self.initiations, "initiation"),
            (self.responses, "response"),
            (self.cookie_replies, "cookie"),
            (self.inert, "inert probe"),
        ];
        let words: Vec<String> = kinds
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, noun)| count(usize::try_from(number).unwrap_or(usize::MAX), noun))
            .collect();
        if words.is_empty() {
            return "nothing".to_owned();
        }
        words.join(", ")
    }
}

impl Facts for TapView {
    const KIND: &'static str = "Tap";

    fn title(&self) -> String {
        let seen = usize::try_from(self.seen()).unwrap_or(usize::MAX);
        format!(
            "UDP {} at this node's interfaces, {}: {}",
            self.port,
            human_ms(self.lasted_ms),
            count(seen, "message")
        )
    }

    fn lines(&self) -> Lines {
        let remote = |remote: &Remote| {
            let incoming = remote.incoming.words();
            let outgoing = remote.outgoing.words();
            (
                remote.address.to_string(),
                format!("in: {incoming}; out: {outgoing}"),
            )
        };
        let mut lines: Lines = self.remotes.iter().map(remote).collect();
        let counts = [
            ("of other remote ends", self.of_other_remotes),
            ("seen on a second interface", self.seen_twice),
            ("lost by this tap", self.lost),
        ];
        let counts = counts.into_iter().filter(|(_, number)| *number > 0);
        lines.extend(counts.map(|(name, number)| line(name, number.to_string())));
        lines
    }

    fn conclusions(&self) -> Vec<String> {
        let mut conclusions: Vec<String> = self
            .remotes
            .iter()
            .filter_map(|remote| remote.conclusion(self.lasted_ms))
            .collect();
        if conclusions.is_empty() {
            conclusions.push(
                "no handshake passed: a healthy tunnel has one in two minutes, so look for longer (--duration 130s), or send \
                 something to a peer whose session is old"
                    .to_owned(),
            );
        }
        if self.lost > 0 {
            conclusions
                .push("some packets were lost here: what is not shown may have passed".to_owned());
        }
        conclusions
    }

    fn method(&self) -> String {
        "a packet socket that sees handshake messages before the firewall of this host drops incoming ones, and after it let \
         outgoing ones pass; data of tunnels is never read, loopback not looked at"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        if self.seen() > 0 {
            Exit::Ready
        } else {
            Exit::CannotTell
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: &str = "203.0.113.11:51820";
    const HERE: &str = "192.0.2.1:51820";

    fn message(kind: u8, length: usize, indices: [u32; 2]) -> Vec<u8> {
        let mut bytes = vec![0; length];
        bytes[0] = kind;
        bytes[4..8].copy_from_slice(&indices[0].to_le_bytes());
        bytes[8..12].copy_from_slice(&indices[1].to_le_bytes());
        bytes
    }

    fn pass(view: &mut TapView, direction: Direction, payload: &[u8]) -> Option<String> {
        let (far, here) = (FAR.parse().unwrap(), HERE.parse().unwrap());
        let (source, destination) = match direction {
            Direction::In => (far, here),
            Direction::Out => (here, far),
        };
        let datagram = Datagram {
            packet_length: 0,
            source,
            destination,
            hop_limit: 64,
            payload,
        };
        view.see(direction, "eth0", &datagram, 1500)
    }

    #[test]
    fn a_message_on_two_interfaces_is_counted_once() {
        let mut view = TapView::new(51820);
        let initiation = message(1, 148, [7, 0]);
        let line = pass(&mut view, Direction::In, &initiation).unwrap();
        assert!(line.contains("in   203.0.113.11:51820"), "{line}");
        assert!(line.contains("initiation 00000007"), "{line}");
        assert_eq!(pass(&mut view, Direction::In, &initiation), None);
        assert_eq!((view.seen(), view.seen_twice), (1, 1));
        assert_eq!(pass(&mut view, Direction::In, b"data"), None);
        assert_eq!(view.seen(), 1);
    }

    #[test]
    fn patterns_of_handshakes_are_told_apart() {
        use Direction::{In, Out};
        let initiation = |index| (1, 148, [index, 0]);
        let response = |index| (2, 92, [9, index]);
        let cases = [
            (vec![(Out, initiation(1))], "does not answer our"),
            (vec![(Out, initiation(1)), (In, response(1))], "answers our"),
            (
                vec![
                    (Out, initiation(1)),
                    (In, response(1)),
                    (Out, initiation(2)),
                    (In, response(2)),
                ],
                "are not taken",
            ),
            (vec![(In, initiation(1))], "is not answered"),
            (
                vec![(In, initiation(1)), (Out, response(1))],
                "is answered when",
            ),
            (vec![], "no handshake passed"),
        ];
        for (messages, words) in cases {
            let mut view = TapView::new(51820);
            for (direction, (kind, length, indices)) in messages {
                pass(&mut view, direction, &message(kind, length, indices)).unwrap();
            }
            let conclusions = view.conclusions();
            assert!(conclusions[0].contains(words), "{conclusions:?}");
        }
    }

    #[test]
    fn a_flood_is_counted_within_the_limits() {
        let mut view = TapView::new(51820);
        let far = |port: u16| SocketAddr::from(([203, 0, 113, 11], port));
        for port in 0..5000_u16 {
            let datagram = Datagram {
                packet_length: 0,
                source: far(port),
                destination: HERE.parse().unwrap(),
                hop_limit: 64,
                payload: &message(1, 148, [7, 0]),
            };
            view.see(Direction::In, "eth0", &datagram, 0);
        }
        assert_eq!(view.seen(), 5000);
        assert_eq!(
            (view.messages.len(), view.remotes.len()),
            (MAX_MESSAGES, MAX_REMOTES)
        );
        assert_eq!(view.remembered.len(), MAX_REMEMBERED);
        assert_eq!(view.of_other_remotes, 5000 - 256);
    }
}
