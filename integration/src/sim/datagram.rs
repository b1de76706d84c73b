//! What travels: between nodes, and inside of tunnels.

use std::net::{IpAddr, SocketAddr};

use evidence::PublicKey;
use probe_core::{
    packet::{UDP_HEADER_LENGTH, headers_length},
    wireguard::{INITIATION_LENGTH, MAC1_COVERS, Mac1Key, RESPONSE_LENGTH},
};
use probe_io::SNAP_LENGTH;

use super::time::Micros;

/// Bytes of header and tag of a data message.
const DATA_MESSAGE: usize = 32;

/// A UDP datagram between nodes.
#[derive(Clone, Debug)]
pub enum Datagram {
    WireGuard(Message),
    /// Sent past the tunnel: to be seen by the far tap.
    Past {
        bytes: Vec<u8>,
    },
}

/// A message of `WireGuard`, as far as the model knows.
#[derive(Clone, Debug)]
pub enum Message {
    Initiation {
        index: u32,
        from: PublicKey,
        to: PublicKey,
        /// When it was made. A peer takes none that is not newer than what it took before: so one that the path doubled opens no
        /// second session.
        made: Micros,
    },
    Response {
        index: u32,
        answers: u32,
        session: u64,
        psk: u64,
    },
    Data {
        session: u64,
        /// `None` is a keepalive.
        inner: Option<Inner>,
    },
}

/// A packet inside of a tunnel.
#[derive(Clone, Debug)]
pub struct Inner {
    pub from: IpAddr,
    pub to: IpAddr,
    pub kind: InnerKind,
}

#[derive(Clone, Debug)]
pub enum InnerKind {
    Udp {
        port: u16,
        bytes: Vec<u8>,
    },
    /// Nobody listens where this was sent.
    Refused {
        to: SocketAddr,
    },
}

impl Inner {
    /// Bytes of the IP packet.
    pub fn length(&self) -> usize {
        match &self.kind {
            InnerKind::Udp { bytes, .. } => bytes.len() + headers_length(self.to),
            InnerKind::Refused { .. } => 100,
        }
    }
}

impl Message {
    /// Bytes of the UDP payload.
    pub fn length(&self) -> usize {
        match self {
            Self::Initiation { .. } => INITIATION_LENGTH,
            Self::Response { .. } => RESPONSE_LENGTH,
            Self::Data { inner, .. } => {
                let inner = inner.as_ref().map_or(0, Inner::length);
                inner.next_multiple_of(16) + DATA_MESSAGE
            }
        }
    }

    /// The bytes of a handshake, as a tap reads them.
    pub fn handshake(&self) -> Option<Vec<u8>> {
        match self {
            Self::Initiation { index, to, .. } => {
                let mut bytes = vec![0; INITIATION_LENGTH];
                bytes[0] = 1;
                bytes[4..8].copy_from_slice(&index.to_le_bytes());
                let covered: [u8; MAC1_COVERS] = bytes[..MAC1_COVERS].try_into().ok()?;
                let mark = Mac1Key::of(to).mark(&covered);
                bytes[MAC1_COVERS..MAC1_COVERS + 16].copy_from_slice(&mark);
                Some(bytes)
            }
            Self::Response { index, answers, .. } => {
                let mut bytes = vec![0; RESPONSE_LENGTH];
                bytes[0] = 2;
                bytes[4..8].copy_from_slice(&index.to_le_bytes());
                bytes[8..12].copy_from_slice(&answers.to_le_bytes());
                Some(bytes)
            }
            Self::Data { .. } => None,
        }
    }
}

impl Datagram {
    /// The first byte of the UDP payload: the type of a message of `WireGuard`.
    pub fn first_byte(&self) -> u8 {
        match self {
            Self::WireGuard(Message::Initiation { .. }) => 1,
            Self::WireGuard(Message::Response { .. }) => 2,
            Self::WireGuard(Message::Data { .. }) => 4,
            Self::Past { bytes } => bytes.first().copied().unwrap_or_default(),
        }
    }

    /// Bytes of the IP packet (IPv4).
    pub fn packet_length(&self) -> usize {
        let payload = match self {
            Self::WireGuard(message) => message.length(),
            Self::Past { bytes } => bytes.len(),
        };
        payload + IPV4_HEADER + UDP_HEADER_LENGTH
    }
}

const IPV4_HEADER: usize = 20;
const UDP: u8 = 17;
const HOPS_LEFT: u8 = 57;

/// A packet with its headers, cut as the tap cuts it.
pub fn captured(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else {
        return Vec::new();
    };
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut packet = vec![0x45, 0];
    packet.extend(length(payload.len() + IPV4_HEADER + UDP_HEADER_LENGTH));
    packet.extend([0, 0, 0, 0, HOPS_LEFT, UDP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(length(payload.len() + UDP_HEADER_LENGTH));
    packet.extend([0, 0]);
    let room = SNAP_LENGTH.saturating_sub(packet.len());
    packet.extend(&payload[..payload.len().min(room)]);
    packet
}
