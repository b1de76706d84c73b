//! From evidence to verdict: [`diagnose`].
//!
//! Pure and deterministic: no clock, no I/O, and it cannot fail. Odd evidence becomes a finding or an unknown, never an
//! error. What is not proved good by fresh evidence is never good.
//!
//! In reading order: `view` (what comes in), `mesh` (the view, digested), `pair` (one ordered pair judged, with
//! `journey` following single handshakes), `overlay` (the devices of one node), `candidates` (where a peer may be
//! dialled), `health` (observers in trouble), `clocks` (whose is wrong), `discovery` (the service), `localise` (where the trouble is), `findings` (what
//! is wrong), `graph` and `levels` (what rests on what), `gates` (what may be started), `cure` (what waiting does to a
//! finding), `hold` (what only who judges again and again knows), `pages` (the runbook), `timing` (every bound in time).
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

pub mod candidates;
mod clocks;
pub mod cure;
mod directions;
mod discovery;
mod expected;
mod findings;
mod gates;
pub mod graph;
mod health;
pub mod hold;
mod journey;
pub mod levels;
mod localise;
mod mesh;
mod overlay;
mod pages;
mod pair;
mod prefix;
mod text;
pub mod timing;
mod view;

pub use pages::{Page, explain, pages};
pub use view::{Conflict, Expectation, NodeView, Stream, View};

use evidence::{Moment, NodeState, Verdict};

use directions::Table;
use mesh::{Member, Mesh, millis};

/// Judges a view.
pub fn diagnose(view: &View, now: Moment) -> Verdict {
    let mesh = Mesh::new(view, now);
    let table = Table::of(&mesh);
    let findings = findings::find(&mesh, &table);
    let gates = gates::gates(&mesh, &table, &findings);
    let members = || mesh.members.values();
    let pairs = members().flat_map(|a| members().map(move |b| (a, b)));
    Verdict {
        nodes: members().map(|member| node_state(&mesh, member)).collect(),
        pairs: pairs
            .filter(|(a, b)| a.index != b.index)
            .map(|(a, b)| pair::ladder_of(&mesh, a, b))
            .collect(),
        findings,
        gates,
    }
}

fn node_state(mesh: &Mesh<'_>, member: &Member<'_>) -> NodeState {
    let identity = member.identity();
    NodeState {
        node: member.node.clone(),
        reporting: member.fresh().is_some(),
        report_age_ms: member.last_report().map(|at| millis(mesh.now.since(at))),
        version: identity.map(|identity| identity.version.clone()),
        kubespan_address: identity
            .and_then(|identity| identity.kubespan_address)
            .map(|address| address.to_string()),
        gaps: evidence::SourceId::ALL
            .into_iter()
            .filter_map(|id| {
                let gap = member.source(id)?.gap.as_ref()?;
                Some(format!("{}: {}", id.as_str(), gap.reason))
            })
            .collect(),
    }
}
