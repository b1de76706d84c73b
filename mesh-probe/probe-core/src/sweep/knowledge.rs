//! What is known of each size.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{Cost, Limit, MAX_NEW_SIZES, MAX_SIZE, MIN_SIZE, Refusal, Swept};
use crate::Stamp;

/// Silent rounds after which a size counts as one that does not pass: it was sent, and repeated once.
const SILENT_ROUNDS: u32 = 2;
/// On a path that loses packets the decisive size, one above the largest that passed, is then sent so many times more.
const CONFIRMATIONS: usize = 4;

/// Every size that was tried, and every datagram that was sent.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    sizes: BTreeMap<u16, Tried>,
    sent: Vec<Sent>,
    rtt_us: Option<u64>,
    unknown: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    answered: bool,
    failed: Option<Limit>,
    silent: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    size: u16,
    at: Stamp,
    answered: bool,
    /// Its round ended without an answer to it.
    missed: bool,
}

impl Tried {
    const fn is_decided(&self) -> bool {
        self.answered || self.failed.is_some()
    }

    /// Neither answered nor explained.
    const fn is_silent(&self) -> bool {
        !self.is_decided()
    }

    const fn has_failed(&self) -> bool {
        !self.answered && (self.failed.is_some() || self.silent >= SILENT_ROUNDS)
    }
}

impl Knowledge {
    /// Records a datagram and names it. The caller keeps to [`super::MAX_DATAGRAMS`].
    pub(super) fn sent(&mut self, size: u16, at: Stamp) -> u16 {
        let token = u16::try_from(self.sent.len()).unwrap_or(u16::MAX);
        self.sizes.entry(size).or_default();
        self.sent.push(Sent {
            size,
            at,
            answered: false,
            missed: false,
        });
        token
    }

    /// Whether the token is known.
    pub(super) fn answered(&mut self, token: u16, now: Stamp) -> bool {
        let Some(sent) = self.sent.get_mut(usize::from(token)) else {
            self.unknown = self.unknown.saturating_add(1);
            return false;
        };
        sent.answered = true;
        let rtt = now.micros_since(sent.at);
        self.rtt_us = self.rtt_us.max(Some(rtt));
        self.sizes.entry(sent.size).or_default().answered = true;
        true
    }

    /// What names an MTU says more than what names none.
    pub(super) fn failed(&mut self, token: u16, limit: Limit) {
        let Some(sent) = self.sent.get(usize::from(token)) else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        let known = &mut self.sizes.entry(sent.size).or_default().failed;
        if known.is_none_or(|known| known.mtu().is_none()) {
            *known = Some(limit);
        }
    }

    /// How many datagrams there were.
    pub(super) const fn tokens(&self) -> usize {
        self.sent.len()
    }

    /// The slowest answer.
    pub(super) const fn rtt_us(&self) -> Option<u64> {
        self.rtt_us
    }

    /// The largest size that was answered.
    pub(super) fn passed(&self) -> Option<u16> {
        let answered = |(size, tried): (&u16, &Tried)| tried.answered.then_some(*size);
        self.sizes.iter().rev().find_map(answered)
    }

    /// Whether every datagram from this token on was answered or explained.
    pub(super) fn all_decided(&self, first_token: usize) -> bool {
        let sizes = self.sent.iter().skip(first_token).map(|sent| sent.size);
        sizes
            .filter_map(|size| self.sizes.get(&size))
            .all(Tried::is_decided)
    }

    /// Whether no later datagram could change the result.
    pub(super) fn is_exact(&self) -> bool {
        self.passed()
            .is_some_and(|passed| passed >= MAX_SIZE || self.told(passed + 1).is_some())
    }

    /// Notes which datagrams from this token on are missing at the end of their round.
    pub(super) fn miss_unanswered(&mut self, first_token: usize) {
        for sent in self.sent.iter_mut().skip(first_token) {
            sent.missed = !sent.answered;
        }
    }

    /// One more silence for each size from this token on that is not decided.
    pub(super) fn count_silence(&mut self, first_token: usize) {
        let sizes: BTreeSet<u16> = self
            .sent
            .iter()
            .skip(first_token)
            .map(|sent| sent.size)
            .collect();
        let silent = self
            .sizes
            .iter_mut()
            .filter(|(size, tried)| sizes.contains(size) && tried.is_silent());
        silent.for_each(|(_, tried)| tried.silent += 1);
    }

    /// The sizes worth sending next, the largest first.
    pub(super) fn next_sizes(&self) -> Vec<u16> {
        let Some(passed) = self.passed() else {
            return descending(self.silent_above(MIN_SIZE - 1).map(|(size, _)| size));
        };
        let hinted = self.hinted(passed);
        if !hinted.is_empty() {
            return descending(hinted);
        }
        let first = self
            .silent_above(passed)
            .map(|(size, _)| size)
            .next()
            .unwrap_or_else(|| self.ceiling(passed));
        let repeated = self
            .silent_above(passed)
            .filter(|(_, tried)| tried.silent < SILENT_ROUNDS)
            .map(|(size, _)| size);
        let mut next = descending(between(passed, first).chain(repeated));
        let is_lossy = self.lost(passed) > 0;
        if next.is_empty() && is_lossy && self.is_unconfirmed(passed + 1) {
            next = vec![passed + 1; CONFIRMATIONS];
        }
        if !next.is_empty() {
            // The one that is known to pass shows whether answers still come.
            next.push(passed);
            next.extend(is_lossy.then_some(passed));
        }
        next
    }

