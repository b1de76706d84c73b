//! The tunnel carries, and traffic for node addresses does not get into it, or is not taken out of it.

use std::{collections::BTreeMap, net::IpAddr};

use evidence::{Confidence, Finding, Fix, NodeRef, Outcome, Subject};

use super::{Draft, fix, pair};
use crate::{
    directions::Directions,
    pair::{Direction, Missing, Outdated, Trouble},
    text,
};

/// Directions whose evidence is looked at for one finding: it shows a few pieces.
const LOOKED_AT: usize = 64;

/// What breaks the tunnel itself: packets of the tunnel that go into the tunnel, and an address inside it that is not
/// among the allowed IPs.
pub(super) fn below(directions: &Directions<'_, '_>) -> Vec<Finding> {
    let troubled = troubled(directions);
    let missing = grouped(&troubled, |trouble| match trouble {
        Trouble::Missing(missing) if missing.of_tunnel => Some(key(missing)),
        _ => None,
    });
    let loops = troubled
        .iter()
        .filter(|(_, trouble)| *trouble == Trouble::Loop);
    loops
        .map(|(direction, _)| looped(direction))
        .chain(missing.values().filter_map(|hit| missing_addresses(hit)))
        .collect()
}

/// What keeps traffic out of a tunnel that carries. Where it does not carry, the chains may leave out a peer on purpose.
pub(super) fn above(directions: &Directions<'_, '_>) -> Vec<Finding> {
    let mut carrying = troubled(directions);
    carrying.retain(|(direction, _)| direction.tunnel.outcome != Outcome::Fail);
    let of_node = |wanted: fn(&Trouble) -> bool| {
        let mut nodes: BTreeMap<NodeRef, Vec<Direction<'_, '_>>> = BTreeMap::new();
        for (direction, _) in carrying.iter().filter(|(_, trouble)| wanted(trouble)) {
            nodes
                .entry(direction.from.clone())
                .or_default()
                .push(*direction);
        }
        nodes
    };
    let rules = of_node(|trouble| *trouble == Trouble::RuleMissing);
    let tables = of_node(|trouble| *trouble == Trouble::TableEmpty);
    let bypassed = of_node(|trouble| *trouble == Trouble::Bypassed);
    // What the far end saw comes first: a finding shows a few pieces.
    let mut around = of_node(|trouble| *trouble == Trouble::Around { seen: true });
    for (node, lost) in of_node(|trouble| *trouble == Trouble::Around { seen: false }) {
        around.entry(node).or_default().extend(lost);
    }
    let marks = of_node(|trouble| matches!(trouble, Trouble::NotMarked(_)));
    let missing = grouped(&carrying, |trouble| match trouble {
        Trouble::Missing(missing) if !missing.of_tunnel => Some(key(missing)),
        _ => None,
    });
    let rules = rules.iter().map(|(node, hit)| rule_missing(node, hit));
    let tables = tables.iter().map(|(node, hit)| table_empty(node, hit));
    let bypassed_nodes: Vec<&NodeRef> = bypassed.keys().collect();
    let bypassed = bypassed.iter().map(|(node, hit)| bypassed_at(node, hit));
    // A rule that is known to come first explains it.
    let around = around
        .iter()
        .filter(|(node, _)| !bypassed_nodes.contains(node));
    let around = around.map(|(node, hit)| around_at(node, hit));
    let marks = marks.iter().map(|(node, hit)| not_marked(node, hit));
    let missing = missing.values().filter_map(|hit| missing_addresses(hit));
    let mut changed: BTreeMap<&NodeRef, Vec<Knowing<'_, '_, '_>>> = BTreeMap::new();
    for (direction, trouble) in &carrying {
        if let Trouble::Outdated(outdated) = trouble {
            let hit = changed.entry(&outdated.owner).or_default();
            hit.push((direction, outdated));
        }
    }
    let changed = changed.values().filter_map(|hit| address_changed(hit));
    let missing = missing.chain(changed);
    let parts = rules.chain(tables).chain(bypassed).chain(around);
    parts.chain(marks).chain(missing).collect()
}

/// A direction that suffers from an address that has changed.
type Knowing<'t, 'm, 'a> = (&'t Direction<'m, 'a>, &'t Outdated);

/// A direction whose steering fails, and what is wrong.
type Troubled<'m, 'a> = (Direction<'m, 'a>, Trouble);

fn troubled<'m, 'a>(directions: &Directions<'m, 'a>) -> Vec<Troubled<'m, 'a>> {
    let trouble = |direction: Direction<'m, 'a>| Some((direction, direction.trouble()?));
    directions.odd().filter_map(trouble).collect()
}

/// Both directions of a pair suffer from what one end lacks.
type Lack = (NodeRef, IpAddr);

fn key(missing: &Missing) -> Lack {
    (missing.owner.clone(), missing.address)
}

fn grouped<'d, 'm, 'a>(
    directions: &'d [Troubled<'m, 'a>],
    which: impl Fn(&Trouble) -> Option<Lack>,
) -> BTreeMap<Lack, Vec<&'d Troubled<'m, 'a>>> {
    let mut groups: BTreeMap<Lack, Vec<&Troubled<'_, '_>>> = BTreeMap::new();
    for troubled in directions {
        if let Some(lack) = which(&troubled.1) {
            groups.entry(lack).or_default().push(troubled);
        }
    }
    groups
}

