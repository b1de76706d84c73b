//! Echo to a node address: does what is sent to the address by which Kubernetes knows a node come out of the tunnel?
//!
//! Unlike [`crate::echo`], which goes to the `KubeSpan` address and so always through the tunnel, these are ordinary datagrams, and
//! whatever steers the packets of other programs steers them. Each end learns from its kernel by which link a datagram came in.
//! Start with [`Prober`], which asks, and [`Responder`], which answers.

mod prober;
mod responder;

use std::net::{IpAddr, Ipv6Addr};

use evidence::PublicKey;

pub use prober::{
    INTERVAL, Input, Prober, ProberCounters, QUICK_RETRIES, REPLY_TIMEOUT, RETRY_INTERVAL, Request,
};
pub use responder::{MAX_REPLIES_PER_SECOND, Reject, Responder, ResponderCounters};

use crate::{
    ProbeKey, TAG_LENGTH, WireError,
    cursor::Cursor,
    wire::{self, HEAD_LENGTH, Head},
};

/// First bytes of every such datagram.
pub const MAGIC: [u8; 4] = *b"mPn1";
/// Bytes of a request, and of a reply: nobody is amplified.
pub const LENGTH: usize = HEAD_LENGTH + BODY_LENGTH + TAG_LENGTH;

const BODY_LENGTH: usize = 24;
const ZEROS: usize = 7;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A question.
    Request,
    /// An answer.
    Reply {
        /// Whether the request came in by the `kubespan` link of who answers; `None` if that is not known.
        through: Option<bool>,
    },
}

/// An authentic datagram.
///
/// The head is that of [`crate::echo::Datagram`]. All integers are big-endian; an address of IPv4 is mapped (RFC 4291, 2.5.5.2).
///
/// ```text
///  0               4       5      6          8
///  +---------------+-------+------+----------+
///  | magic "mPn1"  | ver 1 | kind | reserved |
///  +---------------+-------+------+----------+  8
///  | sender public key (32)                  |
///  +-----------------------------------------+ 40
///  | receiver public key (32)                |
///  +--------------------+--------------------+ 72
///  | session (8)        | sequence (8)       |
///  +--------------------+--------------------+ 88
///  | the address that is asked (16)          |
///  +---------+----------+--------------------+ 104
///  | through | zero (7)                      |
///  +---------+-------------------------------+ 112
///  | HMAC-SHA256 over bytes 0..112, left 16  |
///  +-----------------------------------------+ 128
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// What it is.
    pub kind: Kind,
    /// The node that sent it.
    pub sender: PublicKey,
    /// The node it is meant for.
    pub receiver: PublicKey,
    /// Chosen at random by the asking process; the reply repeats it.
    pub session: u64,
    /// Counts the requests of that session to that receiver, from zero; the reply repeats it.
    pub sequence: u64,
    /// Where the request went, and where the reply comes from.
    pub address: IpAddr,
}

const REQUEST: u8 = 1;
const REPLY: u8 = 2;

impl Datagram {
    /// The bytes to send.
    pub fn encode(&self, key: &ProbeKey) -> [u8; LENGTH] {
        let Self {
            kind,
            sender,
            receiver,
            session,
            sequence,
            address,
        } = *self;
        let (kind, through) = match kind {
            Kind::Request => (REQUEST, 0),
            Kind::Reply { through } => (REPLY, through_to_byte(through)),
        };
        let mapped = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        let mut body = [0; BODY_LENGTH];
        body[..16].copy_from_slice(&mapped.octets());
        body[16] = through;
        let head = Head {
            magic: MAGIC,
            kind,
            sender,
            receiver,
            session,
            sequence,
        };
        wire::seal(&head, &body, key)
    }

    /// Reads a datagram that was made with the same key; everything else is refused with the reason.
    pub fn decode(bytes: &[u8], key: &ProbeKey) -> Result<Self, WireError> {
        let (head, body) = wire::open::<LENGTH>(MAGIC, bytes, key)?;
        let (address, through) = fields(body).ok_or(WireError::Length {
            found: bytes.len(),
            expected: LENGTH,
        })?;
        let kind = match head.kind {
            REQUEST => Kind::Request,
            REPLY => Kind::Reply {
                through: through_from_byte(through),
            },
            other => return Err(WireError::Kind(other)),
        };
        Ok(Self {
            kind,
            sender: head.sender,
            receiver: head.receiver,
            session: head.session,
            sequence: head.sequence,
            address,
        })
    }
}

fn fields(body: &[u8]) -> Option<(IpAddr, u8)> {
    let mut cursor = Cursor::new(body);
    let address = IpAddr::V6(Ipv6Addr::from(cursor.take::<16>()?)).to_canonical();
    let through = cursor.byte()?;
    let _zeros: [u8; ZEROS] = cursor.take()?;
    Some((address, through))
}

const fn through_to_byte(through: Option<bool>) -> u8 {
    match through {
        None => 0,
        Some(true) => 1,
        Some(false) => 2,
    }
}

/// What a later version says here is not known to this one.
const fn through_from_byte(byte: u8) -> Option<bool> {
    match byte {
        1 => Some(true),
        2 => Some(false),
        _ => None,
    }
}

/// The place of an address's family in a pair of them.
const fn family(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 0,
        IpAddr::V6(_) => 1,
    }
}

#[cfg(test)]
mod tests;
