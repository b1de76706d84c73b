//! What the asking side knows of one pair.

use std::collections::VecDeque;

use evidence::Moment;

use super::{
    Reply,
    clock::{ClockSample, PeerClock},
};
use crate::LossWindow;

/// Requests that [`EchoStats::window`] and the round trips look back on.
pub(super) const WINDOW: usize = 30;

/// Requests that [`EchoStats::short_losses`] looks back on: ten minutes at the pace of a small mesh.
const LONG_WINDOW: u64 = 300;

/// A longer run of losses is an outage, and says nothing of how often packets are lost by chance.
const SHORT: u32 = 2;

/// What echo says about the pair me -> peer -> me.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EchoStats {
    /// Requests sent since the peer became known.
    pub sent: u64,
    /// Requests answered in time.
    pub answered: u64,
    /// Requests answered, but after they had been given up. They stay lost in `window`.
    pub late: u64,
    /// Requests lost in a row up to now.
    pub consecutive_lost: u32,
    /// When the first request of that row was sent; `None` if the latest decided request was answered.
    pub loss_since: Option<Moment>,
    /// When the latest request was sent.
    pub last_sent: Option<Moment>,
    /// When the latest reply came, late ones included.
    pub last_answered: Option<Moment>,
    /// Round trips of the last 30 answered requests; `None` before the first.
    pub round_trip: Option<RoundTrip>,
    /// Loss among the last 30 decided requests, there and back together.
    pub window: LossWindow,
    /// Runs of one or two lost requests among the last 300 decided ones: how often chance loses one.
    pub short_losses: u32,
    /// Loss on the way there alone, as the peer's replies tell it; `None` before the first.
    pub forward: Option<LossWindow>,
    /// When an ICMP error last said that the peer refuses. Compare with `last_answered`.
    pub refused: Option<Moment>,
    /// The peer's wall clock, as the quickest of the last 30 answers told it.
    pub clock: Option<ClockSample>,
}

/// Round-trip times in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// Of the latest answered request.
    pub last_micros: u64,
    /// The shortest.
    pub min_micros: u64,
    /// The arithmetic mean.
    pub mean_micros: u64,
    /// The longest.
    pub max_micros: u64,
}

/// Counts as outcomes become known; [`EchoStats`] is what it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    sent: u64,
    answered: u64,
    late: u64,
    consecutive_lost: u32,
    loss_since: Option<Moment>,
    last_sent: Option<Moment>,
    last_answered: Option<Moment>,
    refused: Option<Moment>,
    lost_of_last: VecDeque<bool>,
    decided: u64,
    /// How many were decided when each short run of losses ended; never more than [`LONG_WINDOW`].
    short_losses: VecDeque<u64>,
    round_trips: VecDeque<u64>,
    replies: VecDeque<Told>,
    clock: PeerClock,
}

/// The part of a reply that tells the loss on the way there.
#[derive(Clone, Copy, Debug)]
struct Told {
    sequence: u64,
    first: u64,
    heard: u64,
}

impl Tally {
    pub(super) const fn sent(&mut self, at: Moment) {
        self.sent += 1;
        self.last_sent = Some(at);
    }

    pub(super) fn lost(&mut self, sent: Moment) {
        self.consecutive_lost = self.consecutive_lost.saturating_add(1);
        self.loss_since.get_or_insert(sent);
        self.decided(true);
    }

    pub(super) fn answered(&mut self, reply: &Reply, micros: u64, at: Moment) {
        self.answered += 1;
        self.decided(false);
        push(&mut self.round_trips, micros);
        self.heard_of(reply, at);
    }

    pub(super) fn clock(&mut self, sample: ClockSample) {
        self.clock.push(sample);
    }

    pub(super) fn late(&mut self, reply: &Reply, at: Moment) {
        self.late += 1;
        self.heard_of(reply, at);
    }

    pub(super) const fn refused(&mut self, at: Moment) {
        self.refused = Some(at);
    }

    pub(super) const fn loss_since(&self) -> Option<Moment> {
        self.loss_since
    }

    pub(super) const fn consecutive_lost(&self) -> u32 {
        self.consecutive_lost
    }

    pub(super) fn stats(&self) -> EchoStats {
        EchoStats {
            sent: self.sent,
            answered: self.answered,
            late: self.late,
            consecutive_lost: self.consecutive_lost,
            loss_since: self.loss_since,
            last_sent: self.last_sent,
            last_answered: self.last_answered,
            round_trip: self.round_trip(),
            window: LossWindow {
                expected: count(self.lost_of_last.len()),
                missing: count(self.lost_of_last.iter().filter(|lost| **lost).count()),
            },
            short_losses: count(self.short_losses.len()),
            forward: self.forward(),
            refused: self.refused,
            clock: self.clock.best(),
        }
    }

    fn decided(&mut self, lost: bool) {
        push(&mut self.lost_of_last, lost);
        self.decided += 1;
        let oldest = self.decided.saturating_sub(LONG_WINDOW);
        while self
            .short_losses
            .front()
            .is_some_and(|ended| *ended <= oldest)
        {
            self.short_losses.pop_front();
        }
    }

