//! The path MTU, in as few round trips as there can be.
//!
//! Many sizes leave at once and forbid fragmentation. What is answered has passed; then the gap between the largest that
//! passed and the smallest that did not is filled in the same way. Start with [`Sweep`].

mod knowledge;

use std::{collections::VecDeque, net::IpAddr, time::Duration};

use crate::Stamp;

use knowledge::Knowledge;

/// Largest packet that is ever sent: the usual size of jumbo frames, rounded up.
pub const MAX_SIZE: u16 = 9216;
/// Smallest packet that is sent.
pub const MIN_SIZE: u16 = 100;
/// Sizes of the first round, in the order in which they leave: MTUs that links and tunnels are known to have, the largest
/// first. Whoever limits the rate of answers then answers the ones that matter.
pub const CANDIDATES: [u16; 32] = [
    MAX_SIZE, 9000, 8942, 8500, 8000, 4000, 2000, 1600, 1500, 1492, 1480, 1472, 1460, 1452, 1440,
    1420, 1400, 1392, 1380, 1370, 1360, 1350, 1340, 1320, 1300, 1280, 1240, 1220, 1200, 1000, 576,
    MIN_SIZE,
];
/// New sizes of any later round, at most.
pub const MAX_NEW_SIZES: u16 = 40;
/// Datagrams of one sweep, at most.
pub const MAX_DATAGRAMS: usize = 512;
/// Rounds of one sweep, at most.
pub const MAX_ROUNDS: u32 = 16;

/// How long the first answer may take.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
/// A round without an answer is over after so many round trips, and not before [`SHORTEST_TIMEOUT`].
const ROUND_TRIPS: u64 = 4;
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
/// Time after the latest answer in which the others of its round should have come.
const SHORTEST_GRACE: Duration = Duration::from_millis(10);
/// Hosts that limit ICMP do so by the second (Linux allows one port unreachable in each, Talos five of any kind).
const REFILL: Duration = Duration::from_millis(1100);
/// Rounds in a row without any answer after which nothing more is believed of a path that answered before.
const MAX_UNHEARD: u32 = 3;
/// The same of a path that never did.
const MAX_UNHEARD_AT_FIRST: u32 = 2;

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The datagram with this token was answered, so it passed.
    Answered {
        /// Of [`Output::Transmit`].
        token: u16,
    },
    /// This node would not send it: its interface has a smaller MTU (`EMSGSIZE`).
    TooBigHere {
        /// Of [`Output::Transmit`].
        token: u16,
        /// The MTU of the interface, if it was told.
        mtu: Option<u32>,
    },
    /// A router sent "packet too big" or, in IPv4, "fragmentation needed".
    TooBig {
        /// Of [`Output::Transmit`].
        token: u16,
        /// Who says so.
        reporter: IpAddr,
        /// The MTU of its next link; 0 if it does not tell.
        mtu: u32,
    },
    /// It cannot get there for a reason that has nothing to do with its size.
    Refused(Refusal),
}

/// Word that the destination cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who says so; `None` is this node.
    pub reporter: Option<IpAddr>,
    /// Type and code of the ICMP message.
    pub icmp: Option<(u8, u8)>,
    /// The error number, as in errno(3).
    pub errno: i32,
}

/// What the machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send one packet of this size, IP header included, that nobody may fragment.
    Transmit {
        /// Names the datagram in inputs; counts from 0.
        token: u16,
        /// Bytes.
        size: u16,
    },
    /// Nothing more. The next input is awaited, at the latest a [`Input::Tick`] at this time.
    Wait {
        /// When to tick.
        until: Stamp,
        /// What for.
        reason: Reason,
    },
    /// The sweep is over; this is said again to whoever asks again.
    Done(Swept),
}

/// What a [`Output::Wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Answers of this round.
    Answers,
    /// An answer that comes very late, before silence is believed.
    Silence,
    /// The host's limit on answers to let some through again.
    Refill,
}

