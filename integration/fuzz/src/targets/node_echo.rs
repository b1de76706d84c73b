//! Echo to node addresses, and the two machines behind it: what an outsider may make them do. Its port is open on every address of a node.

use std::net::{IpAddr, Ipv4Addr};

use evidence::{PublicKey, Via};
use probe_core::{
    Stamp,
    node_echo::{
        Datagram, Input, Kind, LENGTH, MAX_REPLIES_PER_SECOND, Prober, Reject, Request, Responder,
    },
};

use super::{LastSecond, ME, PEERS, flipped, node, probe_key};
use crate::{
    Target,
    script::{MAX_STEPS, Script},
};

pub(crate) const TARGET: Target = Target {
    name: "node-echo",
    run,
    seeds,
};

const SESSION: u64 = 7;
/// Addresses of this node, and of a peer.
const ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 11)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 12)),
];

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
    asked: Option<Datagram>,
    replies: [LastSecond; PEERS.len()],
}

impl Play {
    fn new() -> Self {
        let mut play = Self {
            prober: Prober::new(ME, probe_key(), SESSION, 1),
            responder: Responder::new(ME, probe_key()),
            now: Stamp::from_micros(1_000_000),
            last: Vec::new(),
            last_was_answered: false,
            asked: None,
            replies: [LastSecond::default(), LastSecond::default()],
        };
        for peer in PEERS {
            play.add(peer);
        }
        play
    }

    fn add(&mut self, peer: PublicKey) {
        self.responder.add_peer(peer);
        let at = [Some(ADDRESSES[1]), None];
        self.tell(Input::Aim { peer, at });
    }

    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 8 {
            0 => self.receive(script.chunk()?, 0),
            1 => {
                let datagram = datagram(script)?;
                self.receive(&encode(&datagram), script.byte()?);
            }
            2 => self.wait(script.u16()?),
            3 => {
                let last = self.last.clone();
                self.receive(&last, 0);
            }
            4 => {
                let changed = flipped(&self.last, script.u16()?);
                let both =
                    [&self.last, &changed].map(|bytes| Datagram::decode(bytes, &probe_key()));
                assert!(both.iter().any(Result::is_err), "a bit may be changed");
                self.receive(&changed, 0);
            }
            5 => self.change_peer(node(script.byte()?)),
            6 => {
                let peer = node(script.byte()?);
                self.tell(if script.byte()? % 2 == 0 {
                    Input::Doubted(peer)
                } else {
                    Input::Back(peer)
                });
            }
            _ => self.answer_the_last_request(script.byte()?),
        }
        Some(())
    }

    /// `way` chooses the link by which it came in, and the address it came to.
    fn receive(&mut self, bytes: &[u8], way: u8) {
        let decoded = Datagram::decode(bytes, &probe_key());
        if let Ok(datagram) = decoded {
            assert_eq!(Datagram::decode(&encode(&datagram), &probe_key()), decoded);
        }
        let is_repeated = bytes == self.last && self.last_was_answered;
        let via = match way % 3 {
            0 => Some(Via::Tunnel),
            1 => Some(Via::Link("eth0".to_owned())),
            _ => None,
        };
        let at = ADDRESSES[usize::from(way / 3) % 2];
        let through = via.as_ref().map(Via::is_tunnel);
        let answer = self
            .responder
            .handle(bytes, (at, via.clone()), self.now.moment());
        match &answer {
            Ok(reply) => {
                assert!(!is_repeated, "a replay is answered");
                assert!(
                    reply.len() <= bytes.len(),
                    "a reply is larger than its request"
                );
                self.check_reply(reply, (decoded.ok(), through, at));
            }
            Err(Reject::NotARequest) => {
                let from = ADDRESSES[1];
                self.tell(Input::Datagram { bytes, from, via });
            }
            Err(_) => {}
        }
        self.last_was_answered = is_repeated || answer.is_ok();
        self.last = bytes.to_vec();
    }

    fn check_reply(
        &mut self,
        reply: &[u8; LENGTH],
        (request, through, at): (Option<Datagram>, Option<bool>, IpAddr),
    ) {
        let Some(request) = request.filter(|request| request.kind == Kind::Request) else {
            panic!("something else than an authentic request is answered: {request:?}");
        };
        let expected = Datagram {
            kind: Kind::Reply { through },
            sender: ME,
            receiver: request.sender,
            ..request
        };
        assert_eq!(request.address, at, "it was for another address");
        assert_eq!(Datagram::decode(reply, &probe_key()), Ok(expected));
        let peer = PEERS.iter().position(|peer| *peer == request.sender);
        let peer = peer.expect("only known peers are answered");
        let replies = self.replies[peer].add(self.now.moment());
        assert!(
            replies <= MAX_REPLIES_PER_SECOND,
            "{replies} replies in a second"
        );
    }

    fn wait(&mut self, millis: u16) {
        let passed = u64::from(millis) * 1000;
        self.now = Stamp::from_micros(self.now.as_micros() + passed);
        self.tell(Input::Tick);
    }

    fn change_peer(&mut self, peer: PublicKey) {
        if self.responder.remove_peer(&peer) {
            self.tell(Input::Removed(peer));
        } else if let Some(place) = PEERS.iter().position(|known| *known == peer) {
            self.add(peer);
            self.replies[place] = LastSecond::default();
            self.last_was_answered = false;
        }
    }

    fn answer_the_last_request(&mut self, through: u8) {
        if let Some(asked) = self.asked {
            let through = [None, Some(true), Some(false)][usize::from(through) % 3];
            let reply = Datagram {
                kind: Kind::Reply { through },
                sender: asked.receiver,
                receiver: asked.sender,
                ..asked
            };
            self.receive(&encode(&reply), 0);
        }
    }

    /// Hands in one input, and takes what is due, which comes to an end.
    fn tell(&mut self, input: Input<'_>) {
        let now = self.now.moment();
        self.prober.handle(input, now);
        for _ in 0..=PEERS.len() {
            let due = self.prober.is_due(now);
            if let Some(request) = self.prober.take(now) {
                assert!(due, "one is taken that is not due");
                self.check_request(&request);
            } else {
                assert!(!due, "one is due and cannot be taken");
                return self.check_scores();
            }
        }
        panic!("the prober does not come to rest");
    }

    fn check_request(&mut self, request: &Request) {
        let sent = Datagram::decode(&request.bytes, &probe_key()).expect("what is sent is ours");
        assert_eq!((sent.kind, sent.sender), (Kind::Request, ME));
        assert!(PEERS.contains(&sent.receiver), "a stranger is asked");
        assert_eq!(sent.address, request.to);
        self.asked = Some(sent);
    }

    fn check_scores(&self) {
        let now = self.now.moment();
        for peer in PEERS {
            for asked in self.prober.asked(&peer) {
                assert_eq!(asked.lost > 0, asked.lost_since.is_some(), "{asked:?}");
                assert_eq!(asked.answered > 0, asked.last_answered.is_some());
                assert!(asked.last_answered.is_none_or(|at| at <= now));
            }
            for heard in self.responder.heard(&peer) {
                assert_eq!(heard.around > 0, heard.around_since.is_some(), "{heard:?}");
                assert!(heard.heard > 0 && u64::from(heard.around) <= heard.heard);
            }
        }
    }
}

