//! From judged pairs to gates. Everything fails closed: what is not proved good by fresh evidence is not ready.

use evidence::{Finding, Gate, Outcome, Phase, Rung, SourceId};

use crate::{
    clocks::{self, Clocks},
    cure,
    directions::{Counts, Directions, Table},
    discovery, expected, flaps,
    graph::{Graph, Level},
    levels::Check,
    mesh::{Member, Mesh, Speaks},
    overlay,
    pair::Direction,
    text,
};

/// Judges all levels.
pub(crate) fn gates(
    mesh: &Mesh<'_>,
    table: &Table,
    findings: &[Finding],
    clocks: &Clocks<'_, '_>,
) -> Vec<Gate> {
    let graph = &mesh.view.expectation.graph;
    let directions = Directions::new(mesh, table);
    let clocks = clocks::reasons(mesh, clocks);
    let judged: Vec<(Phase, Vec<String>)> = graph
        .levels()
        .iter()
        .map(|level| judge(&directions, table.counts(), (findings, &clocks), level))
        .collect();
    let phases: Vec<Phase> = judged.iter().map(|(phase, _)| *phase).collect();
    let mut gates: Vec<Gate> = graph
        .levels()
        .iter()
        .zip(judged)
        .map(|(level, (phase, reasons))| Gate {
            level: level.name.clone(),
            phase,
            may_start: may_start(graph, level, &phases),
            depends_on: level
                .depends_on
                .iter()
                .map(|below| below.level.clone())
                .collect(),
            terminal: phase != Phase::Ready
                && cure::shuts_for_good(mesh, &directions, findings, level.check),
            reasons,
        })
        .collect();
    cure::rise(&mut gates);
    gates
}

/// Whether everything below a level is ready; `phases` are those of all levels in their order.
fn may_start(graph: &Graph, level: &Level, phases: &[Phase]) -> Phase {
    let phase_of = |name: &str| {
        let at = graph.levels().iter().position(|level| level.name == name);
        at.and_then(|at| phases.get(at)).copied()
    };
    all(graph
        .below(level)
        .into_iter()
        .map(|lower| phase_of(&lower.name).unwrap_or(Phase::Unknown)))
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
    directions: &Directions<'_, '_>,
    counts: &Counts,
    (findings, clocks): (&[Finding], &[String]),
    level: &Level,
) -> (Phase, Vec<String>) {
    let mesh = directions.mesh;
    if level.needs_clocks && !clocks.is_empty() {
        return (Phase::NotReady, clocks.to_vec());
    }
    if level.check == Check::Discovery {
        return discovery::level(mesh, level);
    }
    let Some(rung) = level.check.rung() else {
        return (
            Phase::Unknown,
            vec!["not measured by this version".to_owned()],
        );
    };
    let (failing, open) = counts.at(rung);
    let mut holes = Holes::of(mesh, level);
    if rung == Rung::OverlayMtu {
        holes.overlay(mesh);
    }
    if failing == 0 && open == 0 && holes.reasons.is_empty() && counts.all() > 0 {
        return (Phase::Ready, Vec::new());
    }
    let mut reasons = Vec::new();
    let all = counts.all();
    if failing > 0 {
        reasons.push(format!(
            "{failing} of {all} directions {} at or below {rung}",
            text::verb(failing, "fails", "fail")
        ));
    }
    let flapping: Vec<String> = flapping(directions, rung);
    if !flapping.is_empty() {
        let (some, which) = (flapping.len(), text::list(&flapping));
        let come = text::verb(some, "comes and goes", "come and go");
        reasons.push(format!("{some} of {all} directions {come}: {which}"));
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
            "{open} of {all} directions {} not proved good at {rung}",
            text::verb(open, "is", "are")
        ));
        reasons.extend(undecided(directions, rung));
    }
    reasons.extend(troubled(mesh));
    reasons.extend(roots(findings));
    (phase, reasons)
}

/// The directions that are good at the moment, and were not for long.
fn flapping(directions: &Directions<'_, '_>, rung: Rung) -> Vec<String> {
    if directions.mesh.view.history.is_empty() {
        return Vec::new();
    }
    let marked =
        |direction: &Direction<'_, '_>| flaps::marked_at(direction).is_some_and(|at| at <= rung);
    let marked = directions.odd().filter(marked);
    marked
        .map(|direction| format!("{} -> {}", direction.from, direction.to))
        .collect()
}

/// Why steering is not proved, told for one direction: nothing else in the answer says which source is missing.
fn undecided(directions: &Directions<'_, '_>, rung: Rung) -> Option<String> {
    let waits = |direction: &Direction<'_, '_>| {
        rung == Rung::Steering
            && direction.tunnel.outcome.is_good()
            && direction.steering.outcome == Outcome::Unknown
    };
    let direction = directions.odd().find(waits)?;
    let (from, to) = (direction.from, direction.to);
    Some(format!(
        "{from} -> {to}: {}",
        direction.told().steering.method
    ))
}

/// Whose word counts for less at present, where something is not proved.
fn troubled(mesh: &Mesh<'_>) -> impl Iterator<Item = String> {
    mesh.members.values().filter_map(|member| {
        let trouble = mesh.trouble(member)?;
        Some(format!("{} is in trouble: {}", member.node, trouble.what))
    })
}

/// Why the mesh cannot be judged as a whole.
struct Holes {
    reasons: Vec<String>,
    /// Whether one of them is past doubt, and not just what a start looks like.
    known: bool,
}

impl Holes {
    fn of(mesh: &Mesh<'_>, level: &Level) -> Self {
        let mut holes = Self {
            reasons: Vec::new(),
            known: false,
        };
        holes.missing(mesh, level);
        holes.silent(mesh);
        for member in mesh.members.values() {
            holes.blind(member);
        }
        holes
    }

    fn missing(&mut self, mesh: &Mesh<'_>, level: &Level) {
        let missing = expected::missing(mesh, level);
        self.known |= !missing.is_empty() && mesh.started_long_ago();
        self.reasons.extend(missing);
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
        let names: Vec<String> = silent
            .iter()
            .map(|member| last_words(mesh, member))
            .collect();
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
fn last_words(mesh: &Mesh<'_>, member: &Member<'_>) -> String {
    if let Some(stage) = member.away_on_purpose(mesh.now) {
        return format!("{} ({}, as its Talos said)", member.node, stage.as_str());
    }
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
        .map(reason)
        .collect()
}

/// How a root is named among the reasons.
pub(crate) fn reason(root: &Finding) -> String {
    format!("{}: {}", root.code, root.subject_text)
}