/// Whether the one who answers is known to limit how often it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Echo replies: unlimited, as far as is known; the sweep finds out.
    Free,
    /// Port unreachable: one in a second, after a burst of six.
    Limited,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// The largest size that passed; `None` if nothing was ever answered.
    pub passed: Option<u16>,
    /// The smallest size that was tried and did not pass.
    pub failed: Option<u16>,
    /// What limits the size; `None` if nothing passed.
    pub limit: Option<Limit>,
    /// Why nothing gets there, if somebody said so.
    pub refusal: Option<Refusal>,
    /// The slowest answer, in microseconds.
    pub rtt_us: Option<u64>,
    /// What it took.
    pub cost: Cost,
}

/// What a sweep took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Datagrams handed out, those included that this node would not send.
    pub datagrams: u32,
    /// Bytes of those that were sent.
    pub bytes: u32,
    /// Rounds.
    pub rounds: u32,
    /// Datagrams that were not answered though their size passes.
    pub lost: u32,
    /// Answers and errors with a token that was never handed out.
    pub unknown: u32,
}

/// What keeps larger packets from passing, and how that was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The interface of this node: the path carries all that can be sent.
    Here {
        /// Its MTU, if it was told.
        mtu: Option<u32>,
    },
    /// A router says so.
    Told {
        /// Which one.
        reporter: IpAddr,
        /// The MTU that it names; 0 if none.
        mtu: u32,
    },
    /// Larger ones vanish without a word: a black hole.
    Silent,
    /// Nothing known: packets of [`MAX_SIZE`] pass.
    Ceiling,
    /// Answers stopped coming, so larger sizes may pass or not.
    Unsteady,
}

/// Finds the largest packet that passes, with every datagram that may have been lost repeated once.
///
/// The driver hands in one input with the time, then drains [`Sweep::poll`] until it says [`Output::Wait`] or
/// [`Output::Done`]. A round is over when all of it is decided, or soon after its latest answer: the next one is sent
/// without waiting for what may never come. Silence counts against a size only in a round in which another datagram was
/// answered, and only twice such silence, with a full timeout at the end, makes it one that does not pass. Where anything
/// got lost, the size that decides is sent some times more.
#[derive(Debug)]
pub struct Sweep {
    known: Knowledge,
    queue: VecDeque<u16>,
    round: Round,
    limited: bool,
    unheard: u32,
    refusal: Option<Refusal>,
    done: Option<Swept>,
    now: Stamp,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    number: u32,
    begun: Stamp,
    /// When the round before it began.
    before: Stamp,
    /// Tokens from here on are of this round.
    first_token: usize,
    answered_at: Option<Stamp>,
    /// Its silence has been counted.
    closed: bool,
}

impl Sweep {
    /// Begins with all of [`CANDIDATES`].
    pub fn new(answers: Answers, now: Stamp) -> Self {
        Self {
            known: Knowledge::default(),
            queue: CANDIDATES.into(),
            round: Round::new(1, now, now, 0),
            limited: answers == Answers::Limited,
            unheard: 0,
            refusal: None,
            done: None,
            now,
        }
    }

    /// Takes one input. `now` never goes back.
    pub fn handle(&mut self, input: Input, now: Stamp) {
        self.now = now;
        match input {
            Input::Tick => {}
            Input::Answered { token } => {
                if self.known.answered(token, now) {
                    self.round.answered_at = Some(now);
                }
            }
            Input::TooBigHere { token, mtu } => self.known.failed(token, Limit::Here { mtu }),
            Input::TooBig {
                token,
                reporter,
                mtu,
            } => self.known.failed(token, Limit::Told { reporter, mtu }),
            Input::Refused(refusal) => self.refusal = Some(refusal),
        }
        self.advance();
    }

    /// What to do next; see the contract above.
    pub fn poll(&mut self) -> Output {
        if let Some(swept) = self.done {
            return Output::Done(swept);
        }
        if let Some(size) = self.queue.pop_front() {
            return Output::Transmit {
                token: self.known.sent(size, self.now),
                size,
            };
        }
        let (until, reason) = self.next_step();
        Output::Wait { until, reason }
    }

