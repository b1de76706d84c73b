//! From evidence to verdict: [`diagnose`].
//!
//! Pure and deterministic: no clock, no I/O, and it cannot fail. Odd evidence becomes a finding or an unknown, never an
//! error. What is not proved good by fresh evidence is never good.
//!
//! In reading order: `view` (what comes in), `mesh` (the view, digested), `pair` (one ordered pair judged, with
//! `journey` following single handshakes), `overlay` (the devices of one node), `candidates` (where a peer may be
//! dialled), `health` (observers in trouble), `clocks` (whose is wrong), `discovery` (the service), `history` and `flaps` (what comes and goes), `localise` (where the trouble is), `findings` (what
//! is wrong), `levels` and
//! `gates` (what may be started), `pages` (the runbook), `timing` (every bound in time).
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

pub mod candidates;
mod clocks;
mod discovery;
mod findings;
mod flaps;
mod gates;
mod health;
mod history;
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

pub use history::{History, Recorder};
pub use pages::{Page, explain, pages};
pub use view::{Conflict, Expectation, NodeView, Stream, View};

use evidence::{Moment, NodeState, Verdict};

use mesh::{Member, Mesh, millis};

/// Judges a view.
pub fn diagnose(view: &View, now: Moment) -> Verdict {
    let mesh = Mesh::new(view, now);
    let mut directions: Vec<pair::Direction> = mesh
        .pairs()
        .map(|(a, b)| pair::judge(&mesh, a, b))
        .collect();
    flaps::mark(&mesh, &mut directions);
    let findings = findings::find(&mesh, &directions);
    let gates = gates::gates(&mesh, &directions, &findings);
    Verdict {
        nodes: mesh
            .members
            .values()
            .map(|member| node_state(&mesh, member))
            .collect(),
        pairs: directions
            .into_iter()
            .map(|direction| direction.ladder)
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
