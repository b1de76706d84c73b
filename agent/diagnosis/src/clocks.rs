//! The clocks of the nodes: which cannot be right, and which differs from those of the others.
//!
//! A node is judged by all others together, never by one: of two clocks that differ nobody can say which is right.

use evidence::{Clock, Moment, NodeRef, NtpServer, Offset, PublicKey, WallReading};

use crate::{
    mesh::{Member, Mesh, News},
    timing,
};

/// How many others a clock is compared with: the next so many in the order of names.
const WITNESSES: usize = 32;

/// A node whose clock differs from those of most others.
pub(crate) struct Skewed<'m, 'a> {
    pub(crate) member: &'m Member<'a>,
    /// Milliseconds that it is ahead of the median of the others, at least; negative if it is behind.
    pub(crate) ahead_ms: i64,
    /// Those who measured it, with what they found.
    pub(crate) witnesses: Vec<(&'m Member<'a>, Offset)>,
}

/// What the clocks say of each other.
pub(crate) struct Clocks<'m, 'a> {
    pub(crate) skewed: Vec<Skewed<'m, 'a>>,
    /// Who was compared with others and is not far from them.
    pub(crate) agreeing: Vec<&'m Member<'a>>,
    /// Whether those are so many that the others may be the ones who are wrong.
    pub(crate) tie: bool,
}

/// A node whose clock can be compared.
struct Owner<'m, 'a> {
    member: &'m Member<'a>,
    clock: &'a Clock,
    /// Since when it is this clock: it was set then, or the machine booted.
    begun: Moment,
}

/// Which clocks were found to be near those of the others, or could not be compared, and until when that holds.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    owners: Vec<(NodeRef, Option<PublicKey>, Clock)>,
    found: Vec<Option<(Found, Moment)>>,
    at: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Near,
    /// Nobody could tell.
    Nothing,
}

impl Memo {
    /// Forgets what rests on what is new.
    fn take_in(&mut self, mesh: &Mesh<'_>, news: &News, owners: &[Owner<'_, '_>]) {
        let is_same = |(last, owner): (&(NodeRef, Option<PublicKey>, Clock), &Owner<'_, '_>)| {
            last.0 == owner.member.node && last.1 == owner.member.key
        };
        let later = self.at.replace(mesh.now).is_some_and(|at| at <= mesh.now);
        let same = later
            && self.owners.len() == owners.len()
            && news.speakers.is_empty()
            && self.owners.iter().zip(owners).all(is_same);
        let kept = |owner: &Owner<'_, '_>| {
            let member = owner.member;
            (member.node.clone(), member.key, *owner.clock)
        };
        if !same {
            self.owners = owners.iter().map(kept).collect();
            self.found = vec![None; owners.len()];
            return;
        }
        for (place, owner) in owners.iter().enumerate() {
            let clock = self.owners.get_mut(place).map(|last| &mut last.2);
            if let Some(clock) = clock.filter(|clock| **clock != *owner.clock) {
                *clock = *owner.clock;
                self.forget_around(place);
            }
        }
        let mut places = vec![None; mesh.members.len()];
        for (place, owner) in owners.iter().enumerate() {
            if let Some(here) = places.get_mut(owner.member.index) {
                *here = Some(place);
            }
        }
        let place_of = |index: usize| places.get(index).copied().flatten();
        for (node, keys) in &news.rows {
            let from = mesh.members.get(&NodeRef::named(node));
            let Some(from) = from.and_then(|member| place_of(member.index)) else {
                continue;
            };
            let told = keys.iter().flat_map(|key| mesh.of_key(*key));
            for to in told.filter_map(|index| place_of(*index)) {
                self.forget_if_near(from, to);
                self.forget_if_near(to, from);
            }
        }
    }

    /// Forgets one, and all that it was a witness of.
    fn forget_around(&mut self, place: usize) {
        let all = self.found.len();
        for back in 0..=WITNESSES.min(all.saturating_sub(1)) {
            self.forget((place + all - back) % all);
        }
    }

    /// Forgets one if the other is among its witnesses.
    fn forget_if_near(&mut self, one: usize, other: usize) {
        let all = self.found.len();
        if (other + all - one) % all <= WITNESSES {
            self.forget(one);
        }
    }

    fn forget(&mut self, place: usize) {
        if let Some(found) = self.found.get_mut(place) {
            *found = None;
        }
    }

    fn found(&self, place: usize, now: Moment) -> Option<Found> {
        let (found, until) = self.found.get(place).copied().flatten()?;
        (until > now).then_some(found)
    }

    fn note(&mut self, place: usize, found: Found, until: Moment) {
        if let Some(here) = self.found.get_mut(place) {
            *here = Some((found, until));
        }
    }
}