    fn heard_of(&mut self, reply: &Reply, at: Moment) {
        if (1..=SHORT).contains(&self.consecutive_lost) {
            self.short_losses.push_back(self.decided);
        }
        self.consecutive_lost = 0;
        self.loss_since = None;
        self.last_answered = Some(at);
        let told = Told {
            sequence: reply.answers.sequence,
            first: reply.first,
            heard: reply.heard,
        };
        // A responder that was restarted counts from anew; what it said before cannot be subtracted from what it says now.
        // An overtaken reply is older than what is known.
        match self.replies.back() {
            Some(last) if last.sequence > told.sequence => return,
            Some(last) if last.first != told.first => self.replies.clear(),
            _ => {}
        }
        push(&mut self.replies, told);
    }

    fn round_trip(&self) -> Option<RoundTrip> {
        let number = u64::try_from(self.round_trips.len()).ok()?;
        Some(RoundTrip {
            last_micros: *self.round_trips.back()?,
            min_micros: *self.round_trips.iter().min()?,
            mean_micros: self.round_trips.iter().sum::<u64>().checked_div(number)?,
            max_micros: *self.round_trips.iter().max()?,
        })
    }

    fn forward(&self) -> Option<LossWindow> {
        let (oldest, newest) = (self.replies.front()?, self.replies.back()?);
        let expected = newest.sequence.saturating_sub(oldest.sequence);
        let heard = newest.heard.saturating_sub(oldest.heard);
        Some(LossWindow {
            expected: narrow(expected),
            missing: narrow(expected.saturating_sub(heard)),
        })
    }
}

fn push<T>(ring: &mut VecDeque<T>, value: T) {
    if ring.len() == WINDOW {
        ring.pop_front();
    }
    ring.push_back(value);
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use evidence::PublicKey;

    use super::*;
    use crate::echo::{Request, Walls};

    fn reply(sequence: u64, first: u64, heard: u64) -> Reply {
        let key = PublicKey::from_bytes([0; 32]);
        Reply {
            answers: Request {
                sender: key,
                receiver: key,
                session: 1,
                sequence,
            },
            first,
            heard,
            wall: Walls::default(),
        }
    }

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn nothing_sent_says_nothing() {
        assert_eq!(Tally::default().stats(), EchoStats::default());
    }

    #[test]
    fn a_run_of_losses_begins_with_the_sending_of_its_first() {
        let mut tally = Tally::default();
        tally.answered(&reply(0, 0, 1), 100, at(0));
        tally.lost(at(2000));
        tally.lost(at(3000));
        let stats = tally.stats();
        assert_eq!(
            (stats.consecutive_lost, stats.loss_since),
            (2, Some(at(2000)))
        );
        assert_eq!(
            stats.window,
            LossWindow {
                expected: 3,
                missing: 2
            }
        );
    }

    #[test]
    fn a_late_answer_ends_the_run_but_the_request_stays_lost() {
        let mut tally = Tally::default();
        tally.lost(at(2000));
        tally.late(&reply(0, 0, 1), at(3500));
        let stats = tally.stats();
        assert_eq!((stats.late, stats.answered, stats.loss_since), (1, 0, None));
        assert_eq!(
            stats.window,
            LossWindow {
                expected: 1,
                missing: 1
            }
        );
        assert_eq!(stats.last_answered, Some(at(3500)));
    }

    #[test]
    fn short_losses_are_counted_for_three_hundred_requests_and_an_outage_is_none() {
        let mut tally = Tally::default();
        let answer = |tally: &mut Tally| tally.answered(&reply(0, 0, 1), 100, at(0));
        let short = |tally: &Tally| tally.stats().short_losses;
        for lost in [1, 2, 3, 40] {
            answer(&mut tally);
            (0..lost).for_each(|_| tally.lost(at(0)));
        }
        assert_eq!(short(&tally), 2);
        (0..250).for_each(|_| answer(&mut tally));
        assert_eq!(short(&tally), 2);
        (0..50).for_each(|_| answer(&mut tally));
        assert_eq!(short(&tally), 0);
    }

    #[test]
    fn a_run_that_a_late_answer_ends_is_counted_once() {
        let mut tally = Tally::default();
        tally.lost(at(2000));
        tally.late(&reply(0, 0, 1), at(3500));
        tally.answered(&reply(1, 0, 2), 100, at(4000));
        assert_eq!(tally.stats().short_losses, 1);
    }

    #[test]
    fn loss_on_the_way_there_is_told_apart_from_loss_on_the_way_back() {
        let mut tally = Tally::default();
        tally.answered(&reply(0, 0, 1), 100, at(0));
        // Of requests 1..=4 the peer heard three, and one reply was lost.
        tally.lost(at(1));
        tally.lost(at(2));
        tally.answered(&reply(4, 0, 4), 100, at(4));
        assert_eq!(
            tally.stats().forward,
            Some(LossWindow {
                expected: 4,
                missing: 1
            })
        );
    }

    #[test]
    fn a_restarted_responder_is_not_taken_for_loss() {
        let mut tally = Tally::default();
        tally.answered(&reply(8, 0, 9), 100, at(0));
        tally.answered(&reply(9, 9, 1), 100, at(1));
        tally.answered(&reply(10, 9, 2), 100, at(2));
        assert_eq!(
            tally.stats().forward,
            Some(LossWindow {
                expected: 1,
                missing: 0
            })
        );
    }

    #[test]
    fn round_trips_are_those_of_the_last_thirty_answers() {
        let mut tally = Tally::default();
        for (number, micros) in (0..40).zip(100..) {
            tally.answered(&reply(number, 0, number + 1), micros, at(0));
        }
        let expected = RoundTrip {
            last_micros: 139,
            min_micros: 110,
            mean_micros: 124,
            max_micros: 139,
        };
        assert_eq!(tally.stats().round_trip, Some(expected));
    }
}
