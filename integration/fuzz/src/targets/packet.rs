//! IP packets as the tap captures them.

use std::net::{IpAddr, SocketAddr};

use probe_core::packet::{Datagram, MAX_PAYLOAD, UDP_HEADER_LENGTH, build_udp, parse, parse_cut};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "packet",
    run,
    seeds,
};

const IPV4_HEADER: usize = 20;

fn run(bytes: &[u8]) {
    let cut = parse_cut(bytes);
    let Ok(datagram) = parse(bytes) else {
        return;
    };
    assert_eq!(cut, Ok(datagram), "nothing was cut off");
    assert!(datagram.payload.len() + IPV4_HEADER + UDP_HEADER_LENGTH <= bytes.len());
    assert_eq!(datagram.source.is_ipv4(), datagram.destination.is_ipv4());
    if datagram.payload.len() <= MAX_PAYLOAD {
        let bare = packet(&datagram);
        let expected = Datagram {
            packet_length: bare.len(),
            ..datagram
        };
        assert_eq!(parse(&bare), Ok(expected));
    }
}

/// The packet that carries this datagram and nothing else.
fn packet(datagram: &Datagram<'_>) -> Vec<u8> {
    let Datagram {
        source,
        destination,
        hop_limit,
        payload,
        packet_length: _,
    } = *datagram;
    let segment = build_udp(source, destination, payload).expect("both ends are of one family");
    let length = u16::try_from(segment.len()).expect("the payload is limited");
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (length + 20).to_be_bytes();
            let head = [&[0x45, 0], &total[..], &[0, 0, 0, 0, hop_limit, 17, 0, 0]].concat();
            [&head, &from.octets()[..], &to.octets(), &segment].concat()
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let head = [
                &[0x60, 0, 0, 0],
                &length.to_be_bytes()[..],
                &[17, hop_limit],
            ]
            .concat();
            [&head, &from.octets()[..], &to.octets(), &segment].concat()
        }
        _ => unreachable!("both ends are of one family"),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let whole = |source: &str, destination: &str, payload: &[u8]| {
        let end = |text: &str| -> SocketAddr { text.parse().expect("the seeds name addresses") };
        packet(&Datagram {
            source: end(source),
            destination: end(destination),
            hop_limit: 64,
            packet_length: 0,
            payload,
        })
    };
    let v4 = whole("192.168.50.11:51820", "203.0.113.11:51820", b"hello");
    let v6 = whole("[2001:db8::1]:51820", "[2001:db8::2]:51820", b"hello");
    let with = |at: usize, byte: u8| {
        let mut bytes = v4.clone();
        bytes[at] = byte;
        bytes
    };
    // Padding of the link, options, a fragment, another protocol, lengths that lie, an extension header, cut off.
    let padded = [&v4[..], &[0; 13]].concat();
    let options = [
        &[0x46][..],
        &v4[1..3],
        &[v4[3] + 4],
        &v4[4..20],
        &[1; 4],
        &v4[20..],
    ]
    .concat();
    let mut extended = v6.clone();
    extended[6] = 44;
    let mut seeds = vec![padded, options, extended];
    seeds.extend([
        with(6, 0x20),
        with(9, 6),
        with(3, 1),
        with(25, 7),
        with(0, 0x4f),
        with(0, 0x44),
    ]);
    seeds.extend([v6[..39].to_vec(), v4[..27].to_vec(), v4, v6, Vec::new()]);
    seeds
}
