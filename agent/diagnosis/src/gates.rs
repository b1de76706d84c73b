//! From judged pairs to gates. Everything fails closed: what is not proved good by fresh evidence is not ready.

use evidence::{Finding, Gate, Outcome, Phase, Rung, SourceId};

use crate::{
    clocks, discovery, flaps,
    levels::{self, LEVELS, Level, below},
    mesh::{Member, Mesh, Speaks},
    overlay,
    pair::Direction,
    text,
};

/// Levels that rest on certificates. The tunnels below them ask no clock, so wrong ones do not shut those.
const NEEDS_TIME: [&str; 2] = ["discovery", "kubernetes-api"];

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
    let needs_time = NEEDS_TIME.contains(&level.name);
    let clocks = needs_time.then(|| clocks::reasons(mesh));
    if let Some(reasons) = clocks.filter(|reasons| !reasons.is_empty()) {
        return (Phase::NotReady, reasons);
    }
    if level.name == levels::DISCOVERY {
        return discovery::level(mesh);
    }
    let Some(rung) = level.rung else {
        return (
            Phase::Unknown,
            vec!["not measured by this version".to_owned()],
        );
    };
    let (failing, open) = count(directions, rung);
    let mut holes = Holes::of(mesh);
    if rung == Rung::OverlayMtu {
        holes.overlay(mesh);
    }
    if failing == 0 && open == 0 && holes.reasons.is_empty() && !directions.is_empty() {
        return (Phase::Ready, Vec::new());
    }
    let mut reasons = Vec::new();
    let all = directions.len();
    if failing > 0 {
        reasons.push(format!(
            "{failing} of {all} directions fail at or below {rung}"
        ));
    }
    let flapping: Vec<String> = flapping(directions, rung);
    if !flapping.is_empty() {
        let (some, which) = (flapping.len(), text::list(&flapping));
        reasons.push(format!("{some} of {all} directions come and go: {which}"));
    }
    let phase =
        if failing > 0 || !flapping.is_empty() || (holes.known && mesh.fresh_reporters() > 0) {
            Phase::NotReady
        } else {
            Phase::Unknown
        };
    reasons.extend(holes.reasons);
    if open > 0 {
        reasons.push(format!(
            "{open} of {all} directions are not proved good at {rung}"
        ));
        reasons.extend(undecided(directions, rung));
    }
    reasons.extend(troubled(mesh));
    reasons.extend(roots(findings));
    (phase, reasons)
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

/// The directions that are good at the moment, and were not for long.
fn flapping(directions: &[Direction], rung: Rung) -> Vec<String> {
    let marked = |direction: &&Direction| flaps::marked_at(direction).is_some_and(|at| at <= rung);
    let marked = directions.iter().filter(marked);
    marked
        .map(|direction| format!("{} -> {}", direction.from, direction.to))
        .collect()
}

/// Why steering is not proved, told for one direction: nothing else in the answer says which source is missing.
fn undecided(directions: &[Direction], rung: Rung) -> Option<String> {
    let waits = |direction: &&Direction| {
        rung == Rung::Steering
            && direction.tunnel.outcome.is_good()
            && direction.steering.outcome == Outcome::Unknown
    };
    let direction = directions.iter().find(waits)?;
    let (from, to) = (&direction.from, &direction.to);
    Some(format!("{from} -> {to}: {}", direction.steering.method))
}

/// Whose word counts for less at present, where something is not proved.
fn troubled(mesh: &Mesh<'_>) -> impl Iterator<Item = String> {
    mesh.members.values().filter_map(|member| {
        let trouble = mesh.trouble(member)?;
        Some(format!("{} is in trouble: {}", member.node, trouble.what))
    })
}

/// The rung and all below it are good. A young session above a way that nobody can see, or data that happens to pass
/// beside a device that cannot be read, is no ground to build on: else a lost tap would open what it shut.
fn proved(direction: &Direction, rung: Rung) -> bool {
    direction.ladder.highest >= Some(rung)
}

/// Why the mesh cannot be judged as a whole.
struct Holes {
    reasons: Vec<String>,
    /// Whether one of them is past doubt, and not just what a start looks like.
    known: bool,
}

impl Holes {
    fn of(mesh: &Mesh<'_>) -> Self {
        let mut holes = Self {
            reasons: Vec::new(),
            known: false,
        };
        holes.too_few(mesh);
        holes.silent(mesh);
        for member in mesh.members.values() {
            holes.blind(member);
        }
        holes
    }

    fn too_few(&mut self, mesh: &Mesh<'_>) {
        let (fresh, least) = (mesh.fresh_reporters(), mesh.view.expectation.min_nodes);
        if fresh < least {
            self.reasons.push(format!(
                "{fresh} nodes report, at least {least} are expected"
            ));
            self.known |= mesh.started_long_ago();
        }
    }

    fn silent(&mut self, mesh: &Mesh<'_>) {
        let silent: Vec<&Member<'_>> = mesh
            .members
            .values()
            .filter(|member| member.speaks != Speaks::Freshly)
            .collect();
        if silent.is_empty() {
            return;
        }
        self.known |= silent
            .iter()
            .any(|member| member.speaks != Speaks::Never || mesh.started_long_ago());
        let names: Vec<String> = silent.iter().map(|member| last_words(member)).collect();
        self.reasons
            .push(format!("without a fresh report: {}", text::list(&names)));
    }

    /// Frames that do not fit into the tunnel, which no probe of ours shows: they are sent at the tunnel's own size.
    fn overlay(&mut self, mesh: &Mesh<'_>) {
        for member in mesh.members.values() {
            self.reasons.extend(overlay::unknown(mesh, member));
            let large = overlay::too_large(mesh, member);
            let Some(vxlan) = member.vxlan().filter(|_| !large.is_empty()) else {
                continue;
            };
            self.known |= overlay::settled(mesh, vxlan);
            let names: Vec<&String> = large.iter().map(|large| &large.device.name).collect();
            self.reasons.push(format!(
                "{}: frames of {} do not fit into the tunnel",
                member.node,
                text::list(&names)
            ));
        }
    }

    /// A node that speaks, but cannot see what the judgement rests on.
    fn blind(&mut self, member: &Member<'_>) {
        if member.fresh().is_none() {
            return;
        }
        for id in [SourceId::WireGuard, SourceId::Echo] {
            if member.working(id).is_some() {
                continue;
            }
            let gap = member.source(id).and_then(|state| state.gap.as_ref());
            self.known |= gap.is_some() && id == SourceId::WireGuard;
            let why = gap.map_or("not read yet", |gap| gap.reason.as_str());
            self.reasons
                .push(format!("{} without {}: {why}", member.node, id.as_str()));
        }
    }
}

/// No age here: a reason that changes with every look would wake every watcher of the gate. `status` has the age.
fn last_words(member: &Member<'_>) -> String {
    let what = if member.last_report().is_some() {
        "silent"
    } else {
        "no report"
    };
    format!("{} ({what})", member.node)
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
