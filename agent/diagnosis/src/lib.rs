//! From evidence to verdict: [`diagnose`].
//!
//! Pure and deterministic: no clock, no I/O, and it cannot fail. Odd evidence becomes a finding or an unknown, never an
//! error. What is not proved good by fresh evidence is never good.
//!
//! In reading order: `view` (what comes in), `watch` (one judgement after the other), `mesh` (the view, digested), `pair` (one ordered pair judged, with
//! `journey` following single handshakes), `overlay` (the devices of one node), `candidates` (where a peer may be
//! dialled), `health` (observers in trouble), `clocks` (whose is wrong), `discovery` (the service), `history` and `flaps` (what
//! comes and goes), `localise` (where the trouble is), `findings` (what
//! is wrong), `graph` and `levels` (what rests on what), `gates` (what may be started), `cure` (what waiting does to a
//! finding), `hold` and `standing` (what only who judges again and again knows), `pages` (the runbook), `timing` (every bound in time).
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

pub mod candidates;
mod clocks;
pub mod cure;
mod directions;
mod discovery;
mod expected;
mod findings;
mod flaps;
mod gates;
pub mod graph;
mod health;
mod history;
pub mod hold;
mod journey;
pub mod levels;
mod localise;
mod mesh;
mod overlay;
mod page;
mod pages;
mod pair;
mod prefix;
pub mod standing;
mod text;
pub mod timing;
mod view;
mod watch;

/// What the tests from outside judge, for those from inside.
#[cfg(test)]
#[path = "../tests/support/chaos.rs"]
mod chaos;
#[cfg(test)]
extern crate self as diagnosis;
#[cfg(test)]
#[expect(
    dead_code,
    clippy::as_conversions,
    reason = "tests from inside change meshes in few of the ways there are, and tests may convert as they like"
)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use history::{History, Recorder};
pub use page::{Page as PairPage, PairFilter, pairs};
pub use pages::{Page, explain, pages};
pub use view::{Conflict, Expectation, NodeView, Stream, View};
pub use watch::Watch;

use evidence::{Finding, Ladder, Moment, NodeState, Verdict, limits};

use clocks::Clocks;
use directions::{Table, Way};
use mesh::{Member, Mesh, millis};

/// Judges a view.
pub fn diagnose(view: &View, now: Moment) -> Verdict {
    Watch::default().diagnose(view, now)
}

fn verdict(mesh: &Mesh<'_>, table: &Table, clocks: &Clocks<'_, '_>) -> Verdict {
    let findings = findings::find(mesh, table, clocks);
    let gates = gates::gates(mesh, table, &findings, clocks);
    let told = table.told(mesh).into_iter();
    let (findings, findings_left_out) = bounded(findings);
    Verdict {
        nodes: mesh
            .members
            .values()
            .map(|member| node_state(mesh, member))
            .collect(),
        pairs: told.filter_map(|way| ladder(mesh, way)).collect(),
        tally: table.counts().tally,
        findings,
        findings_left_out,
        gates,
    }
}

fn ladder(mesh: &Mesh<'_>, (from, to): Way) -> Option<Ladder> {
    let ends = mesh.members.at(from).zip(mesh.members.at(to))?;
    Some(pair::ladder_of(mesh, ends.0, ends.1))
}

/// What one verdict tells of all findings, and how many it leaves out. Roots come first.
fn bounded(mut findings: Vec<Finding>) -> (Vec<Finding>, u64) {
    let over = |len: usize, limit| u64::try_from(len.saturating_sub(limit)).unwrap_or(u64::MAX);
    let left_out = over(findings.len(), limits::FINDINGS);
    findings.truncate(limits::FINDINGS);
    for finding in &mut findings {
        finding.explains_more = over(finding.explains.len(), limits::EXPLAINED);
        finding.explains.truncate(limits::EXPLAINED);
        finding.explains.shrink_to_fit();
    }
    (findings, left_out)
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
        site: member.site.map(|site| site.to_string()),
        gaps: evidence::SourceId::ALL
            .into_iter()
            .filter_map(|id| {
                let gap = member.source(id)?.gap.as_ref()?;
                Some(format!("{}: {}", id.as_str(), gap.reason))
            })
            .collect(),
    }
}
