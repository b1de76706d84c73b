//! Inert probes: datagrams on the true five-tuple of the tunnel that `WireGuard` drops without a trace.
//!
//! They refresh NAT and conntrack state on their way, so they are sent only on suspicion, and sparingly. Start with
//! [`InertProber`], which sends, and [`InertTracker`], which counts what the tap saw and answers it.

mod prober;
mod tracker;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use evidence::PublicKey;

pub use prober::{
    Answered, InertCounters, InertProber, InertStats, Input, MAX_PER_SECOND, Output, QUICK_PROBES,
    QUICK_SPACING, REPLY_TIMEOUT, Reason, SLOW_SPACING, SourcePort, UNSOLICITED_AFTER,
    UNSOLICITED_SPACING,
};
pub use tracker::{
    Arrived, Counted, InertHeard, InertReject, InertTracker, MAX_REPLIES_PER_PEER,
    MAX_REPLIES_PER_SECOND, TrackerCounters,
};

use crate::{
    ProbeKey, Stamp, TAG_LENGTH, WireError,
    cursor::Cursor,
    wire::{self, HEAD_LENGTH, Head},
};

/// First bytes of every inert datagram. The first is none of `WireGuard`'s message types 1 to 4, so it drops the rest.
pub const MAGIC: [u8; 4] = *b"\0mPi";
/// Bytes of a probe, and of a reply: nobody is amplified.
pub const LENGTH: usize = HEAD_LENGTH + BODY_LENGTH + TAG_LENGTH;

const BODY_LENGTH: usize = 36;
const PROBE: u8 = 1;
const REPLY: u8 = 2;
const UNSOLICITED: u8 = 3;

/// What both kinds carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The node that sent this datagram.
    pub sender: PublicKey,
    /// The node it is meant for.
    pub receiver: PublicKey,
    /// Chosen at random by the probing process; the reply repeats it.
    pub session: u64,
    /// Counts the probes of that session to that receiver, from zero; the reply repeats it.
    pub sequence: u64,
}

/// The answer to a [`Probe`]: how it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answers whom; sender is the responder.
    pub answers: Probe,
    /// The source that the probe had when it arrived: the mapping of the NATs on its way.
    pub mapped: SocketAddr,
    /// The TTL or hop limit that was left to it.
    pub hop_limit: u8,
    /// When it arrived, by the responder's clock.
    pub received: Stamp,
    /// When the reply left, by the same clock.
    pub answered: Stamp,
}

/// An authentic inert datagram.
///
/// All integers are big-endian; everything from `mapped address` to `answered` is zero in a probe of either kind.
///
/// ```text
///  0               4       5      6          8
///  +---------------+-------+------+----------+
///  | magic "\0mPi" | ver 1 | kind | reserved |   kind 1 probe, 2 reply, 3 unsolicited probe
///  +---------------+-------+------+----------+  8
///  | sender public key (32)                  |
///  +-----------------------------------------+ 40
///  | receiver public key (32)                |
///  +--------------------+--------------------+ 72
///  | session (8)        | sequence (8)       |
///  +--------------------+--------------------+ 88
///  | mapped address (16; IPv4 as ::ffff:..)  |
///  +-----------------+-----------+-----------+ 104
///  | mapped port (2) | hop limit | reserved  |
///  +-----------------+--+--------+-----------+ 108
///  | received (8), us   | answered (8), us   |
///  +--------------------+--------------------+ 124
///  | HMAC-SHA256 over bytes 0..124, left 16  |
///  +-----------------------------------------+ 140
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Does this arrive?
    Probe(Probe),
    /// It did.
    Reply(Reply),
    /// Does this arrive from a port that nobody there has sent to? Never answered; numbered apart from the other probes.
    Unsolicited(Probe),
}

impl Datagram {
    /// The bytes to send.
    pub fn encode(&self, key: &ProbeKey) -> [u8; LENGTH] {
        let (kind, probe, body) = match self {
            Self::Probe(probe) => (PROBE, probe, [0; BODY_LENGTH]),
            Self::Reply(reply) => (REPLY, &reply.answers, body(reply)),
            Self::Unsolicited(probe) => (UNSOLICITED, probe, [0; BODY_LENGTH]),
        };
        let Probe {
            sender,
            receiver,
            session,
            sequence,
        } = *probe;
        wire::seal(
            &Head {
                magic: MAGIC,
                kind,
                sender,
                receiver,
                session,
                sequence,
            },
            &body,
            key,
        )
    }

    /// Reads a datagram that was made with the same key; everything else is refused with the reason.
    pub fn decode(bytes: &[u8], key: &ProbeKey) -> Result<Self, WireError> {
        let (head, body) = wire::open::<LENGTH>(MAGIC, bytes, key)?;
        let Head {
            sender,
            receiver,
            session,
            sequence,
            ..
        } = head;
        let probe = Probe {
            sender,
            receiver,
            session,
            sequence,
        };
        match head.kind {
            PROBE => Ok(Self::Probe(probe)),
            UNSOLICITED => Ok(Self::Unsolicited(probe)),
            REPLY => reply(probe, body).ok_or(WireError::Length {
                found: bytes.len(),
                expected: LENGTH,
            }),
            kind => Err(WireError::Kind(kind)),
        }
    }
}

fn body(reply: &Reply) -> [u8; BODY_LENGTH] {
    let mut body = [0; BODY_LENGTH];
    let address = match reply.mapped.ip() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    body[..16].copy_from_slice(&address.octets());
    body[16..18].copy_from_slice(&reply.mapped.port().to_be_bytes());
    body[18] = reply.hop_limit;
    body[20..28].copy_from_slice(&reply.received.as_micros().to_be_bytes());
    body[28..].copy_from_slice(&reply.answered.as_micros().to_be_bytes());
    body
}

fn reply(answers: Probe, body: &[u8]) -> Option<Datagram> {
    let mut cursor = Cursor::new(body);
    let address = IpAddr::V6(Ipv6Addr::from(cursor.take::<16>()?)).to_canonical();
    let mapped = SocketAddr::new(address, cursor.u16_be()?);
    let hop_limit = cursor.byte()?;
    let _reserved = cursor.byte()?;
    Some(Datagram::Reply(Reply {
        answers,
        mapped,
        hop_limit,
        received: Stamp::from_micros(cursor.u64_be()?),
        answered: Stamp::from_micros(cursor.u64_be()?),
    }))
}

#[cfg(test)]
mod tests;
