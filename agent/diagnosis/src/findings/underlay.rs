//! UDP 51820 does not get through: where, and who can open it.

use std::collections::BTreeSet;

use evidence::{Citation, Confidence, Finding, Fix, NodeRef, Outcome};

use super::{Draft, explained, fix, named, place_text, subject};
use crate::{
    directions::Directions,
    localise::{Culprit, Place, site},
    mesh::Mesh,
    pair::Direction,
    text,
};

pub(super) fn finding(
    mesh: &Mesh<'_>,
    culprit: &Culprit,
    directions: &Directions<'_, '_>,
) -> Finding {
    let (mut hit, open): (Vec<_>, Vec<_>) = explained(&culprit.explains, directions)
        .into_iter()
        .partition(|direction| direction.underlay.outcome == Outcome::Fail);
    let tied = !culprit.ties.is_empty();
    let confidence = match &culprit.place {
        _ if tied => Confidence::Undecided,
        Place::SiteBoth(..) | Place::NodeBoth(_) => Confidence::Likely,
        _ if !open.is_empty() => Confidence::Likely,
        _ => Confidence::Certain,
    };
    hit.extend(open);
    let mut draft = Draft::new(
        code(&culprit.place),
        subject(&culprit.place),
        confidence,
        summary(mesh, culprit, &hit),
    );
    draft.evidence = evidence(mesh, &culprit.place, &hit, directions);
    draft.fixes = fixes(mesh, &culprit.place);
    draft.explains = named(mesh, &culprit.explains);
    draft.could_also_be = culprit.ties.iter().map(place_text).collect();
    if tied {
        draft.decided_by =
            Some("an agent on one more node outside, or a direction that passes".to_owned());
    }
    if let Place::SiteBoth(..) | Place::NodeBoth(_) = culprit.place {
        draft.could_also_be.push(
            "only outbound is blocked: a NAT forgets the way in when nothing goes out".to_owned(),
        );
    }
    draft.finish(None)
}

fn code(place: &Place) -> &'static str {
    match place {
        Place::NodeIn(_) | Place::SiteIn(..) => "udp-51820-blocked-inbound",
        Place::NodeOut(_) | Place::SiteOut(..) => "udp-51820-blocked-outbound",
        Place::NodeBoth(_) | Place::SiteBoth(..) => "udp-51820-blocked-both-ways",
        Place::Direction(..) => "one-way-loss",
        Place::Between(..) => "path-broken",
    }
}

fn summary(mesh: &Mesh<'_>, culprit: &Culprit, hit: &[Direction<'_, '_>]) -> String {
    let alone = |what: &str| {
        if culprit.ties.is_empty() {
            format!("; other ways {what} are not hit")
        } else {
            String::new()
        }
    };
    let senders = names(hit, |direction| direction.from);
    let receivers = names(hit, |direction| direction.to);
    match &culprit.place {
        Place::NodeIn(node) => format!(
            "UDP 51820 towards {node} is dropped before it reaches the node: datagrams of {senders} leave{} and never \
             arrive at its interface",
            at_endpoint(hit)
        ),
        Place::SiteIn(address, nodes) => format!(
            "UDP 51820 into the site behind {address} is dropped: datagrams of {senders} never arrive at {}",
            text::list(nodes)
        ),
        Place::NodeOut(node) => format!(
            "UDP 51820 out of {node} is dropped after it leaves the node{}: its datagrams never arrive at {receivers}",
            behind(mesh, node)
        ),
        Place::SiteOut(address, nodes) => format!(
            "UDP 51820 out of the site behind {address} is dropped: datagrams of {} leave their interfaces and never \
             arrive at {receivers}",
            text::list(nodes)
        ),
        Place::NodeBoth(node) => {
            format!("UDP 51820 to and from {node} is dropped outside the node, both ways")
        }
        Place::SiteBoth(address, nodes) => format!(
            "UDP 51820 to and from the site behind {address} ({}) is dropped, both ways, while its agents still report \
             over TCP",
            text::list(nodes)
        ),
        Place::Direction(from, to) => format!(
            "datagrams from {from} to {to} are lost on the way{}{}",
            at_endpoint(hit),
            alone(&format!("into {to} and out of {from}"))
        ),
        Place::Between(a, b) => {
            format!(
                "datagrams between {a} and {b} are lost both ways{}",
                alone("to and from them")
            )
        }
    }
}

fn names<'m>(hit: &[Direction<'m, '_>], side: fn(&Direction<'m, '_>) -> &'m NodeRef) -> String {
    let names: BTreeSet<&NodeRef> = hit.iter().map(side).collect();
    text::list(&names.into_iter().collect::<Vec<_>>())
}

fn at_endpoint(hit: &[Direction<'_, '_>]) -> String {
    let endpoint = hit.iter().find_map(Direction::endpoint);
    endpoint.map_or_else(String::new, |endpoint| format!(" for {endpoint}"))
}

fn behind(mesh: &Mesh<'_>, node: &NodeRef) -> String {
    site(mesh, node).map_or_else(String::new, |(address, _)| {
        format!(" (it sits behind {address})")
    })
}

