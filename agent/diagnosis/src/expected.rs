//! Whom a level expects, and who of them is not there.

use std::time::Duration;

use evidence::NodeRef;

use crate::{
    graph::Level,
    mesh::{Member, Mesh},
    text, timing,
};

/// What a level lacks: too few nodes, those that it names, reports that are young enough. Empty if nothing.
pub(crate) fn missing(mesh: &Mesh<'_>, level: &Level) -> Vec<String> {
    let mut reasons = Vec::new();
    let bound = level.fresh_within.unwrap_or(timing::REPORT_FRESH);
    let (fresh, least) = (
        mesh.members
            .values()
            .filter(|member| young(mesh, member, bound))
            .count(),
        mesh.view.expectation.min_nodes.max(level.min_nodes),
    );
    if fresh < least {
        reasons.push(text::too_few(fresh, least));
    }
    let absent = level.nodes.iter().map(NodeRef::named).filter(|node| {
        let member = mesh.members.get(node);
        !member.is_some_and(|member| young(mesh, member, bound))
    });
    let absent: Vec<NodeRef> = absent.collect();
    if !absent.is_empty() {
        reasons.push(format!(
            "expected here, without a fresh report: {}",
            text::list(&absent)
        ));
    }
    // Whoever does not speak at all is told by the mesh as a whole.
    let late: Vec<&NodeRef> = mesh
        .members
        .values()
        .filter(|member| member.fresh().is_some() && !young(mesh, member, bound))
        .map(|member| &member.node)
        .collect();
    if !late.is_empty() {
        reasons.push(format!(
            "no report within {}: {}",
            humantime::format_duration(bound),
            text::list(&late)
        ));
    }
    reasons
}

fn young(mesh: &Mesh<'_>, member: &Member<'_>, bound: Duration) -> bool {
    member
        .fresh()
        .is_some_and(|view| mesh.now.since(view.last_report) <= bound)
}
