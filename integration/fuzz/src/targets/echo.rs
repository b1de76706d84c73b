//! Echo datagrams, and the two machines behind them: what an outsider may make them do.

use evidence::PublicKey;
use probe_core::{
    Stamp, Wall,
    echo::{
        Answer, ClockSample, Datagram, Input, LENGTH, MAX_EVENTS, MAX_REQUESTS_PER_SECOND, Output,
        Prober, Reply, Request, Responder, Walls,
    },
};

use super::{LastSecond, ME, PEERS, flipped, node, probe_key};
use crate::{
    Target,
    script::{MAX_STEPS, Script},
};

pub(crate) const TARGET: Target = Target {
    name: "echo",
    run,
    seeds,
};

/// More replies than this to one peer in a second would be worth an attacker's while.
const MAX_REPLIES_PER_SECOND: usize = 20;
/// Microseconds after which an answer is late, and tells no clock.
const ANSWERED_WITHIN: u64 = 1_000_000;
const SESSION: u64 = 7;

fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut play = Play::new();
    for _ in 0..MAX_STEPS {
        if play.step(&mut script).is_none() {
            return;
        }
    }
}

/// Both machines of one node, and what was seen of them.
struct Play {
    prober: Prober,
    responder: Responder,
    now: Stamp,
    last: Vec<u8>,
    /// The last datagram was answered, and the peer is still the same.
    last_was_answered: bool,
    asked: Option<Request>,
    requests: LastSecond,
    replies: [LastSecond; PEERS.len()],
}

impl Play {
    fn new() -> Self {
        let mut play = Self {
            prober: Prober::new(ME, probe_key(), SESSION, 1, MAX_REQUESTS_PER_SECOND),
            responder: Responder::new(ME, probe_key()),
            now: Stamp::from_micros(1_000_000),
            last: Vec::new(),
            last_was_answered: false,
            asked: None,
            requests: LastSecond::default(),
            replies: [LastSecond::default(), LastSecond::default()],
        };
        for peer in PEERS {
            play.responder.add_peer(peer);
            play.tell(Input::PeerAdded(peer));
        }
        play
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 8 {
            0 => self.receive(script.chunk()?),
            1 => self.receive(&encode(&Datagram::Request(request(script)?))),
            2 => {
                let (answers, first, heard) =
                    (request(script)?, script.number()?, script.number()?);
                let reply = Reply {
                    answers,
                    first,
                    heard,
                    wall: self.walls(),
                };
                self.receive(&encode(&Datagram::Reply(reply)));
            }
            3 => self.wait(script.u16()?),
            4 => {
                let last = self.last.clone();
                self.receive(&last);
            }
            5 => {
                let changed = flipped(&self.last, script.u16()?);
                let both =
                    [&self.last, &changed].map(|bytes| Datagram::decode(bytes, &probe_key()));
                assert!(both.iter().any(Result::is_err), "a bit may be changed");
                self.receive(&changed);
            }
            6 => self.change_peer(node(script.byte()?)),
            _ => self.answer_the_last_request(script.number()?, script.number()?),
        }
        Some(())
    }

    fn receive(&mut self, bytes: &[u8]) {
        let decoded = Datagram::decode(bytes, &probe_key());
        if let Ok(datagram) = decoded {
            assert_eq!(Datagram::decode(&encode(&datagram), &probe_key()), decoded);
        }
        let is_repeated = bytes == self.last && self.last_was_answered;
        let answer = self
            .responder
            .handle(bytes, self.now.moment(), self.walls());
        match answer {
            Answer::Reply(reply) => {
                assert!(!is_repeated, "a replay is answered");
                assert!(
                    reply.len() <= bytes.len(),
                    "a reply is larger than its request"
                );
                self.check_reply(&reply, decoded.ok());
            }
            Answer::Reject(_) => {}
        }
        self.last_was_answered = is_repeated || matches!(answer, Answer::Reply(_));
        self.last = bytes.to_vec();
        let received_at = self.now;
        self.tell(Input::Datagram { bytes, received_at });
    }

    fn check_reply(&mut self, reply: &[u8; LENGTH], request: Option<Datagram>) {
        let Some(Datagram::Request(request)) = request else {
            panic!("something else than an authentic request is answered: {request:?}");
        };
        let Ok(Datagram::Reply(reply)) = Datagram::decode(reply, &probe_key()) else {
            panic!("an answer is no reply");
        };
        assert_eq!(
            (reply.answers.sender, reply.answers.receiver),
            (ME, request.sender)
        );
        assert_eq!(reply.answers.session, request.session);
        assert_eq!(reply.answers.sequence, request.sequence);
        assert!(
            reply.first <= request.sequence && reply.heard > 0,
            "{reply:?}"
        );
        let peer = PEERS.iter().position(|peer| *peer == request.sender);
        let peer = peer.expect("only known peers are answered");
        let replies = self.replies[peer].add(self.now.moment());
        assert!(
            replies < MAX_REPLIES_PER_SECOND,
            "{replies} replies in a second"
        );
    }

