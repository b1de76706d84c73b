//! What translators of addresses do to pairs: two that can never meet, and one that has moved a node while it was dialled.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use evidence::{Citation, Confidence, FactKey, Finding, Moment, NodeRef, Subject};

use super::{Draft, candidates, fix};
use crate::{
    directions::{Directions, Way},
    localise::{Culprit, Place},
    mesh::{Member, Mesh},
    pair::Direction,
    timing,
};

/// Pairs that never connected, with a translator at each end that takes another port for each destination: what one of them
/// tells the other of its port is true for nobody but who told it.
pub(super) fn find(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let pairs = candidates::hopeless(directions).into_iter();
    pairs.filter_map(|pair| both_ends(mesh, pair)).collect()
}

fn both_ends(mesh: &Mesh<'_>, (a, b): Way) -> Option<Finding> {
    let (a, b) = (mesh.members.at(a)?, mesh.members.at(b)?);
    let met = |from: &Member<'_>, to: &Member<'_>| {
        let peer = to.key.and_then(|key| from.peer(&key));
        peer.is_some_and(|peer| peer.last_handshake.is_some())
    };
    let apart = a.site.is_some() && b.site.is_some() && a.site != b.site;
    if !apart || met(a, b) || met(b, a) {
        return None;
    }
    let (ports_a, ports_b) = (two_ports(mesh, a)?, two_ports(mesh, b)?);
    let (one, other) = (&a.node, &b.node);
    let summary = format!(
        "{one} and {other} cannot meet: the router in front of each gives it another port for every destination, so that neither can \
         know where to dial"
    );
    let subject = Subject::Pair {
        a: one.clone(),
        b: other.clone(),
    };
    let code = "nat-symmetric-both-ends";
    let mut draft = Draft::new(code, subject, Confidence::Certain, summary);
    draft.evidence = [ports_a, ports_b].concat();
    draft.explains = BTreeSet::from([(one.clone(), other.clone()), (other.clone(), one.clone())]);
    draft.fixes.push(fix(
        format!("who runs one of the two routers, in front of {one} or of {other}"),
        "forward a UDP port to the node and let it announce that one; which of the two is the same to the pair",
        Some(
            "apiVersion: v1alpha1\nkind: KubeSpanEndpointsConfig\nextraAnnouncedEndpoints:\n  - <public address>:51820"
                .to_owned(),
        ),
    ));
    draft.fixes.push(fix(
        "who runs the sites",
        "or give both of them IPv6, which nothing translates; or let no workload need this pair: KubeSpan has no relay",
        None,
    ));
    Some(draft.finish(None))
}

/// What two other nodes say of the port by which a node reaches them, if it is not the same.
fn two_ports(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Vec<Citation>> {
    let (site, key) = (member.site?, member.key?);
    let mut seen: BTreeMap<u16, Citation> = BTreeMap::new();
    for witness in mesh.members.values() {
        let Some((endpoint, at)) = witness.peer(&key).and_then(|peer| {
            let at = peer.last_handshake?;
            Some((peer.endpoint?, at))
        }) else {
            continue;
        };
        // Only what a living session goes by is where its datagrams come from.
        if endpoint.ip() == site && mesh.recent(at, timing::SESSION) {
            let text = format!("its tunnel to {} goes to {endpoint}", member.node);
            let cited = mesh.cite(witness, FactKey::Peer(key), at, text);
            seen.entry(endpoint.port()).or_insert(cited);
        }
    }
    (seen.len() >= 2).then(|| seen.into_values().take(2).collect())
}

/// A node that a translator has moved.
pub(super) struct Moved {
    pub(super) from: NodeRef,
    pub(super) node: NodeRef,
    dialled: SocketAddr,
    now_at: SocketAddr,
    evidence: Citation,
}

/// Whether all that is proved lost towards one node goes where a NAT had it before, and what goes where it is now gets in.
pub(super) fn moved(
    mesh: &Mesh<'_>,
    culprit: &Culprit,
    hit: &[Direction<'_, '_>],
) -> Option<Moved> {
    let (Place::NodeIn(node) | Place::Direction(_, node)) = &culprit.place else {
        return None;
    };
    let moves: Option<Vec<Moved>> = hit
        .iter()
        .map(|direction| moved_for(mesh, direction, node))
        .collect();
    moves?.into_iter().next()
}

/// The answer to a datagram of the node came back to it, to a port at which it is not dialled: that one is open.
fn moved_for(mesh: &Mesh<'_>, direction: &Direction<'_, '_>, node: &NodeRef) -> Option<Moved> {
    let (from, to) = (direction.a, direction.b);
    let (from_key, to_key) = (from.key?, to.key?);
    let dialled = from.peer(&to_key)?.endpoint?;
    let replies = to.inert(&from_key)?.replies?;
    let since: Moment = direction.loss_since()?.plus(timing::SKEW);
    let lately = replies.sent_at >= since && mesh.recent(replies.sent_at, timing::UNDERLAY_FRESH);
    let elsewhere = replies.mapped != dialled && Some(replies.mapped.ip()) == to.site;
    (lately && elsewhere).then(|| Moved {
        from: from.node.clone(),
        node: node.clone(),
        dialled,
        now_at: replies.mapped,
        evidence: mesh.cite(
            to,
            FactKey::Inert(from_key),
            replies.last,
            format!(
                "the answer of {} to its inert datagram came back to {}, where {} does not dial it",
                from.node, replies.mapped, from.node
            ),
        ),
    })
}

impl Moved {
    pub(super) const CODE: &'static str = "nat-mapping-moved";

    pub(super) fn summary(&self) -> String {
        let Self {
            from,
            node,
            dialled,
            now_at,
            ..
        } = self;
        format!(
            "the router in front of {node} has moved it to {now_at}, and {from} dials it at {dialled}, where nothing gets through any more"
        )
    }

    /// Says so in the finding instead of accusing the way.
    pub(super) fn refine(self, draft: &mut Draft) {
        let (from, node) = (&self.from, &self.node);
        draft.evidence.insert(0, self.evidence.clone());
        draft.could_also_be = vec![format!(
            "something on {from} sets the endpoint of {node} again and again to where it was"
        )];
        draft.decided_by = Some(format!(
            "wg show kubespan endpoints on {from}, twice a second: whether it changes by itself"
        ));
        draft.fixes = vec![
            fix(
                format!("who runs the router in front of {node}"),
                "let it keep translations of UDP for longer than 25 s, which is KubeSpan's keepalive, or forward a port to the node",
                Some("sysctl net.netfilter.nf_conntrack_udp_timeout net.netfilter.nf_conntrack_udp_timeout_stream".to_owned()),
            ),
            fix(
                format!("who runs {from}"),
                "see that nothing but Talos sets endpoints; WireGuard follows a peer by itself, with the first packet that it can open",
                Some(format!("talosctl -n {from} get kubespanpeerstatuses")),
            ),
        ];
    }
}