fn looped(direction: &Direction<'_, '_>) -> Finding {
    let (from, to) = (direction.from, direction.to);
    let summary = format!(
        "the encrypted packets of {from} for {to} are routed into the tunnel that they are to carry"
    );
    let mut draft = Draft::new(
        "tunnel-in-tunnel",
        one_way(from, to),
        Confidence::Certain,
        summary,
    );
    draft.fixes.push(fix(
        format!("who set the routes of {from}"),
        format!("let the endpoint of {to} be reached by the underlay: take away the route through kubespan, or announce another endpoint"),
        Some(format!(
            "talosctl -n {from} get routes | grep kubespan; talosctl -n {to} get kubespanendpoints"
        )),
    ));
    finish(draft, &[*direction])
}

fn rule_missing(node: &NodeRef, hit: &[Direction<'_, '_>]) -> Finding {
    let summary = format!(
        "{node} marks traffic for node addresses, and no rule sends it to table 180: it leaves beside the tunnel"
    );
    let mut draft = of_node("steering-rule-missing", node, Confidence::Certain, summary);
    draft.fixes.push(look_who(
        node,
        "find out what removed the rule, and let KubeSpan make it again: a restart of the node does",
        "get routingrules; talosctl -n",
    ));
    draft.fixes.push(fix(
        "who may change the node's rules by hand",
        "until then put the rule back as KubeSpan makes it",
        Some("ip rule add fwmark 0x40/0x60 table 180 pref 32500".to_owned()),
    ));
    finish(draft, hit)
}

fn table_empty(node: &NodeRef, hit: &[Direction<'_, '_>]) -> Finding {
    let summary = format!(
        "table 180 of {node} does not lead into kubespan: traffic for node addresses leaves beside the tunnel"
    );
    let mut draft = of_node("steering-table-empty", node, Confidence::Certain, summary);
    draft.fixes.push(look_who(
        node,
        "find out what flushed the table, and let KubeSpan make its routes again: a restart of the node does",
        "get routes | grep 180; talosctl -n",
    ));
    draft.fixes.push(fix(
        "who may change the node's routes by hand",
        "until then put the route back as KubeSpan makes it",
        Some("ip route add default dev kubespan table 180 metric 1".to_owned()),
    ));
    finish(draft, hit)
}

fn bypassed_at(node: &NodeRef, hit: &[Direction<'_, '_>]) -> Finding {
    let peers: Vec<&NodeRef> = hit.iter().map(|direction| direction.to).collect();
    let summary = format!(
        "{node} has KubeSpan's rule and its routes, and another rule comes first: marked traffic for {} leaves beside the tunnel",
        text::list(&peers)
    );
    let mut draft = of_node("steering-bypassed", node, Confidence::Certain, summary);
    draft.fixes.push(fix(
        format!("who set the rules of {node} (a CNI, a VPN)"),
        "give the rule that comes first a priority above 32500, or take it away",
        Some(format!(
            "talosctl -n {node} get routingrules   # by hand, from a privileged pod: ip rule; ip rule del pref PRIORITY"
        )),
    ));
    finish(draft, hit)
}

/// What was compared is as it must be, and echoes show that packets leave beside the tunnel.
fn around_at(node: &NodeRef, hit: &[Direction<'_, '_>]) -> Finding {
    let peers: Vec<&NodeRef> = hit.iter().map(|direction| direction.to).collect();
    let summary = format!(
        "{node} has KubeSpan's chains, its rule and its routes, and what it sends to the node addresses of {} leaves beside the tunnel all the same",
        text::list(&peers)
    );
    let mut draft = of_node("steering-bypassed", node, Confidence::Certain, summary);
    draft.fixes.push(fix(
        format!("who runs what else sets marks on {node} (a CNI, a VPN, a proxy)"),
        "let it keep the bits 0x60 of the mark: look for a chain behind kubespan_outgoing that sets the whole of it",
        Some(
            "nft list ruleset | grep -n -e 'hook output' -e 'mark set'   # from a privileged pod on the node"
                .to_owned(),
        ),
    ));
    draft.could_also_be.push(
        "a program of eBPF on the node's links sends packets on before rules and marks count"
            .to_owned(),
    );
    finish(draft, hit)
}

fn not_marked(node: &NodeRef, hit: &[Direction<'_, '_>]) -> Finding {
    let peers: Vec<&NodeRef> = hit.iter().map(|direction| direction.to).collect();
    let summary = format!(
        "the nftables chains of {node} leave out {}, whose tunnel carries: traffic for it leaves beside the tunnel",
        text::list(&peers)
    );
    let subject = match hit {
        [one] => one_way(node, one.to),
        _ => Subject::Node { node: node.clone() },
    };
    let mut draft = Draft::new("nft-set-lacks-peer", subject, Confidence::Likely, summary);
    draft.could_also_be.push(
        "KubeSpan does not call the peer up yet: with allowDownPeerBypass a peer is left out until it does, which it \
         looks at every 30 s"
            .to_owned(),
    );
    draft.decided_by = Some(format!(
        "talosctl -n {node} get kubespanpeerstatuses: whether it says up"
    ));
    draft.fixes.push(look_who(
        node,
        "if the peer is up, KubeSpan has missed an update of its chains: upgrade Talos; a restart of the node makes them anew",
        "get nftableschains kubespan_outgoing -o yaml; talosctl -n",
    ));
    finish(draft, hit)
}

