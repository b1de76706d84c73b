//! An observer in trouble, where nothing else keeps the judgement open.

use std::collections::BTreeMap;

use evidence::{Confidence, FactKey, Finding, NodeRef, Outcome, Subject};

use super::{Draft, fix, pair};
use crate::{
    directions::Directions,
    health::Trouble,
    mesh::{Member, Mesh},
    pair::Direction,
};

/// Of directions that no root explains: those that lose echoes and are undecided, by the end that is in trouble.
pub(super) fn find(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let open = |direction: &Direction<'_, '_>| {
        [direction.underlay, direction.tunnel]
            .iter()
            .any(|answer| answer.outcome == Outcome::Unknown)
            && direction.loss_since().is_some()
    };
    let mut found: BTreeMap<&NodeRef, Draft> = BTreeMap::new();
    for direction in directions.odd().filter(open) {
        for end in [direction.from, direction.to] {
            let Some((member, trouble)) = in_trouble(mesh, end) else {
                continue;
            };
            let draft = found
                .entry(end)
                .or_insert_with(|| overloaded(mesh, member, &trouble));
            draft.explains.insert(pair(&direction));
        }
    }
    found
        .into_values()
        .map(|draft| draft.finish(None))
        .collect()
}

fn in_trouble<'m, 'a>(mesh: &'m Mesh<'a>, node: &NodeRef) -> Option<(&'m Member<'a>, Trouble)> {
    let member = mesh.members.get(node)?;
    Some((member, mesh.trouble(member)?))
}

fn overloaded(mesh: &Mesh<'_>, member: &Member<'_>, trouble: &Trouble) -> Draft {
    let node = &member.node;
    let summary = format!(
        "{node} is in trouble itself, so what it did not hear proves nothing: {}",
        trouble.what
    );
    let subject = Subject::Node { node: node.clone() };
    let mut draft = Draft::new(
        "observer-overloaded",
        subject,
        Confidence::Undecided,
        summary,
    );
    let cited = mesh.cite(
        member,
        FactKey::Health,
        trouble.until,
        trouble.what.to_owned(),
    );
    draft.evidence.push(cited);
    draft.fixes.push(fix(
        "who runs the node",
        format!("see what takes the processors or the network of {node}"),
        Some(format!(
            "talosctl -n {node} processes --sort cpu; talosctl -n {node} read /proc/net/softnet_stat"
        )),
    ));
    draft
        .could_also_be
        .push("trouble of the path, which nobody can tell meanwhile".to_owned());
    draft.decided_by = Some(format!("a few seconds in which {node} is well"));
    draft
}
