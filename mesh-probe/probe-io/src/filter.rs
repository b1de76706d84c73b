//! The classic BPF program of the tap.
//!
//! It runs in the kernel for every packet of the node, so it decides on headers only and lets through next to nothing.

mod data;

use probe_core::{
    echo, inert, node_echo, size,
    wireguard::{COOKIE_REPLY_LENGTH, INITIATION_LENGTH, RESPONSE_LENGTH},
};
use socket2::SockFilter;

pub use data::MAX_REMOTES;
pub(crate) use data::data;

/// Bytes kept of a packet: an IPv6 header (or IPv4 with up to 20 bytes of options), UDP, and the longest message.
pub const SNAP_LENGTH: usize = 40 + UDP_HEADER + INITIATION_LENGTH;

/// The port of VXLAN as Linux and Cilium have it; RFC 7348's own is 4789.
pub const OVERLAY_PORT: u16 = 8472;

const UDP_HEADER: usize = 8;

// Operation codes (linux/bpf_common.h): class, size and mode, or class and operation.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD_AT_X: u16 = 0x40;
const LOAD_HALF_AT_X: u16 = 0x48;
const SET_X: u16 = 0x01;
const SET_X_TO_IPV4_HEADER: u16 = 0xb1;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// What is loaded from these offsets is not of the packet but about it (linux/filter.h, `SKF_AD_OFF`).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
const HARDWARE_TYPE: u32 = 0xffff_f000 + 28;
/// A packet for another host, seen because the interface is promiscuous (`linux/if_packet.h`).
const OTHER_HOST: u32 = 3;
/// `ARPHRD_LOOPBACK`: nothing on loopback is of the mesh, and everything there is seen twice.
const LOOPBACK: u32 = 772;

const UDP: u32 = 17;
const FRAGMENT_BITS: u32 = 0x3fff;

/// One instruction; the targets of a conditional jump are relative to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

/// The program for this port, to be attached to a packet socket that sees packets from their network header on.
pub(crate) fn tap(port: u16) -> Vec<SockFilter> {
    let attach = |i: Instruction| SockFilter::new(i.code, i.jump_true, i.jump_false, i.operand);
    program(port).into_iter().map(attach).collect()
}

/// The program for a raw UDP socket: our own probes of the overlay's port and of this one, whole. Raw sockets of IPv4 see packets from the
/// IP header on, those of IPv6 from the UDP header on.
pub(crate) fn delivered(family: IpFamily, port: u16) -> Vec<SockFilter> {
    let attach = |i: Instruction| SockFilter::new(i.code, i.jump_true, i.jump_false, i.operand);
    delivered_program(family, port)
        .into_iter()
        .map(attach)
        .collect()
}

/// Which of the two sockets of the echo gets a datagram: [`REPLIES`] those that begin as a reply does, the other one the rest.
/// Sees datagrams from their payload on.
pub(crate) fn replies() -> Vec<SockFilter> {
    let attach = |i: Instruction| SockFilter::new(i.code, i.jump_true, i.jump_false, i.operand);
    replies_program().into_iter().map(attach).collect()
}

/// For the sockets of the echo to node addresses: what does not begin as its datagrams do costs no more than this. Sees datagrams
/// from their UDP header on.
pub(crate) fn node_echoes() -> Vec<SockFilter> {
    let attach = |i: Instruction| SockFilter::new(i.code, i.jump_true, i.jump_false, i.operand);
    node_echoes_program().into_iter().map(attach).collect()
}

fn node_echoes_program() -> Vec<Instruction> {
    let magic = u32::from_be_bytes(node_echo::MAGIC);
    let listing: [(u16, u32, u8, u8); 6] = [
        /* 0 */ (LOAD_HALF, 4, 1, 1),
        /* 1 */ (IF_EQUAL, udp_length(node_echo::LENGTH), 2, 5),
        /* 2 */ (LOAD_WORD, 8, 3, 3),
        /* 3 */ (IF_EQUAL, magic, 4, 5),
        /* 4 */ (RETURN, 0xffff, 0, 0),
        /* 5 */ (RETURN, 0, 0, 0),
    ];
    (0..)
        .zip(listing)
        .map(|(at, line)| assemble(at, line))
        .collect()
}

/// Number of the socket that was second to be bound.
const REPLIES: u32 = 1;