    /// Goes on as far as the time allows.
    fn advance(&mut self) {
        if self.done.is_some() || !self.queue.is_empty() {
            return;
        }
        if self.known.is_exact() || self.is_refused() {
            self.finish();
            return;
        }
        if !self.round.closed && self.now >= self.next_step().0 {
            self.close();
        }
        if self.round.closed && self.now >= self.next_step().0 {
            self.begin();
        }
    }

    fn is_refused(&self) -> bool {
        self.refusal.is_some() && self.known.passed().is_none()
    }

    /// Until when this round is left as it is, and why.
    fn next_step(&self) -> (Stamp, Reason) {
        let Round {
            begun,
            answered_at,
            closed,
            first_token,
            ..
        } = self.round;
        if !closed {
            let over = match answered_at {
                _ if self.known.all_decided(first_token) => begun,
                Some(answered) => later(answered, self.grace()),
                None => later(begun, self.timeout()),
            };
            return (over, Reason::Answers);
        }
        if self.plan().is_empty() {
            (self.silence_is_final(), Reason::Silence)
        } else if self.limited {
            (later(begun, REFILL), Reason::Refill)
        } else {
            (begun, Reason::Answers)
        }
    }

    /// The first copy of a datagram has a full timeout to be answered, and its repetition what is left of it, at least half.
    fn silence_is_final(&self) -> Stamp {
        let timeout = self.timeout();
        later(self.round.before, timeout).max(later(self.round.begun, timeout / 2))
    }

    /// The silence of a round counts only if something else of it was heard.
    fn close(&mut self) {
        self.round.closed = true;
        self.known.miss_unanswered(self.round.first_token);
        if self.round.answered_at.is_some() {
            self.unheard = 0;
            self.known.count_silence(self.round.first_token);
        } else if !self.known.all_decided(self.round.first_token) {
            self.unheard += 1;
            self.limited |= self.known.passed().is_some();
        }
    }

    fn begin(&mut self) {
        let next = self.plan();
        let number = self.round.number + 1;
        if next.is_empty() || number > MAX_ROUNDS {
            self.finish();
            return;
        }
        self.round = Round::new(number, self.now, self.round.begun, self.known.tokens());
        self.queue = next.into();
    }

    /// The sizes of the next round, the largest first; none if there is nothing more to learn.
    fn plan(&self) -> Vec<u16> {
        let enough = match self.known.passed() {
            Some(_) => MAX_UNHEARD,
            None => MAX_UNHEARD_AT_FIRST,
        };
        let next = if self.unheard < enough {
            self.known.next_sizes()
        } else {
            Vec::new()
        };
        let room = MAX_DATAGRAMS.saturating_sub(self.known.tokens());
        if next.len() > room { Vec::new() } else { next }
    }

    fn timeout(&self) -> Duration {
        let adapted = |rtt: u64| Duration::from_micros(rtt.saturating_mul(ROUND_TRIPS));
        self.known
            .rtt_us()
            .map_or(FIRST_ANSWER, |rtt| adapted(rtt).max(SHORTEST_TIMEOUT))
    }

    fn grace(&self) -> Duration {
        let half = Duration::from_micros(self.known.rtt_us().unwrap_or(0) / 2);
        half.max(SHORTEST_GRACE)
    }

    fn finish(&mut self) {
        self.done = Some(self.known.conclude(self.round.number, self.refusal));
    }
}

impl Round {
    const fn new(number: u32, begun: Stamp, before: Stamp, first_token: usize) -> Self {
        Self {
            number,
            begun,
            before,
            first_token,
            answered_at: None,
            closed: false,
        }
    }
}

fn later(stamp: Stamp, by: Duration) -> Stamp {
    let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
    Stamp::from_micros(stamp.as_micros().saturating_add(micros))
}

#[cfg(test)]
mod tests;
