//! Handshake datagrams of `WireGuard` as the tap sees them, and the book that is kept of them.

use std::net::SocketAddr;

use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{FixedOutput, KeyInit, Update, consts::U16},
};
use evidence::Moment;
use probe_core::{
    sightings::{Direction, MAX_ARRIVALS, MAX_INITIATED, Sighting, Sightings},
    wireguard::{COOKIE_REPLY_LENGTH, Handshake, INITIATION_LENGTH, RESPONSE_LENGTH},
};

use super::{ME, NODES, PEERS, flipped};
use crate::{
    Target,
    script::{MAX_STEPS, Script},
};

pub(crate) const TARGET: Target = Target {
    name: "wireguard-handshake",
    run,
    seeds,
};

/// Where `mac1` begins, behind what it covers.
const MAC1_AT: usize = 116;
/// Leading bytes that decide for whom an initiation is: what `mac1` covers, and itself.
const DECIDING: usize = 132;

fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut sightings = Sightings::new(Some(&ME));
    for peer in PEERS {
        sightings.add_peer(peer);
    }
    let mut now = Moment::ZERO;
    for _ in 0..MAX_STEPS {
        let Some((header, payload)) = script.byte().zip(script.chunk()) else {
            break;
        };
        now = now.plus(std::time::Duration::from_millis(
            u64::from(header >> 2) * 100,
        ));
        see(&mut sightings, header, payload, now);
    }
    assert!(sightings.arrivals().count() <= MAX_ARRIVALS);
    for peer in PEERS {
        assert!(sightings.initiated(&peer).count() <= MAX_INITIATED);
    }
}

fn see(sightings: &mut Sightings, header: u8, payload: &[u8], now: Moment) {
    let Ok(handshake) = Handshake::parse(payload) else {
        return;
    };
    let length = match &handshake {
        Handshake::Initiation(_) => INITIATION_LENGTH,
        Handshake::Response { .. } => RESPONSE_LENGTH,
        Handshake::CookieReply { .. } => COOKIE_REPLY_LENGTH,
    };
    assert_eq!(payload.len(), length, "WireGuard would drop it");
    if let Handshake::Initiation(initiation) = &handshake {
        let dialled = NODES.iter().filter(|node| initiation.is_for(node)).count();
        assert!(dialled <= 1, "one initiation is for {dialled} nodes");
        if dialled == 1 {
            is_for_nobody_when_changed(payload, u16::from(header) * 3);
        }
    }
    let direction = if header & 1 == 0 {
        Direction::In
    } else {
        Direction::Out
    };
    let remote = SocketAddr::from(([192, 0, 2, header >> 1 & 1], 51820));
    sightings.handle(
        &Sighting {
            direction,
            remote,
            handshake,
        },
        now,
    );
}

fn is_for_nobody_when_changed(payload: &[u8], bit: u16) {
    let changed = flipped(&payload[..DECIDING], bit);
    let changed = [&changed, &payload[DECIDING..]].concat();
    if let Ok(Handshake::Initiation(initiation)) = Handshake::parse(&changed) {
        assert!(
            !NODES.iter().any(|node| initiation.is_for(node)),
            "bit {bit}"
        );
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let message = |kind: u8, length: usize| {
        let mut bytes = vec![0; length];
        bytes[0] = kind;
        bytes[4] = 9;
        bytes
    };
    let seen = |header: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("handshake messages are short");
        [&[header, length], payload].concat()
    };
    let (initiation, response, cookie) = (
        message(1, INITIATION_LENGTH),
        message(2, RESPONSE_LENGTH),
        message(3, COOKIE_REPLY_LENGTH),
    );
    let dialled = dialled();
    vec![
        seen(0, &initiation),
        [seen(1, &dialled), seen(8, &response), seen(0, &cookie)].concat(),
        [seen(0, &dialled), seen(9, &response), seen(1, &cookie)].concat(),
        [seen(0, &dialled), seen(2, &dialled), seen(0, &dialled[1..])].concat(),
        seen(0, &message(4, 32)),
    ]
}

/// An initiation that dials [`ME`], as far as can be told without decrypting it.
fn dialled() -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 9, 0, 0, 0];
    bytes.resize(INITIATION_LENGTH, 7);
    let key = Blake2s256::new()
        .chain_update(b"mac1----")
        .chain_update(ME.as_bytes());
    let key = key.finalize();
    let mut mac = Blake2sMac::<U16>::new(&key);
    Update::update(&mut mac, &bytes[..MAC1_AT]);
    bytes[MAC1_AT..DECIDING].copy_from_slice(&mac.finalize_fixed());
    bytes
}
