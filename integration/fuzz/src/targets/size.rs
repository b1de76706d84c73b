//! Size probes: the prober of one node, the responder of another, and a way between them that a script makes.

use std::{net::Ipv6Addr, time::Duration};

use evidence::{Layer, Moment};
use probe_core::size::{Input, MAGIC, Output, Seen, SizeProber, SizeResponder, TALLY_LENGTH};

use super::{LastSecond, ME, PEERS, flipped, probe_key};
use crate::{
    Target,
    script::{MAX_STEPS, Script},
};

pub(crate) const TARGET: Target = Target {
    name: "size",
    run,
    seeds,
};

const FULL: u16 = 1420;
/// IPv6 and UDP.
const HEADERS: usize = 48;
/// Packets of the prober that are carried after one tick, at most.
const CARRIED: usize = 32;
/// Packets in one second that the prober may send on two layers: full-size ones, and two searches' rounds.
const MOST_A_SECOND: usize = 8 + 2 * 20;

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
    prober: SizeProber,
    responder: SizeResponder,
    now: Moment,
    limit: usize,
    probe: Vec<u8>,
    tally: Vec<u8>,
    sent: LastSecond,
}

impl Play {
    fn new() -> Self {
        let peer = PEERS[0];
        let mut responder = SizeResponder::new(peer, probe_key());
        responder.add_peer(ME);
        let mut prober = SizeProber::new(ME, probe_key(), 7, 9);
        for layer in Layer::ALL {
            let to = Ipv6Addr::LOCALHOST.into();
            let target = Input::Target {
                peer,
                layer,
                to,
                full: FULL,
            };
            prober.handle(target, Moment::ZERO);
        }
        Self {
            prober,
            responder,
            now: Moment::ZERO,
            limit: usize::MAX,
            probe: Vec::new(),
            tally: Vec::new(),
            sent: LastSecond::default(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 6 {
            0 => self.stranger(script.chunk()?),
            1 => self.limit = script.u16()?.into(),
            2 => {
                let passed = Duration::from_millis(script.u16()?.into());
                self.now = self.now.plus(passed);
                self.prober.handle(Input::Tick, self.now);
                self.drain();
            }
            3 => self.changed(script.u16()?),
            4 => {
                let again = self.probe.clone();
                assert!(self.answer(&again).is_none(), "a replay is answered");
            }
            _ => {
                let tally = self.tally.clone();
                self.prober.handle(Input::Datagram(&tally), self.now);
            }
        }
        Some(())
    }

    /// Bytes of somebody without the key.
    fn stranger(&mut self, bytes: &[u8]) {
        let bytes = [&MAGIC[..], bytes].concat();
        assert!(self.answer(&bytes).is_none(), "a stranger is answered");
        let before = self.prober.sizes(&PEERS[0]);
        self.prober.handle(Input::Datagram(&bytes), self.now);
        assert_eq!(
            self.prober.sizes(&PEERS[0]),
            before,
            "a stranger is believed"
        );
    }

    /// What says something is authenticated; the zeros behind it are only as long as it says.
    fn changed(&mut self, bit: u16) {
        let said = self.probe.get(..TALLY_LENGTH).unwrap_or_default();
        let changed = flipped(said, bit);
        if !changed.is_empty() {
            assert!(self.answer(&changed).is_none(), "a bit may be changed");
        }
    }

    fn answer(&mut self, probe: &[u8]) -> Option<Vec<u8>> {
        let way = (Layer::Tunnel, Seen::Delivered);
        let packet = probe.len() + HEADERS;
        let answer = self.responder.handle(probe, way, packet, self.now);
        answer.ok().map(|(to, tally)| {
            assert_eq!(to, ME);
            assert!(
                tally.len() <= probe.len(),
                "an answer is longer than what was asked"
            );
            tally.to_vec()
        })
    }

    fn drain(&mut self) {
        for _ in 0..CARRIED {
            match self.prober.poll() {
                Output::Wait(until) => {
                    assert!(until > self.now, "time must pass");
                    return;
                }
                Output::Transmit { payload, .. } => self.carry(payload),
            }
        }
    }

    fn carry(&mut self, payload: Vec<u8>) {
        assert!(payload.len() + HEADERS <= usize::from(FULL));
        let in_a_second = self.sent.add(self.now);
        assert!(
            in_a_second <= MOST_A_SECOND,
            "{in_a_second} packets within a second"
        );
        if payload.len() + HEADERS <= self.limit
            && let Some(tally) = self.answer(&payload)
        {
            self.prober.handle(Input::Datagram(&tally), self.now);
            self.tally = tally;
        }
        self.probe = payload;
        for sizes in self.prober.sizes(&PEERS[0]) {
            let known = sizes
                .bracket
                .and_then(|bracket| Some((bracket.passed?, bracket.failed)));
            assert!(
                known.is_none_or(|(passed, failed)| passed < failed),
                "{sizes:?}"
            );
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let second = [2, 0xe8, 3];
    let narrow = [1, 0x14, 5];
    vec![
        second.repeat(20),
        [&narrow[..], &second.repeat(30)].concat(),
        [
            &second.repeat(8)[..],
            &narrow,
            &second.repeat(20),
            &[1, 0, 9],
            &second.repeat(8),
        ]
        .concat(),
        [&[1, 0, 0][..], &second.repeat(20)].concat(),
        [&second.repeat(4)[..], &[3, 40, 0, 4, 5, 3, 0, 3, 4, 5]].concat(),
        vec![0, 4, 1, 1, 0, 0, 2, 1, 0],
    ]
}
