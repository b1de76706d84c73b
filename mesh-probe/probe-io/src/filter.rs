//! The classic BPF program of the tap.
//!
//! It runs in the kernel for every packet of the node, so it decides on headers only and lets through next to nothing.

use probe_core::{
    inert,
    wireguard::{COOKIE_REPLY_LENGTH, INITIATION_LENGTH, RESPONSE_LENGTH},
};
use socket2::SockFilter;

/// Bytes kept of a packet: an IPv6 header (or IPv4 with up to 20 bytes of options), UDP, and the longest message.
pub const SNAP_LENGTH: usize = 40 + UDP_HEADER + INITIATION_LENGTH;

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

/// A program that accepts nothing, for raw sockets that only send.
pub(crate) const fn nothing() -> [SockFilter; 1] {
    [SockFilter::new(RETURN, 0, 0, 0)]
}

fn program(port: u16) -> Vec<Instruction> {
    let port = u32::from(port);
    // A line of the listing: at index, code, operand, next if true, next if false.
    let listing: [(u16, u32, u8, u8); 36] = [
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
        /* 20 */ (IF_EQUAL, port, 21, DROP),
        // The first four bytes of the payload, and the UDP length that goes with them.
        /* 21 */
        (LOAD_WORD_AT_X, 8, 22, 22),
        /* 22 */ (IF_EQUAL, message_type(1), 26, 23),
        /* 23 */ (IF_EQUAL, message_type(2), 28, 24),
        /* 24 */ (IF_EQUAL, message_type(3), 30, 25),
        /* 25 */ (IF_EQUAL, u32::from_be_bytes(inert::MAGIC), 32, DROP),
        /* 26 */ (LOAD_HALF_AT_X, 4, 27, 27),
        /* 27 */ (IF_EQUAL, udp_length(INITIATION_LENGTH), ACCEPT, DROP),
        /* 28 */ (LOAD_HALF_AT_X, 4, 29, 29),
        /* 29 */ (IF_EQUAL, udp_length(RESPONSE_LENGTH), ACCEPT, DROP),
        /* 30 */ (LOAD_HALF_AT_X, 4, 31, 31),
        /* 31 */ (IF_EQUAL, udp_length(COOKIE_REPLY_LENGTH), ACCEPT, DROP),
        /* 32 */ (LOAD_HALF_AT_X, 4, 33, 33),
        /* 33 */ (IF_EQUAL, udp_length(inert::LENGTH), ACCEPT, DROP),
        /* 34 */ (RETURN, operand(SNAP_LENGTH), 0, 0),
        /* 35 */ (RETURN, 0, 0, 0),
    ];
    (0..)
        .zip(listing)
        .map(|(at, line)| assemble(at, line))
        .collect()
}

const ACCEPT: u8 = 34;
const DROP: u8 = 35;

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
mod tests {
    use super::*;

    const PORT: u16 = 51820;

    /// What is known about a packet besides its bytes.
    #[derive(Clone, Copy)]
    struct About {
        packet_type: u32,
        hardware_type: u32,
    }

    const ARRIVED: About = About {
        packet_type: 0,
        hardware_type: 1,
    };

