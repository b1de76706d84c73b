//! A node's own link is too narrow for its tunnel: known from its settings, and named when large packets are lost.

use std::net::SocketAddr;

use evidence::{
    Confidence, FactKey, Finding, Fix, Layer, NodeRef, Outcome, PublicKey, Rung, SourceId, Subject,
};

use super::{Draft, fix, pair};
use crate::{
    directions::Directions,
    mesh::{Member, Mesh},
    pair::Direction,
};

/// Bytes that `WireGuard` adds: the outer IP header, UDP, its own header and tag.
const OVERHEAD_V4: u32 = 20 + 8 + 32;
const OVERHEAD_V6: u32 = 40 + 8 + 32;
/// Below this Talos refuses an MTU for `KubeSpan`.
const LEAST_KUBESPAN_MTU: u32 = 1280;
/// Of Ethernet, which is what most links are.
const ETHERNET_MTU: u32 = 1500;

/// A link that cannot take what the tunnel makes of its longest packets.
struct Narrow<'a> {
    peer: PublicKey,
    link: &'a str,
    link_mtu: u32,
    tunnel_mtu: u32,
    overhead: u32,
    to: SocketAddr,
}

pub(super) fn find(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let fails = |direction: &Direction<'_, '_>| {
        let at = [Rung::TunnelMtu, Rung::OverlayMtu];
        at.iter()
            .any(|rung| direction.ladder.outcome(*rung) == Outcome::Fail)
    };
    let lost: Vec<Direction<'_, '_>> = directions.odd().filter(fails).collect();
    if lost.is_empty() {
        return Vec::new();
    }
    let members = mesh.members.values();
    members
        .filter_map(|member| finding(mesh, member, &lost))
        .collect()
}

/// Packets that are longer than a link are cut up, and the pieces may well arrive: the settings alone accuse nobody.
fn finding(
    mesh: &Mesh<'_>,
    member: &Member<'_>,
    directions: &[Direction<'_, '_>],
) -> Option<Finding> {
    let narrow = narrow(mesh, member)?;
    let lost: Vec<Direction<'_, '_>> = directions
        .iter()
        .filter(|direction| loses_by(member, &narrow, direction))
        .copied()
        .collect();
    let first = lost.first()?;
    let Narrow {
        link,
        link_mtu,
        tunnel_mtu,
        overhead,
        to,
        ..
    } = narrow;
    let node = &member.node;
    let needed = tunnel_mtu + overhead;
    let summary = format!(
        "{link} of {node} takes {link_mtu} bytes, and a full packet of its tunnel ({tunnel_mtu}) needs {needed} with what WireGuard \
         adds: large packets from and to it are lost"
    );
    let subject = Subject::Node { node: node.clone() };
    let mut draft = Draft::new(
        "uplink-mtu-too-small",
        subject,
        Confidence::Certain,
        summary,
    );
    let read = member.source(SourceId::Routes).map(|source| source.read_at);
    draft.evidence.push(mesh.cite(
        member,
        FactKey::Steered(narrow.peer),
        read.unwrap_or(mesh.now),
        format!("its encrypted packets to {to} leave by {link}, whose MTU is {link_mtu}"),
    ));
    let told = first.told();
    let answer = if told.tunnel_mtu.outcome == Outcome::Fail {
        &told.tunnel_mtu
    } else {
        &told.overlay_mtu
    };
    draft.evidence.extend(answer.evidence.iter().cloned());
    draft.fixes = fixes(node, &narrow);
    draft.explains = lost.iter().map(pair).collect();
    Some(draft.finish(None))
}

/// The narrowest link by which a node reaches a peer, if it is too narrow.
fn narrow<'a>(mesh: &Mesh<'_>, member: &Member<'a>) -> Option<Narrow<'a>> {
    member.fresh()?;
    let tunnel_mtu = member.device()?.mtu?;
    let peers = mesh.members.values().filter_map(|other| other.key);
    let ways = peers.filter_map(|peer| {
        let way = member.steered(&peer)?.endpoint.as_ref()?;
        let overhead = if way.to.is_ipv4() {
            OVERHEAD_V4
        } else {
            OVERHEAD_V6
        };
        Some(Narrow {
            peer,
            link: way.via.as_deref()?,
            link_mtu: way.mtu?,
            tunnel_mtu,
            overhead,
            to: way.to,
        })
    });
    ways.filter(|way| way.link_mtu < way.tunnel_mtu.saturating_add(way.overhead))
        .min_by_key(|way| way.link_mtu)
}

/// Whether a direction from or to the node takes the narrow link and loses large packets: the tunnel's, or those to node
/// addresses of which the node's own kernel says that just this link is the limit.
fn loses_by(member: &Member<'_>, narrow: &Narrow<'_>, direction: &Direction<'_, '_>) -> bool {
    let leaves = direction.a.index == member.index;
    let other = match (leaves, direction.b.index == member.index) {
        (true, _) => direction.b,
        (_, true) => direction.a,
        _ => return false,
    };
    let Some(key) = other.key else {
        return false;
    };
    let way = member
        .steered(&key)
        .and_then(|steered| steered.endpoint.as_ref());
    if way.and_then(|way| way.via.as_deref()) != Some(narrow.link) {
        return false;
    }
    let fails = |rung| direction.outcome(rung) == Outcome::Fail;
    let told = member
        .sizes(&key, Layer::Overlay)
        .and_then(|sizes| sizes.too_big)
        .is_some_and(|told| told.reporter.is_none() && told.mtu == narrow.link_mtu);
    fails(Rung::TunnelMtu) || (leaves && fails(Rung::OverlayMtu) && told)
}

fn fixes(node: &NodeRef, narrow: &Narrow<'_>) -> Vec<Fix> {
    let (link, needed) = (narrow.link, narrow.tunnel_mtu + narrow.overhead);
    let wide = needed.max(ETHERNET_MTU);
    let mut fixes = vec![fix(
        format!("who writes the machine config of {node}"),
        format!("give {link} an MTU of {needed} or more, if what it is plugged into carries that"),
        Some(format!(
            "machine:\n  network:\n    interfaces:\n      - interface: {link}\n        mtu: {wide}"
        )),
    )];
    let fits = narrow.link_mtu.saturating_sub(narrow.overhead);
    if fits >= LEAST_KUBESPAN_MTU {
        fixes.push(fix(
            "who writes the machine configs",
            format!("or else set KubeSpan's MTU to {fits} on every node"),
            Some(format!(
                "apiVersion: v1alpha1\nkind: KubeSpanConfig\nenabled: true\nmtu: {fits}"
            )),
        ));
    }
    fixes
}
