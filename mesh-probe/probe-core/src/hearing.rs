//! What one side heard of a numbered stream of datagrams, safe against replays.

use std::collections::VecDeque;

use evidence::Moment;
use thiserror::Error;

/// How far behind the highest sequence number a datagram may come and still count.
pub const REPLAY_WINDOW: u64 = 64;

/// Former sessions of a sender that are remembered, so that their datagrams cannot be played back.
///
/// A recording that is older than that many restarts of its sender would be taken for a new session: it could
/// spoil the counts until the sender restarts once more, and nothing else.
pub const MAX_RETIRED_SESSIONS: usize = 4;

/// Sequence numbers that [`LossWindow`] looks back on.
const LOSS_WINDOW: u64 = 30;

/// How many of the latest datagrams should have come, and how many of those did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LossWindow {
    /// Datagrams that were sent, at most the last 30.
    pub expected: u32,
    /// Those of them that did not arrive.
    pub missing: u32,
}

/// What was heard from one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeardStats {
    /// Datagrams since the peer became known, replays not counted.
    pub heard: u64,
    /// When the latest of them came.
    pub last_heard: Option<Moment>,
    /// Loss on the way from the peer to here, of the present session.
    pub window: LossWindow,
    /// Datagrams that had been heard before: a path that duplicates, or a replay.
    pub duplicates: u64,
}

/// Why an authentic datagram does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The same sequence number was heard before.
    #[error("sequence number was heard before")]
    Duplicate,
    /// Older than the replay window reaches.
    #[error("sequence number is more than {REPLAY_WINDOW} behind")]
    TooOld,
    /// The sender has begun a newer session since.
    #[error("session has been replaced by a newer one")]
    RetiredSession,
}

/// The count of a session after one more datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionCount {
    pub(crate) first: u64,
    pub(crate) heard: u64,
}

/// All that is remembered of one sender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearing {
    session: Option<Session>,
    retired: VecDeque<u64>,
    heard: u64,
    duplicates: u64,
    last_heard: Option<Moment>,
}

impl Hearing {
    pub(crate) fn hear(
        &mut self,
        id: u64,
        sequence: u64,
        now: Moment,
    ) -> Result<SessionCount, Refusal> {
        if self.retired.contains(&id) {
            return Err(Refusal::RetiredSession);
        }
        let count = match &mut self.session {
            Some(session) if session.id == id => {
                session.accept(sequence).inspect_err(|refusal| {
                    self.duplicates += u64::from(*refusal == Refusal::Duplicate);
                })?
            }
            _ => self.begin(id, sequence),
        };
        self.heard += 1;
        self.last_heard = Some(now);
        Ok(count)
    }

    pub(crate) fn stats(&self) -> HeardStats {
        HeardStats {
            heard: self.heard,
            last_heard: self.last_heard,
            window: self
                .session
                .as_ref()
                .map(Session::window)
                .unwrap_or_default(),
            duplicates: self.duplicates,
        }
    }

    fn begin(&mut self, id: u64, sequence: u64) -> SessionCount {
        let session = Session::begin(id, sequence);
        let count = session.count();
        if let Some(old) = self.session.replace(session) {
            if self.retired.len() == MAX_RETIRED_SESSIONS {
                self.retired.pop_front();
            }
            self.retired.push_back(old.id);
        }
        count
    }
}

/// The sliding bitmap of one session: bit `i` of `seen` is the sequence number `highest - i`.
#[derive(Clone, Debug)]
struct Session {
    id: u64,
    first: u64,
    highest: u64,
    seen: u64,
    heard: u64,
}

impl Session {
    const fn begin(id: u64, sequence: u64) -> Self {
        Self {
            id,
            first: sequence,
            highest: sequence,
            seen: 1,
            heard: 1,
        }
    }

    fn accept(&mut self, sequence: u64) -> Result<SessionCount, Refusal> {
        if sequence > self.highest {
            self.advance(sequence);
        } else {
            self.fill(sequence)?;
        }
        self.heard += 1;
        Ok(self.count())
    }

    const fn count(&self) -> SessionCount {
        SessionCount {
            first: self.first,
            heard: self.heard,
        }
    }

