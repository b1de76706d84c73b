//! What has changed: pasts of pairs, and single transitions.

use ::evidence::{Change, Dated, Earlier, Moment, PairPast, Phase, Rung, Transition, limits};

use super::{
    ConvertError, at_most,
    verdict::{
        node_from_wire, node_to_wire, optional_rung, phase_from_wire, phase_to_wire, rung_to_wire,
    },
};
use crate::wire::{self, transition::Change as WireChange};

/// The past of a pair for the wire.
pub fn past_to_wire(past: &PairPast) -> wire::PairPast {
    let PairPast {
        from,
        to,
        good,
        rung,
        changes,
    } = past;
    wire::PairPast {
        from: Some(node_to_wire(from)),
        to: Some(node_to_wire(to)),
        good: *good,
        rung: rung_to_wire(*rung).into(),
        changes_ms: changes.iter().map(|at| at.as_millis()).collect(),
    }
}

/// The past of a pair, checked.
pub fn past_from_wire(past: wire::PairPast) -> Result<PairPast, ConvertError> {
    let wire::PairPast {
        from,
        to,
        good,
        rung,
        changes_ms,
    } = past;
    at_most("past.changes", changes_ms.len(), limits::PAIR_CHANGES)?;
    if changes_ms.windows(2).any(|two| two[0] > two[1]) {
        return Err(ConvertError::new("past.changes", "the oldest first"));
    }
    Ok(PairPast {
        from: node_from_wire("past.from", from)?,
        to: node_from_wire("past.to", to)?,
        good,
        rung: known_rung("past.rung", rung)?,
        changes: changes_ms.into_iter().map(Moment::from_millis).collect(),
    })
}

fn known_rung(field: &'static str, number: i32) -> Result<Rung, ConvertError> {
    optional_rung(field, number)?
        .ok_or_else(|| ConvertError::later(field, "one of the known rungs"))
}

/// A transition for the wire.
pub fn transition_to_wire(transition: &Transition) -> wire::Transition {
    let Transition {
        at,
        change,
        earlier,
    } = transition;
    let phase = |phase: Phase| phase_to_wire(phase).into();
    let change = match change {
        Change::Gate {
            level,
            ready,
            may_start,
            reason,
        } => WireChange::Gate(wire::GateChange {
            level: level.clone(),
            ready_before: phase(ready.0),
            ready: phase(ready.1),
            may_start_before: phase(may_start.0),
            may_start: phase(may_start.1),
            reason: reason.clone(),
        }),
        Change::Opened {
            code,
            subject,
            summary,
        } => WireChange::Finding(wire::FindingChange {
            code: code.clone(),
            subject: subject.clone(),
            opened: true,
            summary: Some(summary.clone()),
        }),
        Change::Closed { code, subject } => WireChange::Finding(wire::FindingChange {
            code: code.clone(),
            subject: subject.clone(),
            opened: false,
            summary: None,
        }),
        Change::Pair {
            from,
            to,
            good,
            rung,
        } => WireChange::Pair(wire::PairChange {
            from: Some(node_to_wire(from)),
            to: Some(node_to_wire(to)),
            good: *good,
            rung: rung_to_wire(*rung).into(),
        }),
    };
    wire::Transition {
        at_ms: at.as_millis(),
        change: Some(change),
        earlier: earlier.as_ref().map(earlier_to_wire),
    }
}

fn earlier_to_wire(earlier: &Earlier) -> wire::EarlierRun {
    let Earlier {
        run,
        wall_ms,
        dated,
    } = earlier;
    let dated = match dated {
        Dated::Exactly => wire::Dated::Exactly,
        Dated::ByWallClock => wire::Dated::ByWallClock,
        Dated::Unknown => wire::Dated::Unknown,
    };
    wire::EarlierRun {
        run: *run,
        wall_ms: *wall_ms,
        dated: dated.into(),
    }
}

fn earlier_from_wire(earlier: wire::EarlierRun) -> Earlier {
    let dated = match earlier.dated() {
        wire::Dated::Exactly => Dated::Exactly,
        wire::Dated::ByWallClock => Dated::ByWallClock,
        wire::Dated::Unknown => Dated::Unknown,
    };
    let wire::EarlierRun {
        run,
        wall_ms,
        dated: _,
    } = earlier;
    Earlier {
        run,
        wall_ms,
        dated,
    }
}

/// A transition from the wire.
pub fn transition_from_wire(transition: wire::Transition) -> Result<Transition, ConvertError> {
    let wire::Transition {
        at_ms,
        change,
        earlier,
    } = transition;
    let expected = "a change of a kind that this version knows";
    let change = match change.ok_or_else(|| ConvertError::later("transition.change", expected))? {
        WireChange::Gate(gate) => gate_change(gate),
        WireChange::Finding(finding) => finding_change(finding),
        WireChange::Pair(wire::PairChange {
            from,
            to,
            good,
            rung,
        }) => Change::Pair {
            from: node_from_wire("pair.from", from)?,
            to: node_from_wire("pair.to", to)?,
            good,
            rung: known_rung("pair.rung", rung)?,
        },
    };
    Ok(Transition {
        at: Moment::from_millis(at_ms),
        change,
        earlier: earlier.map(earlier_from_wire),
    })
}

fn gate_change(gate: wire::GateChange) -> Change {
    let ready = (
        phase_from_wire(gate.ready_before()),
        phase_from_wire(gate.ready()),
    );
    let may_start = (
        phase_from_wire(gate.may_start_before()),
        phase_from_wire(gate.may_start()),
    );
    Change::Gate {
        level: gate.level,
        ready,
        may_start,
        reason: gate.reason,
    }
}

fn finding_change(finding: wire::FindingChange) -> Change {
    let wire::FindingChange {
        code,
        subject,
        opened,
        summary,
    } = finding;
    if opened {
        Change::Opened {
            code,
            subject,
            summary: summary.unwrap_or_default(),
        }
    } else {
        Change::Closed { code, subject }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_of_an_earlier_run_comes_back_as_it_went() {
        let dated = [Dated::Exactly, Dated::ByWallClock, Dated::Unknown].map(Some);
        for dated in dated.into_iter().chain([None]) {
            let transition = Transition {
                at: Moment::from_millis(-7),
                change: Change::Closed {
                    code: "path-broken".to_owned(),
                    subject: "vps-1".to_owned(),
                },
                earlier: dated.map(|dated| Earlier {
                    run: 4,
                    wall_ms: 1_795_000_000_000,
                    dated,
                }),
            };
            let back = transition_from_wire(transition_to_wire(&transition));
            assert_eq!(back, Ok(transition));
        }
    }
}
