//! One line per change of a gate, and per root finding that opens or closes.

use std::collections::BTreeSet;

use evidence::{Change, Confidence, Finding, Phase, Subject, Verdict, document::Question};
use tracing::info;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Gate {
        level: String,
        ready: (Phase, Phase),
        may_start: (Phase, Phase),
        reason: Option<String>,
    },
    Opened {
        code: String,
        subject: String,
        confidence: Confidence,
        summary: String,
    },
    Closed {
        code: String,
        subject: String,
    },
}

/// What an operator cares about between two verdicts.
pub(super) fn events(old: &Verdict, new: &Verdict) -> Vec<Event> {
    let (before, after) = (roots(old), roots(new));
    let opened = new
        .roots()
        .filter(|finding| !before.contains(&id(finding)))
        .map(|finding| Event::Opened {
            code: finding.code.clone(),
            subject: finding.subject_text.clone(),
            confidence: finding.confidence,
            summary: finding.summary.clone(),
        });
    let closed = old
        .roots()
        .filter(|finding| !after.contains(&id(finding)))
        .map(|finding| Event::Closed {
            code: finding.code.clone(),
            subject: finding.subject_text.clone(),
        });
    gates(old, new).chain(closed).chain(opened).collect()
}

pub(super) fn write(events: &[Event]) {
    for event in events {
        match event {
            Event::Gate {
                level,
                ready,
                may_start,
                reason,
            } => info!(
                level,
                ready = arrow(*ready),
                may_start = arrow(*may_start),
                reason,
                "gate changed"
            ),
            Event::Opened {
                code,
                subject,
                confidence,
                summary,
            } => info!(
                code,
                subject,
                confidence = confidence.as_str(),
                summary,
                "finding opened"
            ),
            Event::Closed { code, subject } => info!(code, subject, "finding closed"),
        }
    }
}

/// The same as they are kept and told to others.
pub(super) fn changes(events: Vec<Event>) -> Vec<Change> {
    let one = |event| match event {
        Event::Gate {
            level,
            ready,
            may_start,
            reason,
        } => Change::Gate {
            level,
            ready,
            may_start,
            reason,
        },
        Event::Opened {
            code,
            subject,
            confidence: _,
            summary,
        } => Change::Opened {
            code,
            subject,
            summary,
        },
        Event::Closed { code, subject } => Change::Closed { code, subject },
    };
    events.into_iter().map(one).collect()
}

fn gates(old: &Verdict, new: &Verdict) -> impl Iterator<Item = Event> {
    new.gates.iter().filter_map(|gate| {
        let before = old.gate(&gate.level)?;
        let ready = (before.phase, gate.phase);
        let may_start = (before.may_start, gate.may_start);
        (ready.0 != ready.1 || may_start.0 != may_start.1).then(|| Event::Gate {
            level: gate.level.clone(),
            ready,
            may_start,
            reason: if ready.0 == ready.1 {
                // A level that is not measured has only this to tell.
                let answer = new.answer(&gate.level, Question::MayStart);
                answer.and_then(|gate| gate.reasons.into_iter().next())
            } else {
                gate.reasons.first().cloned()
            },
        })
    })
}

fn roots(verdict: &Verdict) -> BTreeSet<(&str, &Subject)> {
    verdict.roots().map(id).collect()
}

fn id(finding: &Finding) -> (&str, &Subject) {
    (&finding.code, &finding.subject)
}

fn arrow((from, to): (Phase, Phase)) -> String {
    if from == to {
        return to.as_str().to_owned();
    }
    format!("{} -> {}", from.as_str(), to.as_str())
}

#[cfg(test)]
mod tests {
    use evidence::Gate;

    use super::*;

    fn gate(phase: Phase) -> Gate {
        Gate {
            level: "mesh".to_owned(),
            phase,
            may_start: Phase::Ready,
            depends_on: Vec::new(),
            reasons: vec!["1 of 2 nodes".to_owned()],
            terminal: false,
        }
    }

    fn finding(summary: &str, under: Option<&str>) -> Finding {
        Finding {
            code: "agent-missing".to_owned(),
            subject: Subject::Cluster,
            subject_text: Subject::Cluster.to_string(),
            confidence: Confidence::Likely,
            summary: summary.to_owned(),
            evidence: Vec::new(),
            fixes: Vec::new(),
            could_also_be: Vec::new(),
            decided_by: None,
            explains: Vec::new(),
            explains_more: 0,
            suppressed_by: under.map(str::to_owned),
        }
    }

    fn verdict(gates: Vec<Gate>, findings: Vec<Finding>) -> Verdict {
        Verdict {
            gates,
            findings,
            ..Verdict::default()
        }
    }

    #[test]
    fn a_level_that_may_start_no_more_is_told_with_what_shuts_it() {
        let api = |may_start| Gate {
            level: "api".to_owned(),
            phase: Phase::Unknown,
            may_start,
            depends_on: vec!["mesh".to_owned()],
            reasons: vec!["not measured".to_owned()],
            terminal: false,
        };
        let open = verdict(vec![gate(Phase::Ready), api(Phase::Ready)], vec![]);
        let shut = verdict(vec![gate(Phase::NotReady), api(Phase::NotReady)], vec![]);
        let reason = |events: Vec<Event>| match events.as_slice() {
            [_, Event::Gate { level, reason, .. }] if level == "api" => reason.clone(),
            other => panic!("{other:?}"),
        };
        let told = reason(events(&open, &shut));
        assert_eq!(told.as_deref(), Some("mesh is not ready: 1 of 2 nodes"));
        assert_eq!(reason(events(&shut, &open)), None);
    }

    #[test]
    fn a_gate_is_told_when_its_phase_changes_and_not_otherwise() {
        let shut = verdict(vec![gate(Phase::NotReady)], vec![]);
        let open = verdict(vec![gate(Phase::Ready)], vec![]);
        assert_eq!(events(&shut, &shut), vec![]);
        let changed = events(&shut, &open);
        assert!(
            matches!(
                changed.as_slice(),
                [Event::Gate {
                    ready: (Phase::NotReady, Phase::Ready),
                    ..
                }]
            ),
            "{changed:?}"
        );
    }

    #[test]
    fn a_root_is_told_once_while_its_words_change_and_when_it_is_gone() {
        let none = Verdict::default();
        let first = verdict(vec![], vec![finding("silent for 5 s", None)]);
        let later = verdict(vec![], vec![finding("silent for 6 s", None)]);
        assert!(matches!(
            events(&none, &first).as_slice(),
            [Event::Opened { .. }]
        ));
        assert_eq!(events(&first, &later), vec![]);
        assert!(matches!(
            events(&later, &none).as_slice(),
            [Event::Closed { .. }]
        ));
    }

    #[test]
    fn a_folded_finding_is_not_told() {
        let folded = verdict(vec![], vec![finding("effect", Some("another"))]);
        assert_eq!(events(&Verdict::default(), &folded), vec![]);
    }
}
