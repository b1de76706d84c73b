//! What the past makes of a pair that is good at the moment.

use evidence::{Flapping, Outcome, Rung};

use crate::{mesh::Mesh, pair::Direction, text};

/// Marks the ladders of pairs that flap. A rung that is good is so no longer; what fails, or is not known, stays.
pub(crate) fn mark(mesh: &Mesh<'_>, directions: &mut [Direction]) {
    let history = &mesh.view.history;
    if history.is_empty() {
        return;
    }
    for direction in directions {
        let Some(flaps) = history.flaps(&direction.from, &direction.to, mesh.now) else {
            continue;
        };
        let ladder = &mut direction.ladder;
        ladder.flapping = Some(flaps.told);
        if ladder.broken_at.is_some() {
            continue;
        }
        let fact = fact(direction);
        let ladder = &mut direction.ladder;
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
}

/// What the past of a pair is cited as.
pub(crate) fn fact(direction: &Direction) -> String {
    format!("pair-history/{}/{}", direction.from, direction.to)
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
pub(crate) fn marked_at(direction: &Direction) -> Option<Rung> {
    let mut rungs = direction.ladder.rungs.iter();
    rungs
        .find(|state| state.outcome == Outcome::Flapping)
        .map(|state| state.rung)
}