/// Compares all clocks that can be compared, and of those that were near the others only what may have changed.
pub(crate) fn compare<'m, 'a>(mesh: &'m Mesh<'a>, news: &News, memo: &mut Memo) -> Clocks<'m, 'a> {
    let possible = |member: &'m Member<'a>| {
        let clock = own(mesh, member)?;
        let set = clock.stepped.map_or(clock.booted, |step| step.at);
        let owner = Owner {
            member,
            clock,
            begun: clock.booted.max(set),
        };
        (!is_impossible(&clock.reading)).then_some(owner)
    };
    let owners: Vec<Owner<'m, 'a>> = mesh.members.values().filter_map(possible).collect();
    memo.take_in(mesh, news, &owners);
    let (mut agreeing, mut skewed) = (Vec::new(), Vec::new());
    for (place, owner) in owners.iter().enumerate() {
        match memo.found(place, mesh.now) {
            Some(Found::Near) => agreeing.push(owner.member),
            Some(Found::Nothing) => {}
            None => {
                mesh.trace().take();
                let measured = measure(mesh, &owners, place);
                let until = mesh.trace().take();
                match measured {
                    None => memo.note(place, Found::Nothing, until),
                    Some(far) if duration(far.ahead_ms) > timing::SKEW_WARN => skewed.push(far),
                    Some(near) => {
                        memo.note(place, Found::Near, until);
                        agreeing.push(near.member);
                    }
                }
            }
        }
    }
    let all = agreeing.len() + skewed.len();
    let (skewed, tie) = break_tie(mesh, skewed, all);
    Clocks {
        skewed,
        agreeing,
        tie,
    }
}

/// If at least half of all differ from the rest, those whose time servers vouch for them are right, and else nobody knows.
fn break_tie<'m, 'a>(
    mesh: &Mesh<'_>,
    mut skewed: Vec<Skewed<'m, 'a>>,
    all: usize,
) -> (Vec<Skewed<'m, 'a>>, bool) {
    let tie = !skewed.is_empty() && skewed.len() * 2 >= all;
    let right = |skewed: &Skewed<'_, '_>| vouched(mesh, skewed.member);
    if tie && skewed.iter().any(right) && !skewed.iter().all(right) {
        skewed.retain(|skewed| !right(skewed));
        return (skewed, false);
    }
    (skewed, tie)
}

/// One node against the others.
fn measure<'m, 'a>(
    mesh: &Mesh<'_>,
    owners: &[Owner<'m, 'a>],
    place: usize,
) -> Option<Skewed<'m, 'a>> {
    let owner = owners.get(place)?;
    let others = owners.iter().cycle().skip(place + 1);
    let others = others.take(owners.len().saturating_sub(1).min(WITNESSES));
    let witnesses: Vec<(&'m Member<'a>, Offset)> = others
        .filter_map(|other| Some((other.member, offset(mesh, other, owner)?)))
        .collect();
    let bounds: Vec<i64> = witnesses.iter().map(|(_, offset)| bound(*offset)).collect();
    Some(Skewed {
        member: owner.member,
        ahead_ms: median(bounds)?,
        witnesses,
    })
}

/// How far the clock of `b` is ahead of that of `a`, by whichever of the two could tell more exactly.
fn offset(mesh: &Mesh<'_>, a: &Owner<'_, '_>, b: &Owner<'_, '_>) -> Option<Offset> {
    let (there, back) = (
        read(mesh, a, b),
        read(mesh, b, a).as_ref().map(Offset::reversed),
    );
    [there, back]
        .into_iter()
        .flatten()
        .min_by_key(|offset| offset.error_ms)
}

/// What `a` read of the clock of `b`, against its own.
fn read(mesh: &Mesh<'_>, a: &Owner<'_, '_>, b: &Owner<'_, '_>) -> Option<Offset> {
    let told = a.member.echo_sent(&b.member.key?)?.clock?;
    // A clock that was set since then, or that of a machine that was booted since then, is not the one that was read.
    let current = b.begun.plus(timing::SKEW) < told.at;
    (mesh.recent(told.at, timing::CLOCK_FRESH) && current).then(|| told.ahead_of(&a.clock.reading))
}

/// The clock of a node that speaks, as it shows since it was last set.
fn own<'a>(mesh: &Mesh<'_>, member: &Member<'a>) -> Option<&'a Clock> {
    let clock = member.clock()?;
    let at = clock.reading.at;
    let current = clock.stepped.is_none_or(|step| step.at <= at);
    (current && mesh.recent(at, timing::OWN_CLOCK_FRESH)).then_some(clock)
}

