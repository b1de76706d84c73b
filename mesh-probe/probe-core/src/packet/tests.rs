use proptest::prelude::*;

use super::*;

const V4: ([u8; 4], [u8; 4]) = ([203, 0, 113, 11], [198, 51, 100, 2]);

fn segment(payload: &[u8]) -> Vec<u8> {
    let (source, destination) = (
        SocketAddr::from((V4.0, 51820)),
        SocketAddr::from((V4.1, 40000)),
    );
    build_udp(source, destination, payload).unwrap()
}

fn v4(options: &[u8], body: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut packet = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    packet.extend(u16::try_from(header + body.len()).unwrap().to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 61, 17, 0, 0]);
    packet.extend(V4.0);
    packet.extend(V4.1);
    packet.extend(options);
    packet.extend(body);
    packet
}

fn v6(next_header: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    packet.extend([next_header, 62]);
    packet.extend(Ipv6Addr::LOCALHOST.octets());
    packet.extend(Ipv6Addr::UNSPECIFIED.octets());
    packet.extend(body);
    packet
}

#[test]
fn an_ipv4_datagram_is_read_with_and_without_options() {
    for options in [&[][..], &[1; 4], &[1; 40]] {
        let packet = v4(options, &segment(b"hello"));
        let datagram = parse(&packet).unwrap();
        assert_eq!(datagram.source, SocketAddr::from((V4.0, 51820)));
        assert_eq!(datagram.destination, SocketAddr::from((V4.1, 40000)));
        assert_eq!((datagram.hop_limit, datagram.payload), (61, &b"hello"[..]));
    }
}

#[test]
fn an_ipv6_datagram_is_read() {
    let packet = v6(UDP, &segment(b"hello"));
    let datagram = parse(&packet).unwrap();
    assert_eq!(
        datagram.source,
        SocketAddr::from((Ipv6Addr::LOCALHOST, 51820))
    );
    assert_eq!((datagram.hop_limit, datagram.payload), (62, &b"hello"[..]));
}

#[test]
fn padding_of_the_link_is_not_payload() {
    let mut packet = v4(&[], &segment(b"x"));
    packet.extend([0; 17]);
    assert_eq!(parse(&packet).unwrap().payload, b"x");
}

#[test]
fn fragments_are_refused_in_both_families() {
    for (at, value) in [(6, 0x20), (7, 1)] {
        let mut packet = v4(&[], &segment(b"x"));
        packet[at] = value;
        assert_eq!(parse(&packet), Err(PacketError::Fragment));
    }
    assert_eq!(
        parse(&v6(FRAGMENT_HEADER, &[0; 16])),
        Err(PacketError::Fragment)
    );
}

#[test]
fn a_captured_head_of_a_longer_packet_is_truncated() {
    let packet = v4(&[], &segment(&[7; 300]));
    assert_eq!(
        parse(&packet[..200]),
        Err(PacketError::Truncated {
            header: "IPv4",
            found: 180,
            expected: 308
        })
    );
}

#[test]
fn lengths_that_contradict_their_header_are_refused() {
    let mut packet = v4(&[], &segment(b"x"));
    packet[0] = 0x44;
    assert_eq!(
        parse(&packet),
        Err(PacketError::Length {
            header: "IPv4",
            found: 16
        })
    );
    let mut packet = v4(&[], &segment(b"x"));
    packet[3] = 19;
    assert_eq!(
        parse(&packet),
        Err(PacketError::Length {
            header: "IPv4",
            found: 19
        })
    );
    let mut packet = v4(&[], &segment(b"x"));
    packet[25] = 7;
    assert_eq!(
        parse(&packet),
        Err(PacketError::Length {
            header: "UDP",
            found: 7
        })
    );
    packet[25] = 200;
    assert_eq!(
        parse(&packet),
        Err(PacketError::Truncated {
            header: "UDP",
            found: 9,
            expected: 200
        })
    );
}

#[test]
fn what_is_not_udp_is_refused() {
    assert_eq!(
        parse(&[]),
        Err(PacketError::Truncated {
            header: "IP",
            found: 0,
            expected: 1
        })
    );
    assert_eq!(parse(&[0x50]), Err(PacketError::Version(5)));
    assert_eq!(parse(&v6(6, &[0; 20])), Err(PacketError::NotUdp(6)));
    assert_eq!(
        parse(&v6(UDP, &[0; 5])),
        Err(PacketError::Truncated {
            header: "UDP",
            found: 5,
            expected: 8
        })
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_change_of_a_real_packet_is_read_or_refused_without_a_panic(
        at in 0_usize..48, value: u8, cut in 0_usize..60,
    ) {
        for mut packet in [v4(&[1; 4], &segment(&[7; 20])), v6(UDP, &segment(&[7; 20]))] {
            packet[at] = value;
            packet.truncate(cut);
            let _ = parse(&packet);
        }
    }
}

#[test]
fn a_packet_that_was_cut_off_by_the_capture_is_read_as_far_as_it_goes() {
    let whole = v4(&[], &segment(b"hello"));
    let expected = parse(&whole).unwrap();
    assert_eq!(parse_cut(&whole), Ok(expected));
    let cut = &whole[..whole.len() - 3];
    assert!(parse(cut).is_err());
    let read = parse_cut(cut).unwrap();
    assert_eq!(read.packet_length, whole.len());
    assert_eq!(
        read.payload,
        &expected.payload[..expected.payload.len() - 3]
    );
    for length in 0..28 {
        assert!(parse_cut(&whole[..length]).is_err(), "{length}");
    }
}