    /// Runs a program as the kernel does: a load beyond the packet ends it with zero.
    fn run(program: &[Instruction], packet: &[u8], about: About) -> u32 {
        let load = |at: usize, size: usize| -> Option<u32> {
            let bytes = packet.get(at..at + size)?;
            Some(
                bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u32::from(*byte)),
            )
        };
        let (mut a, mut x, mut next) = (0, 0, 0);
        loop {
            let Instruction {
                code,
                jump_true,
                jump_false,
                operand,
            } = program[next];
            next += 1;
            let at = usize::try_from(operand).unwrap();
            let loaded = match code {
                LOAD_WORD if operand == PACKET_TYPE => Some(about.packet_type),
                LOAD_WORD if operand == HARDWARE_TYPE => Some(about.hardware_type),
                LOAD_HALF => load(at, 2),
                LOAD_BYTE => load(at, 1),
                LOAD_WORD_AT_X => load(x + at, 4),
                LOAD_HALF_AT_X => load(x + at, 2),
                AND => Some(a & operand),
                _ => Some(a),
            };
            let Some(value) = loaded else { return 0 };
            a = value;
            match code {
                SET_X => x = at,
                SET_X_TO_IPV4_HEADER => x = usize::from(packet[at] & 0xf) * 4,
                JUMP => next += at,
                IF_EQUAL => next += usize::from(if a == operand { jump_true } else { jump_false }),
                IF_ANY_BIT => {
                    next += usize::from(if a & operand == 0 {
                        jump_false
                    } else {
                        jump_true
                    });
                }
                RETURN => return operand,
                _ => {}
            }
        }
    }

    fn passes(packet: &[u8]) -> bool {
        run(&program(PORT), packet, ARRIVED) != 0
    }

    fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len() + 8).unwrap();
        let mut segment: Vec<u8> = [source, destination, length, 0]
            .into_iter()
            .flat_map(u16::to_be_bytes)
            .collect();
        segment.extend(payload);
        segment
    }

    fn v4(options: usize, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 20 + options];
        packet[0] = 0x45 + u8::try_from(options / 4).unwrap();
        packet[6] = 0x40;
        packet[9] = 17;
        packet.extend(body);
        packet
    }

    fn v6(next_header: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[0] = 0x60;
        packet[6] = next_header;
        packet.extend(body);
        packet
    }

    fn payload(first: [u8; 4], length: usize) -> Vec<u8> {
        let mut payload = vec![0; length];
        payload[..4].copy_from_slice(&first);
        payload
    }

    const INITIATION: [u8; 4] = [1, 0, 0, 0];

    #[test]
    fn each_message_passes_with_its_exact_length_only() {
        let messages = [
            (INITIATION, 148),
            ([2, 0, 0, 0], 92),
            ([3, 0, 0, 0], 64),
            (inert::MAGIC, inert::LENGTH),
        ];
        for (first, length) in messages {
            for (off, expected) in [(length - 1, false), (length, true), (length + 1, false)] {
                let body = udp(PORT, 40000, &payload(first, off));
                assert_eq!(passes(&v4(0, &body)), expected, "{first:?} {off}");
                assert_eq!(passes(&v6(17, &body)), expected, "{first:?} {off}");
            }
        }
    }

    #[test]
    fn data_never_passes() {
        for length in [32, 64, 92, 104, 148] {
            assert!(!passes(&v4(
                0,
                &udp(PORT, PORT, &payload([4, 0, 0, 0], length))
            )));
        }
    }

    #[test]
    fn either_port_will_do_and_one_must_be_ours() {
        let body = |from, to| v4(0, &udp(from, to, &payload(INITIATION, 148)));
        assert!(passes(&body(PORT, 1)) && passes(&body(1, PORT)));
        assert!(!passes(&body(1, 2)));
    }

    #[test]
    fn ip_options_do_not_hide_a_message() {
        for options in [4, 20, 40] {
            assert!(passes(&v4(
                options,
                &udp(PORT, PORT, &payload(INITIATION, 148))
            )));
        }
    }

    #[test]
    fn fragments_other_protocols_and_extension_headers_are_dropped() {
        let body = udp(PORT, PORT, &payload(INITIATION, 148));
        for (at, value) in [(6, 0x20), (7, 1), (9, 6)] {
            let mut packet = v4(0, &body);
            packet[at] = value;
            assert!(!passes(&packet));
        }
        assert!(!passes(&v6(44, &body)));
        assert!(!passes(&[0x50; 60]));
    }

    #[test]
    fn packets_for_other_hosts_and_on_loopback_are_dropped() {
        let packet = v4(0, &udp(PORT, PORT, &payload(INITIATION, 148)));
        let outgoing = About {
            packet_type: 4,
            ..ARRIVED
        };
        assert_eq!(run(&program(PORT), &packet, outgoing), 196);
        assert_eq!(
            run(
                &program(PORT),
                &packet,
                About {
                    packet_type: OTHER_HOST,
                    ..ARRIVED
                }
            ),
            0
        );
        assert_eq!(
            run(
                &program(PORT),
                &packet,
                About {
                    hardware_type: LOOPBACK,
                    ..ARRIVED
                }
            ),
            0
        );
    }

    #[test]
    fn a_packet_cut_off_anywhere_is_dropped_and_not_misread() {
        let packet = v4(0, &udp(PORT, PORT, &payload(INITIATION, 148)));
        for length in 1..32 {
            assert!(!passes(&packet[..length]), "{length}");
        }
    }
}