/// Whether the wall clock shows a time that cannot be: before this program was written, or when nobody will run it.
pub(crate) fn is_impossible(reading: &WallReading) -> bool {
    /// 2026-11-01 and 2100-01-01, in milliseconds since the epoch.
    const POSSIBLE: std::ops::Range<i64> = 1_793_491_200_000..4_102_444_800_000;
    !POSSIBLE.contains(&reading.wall_ms)
}

/// The time servers of a node that told the time lately, with how far they are ahead of the node's own clock.
pub(crate) fn servers<'a>(
    mesh: &Mesh<'_>,
    member: &Member<'a>,
) -> Vec<(&'a NtpServer, WallReading, Offset)> {
    let (Some(clock), Some(ntp)) = (own(mesh, member), member.ntp()) else {
        return Vec::new();
    };
    let told = |server: &'a NtpServer| {
        let told = server.told?;
        let fresh = mesh.recent(told.at, timing::NTP_FRESH);
        fresh.then(|| (server, told, told.ahead_of(&clock.reading)))
    };
    ntp.servers.iter().filter_map(told).collect()
}

/// Whether a time server says that the node's clock is right.
fn vouched(mesh: &Mesh<'_>, member: &Member<'_>) -> bool {
    servers(mesh, member).iter().any(|(_, _, offset)| {
        let most = offset
            .ahead_ms
            .unsigned_abs()
            .saturating_add(offset.error_ms);
        std::time::Duration::from_millis(most) <= timing::SKEW_WARN
    })
}

/// Why what needs certificates cannot be started: clocks that cannot be right, or are far off.
pub(crate) fn reasons(mesh: &Mesh<'_>, clocks: &Clocks<'_, '_>) -> Vec<String> {
    let mut reasons = Vec::new();
    for member in mesh.members.values() {
        let clock = member.clock();
        if clock.is_some_and(|clock| is_impossible(&clock.reading)) {
            reasons.push(format!("the clock of {} cannot be right", member.node));
        }
        let unsynced = |time: evidence::TalosTime| !time.synced && !time.disabled;
        let said = member.talos().and_then(|talos| talos.time);
        if said.is_some_and(unsynced) {
            reasons.push(format!(
                "Talos on {} waits for its time servers",
                member.node
            ));
        }
    }
    let far = clocks.skewed.iter();
    let far: Vec<&NodeRef> = far
        .filter(|skewed| duration(skewed.ahead_ms) > timing::SKEW_FAIL)
        .map(|skewed| &skewed.member.node)
        .collect();
    if !far.is_empty() {
        let limit = timing::SKEW_FAIL.as_secs();
        let names = crate::text::list(&far);
        reasons.push(format!("clocks are more than {limit} s apart: {names}"));
    }
    reasons
}

/// The least that is certain, with its sign.
fn bound(offset: Offset) -> i64 {
    let least = i64::try_from(offset.at_least().as_millis()).unwrap_or(i64::MAX);
    least.saturating_mul(offset.ahead_ms.signum())
}

/// Of an even number the one of the two in the middle that accuses less.
fn median(mut bounds: Vec<i64>) -> Option<i64> {
    bounds.sort_unstable();
    let upper = bounds.get(bounds.len() / 2).copied()?;
    let lower = bounds.get(bounds.len().saturating_sub(1) / 2).copied()?;
    Some(if lower.unsigned_abs() < upper.unsigned_abs() {
        lower
    } else {
        upper
    })
}

pub(crate) fn duration(millis: i64) -> std::time::Duration {
    std::time::Duration::from_millis(millis.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_two_is_the_one_that_accuses_less() {
        assert_eq!(median(vec![-10_000, 0]), Some(0));
        assert_eq!(median(vec![10_000, 9_000]), Some(9_000));
        assert_eq!(median(vec![0, 10_000, 10_000]), Some(10_000));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn what_lies_within_the_error_bar_is_no_difference() {
        let offset = |ahead_ms, error_ms| Offset { ahead_ms, error_ms };
        assert_eq!(bound(offset(600, 700)), 0);
        assert_eq!(bound(offset(-9_000, 1_000)), -8_000);
        assert_eq!(bound(offset(i64::MIN, 0)), i64::MIN + 1);
    }

    #[test]
    fn a_clock_of_1970_2011_or_2200_cannot_be_right() {
        let at = |wall_ms| WallReading {
            wall_ms,
            ..WallReading::default()
        };
        for impossible in [0, 1_300_000_000_000, 7_258_118_400_000, i64::MIN] {
            assert!(is_impossible(&at(impossible)), "{impossible}");
        }
        assert!(!is_impossible(&at(1_795_000_000_000)));
    }
}