fn replies_program() -> Vec<Instruction> {
    let kind = operand(usize::from(echo::KIND_OF_REPLY));
    let listing: [(u16, u32, u8, u8); 6] = [
        /* 0 */ (LOAD_WORD, 0, 1, 1),
        /* 1 */ (IF_EQUAL, u32::from_be_bytes(echo::MAGIC), 2, 5),
        /* 2 */ (LOAD_BYTE, operand(echo::KIND_AT), 3, 3),
        /* 3 */ (IF_EQUAL, kind, 4, 5),
        /* 4 */ (RETURN, REPLIES, 0, 0),
        /* 5 */ (RETURN, 0, 0, 0),
    ];
    (0..)
        .zip(listing)
        .map(|(at, line)| assemble(at, line))
        .collect()
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpFamily {
    V4,
    V6,
}

fn delivered_program(family: IpFamily, port: u16) -> Vec<Instruction> {
    let to_udp = match family {
        IpFamily::V4 => (SET_X_TO_IPV4_HEADER, 0, 1, 1),
        IpFamily::V6 => (SET_X, 0, 1, 1),
    };
    let listing: [(u16, u32, u8, u8); 8] = [
        /* 0 */ to_udp,
        /* 1 */ (LOAD_HALF_AT_X, 2, 2, 2),
        /* 2 */ (IF_EQUAL, u32::from(OVERLAY_PORT), 4, 3),
        /* 3 */ (IF_EQUAL, u32::from(port), 4, 7),
        /* 4 */ (LOAD_WORD_AT_X, 8, 5, 5),
        /* 5 */ (IF_EQUAL, u32::from_be_bytes(size::MAGIC), 6, 7),
        /* 6 */ (RETURN, 0xffff, 0, 0),
        /* 7 */ (RETURN, 0, 0, 0),
    ];
    (0..)
        .zip(listing)
        .map(|(at, line)| assemble(at, line))
        .collect()
}

/// A program that accepts nothing, for raw sockets that only send.
pub(crate) const fn nothing() -> [SockFilter; 1] {
    [SockFilter::new(RETURN, 0, 0, 0)]
}

fn program(port: u16) -> Vec<Instruction> {
    let port = u32::from(port);
    // A line of the listing: at index, code, operand, next if true, next if false.
    let listing: [(u16, u32, u8, u8); 39] = [
        /*  0 */ (LOAD_WORD, PACKET_TYPE, 1, 1),
        /*  1 */ (IF_EQUAL, OTHER_HOST, DROP, 2),
        /*  2 */ (LOAD_WORD, HARDWARE_TYPE, 3, 3),
        /*  3 */ (IF_EQUAL, LOOPBACK, DROP, 4),
        /*  4 */ (LOAD_BYTE, 0, 5, 5),
        /*  5 */ (AND, 0xf0, 6, 6),
        /*  6 */ (IF_EQUAL, 0x40, 8, 7),
        /*  7 */ (IF_EQUAL, 0x60, 14, DROP),
        // IPv4: UDP, whole, with any options. X becomes the length of the header.
        /*  8 */
        (LOAD_BYTE, 9, 9, 9),
        /*  9 */ (IF_EQUAL, UDP, 10, DROP),
        /* 10 */ (LOAD_HALF, 6, 11, 11),
        /* 11 */ (IF_ANY_BIT, FRAGMENT_BITS, DROP, 12),
        /* 12 */ (SET_X_TO_IPV4_HEADER, 0, 13, 13),
        /* 13 */ (JUMP, 3, 17, 17),
        // IPv6: UDP directly behind the fixed header.
        /* 14 */
        (LOAD_BYTE, 6, 15, 15),
        /* 15 */ (IF_EQUAL, UDP, 16, DROP),
        /* 16 */ (SET_X, 40, 17, 17),
        // Either port.
        /* 17 */ (LOAD_HALF_AT_X, 0, 18, 18),
        /* 18 */ (IF_EQUAL, port, 21, 19),
        /* 19 */ (LOAD_HALF_AT_X, 2, 20, 20),
        /* 20 */ (IF_EQUAL, port, 21, 34),
        // The first four bytes of the payload, and the UDP length that goes with them.
        /* 21 */
        (LOAD_WORD_AT_X, 8, 22, 22),
        /* 22 */ (IF_EQUAL, message_type(1), 26, 23),
        /* 23 */ (IF_EQUAL, message_type(2), 28, 24),
        /* 24 */ (IF_EQUAL, message_type(3), 30, 25),
        /* 25 */ (IF_EQUAL, u32::from_be_bytes(inert::MAGIC), 32, 36),
        /* 26 */ (LOAD_HALF_AT_X, 4, 27, 27),
        /* 27 */ (IF_EQUAL, udp_length(INITIATION_LENGTH), ACCEPT, DROP),
        /* 28 */ (LOAD_HALF_AT_X, 4, 29, 29),
        /* 29 */ (IF_EQUAL, udp_length(RESPONSE_LENGTH), ACCEPT, DROP),
        /* 30 */ (LOAD_HALF_AT_X, 4, 31, 31),
        /* 31 */ (IF_EQUAL, udp_length(COOKIE_REPLY_LENGTH), ACCEPT, DROP),
        /* 32 */ (LOAD_HALF_AT_X, 4, 33, 33),
        /* 33 */ (IF_EQUAL, udp_length(inert::LENGTH), ACCEPT, DROP),
        // To the port of the overlay, and from or to the tunnel's: our own probes of size, of any length.
        /* 34 */
        (IF_EQUAL, u32::from(OVERLAY_PORT), 35, DROP),
        /* 35 */ (LOAD_WORD_AT_X, 8, 36, 36),
        /* 36 */
        (IF_EQUAL, u32::from_be_bytes(size::MAGIC), ACCEPT, DROP),
        /* 37 */ (RETURN, operand(SNAP_LENGTH), 0, 0),
        /* 38 */ (RETURN, 0, 0, 0),
    ];
    (0..)
        .zip(listing)
        .map(|(at, line)| assemble(at, line))
        .collect()
}

const ACCEPT: u8 = 37;
const DROP: u8 = 38;

const fn assemble(at: u8, (code, operand, yes, no): (u16, u32, u8, u8)) -> Instruction {
    let (jump_true, jump_false) = match code {
        IF_EQUAL | IF_ANY_BIT => (yes - at - 1, no - at - 1),
        _ => (0, 0),
    };
    Instruction {
        code,
        jump_true,
        jump_false,
        operand,
    }
}

/// A little-endian message type as the program loads it, big-endian.
const fn message_type(kind: u32) -> u32 {
    kind.swap_bytes()
}

fn udp_length(payload: usize) -> u32 {
    operand(payload + UDP_HEADER)
}

fn operand(length: usize) -> u32 {
    u32::try_from(length).expect("lengths of messages are below 200")
}

#[cfg(test)]
mod tests;
