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
            LOAD_WORD => load(at, 4),
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
fn to_the_port_of_the_overlay_only_size_probes_pass_whatever_their_length_and_so_beside_the_tunnel()
{
    for length in [116, 600, 1400] {
        for (first, expected) in [
            (size::MAGIC, true),
            (inert::MAGIC, false),
            ([8, 0, 0, 0], false),
        ] {
            let body = udp(40000, OVERLAY_PORT, &payload(first, length));
            assert_eq!(passes(&v4(0, &body)), expected, "{first:?} {length}");
            assert_eq!(passes(&v6(17, &body)), expected, "{first:?} {length}");
        }
    }
    let from_it = udp(OVERLAY_PORT, 40000, &payload(size::MAGIC, 600));
    assert!(!passes(&v4(0, &from_it)));
    let beside_the_tunnel = udp(PORT, PORT, &payload(size::MAGIC, 600));
    assert!(passes(&v4(0, &beside_the_tunnel)));
    let elsewhere = udp(9000, 9001, &payload(size::MAGIC, 600));
    assert!(!passes(&v4(0, &elsewhere)));
}

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

#[test]
fn behind_the_firewall_only_size_probes_to_the_ports_of_overlay_and_tunnel_are_taken() {
    let taken = |family, packet: &[u8]| run(&delivered_program(family, PORT), packet, ARRIVED);
    for (port, first, expected) in [
        (OVERLAY_PORT, size::MAGIC, 0xffff),
        (OVERLAY_PORT, [8, 0, 0, 0], 0),
        (PORT, size::MAGIC, 0xffff),
        (PORT, [4, 0, 0, 0], 0),
        (9000, size::MAGIC, 0),
    ] {
        let body = udp(40000, port, &payload(first, 600));
        assert_eq!(taken(IpFamily::V4, &v4(0, &body)), expected);
        assert_eq!(taken(IpFamily::V4, &v4(8, &body)), expected);
        assert_eq!(taken(IpFamily::V6, &body), expected);
    }
}

#[test]
fn the_sockets_of_the_echo_to_node_addresses_take_datagrams_of_its_kind_and_length_alone() {
    let taken = |payload: &[u8]| {
        let segment = udp(40000, 21820, payload);
        run(&node_echoes_program(), &segment, ARRIVED)
    };
    assert_eq!(taken(&payload(node_echo::MAGIC, node_echo::LENGTH)), 0xffff);
    for length in [4, node_echo::LENGTH - 1, node_echo::LENGTH + 1] {
        assert_eq!(taken(&payload(node_echo::MAGIC, length)), 0, "{length}");
    }
    for magic in [echo::MAGIC, size::MAGIC, inert::MAGIC] {
        assert_eq!(taken(&payload(magic, node_echo::LENGTH)), 0);
    }
}

#[test]
fn replies_to_echo_requests_go_to_the_second_socket_and_all_else_to_the_first() {
    let chosen = |payload: &[u8]| run(&replies_program(), payload, ARRIVED);
    let key = probe_core::ProbeKey::from_bytes([1; 32]);
    let node = evidence::PublicKey::from_bytes([2; 32]);
    let answers = echo::Request {
        sender: node,
        receiver: node,
        session: 1,
        sequence: 2,
    };
    let reply = echo::Reply {
        answers,
        first: 0,
        heard: 1,
        wall: echo::Walls::default(),
    };
    assert_eq!(chosen(&echo::Datagram::Reply(reply).encode(&key)), REPLIES);
    let request = echo::Datagram::Request(answers).encode(&key);
    for other in [
        &request[..],
        b"",
        b"mPe1\x01",
        b"\0mPs\x01\x02\0\0",
        b"mPe3\x01\x02",
    ] {
        assert_eq!(chosen(other), 0, "{other:?}");
    }
}

const PEER: [u8; 4] = [203, 0, 113, 7];

fn kept_of_data(packet: &[u8]) -> u32 {
    let other = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
    run(
        &data::program(PORT, &[PEER.into(), other.into()]),
        packet,
        ARRIVED,
    )
}

fn ipv4_between(source: [u8; 4], destination: [u8; 4], segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    packet.extend(segment);
    packet
}

fn ipv6_between(source: u8, destination: u8, segment: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
    for last in [source, destination] {
        packet.extend([
            0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last,
        ]);
    }
    packet.extend(segment);
    packet
}

#[test]
fn headers_of_data_messages_of_the_wanted_peers_pass_and_nothing_of_the_messages() {
    let message = [&[4, 0, 0, 0][..], &[9; 60]].concat();
    let (there, back) = (udp(PORT, 41_000, &message), udp(41_000, PORT, &message));
    let me = [198, 51, 100, 1];
    assert_eq!(kept_of_data(&ipv4_between(me, PEER, &there)), 28);
    assert_eq!(kept_of_data(&ipv4_between(PEER, me, &back)), 28);
    assert_eq!(kept_of_data(&ipv6_between(1, 7, &there)), 48);
    assert_eq!(kept_of_data(&ipv6_between(7, 1, &back)), 48);
}

#[test]
fn other_messages_peers_ports_and_fragments_do_not_pass_a_look_for_data() {
    let message = [&[4, 0, 0, 0][..], &[9; 60]].concat();
    let me = [198, 51, 100, 1];
    let good = udp(PORT, PORT, &message);
    let mut fragment = ipv4_between(me, PEER, &good);
    fragment[7] = 1;
    let mut tcp = ipv6_between(1, 7, &good);
    tcp[6] = 6;
    let handshake = udp(PORT, PORT, &[1, 0, 0, 0]);
    for packet in [
        ipv4_between(me, [203, 0, 113, 8], &good),
        ipv6_between(1, 8, &good),
        ipv4_between(me, PEER, &handshake),
        ipv4_between(me, PEER, &udp(9000, 9001, &message)),
        ipv6_between(1, 7, &udp(9000, 9001, &message)),
        fragment,
        tcp,
        ipv4_between(me, PEER, &good[..8]),
        Vec::new(),
        vec![0x50; 100],
    ] {
        assert_eq!(kept_of_data(&packet), 0, "{packet:?}");
    }
}

#[test]
fn a_look_for_more_peers_than_fit_takes_the_first_ones() {
    let remotes: Vec<_> = (0..=16_u8).map(|last| [203, 0, 113, last].into()).collect();
    let message = udp(PORT, PORT, &[4, 0, 0, 0]);
    let kept = |last| {
        let packet = ipv4_between([203, 0, 113, last], [198, 51, 100, 1], &message);
        run(&data::program(PORT, &remotes), &packet, ARRIVED)
    };
    assert_eq!((kept(0), kept(15), kept(16)), (28, 28, 0));
}