fn missing_addresses(hit: &[&Troubled<'_, '_>]) -> Option<Finding> {
    let mut lacking: BTreeMap<&NodeRef, &Missing> = BTreeMap::new();
    for (_, trouble) in hit {
        if let Trouble::Missing(missing) = trouble {
            lacking.insert(&missing.holder, missing);
        }
    }
    let holders: Vec<&NodeRef> = lacking.keys().copied().collect();
    let mut draft = missing_draft(&holders, lacking.values().next()?);
    draft.explains = hit
        .iter()
        .flat_map(|(direction, _)| {
            let (from, to) = pair(direction);
            [(from.clone(), to.clone()), (to, from)]
        })
        .collect();
    for (direction, _) in hit.iter().take(LOOKED_AT) {
        draft
            .evidence
            .extend(direction.told().steering.evidence.clone());
    }
    Some(draft.finish(None))
}

fn address_changed(hit: &[Knowing<'_, '_, '_>]) -> Option<Finding> {
    let (_, first) = hit.first()?;
    let (node, before, after) = (&first.owner, first.before, first.after);
    let mut knowing: Vec<&NodeRef> = hit
        .iter()
        .map(|(direction, _)| {
            if direction.to == node {
                direction.from
            } else {
                direction.to
            }
        })
        .collect();
    knowing.sort();
    knowing.dedup();
    let summary = format!(
        "the address of {node} changed to {after}, and {} still know it as {before}: nothing for or from its new address passes the tunnel",
        text::list(&knowing)
    );
    let mut draft = of_node("node-address-changed", node, Confidence::Certain, summary);
    draft.fixes.push(fix(
        "who runs the cluster",
        format!("see whether {node} tells its new address and whether the others hear of it: that is the work of the discovery service"),
        Some(format!(
            "talosctl -n {node} get nodeaddresses; talosctl -n {other} get affiliates -o yaml; talosctl -n {other} get kubespanpeerspecs -o yaml",
            other = knowing.first()?
        )),
    ));
    draft.fixes.push(fix(
        format!("who runs the network of {node}"),
        format!("give it a fixed address or a static lease; until then {before} as a second address puts things right"),
        None,
    ));
    let hit: Vec<Direction<'_, '_>> = hit.iter().map(|(direction, _)| **direction).collect();
    Some(finish(draft, &hit))
}

fn missing_draft(holders: &[&NodeRef], first: &Missing) -> Draft {
    let (owner, address) = (&first.owner, first.address);
    let instead = first.held_for.as_ref().map_or_else(String::new, |other| {
        format!("; there it belongs to {other}")
    });
    let summary = format!(
        "{} lacks {address} among the allowed IPs of {owner}, whose address it is{instead}",
        text::list(holders)
    );
    let subject = match holders {
        [holder] => one_way(holder, owner),
        _ => Subject::Node {
            node: owner.clone(),
        },
    };
    let confidence = if first.witness.is_some() || first.wanted == Some(true) {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let mut draft = Draft::new("allowed-ip-missing", subject, confidence, summary);
    if first.held_for.is_some() {
        draft
            .could_also_be
            .push("two nodes have the same address, and only one of them can get it".to_owned());
    }
    draft.fixes.push(fix(
        "who runs the cluster",
        format!("compare what {owner} announces with what is accepted, and look for an overlap of addresses"),
        Some(format!(
            "talosctl -n {holder} get kubespanpeerspecs -o yaml; talosctl -n {owner} get nodeaddresses; \
             talosctl -n {holder} logs controller-runtime | grep overlap",
            holder = first.holder
        )),
    ));
    draft
}

fn of_node(code: &'static str, node: &NodeRef, confidence: Confidence, summary: String) -> Draft {
    let subject = Subject::Node { node: node.clone() };
    Draft::new(code, subject, confidence, summary)
}

fn one_way(from: &NodeRef, to: &NodeRef) -> Subject {
    Subject::Direction {
        from: from.clone(),
        to: to.clone(),
    }
}

/// KubeSpan makes what is missing; its controller's log says why it did not.
fn look_who(node: &NodeRef, action: &str, look: &str) -> Fix {
    fix(
        format!("who runs {node}"),
        action,
        Some(format!(
            "talosctl -n {node} {look} {node} logs controller-runtime | grep -i kubespan"
        )),
    )
}

fn finish(mut draft: Draft, hit: &[Direction<'_, '_>]) -> Finding {
    for direction in hit.iter().take(LOOKED_AT) {
        draft
            .evidence
            .extend(direction.told().steering.evidence.clone());
    }
    draft.explains = hit.iter().map(pair).collect();
    draft.finish(None)
}