/// Evidence of what fails, then of what passes beside it: that is what places the trouble.
fn evidence(
    mesh: &Mesh<'_>,
    place: &Place,
    hit: &[Direction<'_, '_>],
    directions: &Directions<'_, '_>,
) -> Vec<Citation> {
    let told = |direction: &Direction<'_, '_>| direction.told().underlay.evidence.clone();
    let failing = hit.iter().take(2).flat_map(told);
    let (from, to, one_end) = ends(mesh, place, hit);
    let shares = |direction: &Direction<'_, '_>| {
        !one_end || from.contains(&direction.a.index) != to.contains(&direction.b.index)
    };
    let passing = directions
        .touching(&from, &to)
        .filter(|direction| direction.underlay.outcome == Outcome::Pass && shares(direction))
        .take(2)
        .flat_map(|direction| told(&direction).into_iter().take(1));
    failing.chain(passing).collect()
}

/// Which nodes a direction must leave or lead to in order to share an end with the failing ones: if it passes, it places them.
/// Of a site it must share one end only.
fn ends(
    mesh: &Mesh<'_>,
    place: &Place,
    hit: &[Direction<'_, '_>],
) -> (BTreeSet<usize>, BTreeSet<usize>, bool) {
    let index = |node: &NodeRef| mesh.members.get(node).map(|member| member.index);
    match place {
        Place::NodeIn(node) | Place::NodeBoth(node) | Place::NodeOut(node) => {
            let node: BTreeSet<usize> = index(node).into_iter().collect();
            (node.clone(), node, false)
        }
        Place::SiteIn(_, nodes) | Place::SiteOut(_, nodes) | Place::SiteBoth(_, nodes) => {
            let nodes: BTreeSet<usize> = nodes.iter().filter_map(index).collect();
            (nodes.clone(), nodes, true)
        }
        Place::Direction(..) | Place::Between(..) => {
            let ends = hit.iter().map(|bad| (bad.a.index, bad.b.index));
            let (from, to) = ends.unzip();
            (from, to, false)
        }
    }
}

fn fixes(mesh: &Mesh<'_>, place: &Place) -> Vec<Fix> {
    match place {
        Place::NodeIn(node) | Place::NodeBoth(node) => vec![open_inbound(mesh, node)],
        Place::NodeOut(node) => vec![match site(mesh, node) {
            Some((address, _)) => open_site_outbound(&address),
            None => open_outbound(node),
        }],
        Place::SiteIn(address, nodes) => vec![open_site_inbound(mesh, address, nodes)],
        Place::SiteOut(address, _) | Place::SiteBoth(address, _) => {
            vec![open_site_outbound(address)]
        }
        Place::Direction(from, to) => vec![open_path(mesh, from, to)],
        Place::Between(a, b) => vec![open_path(mesh, a, b), open_path(mesh, b, a)],
    }
}

fn open_inbound(mesh: &Mesh<'_>, node: &NodeRef) -> Fix {
    match site(mesh, node) {
        Some((address, _)) => open_site_inbound(mesh, &address, std::slice::from_ref(node)),
        None => fix(
            format!("who runs the firewall in front of {node} (for example the Hetzner Cloud Firewall)"),
            format!("allow UDP 51820 to {node} from everywhere; WireGuard answers only to known keys"),
            Some(
                "hcloud firewall add-rule FIREWALL --direction in --protocol udp --port 51820 --source-ips 0.0.0.0/0 \
                 --source-ips ::/0"
                    .to_owned(),
            ),
        ),
    }
}

fn open_site_inbound(mesh: &Mesh<'_>, address: &str, nodes: &[NodeRef]) -> Fix {
    let inside: Vec<String> = nodes
        .iter()
        .filter_map(|node| inside_address(mesh, node))
        .collect();
    fix(
        format!("who runs the router at {address}"),
        format!(
            "let UDP 51820 through to {}: look for a rule that drops it behind the NAT",
            text::list(nodes)
        ),
        Some(format!(
            "nft list ruleset | grep -n 51820   # then, before that rule: nft insert rule inet filter forward ip daddr \
             {{ {} }} udp dport 51820 accept",
            inside.join(", ")
        )),
    )
}

fn inside_address(mesh: &Mesh<'_>, node: &NodeRef) -> Option<String> {
    let identity = mesh.members.get(node)?.identity()?;
    identity
        .addresses
        .iter()
        .find(|address| address.is_ipv4())
        .map(ToString::to_string)
}

fn open_outbound(node: &NodeRef) -> Fix {
    fix(
        format!("who runs the firewall in front of {node} (a Hetzner Cloud Firewall with any outbound rule denies the rest)"),
        format!("allow UDP out of {node} to port 51820, and from its port 51820 to any"),
        Some(
            "hcloud firewall add-rule FIREWALL --direction out --protocol udp --port 1-65535 --destination-ips 0.0.0.0/0 \
             --destination-ips ::/0"
                .to_owned(),
        ),
    )
}

fn open_site_outbound(address: &str) -> Fix {
    fix(
        format!("who runs the router at {address}"),
        "let UDP to port 51820 out, and the answers in",
        Some(
            "nft list ruleset | grep -n -e 51820 -e 'udp.*drop'   # then, before that rule: nft insert rule inet filter \
             forward udp dport 51820 accept"
                .to_owned(),
        ),
    )
}

fn open_path(mesh: &Mesh<'_>, from: &NodeRef, to: &NodeRef) -> Fix {
    let address = inside_address(mesh, to).unwrap_or_else(|| to.to_string());
    fix(
        format!("who runs the network between {from} and {to}"),
        "look for a filter or a route that concerns this direction only",
        Some(format!(
            "mtr --udp --port 51820 --report {address}   # on {from}, marked past the tunnel: mtr --mark 32"
        )),
    )
}
