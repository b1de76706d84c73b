//! Packets of full size: do they pass inside the tunnel, and on the overlay's port?
//!
//! [`SizeProber`] sends now and then one packet as long as the `kubespan` link permits, to each peer on each [`Layer`]. When
//! three in a row are lost it sends many sizes at once, twice, and then as many again between the longest that arrived and
//! the shortest that did not. [`SizeResponder`] answers each packet with a short tally of what was [`Seen`] of its run, and
//! always through the tunnel at the echo's port: so the answer's way is known to be good when the echo is.

mod prober;
mod responder;
mod search;
mod track;
mod tracks;

use evidence::{Layer, PublicKey};

pub use prober::{
    CANARIES_PER_SECOND, CANARY_INTERVAL, CONFIRMING_LOSSES, Input, Output, SizeCounters,
    SizeProber,
};
pub use responder::{Seen, SizeReject, SizeResponder, SizeResponderCounters};
pub use search::{MAX_AT_ONCE, SMALLEST};

use crate::{
    ProbeKey, TAG_LENGTH, WireError,
    cursor::Cursor,
    wire::{self, HEAD_LENGTH, Head},
};

/// First bytes of every datagram of this kind. `WireGuard` drops what begins with zero; for a VXLAN device these are flags
/// without the one that marks a valid header (RFC 7348 section 5), so it drops them too.
pub const MAGIC: [u8; 4] = *b"\0mPs";
/// Bytes of the part of a probe that says something; the rest of it is zeros.
pub const PROBE_LENGTH: usize = HEAD_LENGTH + BODY_LENGTH + TAG_LENGTH;
/// Bytes of a tally.
pub const TALLY_LENGTH: usize = PROBE_LENGTH;

const BODY_LENGTH: usize = 16;
const PROBE: u8 = 1;
const TALLY: u8 = 2;

/// What both kinds say.
///
/// All integers are big-endian.
///
/// ```text
///  0               4       5      6          8
///  +---------------+-------+------+----------+
///  | magic "\0mPs" | ver 1 | kind | reserved |   kind 1 probe, 2 tally
///  +---------------+-------+------+----------+  8
///  | sender public key (32)                  |
///  +-----------------------------------------+ 40
///  | receiver public key (32)                |
///  +--------------------+--------------------+ 72
///  | session (8)        | sequence (8)       |
///  +-------+-------+----+----+---------------+ 88
///  | layer | place | size (2) | run (4)       |   place: which bit of the tally
///  +-------+-------+---------+---------------+ 96
///  | arrived (4)        | seen (4)           |   a bit per place
///  +--------------------+--------------------+ 104
///  | HMAC-SHA256 over bytes 0..104, left 16  |
///  +-----------------------------------------+ 120
///  | zeros up to the size (probes only)      |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) kind: Kind,
    pub(crate) sender: PublicKey,
    pub(crate) receiver: PublicKey,
    pub(crate) session: u64,
    pub(crate) sequence: u64,
    pub(crate) layer: Layer,
    pub(crate) place: u8,
    /// Bytes of the whole IP packet.
    pub(crate) size: u16,
    pub(crate) run: u32,
    /// What passed the host's firewall.
    pub(crate) arrived: u32,
    /// What the tap saw at an interface.
    pub(crate) seen: u32,
}

/// Which of the two it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Probe,
    Tally,
}

impl Datagram {
    pub(crate) fn encode(&self, key: &ProbeKey) -> [u8; PROBE_LENGTH] {
        let mut body = [0; BODY_LENGTH];
        body[0] = layer_to_byte(self.layer);
        body[1] = self.place;
        body[2..4].copy_from_slice(&self.size.to_be_bytes());
        body[4..8].copy_from_slice(&self.run.to_be_bytes());
        body[8..12].copy_from_slice(&self.arrived.to_be_bytes());
        body[12..16].copy_from_slice(&self.seen.to_be_bytes());
        let head = Head {
            magic: MAGIC,
            kind: match self.kind {
                Kind::Probe => PROBE,
                Kind::Tally => TALLY,
            },
            sender: self.sender,
            receiver: self.receiver,
            session: self.session,
            sequence: self.sequence,
        };
        wire::seal(&head, &body, key)
    }

    /// Reads the saying part of a datagram; padding behind it may be there or cut off.
    pub(crate) fn decode(bytes: &[u8], key: &ProbeKey) -> Result<Self, WireError> {
        let said = bytes.get(..PROBE_LENGTH).unwrap_or(bytes);
        let (head, body) = wire::open::<PROBE_LENGTH>(MAGIC, said, key)?;
        let kind = match head.kind {
            PROBE => Kind::Probe,
            TALLY => Kind::Tally,
            other => return Err(WireError::Kind(other)),
        };
        let mut cursor = Cursor::new(body);
        let fields = (|| {
            let [layer, place] = cursor.take()?;
            let (size, run) = (cursor.u16_be()?, cursor.take()?);
            Some((layer, place, size, run, cursor.take()?, cursor.take()?))
        })();
        let (layer, place, size, run, arrived, seen) = fields.ok_or(WireError::Length {
            found: bytes.len(),
            expected: PROBE_LENGTH,
        })?;
        Ok(Self {
            kind,
            sender: head.sender,
            receiver: head.receiver,
            session: head.session,
            sequence: head.sequence,
            layer: layer_from_byte(layer).ok_or(WireError::Kind(layer))?,
            place,
            size,
            run: u32::from_be_bytes(run),
            arrived: u32::from_be_bytes(arrived),
            seen: u32::from_be_bytes(seen),
        })
    }
}

const fn layer_to_byte(layer: Layer) -> u8 {
    match layer {
        Layer::Tunnel => 1,
        Layer::Overlay => 2,
        Layer::Underlay => 3,
    }
}

const fn layer_from_byte(byte: u8) -> Option<Layer> {
    match byte {
        1 => Some(Layer::Tunnel),
        2 => Some(Layer::Overlay),
        3 => Some(Layer::Underlay),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