    /// The result as it stands.
    pub(super) fn conclude(&self, rounds: u32, refusal: Option<Refusal>) -> Swept {
        let passed = self.passed();
        let failed = self.smallest_failed(passed.unwrap_or(0));
        Swept {
            passed,
            failed,
            limit: passed.map(|passed| self.limit(passed, failed)),
            refusal,
            rtt_us: self.rtt_us,
            cost: self.cost(rounds, passed.unwrap_or(0)),
        }
    }

    /// Whether only the silence of two rounds speaks against it.
    fn is_unconfirmed(&self, size: u16) -> bool {
        let tried = self.sizes.get(&size);
        tried.is_some_and(|tried| tried.is_silent() && tried.silent == SILENT_ROUNDS)
    }

    /// Datagrams of sizes that pass, and that were not answered.
    fn lost(&self, passed: u16) -> usize {
        let lost = self
            .sent
            .iter()
            .filter(|sent| sent.size <= passed && sent.missed && !sent.answered);
        lost.count()
    }

    /// The MTUs that were named, and the sizes one above, as far as they are of interest and untried.
    fn hinted(&self, passed: u16) -> Vec<u16> {
        let ceiling = self.ceiling(passed);
        let named = self.sizes.values().filter_map(|tried| tried.failed?.mtu());
        // Where the MTU that was named did not pass, something narrower is on the path.
        let possible = named.filter(|mtu| *mtu <= passed || !self.sizes.contains_key(mtu));
        let sizes = possible.flat_map(|mtu| [mtu, mtu.saturating_add(1)]);
        sizes
            .filter(|size| (passed + 1..ceiling).contains(size) && !self.sizes.contains_key(size))
            .collect()
    }

    /// The smallest size that somebody said is too big, above one that passes.
    fn ceiling(&self, passed: u16) -> u16 {
        let mut above = self.sizes.range(passed + 1..);
        let told = above.find(|(_, tried)| !tried.answered && tried.failed.is_some());
        told.map_or(MAX_SIZE + 1, |(size, _)| *size)
    }

    fn silent_above(&self, passed: u16) -> impl Iterator<Item = (u16, &Tried)> {
        let sizes = self.sizes.range(passed + 1..self.ceiling(passed));
        sizes
            .filter(|(_, tried)| tried.is_silent())
            .map(|(size, tried)| (*size, tried))
    }

    fn told(&self, size: u16) -> Option<Limit> {
        self.sizes.get(&size)?.failed
    }

    fn smallest_failed(&self, passed: u16) -> Option<u16> {
        let mut above = self.sizes.range(passed + 1..);
        above
            .find(|(_, tried)| tried.has_failed())
            .map(|(size, _)| *size)
    }

    fn limit(&self, passed: u16, failed: Option<u16>) -> Limit {
        let next = failed.filter(|failed| *failed == passed + 1);
        match next {
            _ if passed >= MAX_SIZE => Limit::Ceiling,
            Some(size) => self
                .told(size)
                .or_else(|| self.named_as(passed))
                .unwrap_or(Limit::Silent),
            None => Limit::Unsteady,
        }
    }

    /// Whoever named exactly this MTU.
    fn named_as(&self, mtu: u16) -> Option<Limit> {
        let mut limits = self.sizes.values().filter_map(|tried| tried.failed);
        limits.find(|limit| limit.mtu() == Some(mtu))
    }

    fn cost(&self, rounds: u32, passed: u16) -> Cost {
        let refused_here = |sent: &&Sent| !matches!(self.told(sent.size), Some(Limit::Here { .. }));
        let bytes = self.sent.iter().filter(refused_here);
        Cost {
            datagrams: count(self.sent.len()),
            bytes: bytes.map(|sent| u32::from(sent.size)).sum(),
            rounds,
            lost: count(self.lost(passed)),
            unknown: self.unknown,
        }
    }
}

impl Limit {
    /// The MTU that was named, if a sweep could have it as its result.
    fn mtu(self) -> Option<u16> {
        let named = match self {
            Self::Here { mtu } => mtu?,
            Self::Told { mtu, .. } => mtu,
            Self::Silent | Self::Ceiling | Self::Unsteady => return None,
        };
        u16::try_from(named)
            .ok()
            .filter(|mtu| (MIN_SIZE..MAX_SIZE).contains(mtu))
    }

    /// Who named it.
    pub const fn reporter(self) -> Option<IpAddr> {
        match self {
            Self::Told { reporter, .. } => Some(reporter),
            Self::Here { .. } | Self::Silent | Self::Ceiling | Self::Unsteady => None,
        }
    }
}

/// Sizes between two others: all of them, or as many as a round may have, evenly.
fn between(low: u16, high: u16) -> impl Iterator<Item = u16> {
    let inside = u32::from(high.saturating_sub(low).saturating_sub(1));
    let new = inside.min(u32::from(MAX_NEW_SIZES));
    (1..=new).map(move |number| {
        let step = (inside + 1) * number / (new + 1);
        low.saturating_add(u16::try_from(step).unwrap_or(u16::MAX))
    })
}

fn descending(sizes: impl IntoIterator<Item = u16>) -> Vec<u16> {
    let unique: BTreeSet<u16> = sizes.into_iter().collect();
    unique.into_iter().rev().collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
