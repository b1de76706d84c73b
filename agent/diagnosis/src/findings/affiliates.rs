//! Findings about what the discovery service holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evidence::{
    Confidence, FactKey, Finding, NodeRef, PublicKey, Subject,
    discovery::{Affiliate, Affiliates, Rivals},
};

use super::{Draft, fix};
use crate::{
    discovery::endpoints,
    mesh::{Member, Mesh},
    text, timing,
};

/// How long the service keeps what is not said anew (`defaultTTL` of Talos' client).
const KEPT: Duration = Duration::from_mins(30);

/// Two short texts that must be the same everywhere.
type ClusterHash = [u8; 8];

/// Affiliates of machines that are gone: the findings, and the keys that nobody has any more.
pub(super) fn stale(mesh: &Mesh<'_>) -> Vec<(Finding, NodeRef)> {
    let mut found: BTreeMap<PublicKey, (Finding, NodeRef)> = BTreeMap::new();
    for (member, list) in lists(mesh) {
        for rivals in &list.rivals {
            let sides = [(&rivals.one, &rivals.other), (&rivals.other, &rivals.one)];
            for (gone, alive) in sides {
                let Some(owner) = owner(mesh, alive).filter(|_| is_gone(mesh, gone)) else {
                    continue;
                };
                found.entry(gone.key).or_insert_with(|| {
                    let finding = stale_finding(mesh, (member, list), rivals, (gone, owner));
                    (finding, NodeRef::Unnamed { key: gone.key })
                });
            }
        }
    }
    found.into_values().collect()
}

/// Nodes that do not belong to the same cluster, as what they seal and ask for shows.
pub(super) fn differing(mesh: &Mesh<'_>) -> Vec<Finding> {
    [secret(mesh), other_cluster(mesh)]
        .into_iter()
        .flatten()
        .collect()
}

/// The newest list of each node that has one.
fn lists<'m, 'a>(mesh: &'m Mesh<'a>) -> impl Iterator<Item = (&'m Member<'a>, &'a Affiliates)> {
    mesh.members.values().flat_map(move |member| {
        let lists = endpoints(mesh, member).filter_map(|endpoint| endpoint.affiliates.as_ref());
        let fresh = lists.filter(|list| mesh.recent(list.at, timing::DISCOVERY_FRESH));
        fresh.map(move |list| (member, list))
    })
}

/// The node that speaks and has this key.
fn owner<'m, 'a>(mesh: &'m Mesh<'a>, affiliate: &Affiliate) -> Option<&'m Member<'a>> {
    let mut members = mesh.members.values();
    members.find(|member| member.key == Some(affiliate.key) && member.fresh().is_some())
}

/// Nobody who reports has its key, and nobody's tunnel to it lives.
fn is_gone(mesh: &Mesh<'_>, affiliate: &Affiliate) -> bool {
    let claimed = mesh.members.values().any(|member| {
        let named = matches!(member.node, NodeRef::Named { .. });
        named && member.key == Some(affiliate.key)
    });
    let alive = last_handshake(mesh, affiliate).is_some_and(|age| age <= timing::SESSION);
    !claimed && !alive && mesh.started_long_ago()
}

/// How long ago anybody last shook hands with it.
fn last_handshake(mesh: &Mesh<'_>, affiliate: &Affiliate) -> Option<Duration> {
    let peers = mesh
        .members
        .values()
        .filter_map(|member| member.peer(&affiliate.key)?.last_handshake);
    peers.max().map(|at| mesh.now.since(at))
}

fn stale_finding(
    mesh: &Mesh<'_>,
    (member, list): (&Member<'_>, &Affiliates),
    rivals: &Rivals,
    (gone, owner): (&Affiliate, &Member<'_>),
) -> Finding {
    let (address, node) = (rivals.address, &owner.node);
    let left = last_handshake(mesh, gone).map_or(KEPT, |age| KEPT.saturating_sub(age));
    let summary = format!(
        "the discovery service still lists {} with the key {}, which nobody has any more, at {address}, the address of {node}; it forgets it in {} at most, if the machine is gone",
        gone.name,
        gone.key.short(),
        text::age(left)
    );
    let subject = Subject::Node { node: node.clone() };
    let mut draft = Draft::new("affiliate-stale", subject, Confidence::Likely, summary);
    let since = text::age(mesh.now.since(gone.since));
    let seen = format!(
        "two affiliates claim {address}: {} ({}) and {} ({}); the service has listed {} for {since} or longer",
        rivals.one.name,
        rivals.one.key.short(),
        rivals.other.name,
        rivals.other.key.short(),
        gone.key.short()
    );
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Discovery, list.at, seen));
    draft.fixes.push(fix(
        "who runs the cluster",
        "wait until the service forgets it; a machine that is taken out by a reset tells the service itself",
        Some("talosctl -n <old machine> reset   # instead of deleting the machine".to_owned()),
    ));
    let running = "a machine that runs with an address that another has as well";
    draft.could_also_be.push(running.to_owned());
    draft.decided_by = Some(format!("its entry after {}", text::age(left)));
    draft.finish(None)
}

