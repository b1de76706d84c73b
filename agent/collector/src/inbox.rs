//! Deltas on their way to the owner of the view.
//!
//! The owner needs them when it judges, and not before: so they wait, and it takes in many at a time. Waking it for each one would
//! cost as much as taking the facts of one in. What waits is bounded by facts; over it, the streams wait.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use evidence::{Delta, Moment, NodeName, limits};
use tokio::sync::{Notify, Semaphore};

use crate::state::StreamId;

/// Facts that wait, a message counted as one more: as many as a node may say, eight times over.
const MOST: usize = 8 * limits::FACTS;
/// So many are taken in at once, whether a judgement is due or not.
const MANY: usize = MOST / 2;

/// A delta of a stream, on the collector's timeline.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) node: NodeName,
    pub(crate) id: StreamId,
    pub(crate) delta: Delta,
    pub(crate) at: Moment,
}

/// The streams' side.
#[derive(Clone, Debug)]
pub(crate) struct Inbox(Arc<Shared>);

/// The owner's side. Without it nothing can be handed in.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pile: Mutex<Pile>,
    room: Semaphore,
    /// The first one has come, or there are many.
    notice: Notify,
}

#[derive(Debug, Default)]
struct Pile {
    reports: Vec<Report>,
    /// What they take of the room.
    size: usize,
    /// The most pressing of what they say.
    news: News,
}

/// How pressing it is to judge anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Nobody has said anything but that he lives: only time has passed.
    #[default]
    Nothing,
    /// Somebody goes on from what he said before.
    Routine,
    /// Somebody says something else.
    Pressing,
}

impl News {
    pub(crate) fn of(delta: &Delta) -> Self {
        match delta {
            _ if delta.is_empty() => Self::Nothing,
            Delta { routine: true, .. } => Self::Routine,
            Delta { .. } => Self::Pressing,
        }
    }
}

pub(crate) fn inbox() -> (Inbox, Waiting) {
    let shared = Arc::new(Shared {
        pile: Mutex::default(),
        room: Semaphore::new(MOST),
        notice: Notify::new(),
    });
    (Inbox(Arc::clone(&shared)), Waiting(shared))
}

impl Shared {
    fn pile(&self) -> MutexGuard<'_, Pile> {
        // Nobody who holds it can panic half way.
        self.pile.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    /// Hands a report in, as soon as there is room; says whether anybody will take it.
    pub(crate) async fn hand_in(&self, report: Report) -> bool {
        let size = (report.delta.len() + 1).min(MOST);
        let places = u32::try_from(size).unwrap_or(u32::MAX);
        let Ok(room) = self.0.room.acquire_many(places).await else {
            return false;
        };
        room.forget();
        let mut pile = self.0.pile();
        let was_many = pile.size >= MANY;
        let before = pile.news;
        pile.size += size;
        pile.news = before.max(News::of(&report.delta));
        pile.reports.push(report);
        let tell = pile.news > before || (!was_many && pile.size >= MANY);
        drop(pile);
        if tell {
            self.0.notice.notify_one();
        }
        true
    }
}

impl Waiting {
    /// Waits until there is something new, or much of it. Nothing is lost when it is dropped.
    pub(crate) async fn noticed(&self) {
        self.0.notice.notified().await;
    }

    /// How much a judgement with what waits could differ from one without.
    pub(crate) fn news(&self) -> News {
        self.0.pile().news
    }

    pub(crate) fn are_many(&self) -> bool {
        self.0.pile().size >= MANY
    }

    /// All that waits, in the order in which it was handed in.
    pub(crate) fn take(&self) -> Vec<Report> {
        let Pile { reports, size, .. } = mem::take(&mut *self.0.pile());
        self.0.room.add_permits(size);
        reports
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.room.close();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evidence::{EchoHeard, Fact, FactKey, PublicKey};
    use tokio::time::timeout;

    use super::*;

    const BOUND: Duration = Duration::from_secs(20);
    /// Long enough for what must not happen to happen.
    const MOMENT: Duration = Duration::from_millis(50);

    fn report(facts: usize, at: i64) -> Report {
        let fact = |number: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&number.to_be_bytes());
            Fact::EchoHeard(PublicKey::from_bytes(key), EchoHeard::default())
        };
        Report {
            node: NodeName::parse("vps-1").unwrap(),
            id: StreamId::default(),
            delta: Delta {
                upserts: (0..facts).map(fact).collect(),
                ..Delta::default()
            },
            at: Moment::from_millis(at),
        }
    }

    #[tokio::test]
    async fn the_owner_is_woken_by_the_first_news_and_not_by_signs_of_life_or_by_what_comes_after()
    {
        let (inbox, waiting) = inbox();
        assert!(inbox.hand_in(report(0, 1)).await);
        assert!(timeout(MOMENT, waiting.noticed()).await.is_err());
        assert_eq!(waiting.news(), News::Nothing);
        assert!(inbox.hand_in(report(1, 2)).await);
        assert!(timeout(BOUND, waiting.noticed()).await.is_ok());
        assert_eq!(waiting.news(), News::Pressing);
        assert!(inbox.hand_in(report(1, 3)).await);
        assert!(timeout(MOMENT, waiting.noticed()).await.is_err());
        let taken: Vec<i64> = waiting
            .take()
            .iter()
            .map(|one| one.at.as_millis())
            .collect();
        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(waiting.news(), News::Nothing);
    }

    #[tokio::test]
    async fn what_presses_wakes_the_owner_though_what_goes_on_did_before() {
        let (inbox, waiting) = inbox();
        let mut goes_on = report(1, 1);
        goes_on.delta.routine = true;
        assert!(inbox.hand_in(goes_on).await);
        timeout(BOUND, waiting.noticed()).await.unwrap();
        assert_eq!(waiting.news(), News::Routine);
        assert!(inbox.hand_in(report(1, 2)).await);
        timeout(BOUND, waiting.noticed()).await.unwrap();
        assert_eq!(waiting.news(), News::Pressing);
    }

    #[tokio::test]
    async fn what_is_over_the_bound_waits_until_something_was_taken_in() {
        let (inbox, waiting) = inbox();
        assert!(inbox.hand_in(report(MANY - 2, 1)).await);
        timeout(BOUND, waiting.noticed()).await.unwrap();
        assert!(!waiting.are_many());
        assert!(inbox.hand_in(report(0, 2)).await);
        timeout(BOUND, waiting.noticed()).await.unwrap();
        assert!(waiting.are_many());
        let over = inbox.hand_in(report(MOST - MANY, 3));
        tokio::pin!(over);
        assert!(timeout(MOMENT, &mut over).await.is_err());
        assert_eq!(waiting.take().len(), 2);
        assert!(timeout(BOUND, over).await.unwrap());
        assert_eq!(waiting.take().len(), 1);
    }

    #[tokio::test]
    async fn a_report_of_any_size_finds_room_and_none_without_an_owner() {
        let (inbox, waiting) = inbox();
        let mut large = report(1, 1);
        large.delta.removed = vec![FactKey::Device; MOST];
        assert!(timeout(BOUND, inbox.hand_in(large)).await.unwrap());
        let late = inbox.hand_in(report(1, 2));
        tokio::pin!(late);
        assert!(timeout(MOMENT, &mut late).await.is_err());
        drop(waiting);
        assert!(!timeout(BOUND, late).await.unwrap());
    }
}