    /// A clock that goes with the play.
    fn walls(&self) -> Walls {
        let micros = i64::try_from(self.now.as_micros()).unwrap_or(i64::MAX);
        let wall = Wall::from_micros(micros);
        Walls {
            received: wall,
            sent: wall,
        }
    }

    fn wait(&mut self, millis: u16) {
        let passed = u64::from(millis) * 1000;
        self.now = Stamp::from_micros(self.now.as_micros() + passed);
        self.tell(Input::Tick);
    }

    fn change_peer(&mut self, peer: PublicKey) {
        if self.responder.heard(&peer).is_some() {
            self.responder.remove_peer(&peer);
            self.tell(Input::PeerRemoved(peer));
        } else if let Some(place) = PEERS.iter().position(|known| *known == peer) {
            self.responder.add_peer(peer);
            self.tell(Input::PeerAdded(peer));
            self.replies[place] = LastSecond::default();
            self.last_was_answered = false;
        } else {
            self.tell(Input::Refused(peer));
        }
    }

    fn answer_the_last_request(&mut self, first: u64, heard: u64) {
        if let Some(asked) = self.asked {
            let answers = Request {
                sender: asked.receiver,
                receiver: asked.sender,
                ..asked
            };
            self.receive(&encode(&Datagram::Reply(Reply {
                answers,
                first,
                heard,
                wall: self.walls(),
            })));
        }
    }

    /// Hands in one input and drains the machine, which must come to rest.
    fn tell(&mut self, input: Input<'_>) {
        let is_tick = input == Input::Tick;
        self.prober.handle(input, self.now);
        for _ in 0..=MAX_EVENTS + PEERS.len() {
            match self.prober.poll() {
                Output::Transmit { to, bytes } => self.check_request(to, &bytes),
                Output::Event(_) => {}
                Output::Wait { until, .. } => {
                    let now = self.now.moment();
                    assert!(
                        !is_tick || until > now,
                        "it wants to be ticked at {until:?}, now is {now:?}"
                    );
                    return self.check_scores();
                }
            }
        }
        panic!("the prober does not come to rest");
    }

    fn check_request(&mut self, to: PublicKey, bytes: &[u8]) {
        let Ok(Datagram::Request(request)) = Datagram::decode(bytes, &probe_key()) else {
            panic!("what is sent is no request");
        };
        assert_eq!((request.sender, request.receiver), (ME, to));
        let sent = self.requests.add(self.now.moment());
        let limit = usize::try_from(MAX_REQUESTS_PER_SECOND).unwrap_or(usize::MAX);
        assert!(sent <= limit, "{sent} requests in a second");
        self.asked = Some(request);
    }

    fn check_scores(&self) {
        for (peer, stats) in self.prober.peers() {
            assert!(PEERS.contains(&peer), "{peer:?} is asked");
            assert!(stats.answered + stats.late <= stats.sent, "{stats:?}");
            assert!(stats.window.missing <= stats.window.expected, "{stats:?}");
            let forward = stats.forward.unwrap_or_default();
            assert!(forward.missing <= forward.expected, "{stats:?}");
            let told = |clock: ClockSample| {
                clock.at <= self.now && clock.error_micros <= ANSWERED_WITHIN / 2
            };
            assert!(stats.clock.is_none_or(told), "{stats:?}");
        }
        for (_, heard) in self.responder.peers() {
            assert!(heard.window.missing <= heard.window.expected, "{heard:?}");
        }
    }
}

fn request(script: &mut Script<'_>) -> Option<Request> {
    Some(Request {
        sender: node(script.byte()?),
        receiver: node(script.byte()?),
        session: script.number()?,
        sequence: script.number()?,
    })
}

fn encode(datagram: &Datagram) -> Vec<u8> {
    datagram.encode(&probe_key()).to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let foreign = Request {
        sender: PEERS[0],
        receiver: ME,
        session: 1,
        sequence: 0,
    };
    let raw = encode(&Datagram::Request(foreign));
    let length = u8::try_from(raw.len()).expect("an echo datagram is short");
    // A request, its replay, a gap, the number in the gap, the same of a new session, and of the old one again.
    let numbers = [
        [1, 1, 0, 5, 0],
        [4, 3, 10, 0, 1],
        [1, 0, 5, 9, 1],
        [1, 0, 5, 8, 1],
        [1, 0, 6, 0, 1],
    ];
    let many: Vec<u8> = (0..40)
        .flat_map(|sequence| [1, 1, 0, 5, sequence])
        .collect();
    vec![
        [&[0, length], &raw[..]].concat(),
        numbers.concat(),
        many,
        // Answered, answered late, not answered, and told by the network that nobody listens.
        [
            &[
                3, 0xd0, 7, 7, 0, 1, 3, 0xd0, 7, 3, 0xd0, 7, 7, 0, 2, 3, 0xff, 0xff,
            ][..],
            &[6, 3, 6, 1, 6, 1],
        ]
        .concat(),
        // The largest numbers there are.
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
        // Addressed to somebody else, from a stranger, from ourselves, with a bit changed.
        vec![1, 1, 2, 1, 1, 1, 3, 0, 1, 1, 1, 0, 0, 1, 1, 5, 40, 3],
    ]
}