/// Entries that the key of the others does not open.
fn secret(mesh: &Mesh<'_>) -> Option<Finding> {
    let sealed: Vec<(&Member<'_>, &Affiliates)> = lists(mesh)
        .filter(|(_, list)| list.decrypted.is_some() && !list.sealed.is_empty())
        .collect();
    let (_, list) = sealed.first()?;
    let ids: BTreeSet<&String> = sealed.iter().flat_map(|(_, list)| &list.sealed).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    // Whoever reports shares the secret of the others: it is also the mesh key.
    let whose = format!("the secret of the machine behind {}", text::list(&ids));
    let summary = format!(
        "{whose} is not that of the others: {} of {} affiliates cannot be decrypted",
        list.count
            .saturating_sub(list.decrypted.unwrap_or_default()),
        list.count
    );
    let mut draft = Draft::new(
        "cluster-secret-differs",
        Subject::Cluster,
        Confidence::Certain,
        summary,
    );
    for (member, list) in &sealed {
        let text = format!(
            "opens {} of {} affiliates; sealed with another key: {}",
            list.decrypted.unwrap_or_default(),
            list.count,
            text::list(&list.sealed)
        );
        draft
            .evidence
            .push(mesh.cite(member, FactKey::Discovery, list.at, text));
    }
    draft.fixes.push(regenerate());
    let foreign = "another cluster was given the id of this one";
    draft.could_also_be.push(foreign.to_owned());
    Some(draft.finish(None))
}

/// Nodes that ask the service for another cluster than most do.
fn other_cluster(mesh: &Mesh<'_>) -> Option<Finding> {
    let mut asked: BTreeMap<ClusterHash, Vec<&Member<'_>>> = BTreeMap::new();
    for member in mesh.members.values() {
        let cluster = member.discovery().and_then(|seen| seen.cluster);
        if let Some(cluster) = cluster {
            asked.entry(cluster).or_default().push(member);
        }
    }
    let most = asked.values().map(Vec::len).max()?;
    let odd = asked.values().find(|members| members.len() < most)?;
    let member = odd.first()?;
    let node = member.node.clone();
    let summary = format!(
        "{node} asks the discovery service for another cluster than {most} others: its cluster id differs"
    );
    let subject = Subject::Node { node };
    let mut draft = Draft::new("cluster-id-differs", subject, Confidence::Certain, summary);
    let at = member.last_report().unwrap_or(mesh.now);
    let text = "the keyed hash of its cluster id is not that of the others".to_owned();
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Discovery, at, text));
    let of_most = asked.values().find(|members| members.len() == most);
    let witness = of_most.and_then(|members| members.first());
    for compared in [Some(member), witness].into_iter().flatten() {
        draft.evidence.extend(listed(mesh, compared));
    }
    draft.fixes.push(regenerate());
    Some(draft.finish(None))
}

/// What the service lists to a node: nodes that are given the same list have the same digest.
fn listed(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<evidence::Citation> {
    let (_, list) = lists(mesh).find(|(other, _)| other.node == member.node)?;
    let digest = u64::from_be_bytes(list.digest);
    let text = format!(
        "the service lists {} affiliates to it (digest {digest:016x})",
        list.count
    );
    Some(mesh.cite(member, FactKey::Discovery, list.at, text))
}

fn regenerate() -> evidence::Fix {
    fix(
        "who configures the nodes",
        "make the configuration of that machine anew from the secrets bundle of this cluster",
        Some("talosctl gen config --with-secrets secrets.yaml <name> <endpoint>".to_owned()),
    )
}
