//! Inert datagrams, the tracker that counts and answers probes, and the prober that takes replies.

use std::net::SocketAddr;

use probe_core::{
    Stamp,
    inert::{Arrived, Datagram, InertProber, InertTracker, Input, LENGTH, Output, Probe, Reply},
};

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

/// That of the prober.
const SESSION: u64 = 7;

struct Play {
    tracker: InertTracker,
    prober: InertProber,
    now: Stamp,
    last: Vec<u8>,
    counted: u64,
    unsolicited: u64,
    sent: u64,
}

impl Play {
    fn new() -> Self {
        let mut tracker = InertTracker::new(ME, probe_key());
        for peer in PEERS {
            tracker.add_peer(peer);
        }
        Self {
            tracker,
            prober: InertProber::new(ME, probe_key(), SESSION),
            now: Stamp::default(),
            last: Vec::new(),
            counted: 0,
            unsolicited: 0,
            sent: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 8 {
            0 => self.receive(script.chunk()?),
            1 => self.receive(&Datagram::Probe(probe(script)?).encode(&probe_key())),
            2 => {
                let passed = u64::from(script.u16()?) * 1000;
                self.now = Stamp::from_micros(self.now.as_micros() + passed);
            }
            3 => {
                let last = self.last.clone();
                let (counted, answered) = (self.counted, self.answered());
                self.receive(&last);
                assert_eq!(self.counted, counted, "a replay counts");
                assert_eq!(self.answered(), answered, "a repeated reply counts");
            }
            5 => self.receive(&reply(script)?.encode(&probe_key())),
            6 => self.probe(),
            7 => self.receive(&Datagram::Unsolicited(probe(script)?).encode(&probe_key())),
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

    fn probe(&mut self) {
        for peer in PEERS {
            let endpoint = from();
            self.prober
                .handle(Input::Suspect { peer, endpoint }, self.now);
        }
        while let Output::Transmit { .. } = self.prober.poll() {
            self.sent += 1;
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        let decoded = Datagram::decode(bytes, &probe_key());
        if let Ok(datagram) = decoded {
            assert_eq!(
                Datagram::decode(&datagram.encode(&probe_key()), &probe_key()),
                decoded
            );
        }
        let arrived = Arrived {
            payload: bytes,
            from: from(),
            hop_limit: 61,
            at: self.now,
        };
        if let Ok(counted) = self.tracker.handle(&arrived, self.now) {
            let Ok(Datagram::Probe(probe) | Datagram::Unsolicited(probe)) = decoded else {
                panic!("only an authentic probe counts");
            };
            self.unsolicited += u64::from(matches!(decoded, Ok(Datagram::Unsolicited(_))));
            assert_eq!((probe.sender, probe.receiver), (counted.peer, ME));
            assert!(PEERS.contains(&counted.peer), "{counted:?} counts");
            self.counted += 1;
            if let Some(reply) = counted.reply {
                check_reply(&probe, bytes, &reply);
            }
        }
        let reply = Input::Reply {
            bytes,
            hop_limit: 61,
            received: self.now,
        };
        self.prober.handle(reply, self.now);
        self.last = bytes.to_vec();
        self.check();
    }

    fn answered(&self) -> u64 {
        let answered = self.prober.peers().filter_map(|(_, stats)| stats.answered);
        answered.map(|answered| answered.count).sum()
    }

    fn check(&self) {
        let counters = self.tracker.counters();
        let solicited = self.counted - self.unsolicited;
        assert_eq!(
            (counters.heard, counters.unsolicited),
            (solicited, self.unsolicited)
        );
        assert_eq!(counters.replied + counters.replies_withheld, solicited);
        assert!(
            self.answered() <= self.sent,
            "more replies than probes count"
        );
        let heard: u64 = self
            .tracker
            .peers()
            .map(|(_, heard)| heard.stats.heard)
            .sum();
        assert_eq!(heard, solicited);
        for (_, heard) in self.tracker.peers() {
            let window = heard.stats.window;
            assert!(window.missing <= window.expected, "{heard:?}");
        }
    }
}

/// It goes to who asked, repeats what was asked, and is no longer.
fn check_reply(probe: &Probe, bytes: &[u8], reply: &[u8; LENGTH]) {
    assert!(reply.len() <= bytes.len(), "a reply amplifies");
    let Ok(Datagram::Reply(reply)) = Datagram::decode(reply, &probe_key()) else {
        panic!("a reply is none: {reply:?}");
    };
    let turned = Probe {
        sender: reply.answers.receiver,
        receiver: reply.answers.sender,
        ..reply.answers
    };
    assert_eq!((&turned, reply.mapped), (probe, from()));
}

fn from() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 51820))
}

fn probe(script: &mut Script<'_>) -> Option<Probe> {
    Some(Probe {
        sender: node(script.byte()?),
        receiver: node(script.byte()?),
        session: script.number()?,
        sequence: script.number()?,
    })
}

fn reply(script: &mut Script<'_>) -> Option<Datagram> {
    Some(Datagram::Reply(Reply {
        answers: probe(script)?,
        mapped: from(),
        hop_limit: script.byte()?,
        received: Stamp::from_micros(script.number()?),
        answered: Stamp::from_micros(script.number()?),
    }))
}

fn seeds() -> Vec<Vec<u8>> {
    let first = Datagram::Probe(Probe {
        sender: PEERS[0],
        receiver: ME,
        session: 1,
        sequence: 0,
    });
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
        // Two rounds of probes, replies to the first and the second, and a reply that nobody asked for.
        [
            &[6, 2, 232, 3, 6][..],
            &[5, 1, 0, 7, 0, 61, 9, 9],
            &[5, 1, 0, 7, 1, 61, 0, 9],
            &[5, 1, 0, 7, 9, 61, 0, 9, 3],
        ]
        .concat(),
        vec![1, 1, 2, 1, 1, 1, 3, 0, 1, 1, 1, 0, 0, 1, 1, 4, 40, 3],
    ]
}