    fn advance(&mut self, sequence: u64) {
        let by = sequence - self.highest;
        self.seen = if by < REPLAY_WINDOW {
            (self.seen << by) | 1
        } else {
            1
        };
        self.highest = sequence;
    }

    fn fill(&mut self, sequence: u64) -> Result<(), Refusal> {
        let behind = self.highest - sequence;
        if behind >= REPLAY_WINDOW {
            return Err(Refusal::TooOld);
        }
        let bit = 1 << behind;
        if self.seen & bit != 0 {
            return Err(Refusal::Duplicate);
        }
        self.seen |= bit;
        self.first = self.first.min(sequence);
        Ok(())
    }

    fn window(&self) -> LossWindow {
        let oldest = self.first.max(self.highest.saturating_sub(LOSS_WINDOW - 1));
        let expected = self.highest - oldest + 1;
        let arrived = (self.seen & ((1 << expected) - 1)).count_ones();
        let expected = u32::try_from(expected).unwrap_or(u32::MAX);
        LossWindow {
            expected,
            missing: expected.saturating_sub(arrived),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: Moment = Moment::from_millis(9);

    fn hear_all(numbers: &[u64]) -> Hearing {
        let mut hearing = Hearing::default();
        for number in numbers {
            let _ = hearing.hear(1, *number, NOW);
        }
        hearing
    }

    #[test]
    fn a_gap_is_missing_until_the_late_datagram_fills_it() {
        assert_eq!(
            hear_all(&[0, 1, 3]).stats().window,
            LossWindow {
                expected: 4,
                missing: 1
            }
        );
        assert_eq!(
            hear_all(&[0, 1, 3, 2]).stats().window,
            LossWindow {
                expected: 4,
                missing: 0
            }
        );
    }

    #[test]
    fn loss_is_counted_over_the_last_thirty_only() {
        let numbers: Vec<u64> = (0..10).chain(20..60).collect();
        assert_eq!(
            hear_all(&numbers).stats().window,
            LossWindow {
                expected: 30,
                missing: 0
            }
        );
    }

    #[test]
    fn a_repeated_number_is_a_duplicate_and_is_not_heard_again() {
        let mut hearing = hear_all(&[5, 6]);
        assert_eq!(hearing.hear(1, 5, NOW), Err(Refusal::Duplicate));
        assert_eq!((hearing.stats().heard, hearing.stats().duplicates), (2, 1));
    }

    #[test]
    fn a_number_behind_the_window_is_refused() {
        assert_eq!(hear_all(&[0, 64]).hear(1, 0, NOW), Err(Refusal::TooOld));
    }

    #[test]
    fn a_restarted_sender_is_counted_from_anew_and_its_old_session_is_refused() {
        let mut hearing = hear_all(&[7, 8]);
        assert_eq!(
            hearing.hear(2, 0, NOW),
            Ok(SessionCount { first: 0, heard: 1 })
        );
        assert_eq!(hearing.hear(1, 9, NOW), Err(Refusal::RetiredSession));
        assert_eq!(hearing.stats().heard, 3);
    }

    #[test]
    fn at_most_four_retired_sessions_are_remembered() {
        let mut hearing = Hearing::default();
        for id in 0..20 {
            hearing.hear(id, 0, NOW).unwrap();
        }
        assert_eq!(hearing.retired.len(), MAX_RETIRED_SESSIONS);
        assert_eq!(hearing.hear(18, 1, NOW), Err(Refusal::RetiredSession));
    }

    #[test]
    fn the_largest_sequence_number_does_not_overflow() {
        let hearing = hear_all(&[0, u64::MAX, u64::MAX - 63]);
        assert_eq!(hearing.stats().heard, 3);
        assert_eq!(hearing.stats().window.expected, 30);
    }

    proptest! {
        #[test]
        fn a_number_is_never_heard_twice(numbers in prop::collection::vec(0_u64..200, 0..300)) {
            let mut hearing = Hearing::default();
            let mut heard = BTreeSet::new();
            for number in numbers {
                if hearing.hear(1, number, NOW).is_ok() {
                    prop_assert!(heard.insert(number));
                }
            }
        }
    }
}
