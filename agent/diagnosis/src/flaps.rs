//! What the past makes of a pair that is good at the moment.

use evidence::{Flapping, Ladder, NodeRef, Outcome, Rung};

use crate::{
    mesh::{Member, Mesh},
    pair::{Direction, Outcomes},
    text,
};

/// Marks the outcomes of a pair that flaps. A rung that is good is so no longer; what fails, or is not known, stays.
pub(crate) fn marked(
    mesh: &Mesh<'_>,
    (a, b): (&Member<'_>, &Member<'_>),
    mut outcomes: Outcomes,
) -> Outcomes {
    let history = &mesh.view.history;
    if history.is_empty() || outcomes.broken_at().is_some() {
        return outcomes;
    }
    if let Some(flaps) = history.flaps(&a.node, &b.node, mesh.now)
        && outcomes.asked(flaps.rung).is_good()
    {
        outcomes.mark(flaps.rung);
    }
    outcomes
}

/// The same of a ladder, in words.
pub(crate) fn mark(mesh: &Mesh<'_>, ladder: &mut Ladder) {
    let history = &mesh.view.history;
    let Some(flaps) = history.flaps(&ladder.from, &ladder.to, mesh.now) else {
        return;
    };
    ladder.flapping = Some(flaps.told);
    if ladder.broken_at.is_some() {
        return;
    }
    let fact = fact(&ladder.from, &ladder.to);
    let rungs = ladder.rungs.iter_mut();
    let mut here = rungs.filter(|state| state.rung == flaps.rung && state.outcome.is_good());
    if let Some(state) = here.next() {
        state.outcome = Outcome::Flapping;
        state.method = format!("good at the moment; {}", words(flaps.told));
        state
            .evidence
            .push(mesh.observed(flaps.last, &fact, words(flaps.told)));
    }
    let good = ladder
        .rungs
        .iter()
        .take_while(|state| state.outcome.is_good());
    ladder.highest = good.last().map(|state| state.rung);
}

/// What the past of a pair is cited as.
pub(crate) fn fact(from: &NodeRef, to: &NodeRef) -> String {
    format!("pair-history/{from}/{to}")
}

/// `changed between good and failed 6 times in 48 s, regularly: each 16 s`
pub(crate) fn words(flapping: Flapping) -> String {
    let Flapping {
        changes,
        over_ms,
        period_ms,
    } = flapping;
    let age = |millis| text::age(std::time::Duration::from_millis(millis));
    let period = period_ms.map_or_else(String::new, |period| {
        format!(", regularly: each {}", age(period))
    });
    format!(
        "changed between good and failed {changes} times in {}{period}",
        age(over_ms)
    )
}

/// Where a direction is marked, if it is.
pub(crate) fn marked_at(direction: &Direction<'_, '_>) -> Option<Rung> {
    direction.ladder.marked_at()
}
