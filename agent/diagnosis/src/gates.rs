//! From judged pairs to gates. Everything fails closed: what is not proved good by fresh evidence is not ready.

use evidence::{Finding, Gate, Outcome, Phase, Rung};

use crate::{
    levels::{LEVELS, Level, below},
    mesh::{Mesh, Speaks},
    pair::Direction,
    text,
};

/// Judges all levels.
pub(crate) fn gates(mesh: &Mesh<'_>, directions: &[Direction], findings: &[Finding]) -> Vec<Gate> {
    let judged: Vec<(Phase, Vec<String>)> = LEVELS
        .iter()
        .map(|level| judge(mesh, directions, findings, level))
        .collect();
    let phase_of = |name: &str| {
        let at = LEVELS.iter().position(|level| level.name == name);
        at.and_then(|at| judged.get(at))
            .map_or(Phase::Unknown, |(phase, _)| *phase)
    };
    LEVELS
        .iter()
        .zip(&judged)
        .map(|(level, (phase, reasons))| Gate {
            level: level.name.to_owned(),
            phase: *phase,
            may_start: all(below(level).into_iter().map(|lower| phase_of(lower.name))),
            depends_on: level
                .depends_on
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
            reasons: reasons.clone(),
            // Every cause that this version can find, somebody can cure while a script waits.
            terminal: false,
        })
        .collect()
}

/// Ready only if all are; not ready if one is known not to be.
fn all(phases: impl Iterator<Item = Phase>) -> Phase {
    phases.fold(Phase::Ready, |worst, phase| match (worst, phase) {
        (Phase::NotReady, _) | (_, Phase::NotReady) => Phase::NotReady,
        (Phase::Unknown, _) | (_, Phase::Unknown) => Phase::Unknown,
        (Phase::Ready, Phase::Ready) => Phase::Ready,
    })
}

fn judge(
    mesh: &Mesh<'_>,
    directions: &[Direction],
    findings: &[Finding],
    level: &Level,
) -> (Phase, Vec<String>) {
    let Some(rung) = level.rung else {
        return (
            Phase::Unknown,
            vec!["not measured by this version".to_owned()],
        );
    };
    let absent = absent(mesh);
    let (failing, open) = count(directions, rung);
    if failing > 0 {
        let mut reasons = vec![format!(
            "{failing} of {} directions fail at or below {rung}",
            directions.len()
        )];
        reasons.extend(roots(findings));
        return (Phase::NotReady, reasons);
    }
    if absent.is_empty() && open == 0 && !directions.is_empty() {
        return (Phase::Ready, Vec::new());
    }
    let mut reasons = absent;
    if open > 0 {
        reasons.push(format!(
            "{open} of {} directions are not proved good at {rung}",
            directions.len()
        ));
    }
    reasons.extend(roots(findings));
    (Phase::Unknown, reasons)
}

/// How many directions fail at or below `rung`, and how many are merely not proved good.
fn count(directions: &[Direction], rung: Rung) -> (usize, usize) {
    let failing = |direction: &&Direction| direction.ladder.broken_at.is_some_and(|at| at <= rung);
    let good = |direction: &&Direction| proved(direction, rung);
    let (bad, good) = (
        directions.iter().filter(failing).count(),
        directions.iter().filter(good).count(),
    );
    (
        bad,
        directions.len().saturating_sub(bad).saturating_sub(good),
    )
}

fn proved(direction: &Direction, rung: Rung) -> bool {
    let own = direction.ladder.outcome(rung).is_good();
    let none_below_fails = direction.ladder.broken_at.is_none_or(|at| at > rung);
    own && none_below_fails && direction.ladder.outcome(Rung::Underlay) != Outcome::Fail
}

/// Why the mesh cannot be judged as a whole: who is missing.
fn absent(mesh: &Mesh<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let (fresh, least) = (mesh.fresh_reporters(), mesh.view.expectation.min_nodes);
    if fresh < least {
        reasons.push(format!(
            "{fresh} nodes report, at least {least} are expected"
        ));
    }
    let silent: Vec<String> = mesh
        .members
        .values()
        .filter(|member| member.speaks != Speaks::Freshly)
        .map(|member| match member.last_report() {
            Some(at) => format!(
                "{} (last report {} ago)",
                member.node,
                text::age(mesh.now.since(at))
            ),
            None => format!("{} (no report)", member.node),
        })
        .collect();
    if !silent.is_empty() {
        reasons.push(format!("without a fresh report: {}", text::list(&silent)));
    }
    reasons
}

fn roots(findings: &[Finding]) -> Vec<String> {
    /// A gate's reasons are a summary; `status` has them all.
    const SHOWN: usize = 3;
    findings
        .iter()
        .filter(|finding| finding.suppressed_by.is_none())
        .take(SHOWN)
        .map(|finding| format!("{}: {}", finding.code, finding.subject_text))
        .collect()
}
