//! What is exported: to Prometheus in its classic text format, which every version and `promtool check metrics` reads, and by
//! `otlp`. Both write the same table.
//!
//! How many series there are does not depend on how bad things are: levels, rungs and codes are counted, pairs only while they
//! fail and only so many, and how many were left out is a number too. Nodes stand by their names, never by their keys.

mod table;

use std::collections::BTreeMap;

use evidence::{Confidence, Ladder, NodeRef, Outcome, Phase, Rung, Verdict};

use crate::{counters::Counters, verdicts::Judged};
pub(crate) use table::{Family, Kind, Number, Sample, Table};

/// Series of single pairs, where they are told at all.
pub(crate) const PAIR_SERIES: usize = 256;

/// All that is exported. Without a judgement only what is counted is; single nodes and pairs only if `most` pairs may be told.
pub(crate) fn table(judged: Option<&Judged>, counters: &Counters, most: Option<usize>) -> Table {
    let mut table = Table::default();
    table
        .family(
            "mesh_collector_info",
            Kind::Gauge,
            "Always 1; the version of the collector.",
        )
        .value(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    table
        .family(
            "mesh_collector_judged",
            Kind::Gauge,
            "Whether there is a judgement that is young enough to answer from.",
        )
        .value(&[], u64::from(judged.is_some()));
    if let Some(judged) = judged {
        gates(&mut table, &judged.verdict);
        nodes(&mut table, &judged.verdict, most.is_some());
        findings(&mut table, &judged.verdict);
        pairs(&mut table, &judged.verdict, most);
    }
    for (name, value) in counters.all() {
        let name = format!("mesh_{name}");
        let about = "Counted by the collector since it started.";
        table.family(name, Kind::Counter, about).value(&[], value);
    }
    table
}

fn gates(table: &mut Table, verdict: &Verdict) {
    let mut each =
        |name: &'static str, about: &'static str, yes: &dyn Fn(&evidence::Gate) -> bool| {
            let mut family = table.family(name, Kind::Gauge, about);
            for gate in &verdict.gates {
                family.value(&[("level", &gate.level)], u64::from(yes(gate)));
            }
        };
    each(
        "mesh_gate_ready",
        "Whether a level's own checks are good. Unknown is 0.",
        &|gate| gate.phase == Phase::Ready,
    );
    each(
        "mesh_gate_may_start",
        "Whether everything below a level is ready. Unknown is 0.",
        &|gate| gate.may_start == Phase::Ready,
    );
    each(
        "mesh_gate_unknown",
        "Whether nobody can tell if a level is ready.",
        &|gate| gate.phase == Phase::Unknown,
    );
    each(
        "mesh_gate_terminal",
        "Whether a level is shut by what waiting cannot cure.",
        &|gate| gate.terminal,
    );
}

fn nodes(table: &mut Table, verdict: &Verdict, named: bool) {
    let reporting = verdict.nodes.iter().filter(|node| node.reporting).count();
    let unnamed = verdict
        .nodes
        .iter()
        .filter(|node| name(&node.node).is_none());
    let unnamed = unnamed.count();
    table
        .family(
            "mesh_nodes",
            Kind::Gauge,
            "Nodes of the mesh, by whether their agents report.",
        )
        .value(&[("state", "reporting")], reporting)
        .value(&[("state", "silent")], verdict.nodes.len() - reporting);
    table
        .family(
            "mesh_nodes_unnamed",
            Kind::Gauge,
            "Keys in devices of nodes that no agent has reported for.",
        )
        .value(&[], unnamed);
    if !named {
        return;
    }
    let mut family = table.family(
        "mesh_node_reporting",
        Kind::Gauge,
        "Whether the agent of a node reports.",
    );
    for node in &verdict.nodes {
        if let Some(name) = name(&node.node) {
            family.value(&[("node", name)], u64::from(node.reporting));
        }
    }
    let mut broken: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for ladder in verdict
        .pairs
        .iter()
        .filter(|ladder| ladder.broken_at.is_some())
    {
        if let Some(from) = name(&ladder.from) {
            broken.entry(from).or_default().0 += 1;
        }
        if let Some(to) = name(&ladder.to) {
            broken.entry(to).or_default().1 += 1;
        }
    }
    let mut family = table.family(
        "mesh_node_directions_broken",
        Kind::Gauge,
        "Directions from and to a node that fail at some rung.",
    );
    for name in verdict.nodes.iter().filter_map(|node| name(&node.node)) {
        let (out, into) = broken.get(name).copied().unwrap_or_default();
        family.value(&[("node", name), ("way", "from")], out);
        family.value(&[("node", name), ("way", "to")], into);
    }
}

fn findings(table: &mut Table, verdict: &Verdict) {
    let mut count: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for root in verdict.roots() {
        *count
            .entry((&root.code, root.confidence.as_str()))
            .or_default() += 1;
    }
    let mut family = table.family(
        "mesh_findings",
        Kind::Gauge,
        "What is wrong: roots by code and confidence. mesh-probe explain CODE has the page.",
    );
    // Zeros too: a series that comes and goes cannot be alerted on.
    for page in diagnosis::pages() {
        for confidence in [
            Confidence::Certain,
            Confidence::Likely,
            Confidence::Undecided,
        ] {
            let confidence = confidence.as_str();
            let found = count.get(&(page.code, confidence)).copied().unwrap_or(0);
            family.value(&[("code", page.code), ("confidence", confidence)], found);
        }
    }
}

fn pairs(table: &mut Table, verdict: &Verdict, most: Option<usize>) {
    const OUTCOMES: [Outcome; 6] = [
        Outcome::Pass,
        Outcome::Warn,
        Outcome::Fail,
        Outcome::Flapping,
        Outcome::Unknown,
        Outcome::NotApplicableYet,
    ];
    let mut count: BTreeMap<(Rung, Outcome), u64> = BTreeMap::new();
    for state in verdict.pairs.iter().flat_map(|ladder| &ladder.rungs) {
        *count.entry((state.rung, state.outcome)).or_default() += 1;
    }
    let mut family = table.family(
        "mesh_directions",
        Kind::Gauge,
        "Ordered pairs of nodes, by rung and outcome; in a mesh of more than 32 nodes only of those that are not good.",
    );
    for rung in Rung::ALL {
        for outcome in OUTCOMES {
            let found = count.get(&(rung, outcome)).copied().unwrap_or(0);
            family.value(
                &[("rung", rung.as_str()), ("outcome", outcome.as_str())],
                found,
            );
        }
    }
    let rtts = verdict.pairs.iter().filter_map(|ladder| ladder.rtt_us);
    let worst = rtts.max().unwrap_or(0);
    table
        .family(
            "mesh_rtt_worst_seconds",
            Kind::Gauge,
            "Longest round-trip time of any direction; 0 if none is known.",
        )
        .seconds(&[], worst.into());
    let tally = verdict.all_pairs();
    table
        .family(
            "mesh_pairs",
            Kind::Gauge,
            "Ordered pairs of nodes, all of them, by whether they carry.",
        )
        .value(&[("health", "good")], tally.good)
        .value(&[("health", "broken")], tally.broken)
        .value(&[("health", "unproved")], tally.unproved);
    let unhealthy: Vec<&Ladder> = verdict
        .pairs
        .iter()
        .filter(|ladder| ladder.broken_at.is_some())
        .collect();
    table
        .family(
            "mesh_directions_broken",
            Kind::Gauge,
            "Ordered pairs of nodes that fail at some rung.",
        )
        .value(&[], tally.broken);
    let Some(most) = most else {
        return;
    };
    let named: Vec<(&str, &str, &Ladder)> = unhealthy
        .iter()
        .filter_map(|ladder| Some((name(&ladder.from)?, name(&ladder.to)?, *ladder)))
        .collect();
    let unnamed = unhealthy.len() - named.len();
    let told = named.get(..most.min(named.len())).unwrap_or_default();
    let mut family = table.family(
        "mesh_direction_broken",
        Kind::Gauge,
        "Always 1; a direction that fails, and the lowest rung at which it does.",
    );
    for (from, to, ladder) in told {
        let rung = ladder.broken_at.map_or("", Rung::as_str);
        family.value(&[("from", from), ("to", to), ("rung", rung)], 1);
    }
    table
        .family(
            "mesh_directions_left_out",
            Kind::Gauge,
            "Directions that fail and have no series of their own, by why.",
        )
        .value(
            &[("reason", "limit")],
            tally.broken.saturating_sub(number(told.len() + unnamed)),
        )
        .value(&[("reason", "unnamed")], unnamed);
}

fn number(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// A node by its name. One whose name nobody has told is counted, and never told by its key.
fn name(node: &NodeRef) -> Option<&str> {
    match node {
        NodeRef::Named { name } => Some(name.as_str()),
        NodeRef::Unnamed { .. } => None,
    }
}

#[cfg(test)]
mod fleet;
#[cfg(test)]
pub(crate) mod tests;