fn datagram(script: &mut Script<'_>) -> Option<Datagram> {
    let kind = match script.byte()? % 4 {
        0 | 1 => Kind::Request,
        2 => Kind::Reply {
            through: Some(true),
        },
        _ => Kind::Reply {
            through: Some(false),
        },
    };
    Some(Datagram {
        kind,
        sender: node(script.byte()?),
        receiver: node(script.byte()?),
        session: script.number()?,
        sequence: script.number()?,
        address: ADDRESSES[usize::from(script.byte()?) % 2],
    })
}

fn encode(datagram: &Datagram) -> Vec<u8> {
    datagram.encode(&probe_key()).to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let foreign = Datagram {
        kind: Kind::Request,
        sender: PEERS[0],
        receiver: ME,
        session: 1,
        sequence: 0,
        address: ADDRESSES[0],
    };
    let raw = encode(&foreign);
    let length = u8::try_from(raw.len()).expect("a datagram is short");
    // Of the link by which it came and the address: the tunnel, another link, none; the other address.
    let request = |sequence, way| [1, 0, 1, 0, 5, sequence, 0, way];
    let many: Vec<u8> = (0..20).flat_map(|sequence| request(sequence, 0)).collect();
    vec![
        [&[0, length], &raw[..]].concat(),
        [
            request(0, 0),
            request(1, 1),
            request(2, 2),
            request(3, 1),
            request(4, 3),
        ]
        .concat(),
        [&request(0, 0)[..], &[3, 4, 40, 3]].concat(),
        many,
        // Asked and answered through, around, and not at all; then in doubt, and back, gone, and there again.
        vec![
            2, 0x88, 0x13, 7, 1, 2, 0x88, 0x13, 7, 2, 2, 0xe8, 3, 7, 2, 2, 0xff, 0xff, 2, 0xff,
            0xff, 6, 1, 0, 2, 0x88, 0x13, 6, 1, 1, 2, 0x88, 0x13, 5, 1, 5, 1, 2, 0x88, 0x13, 7, 0,
        ],
        // For somebody else, from a stranger, from ourselves, a reply that nobody asked for.
        vec![
            1, 0, 1, 2, 1, 0, 0, 0, 1, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 2, 1, 0, 1,
            0, 1, 0,
        ],
    ]
}
