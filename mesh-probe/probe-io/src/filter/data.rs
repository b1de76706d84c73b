//! The classic BPF program that lets headers of data messages through: of a few peers, and not a byte of the messages.

use std::net::IpAddr;

use socket2::SockFilter;

use super::{
    FRAGMENT_BITS, HARDWARE_TYPE, IF_ANY_BIT, IF_EQUAL, Instruction, LOAD_BYTE, LOAD_HALF,
    LOAD_WORD, LOOPBACK, OTHER_HOST, PACKET_TYPE, RETURN, UDP, UDP_HEADER, assemble, message_type,
    operand,
};

/// Peers that one program looks for.
pub const MAX_REMOTES: usize = 16;

/// First byte of an IPv4 header without options; WireGuard sends no others.
const PLAIN_IPV4: u32 = 0x45;
/// `WireGuard`'s data message.
const DATA: u32 = 4;

/// Where the fields of one family are.
struct Offsets {
    header: u32,
    protocol: u32,
    source: u32,
    destination: u32,
}

const IPV4: Offsets = Offsets {
    header: 20,
    protocol: 9,
    source: 12,
    destination: 16,
};
/// Of addresses the last four bytes are compared; the reader compares all of them.
const IPV6: Offsets = Offsets {
    header: 40,
    protocol: 6,
    source: 8 + 12,
    destination: 24 + 12,
};

/// The program for data messages between this port and any of these remotes, of which it takes [`MAX_REMOTES`].
pub(crate) fn data(port: u16, remotes: &[IpAddr]) -> Vec<SockFilter> {
    let attach = |i: Instruction| SockFilter::new(i.code, i.jump_true, i.jump_false, i.operand);
    program(port, remotes).into_iter().map(attach).collect()
}

/// A line whose jumps are to the end of its section, or to the next line.
type Line = (u16, u32, Then, Then);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Next,
    /// Over so many lines.
    Over(u8),
    Drop,
    Accept,
}

pub(super) fn program(port: u16, remotes: &[IpAddr]) -> Vec<Instruction> {
    let remotes = &remotes[..remotes.len().min(MAX_REMOTES)];
    let v4: Vec<u32> = remotes
        .iter()
        .filter_map(|ip| low_bits(*ip, true))
        .collect();
    let v6: Vec<u32> = remotes
        .iter()
        .filter_map(|ip| low_bits(*ip, false))
        .collect();
    let (v4, v6) = (section(port, &IPV4, &v4), section(port, &IPV6, &v6));
    let to_v6 = u8::try_from(v4.len()).expect("a section has less than 60 lines");
    let head: [Line; 6] = [
        (LOAD_WORD, PACKET_TYPE, Then::Next, Then::Next),
        (IF_EQUAL, OTHER_HOST, Then::Drop, Then::Next),
        (LOAD_WORD, HARDWARE_TYPE, Then::Next, Then::Next),
        (IF_EQUAL, LOOPBACK, Then::Drop, Then::Next),
        (LOAD_BYTE, 0, Then::Next, Then::Next),
        (IF_EQUAL, PLAIN_IPV4, Then::Next, Then::Over(to_v6)),
    ];
    // Whatever is no such IPv4 goes on behind that section, where only IPv6 passes.
    let version: [Line; 3] = [
        (LOAD_BYTE, 0, Then::Next, Then::Next),
        (super::AND, 0xf0, Then::Next, Then::Next),
        (IF_EQUAL, 0x60, Then::Next, Then::Drop),
    ];
    let lines: Vec<Line> = head
        .into_iter()
        .chain(v4)
        .chain(version)
        .chain(v6)
        .collect();
    link(&lines)
}

fn low_bits(ip: IpAddr, wants_v4: bool) -> Option<u32> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => wants_v4.then(|| u32::from(ip)),
        IpAddr::V6(ip) => {
            let [.., high, low] = ip.segments();
            (!wants_v4).then(|| u32::from(high) << 16 | u32::from(low))
        }
    }
}

/// UDP, unfragmented, from or to the port, a data message, from or to one of the remotes.
fn section(port: u16, at: &Offsets, remotes: &[u32]) -> Vec<Line> {
    let port = u32::from(port);
    let mut lines = vec![
        (LOAD_BYTE, at.protocol, Then::Next, Then::Next),
        (IF_EQUAL, UDP, Then::Next, Then::Drop),
    ];
    if at.header == IPV4.header {
        lines.push((LOAD_HALF, 6, Then::Next, Then::Next));
        lines.push((IF_ANY_BIT, FRAGMENT_BITS, Then::Drop, Then::Next));
    }
    lines.extend([
        (LOAD_HALF, at.header, Then::Next, Then::Next),
        (IF_EQUAL, port, Then::Over(2), Then::Next),
        (LOAD_HALF, at.header + 2, Then::Next, Then::Next),
        (IF_EQUAL, port, Then::Next, Then::Drop),
        (
            LOAD_WORD,
            at.header + operand(UDP_HEADER),
            Then::Next,
            Then::Next,
        ),
        (IF_EQUAL, message_type(DATA), Then::Next, Then::Drop),
    ]);
    for side in [at.source, at.destination] {
        lines.push((LOAD_WORD, side, Then::Next, Then::Next));
        let is = |remote: &u32| (IF_EQUAL, *remote, Then::Accept, Then::Next);
        lines.extend(remotes.iter().map(is));
    }
    lines.push((RETURN, 0, Then::Next, Then::Next));
    // What is accepted is cut behind the UDP header.
    let accept = u8::try_from(lines.len()).expect("a section has less than 60 lines");
    let kept = at.header + operand(UDP_HEADER);
    lines.push((RETURN, kept, Then::Next, Then::Next));
    let accepting = |(place, (code, operand, yes, no)): (u8, Line)| {
        let over = Then::Over(accept.saturating_sub(place + 1));
        let resolve = |then| if then == Then::Accept { over } else { then };
        (code, operand, resolve(yes), resolve(no))
    };
    (0..).zip(lines).map(accepting).collect()
}

/// Puts the end behind the lines, and gives jumps their targets.
fn link(lines: &[Line]) -> Vec<Instruction> {
    let end = u8::try_from(lines.len()).expect("the program has less than 130 lines");
    let target = |at: u8, then| match then {
        Then::Next | Then::Accept => at + 1,
        Then::Over(count) => at + 1 + count,
        Then::Drop => end,
    };
    let line = |(at, (code, operand, yes, no)): (u8, Line)| {
        assemble(at, (code, operand, target(at, yes), target(at, no)))
    };
    let mut program: Vec<_> = (0..).zip(lines.iter().copied()).map(line).collect();
    program.push(assemble(end, (RETURN, 0, 0, 0)));
    program
}
