//! Inert datagrams and the tracker that counts them.

use std::{net::SocketAddr, time::Duration};

use evidence::Moment;
use probe_core::inert::{Datagram, InertTracker};

use super::{ME, PEERS, flipped, node, probe_key};
use crate::{
    Target,
    script::{MAX_STEPS, Script},
};

pub(crate) const TARGET: Target = Target {
    name: "inert",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut play = Play::new();
    for _ in 0..MAX_STEPS {
        if play.step(&mut script).is_none() {
            return;
        }
    }
}

struct Play {
    tracker: InertTracker,
    now: Moment,
    last: Vec<u8>,
    counted: u64,
}

impl Play {
    fn new() -> Self {
        let mut tracker = InertTracker::new(ME, probe_key());
        for peer in PEERS {
            tracker.add_peer(peer);
        }
        Self {
            tracker,
            now: Moment::ZERO,
            last: Vec::new(),
            counted: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 5 {
            0 => self.receive(script.chunk()?),
            1 => self.receive(&datagram(script)?.encode(&probe_key())),
            2 => {
                let passed = Duration::from_millis(script.u16()?.into());
                self.now = self.now.plus(passed);
            }
            3 => {
                let last = self.last.clone();
                let counted = self.counted;
                self.receive(&last);
                assert_eq!(self.counted, counted, "a replay counts");
            }
            _ => {
                let changed = flipped(&self.last, script.u16()?);
                let both =
                    [&self.last, &changed].map(|bytes| Datagram::decode(bytes, &probe_key()));
                assert!(both.iter().any(Result::is_err), "a bit may be changed");
                self.receive(&changed);
            }
        }
        Some(())
    }

    fn receive(&mut self, bytes: &[u8]) {
        let decoded = Datagram::decode(bytes, &probe_key());
        if let Ok(datagram) = decoded {
            assert_eq!(
                Datagram::decode(&datagram.encode(&probe_key()), &probe_key()),
                decoded
            );
        }
        let from = SocketAddr::from(([192, 0, 2, 1], 51820));
        if let Ok(peer) = self.tracker.handle(bytes, from, self.now) {
            let datagram = decoded.expect("only an authentic datagram counts");
            assert_eq!((datagram.sender, datagram.receiver), (peer, ME));
            assert!(PEERS.contains(&peer), "{peer:?} counts");
            self.counted += 1;
        }
        self.last = bytes.to_vec();
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.tracker.counters().heard, self.counted);
        let heard: u64 = self
            .tracker
            .peers()
            .map(|(_, heard)| heard.stats.heard)
            .sum();
        assert_eq!(heard, self.counted);
        for (_, heard) in self.tracker.peers() {
            let window = heard.stats.window;
            assert!(window.missing <= window.expected, "{heard:?}");
        }
    }
}

fn datagram(script: &mut Script<'_>) -> Option<Datagram> {
    Some(Datagram {
        sender: node(script.byte()?),
        receiver: node(script.byte()?),
        session: script.number()?,
        sequence: script.number()?,
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let first = Datagram {
        sender: PEERS[0],
        receiver: ME,
        session: 1,
        sequence: 0,
    };
    let raw = first.encode(&probe_key());
    let length = u8::try_from(raw.len()).expect("an inert datagram is short");
    vec![
        [&[0, length], &raw[..]].concat(),
        [
            [1, 1, 0, 5, 0],
            [3, 2, 10, 0, 1],
            [1, 0, 5, 9, 1],
            [1, 0, 5, 8, 1],
            [1, 0, 6, 0, 1],
        ]
        .concat(),
        (0..100)
            .flat_map(|sequence| [1, 2, 0, 5, sequence])
            .collect(),
        [
            &[1, 1, 0, 255][..],
            &[255; 8],
            &[255],
            &[255; 8],
            &[1, 1, 0, 255],
            &[255; 8],
            &[0],
        ]
        .concat(),
        vec![1, 1, 2, 1, 1, 1, 3, 0, 1, 1, 1, 0, 0, 1, 1, 4, 40, 3],
    ]
}
