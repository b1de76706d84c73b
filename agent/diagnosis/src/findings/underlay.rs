//! UDP 51820 does not get through: where, and who can open it.

mod ports;

use std::collections::BTreeSet;

use evidence::{Citation, Confidence, End, Finding, Fix, NodeRef, Outcome};

use super::{Draft, explained, fix, named, nat, place_text, subject};
use crate::{
    directions::{Directions, Way},
    localise::{Culprit, Place, is_network, router_text, site, site_text},
    mesh::Mesh,
    pair::Direction,
    text, timing,
};

pub(super) use ports::filters_by_port;

/// Whether a direction has just begun to lose that may make a wider place at fault: a node instead of one pair, a site instead of one of
/// its nodes. In a moment it is told apart.
pub(super) fn may_widen(
    mesh: &Mesh<'_>,
    culprit: &Culprit,
    directions: &Directions<'_, '_>,
    fails: impl Fn(&Direction<'_, '_>) -> bool,
) -> bool {
    let index = |node: &NodeRef| Some(mesh.members.get(node)?.index);
    let all = 0..mesh.members.len();
    // What leaves each of these, and what leads to each of those.
    let (out_of, into) = match &culprit.place {
        Place::Direction(a, b) => (vec![index(a)], vec![index(b)]),
        Place::Between(a, b) => {
            let ends = vec![index(a), index(b)];
            (ends.clone(), ends)
        }
        Place::NodeOut(node) => (neighbours(mesh, node), Vec::new()),
        Place::NodeIn(node) => (Vec::new(), neighbours(mesh, node)),
        Place::NodeBoth(node) => {
            let beside = neighbours(mesh, node);
            (beside.clone(), beside)
        }
        Place::SiteIn(..)
        | Place::SiteOut(..)
        | Place::SiteBoth(..)
        | Place::Way(..)
        | Place::Ways(..) => return false,
    };
    let leaving = out_of.into_iter().flatten();
    let out = leaving.flat_map(|from| all.clone().map(move |to| (from, to)));
    let others = into.into_iter().flatten();
    let mut ways = out.chain(others.flat_map(|to| all.clone().map(move |from| (from, to))));
    // What fails has lost so much that it is known since when. Where everything fails, no fact needs to be fetched for it.
    ways.any(|way| {
        let open = directions.get(way).filter(|one| !fails(one));
        open.filter(Direction::is_losing).is_some_and(|one| {
            let since = one.loss_since();
            since.is_none_or(|since| !mesh.reached(since.plus(timing::UNDERLAY_TOLD)))
        })
    })
}

/// The other nodes of its site, by their places.
fn neighbours(mesh: &Mesh<'_>, node: &NodeRef) -> Vec<Option<usize>> {
    let (_, nodes) = site(mesh, node).unwrap_or_default();
    let others = nodes.iter().filter(|one| *one != node);
    others
        .map(|one| Some(mesh.members.get(one)?.index))
        .collect()
}

/// The culprits, each with the ways back that are lost with it: into a NAT gets only what is sent to where its node is now,
/// and of a node of which nothing comes nobody learns where that is. So what fails from A to a B behind a NAT is no trouble
/// of its own, as long as something wider explains why nothing of B comes to A.
pub(super) fn with_ways_back(mesh: &Mesh<'_>, culprits: Vec<Culprit>) -> Vec<(Culprit, Vec<Way>)> {
    let is_alone =
        |culprit: &Culprit| matches!(culprit.place, Place::Direction(..) | Place::Way(..));
    let (alone, wide): (Vec<_>, Vec<_>) = culprits.into_iter().partition(is_alone);
    let mut known: Vec<_> = wide
        .into_iter()
        .map(|culprit| (culprit, Vec::new()))
        .collect();
    let mut own = Vec::new();
    for culprit in alone {
        let forgotten = |(from, to): &Way| {
            let site = |node: &usize| mesh.members.at(*node).and_then(|member| member.site);
            let behind = site(to).is_some() && site(to) != site(from);
            let mut wide = known.iter();
            let why = wide.position(|(wide, _)| wide.explains.binary_search(&(*to, *from)).is_ok());
            why.filter(|_| behind)
        };
        let whys: Option<Vec<usize>> = culprit.explains.iter().map(forgotten).collect();
        let Some(whys) = whys else {
            own.push((culprit, Vec::new()));
            continue;
        };
        for (why, way) in whys.into_iter().zip(culprit.explains) {
            if let Some((_, ways_back)) = known.get_mut(why) {
                ways_back.push(way);
            }
        }
    }
    known.extend(own);
    known
}

pub(super) fn finding(
    mesh: &Mesh<'_>,
    culprit: &Culprit,
    ways_back: &[Way],
    directions: &Directions<'_, '_>,
) -> Finding {
    let (mut hit, open): (Vec<_>, Vec<_>) = explained(&culprit.explains, directions)
        .into_iter()
        .partition(|direction| direction.underlay.outcome == Outcome::Fail);
    let moved = nat::moved(mesh, culprit, &hit);
    let tied = !culprit.ties.is_empty() && moved.is_none();
    let confidence = match &culprit.place {
        _ if tied => Confidence::Undecided,
        Place::SiteBoth(..) | Place::NodeBoth(_) => Confidence::Likely,
        _ if !open.is_empty() => Confidence::Likely,
        _ => Confidence::Certain,
    };
    hit.extend(open);
    let mut draft = Draft::new(
        moved
            .as_ref()
            .map_or_else(|| code(&culprit.place), |_| nat::Moved::CODE),
        subject(&culprit.place),
        confidence,
        moved
            .as_ref()
            .map_or_else(|| summary(mesh, culprit, &hit), nat::Moved::summary),
    );
    draft.evidence = evidence(mesh, &culprit.place, &hit, directions);
    draft.fixes = fixes(mesh, &culprit.place);
    draft.explains = named(mesh, &[&culprit.explains, ways_back].concat());
    draft.could_also_be = culprit.ties.iter().map(place_text).collect();
    if tied {
        draft.decided_by =
            Some("an agent on one more node outside, or a direction that passes".to_owned());
    }
    if let Some(moved) = moved {
        draft.confidence = Confidence::Likely;
        moved.refine(&mut draft);
    } else if let Some(beside) = ports::beside(&culprit.place, &hit, directions) {
        beside.refine(&mut draft);
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
        Place::Direction(..) | Place::Way(..) => "one-way-loss",
        Place::Between(..) | Place::Ways(..) => "path-broken",
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
            "UDP 51820 into {} is dropped: datagrams of {senders} never arrive at {}",
            site_text(address),
            text::list(nodes)
        ),
        Place::NodeOut(node) => format!(
            "UDP 51820 out of {node} is dropped after it leaves the node{}: its datagrams never arrive at {receivers}",
            behind(mesh, node)
        ),
        Place::SiteOut(address, nodes) => format!(
            "UDP 51820 out of {} is dropped: datagrams of {} leave their interfaces and never arrive at {receivers}",
            site_text(address),
            text::list(nodes)
        ),
        Place::NodeBoth(node) => {
            format!("UDP 51820 to and from {node} is dropped outside the node, both ways")
        }
        Place::SiteBoth(address, nodes) => format!(
            "UDP 51820 to and from {} ({}) is dropped, both ways, while its agents still report over TCP",
            site_text(address),
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
        Place::Way(from, to) => format!(
            "datagrams from {from} to {to} are lost on the way, those of all nodes ({senders} to {receivers}){}",
            alone(&format!("into {to} and out of {from}"))
        ),
        Place::Ways(a, b) => format!(
            "datagrams between {a} and {b} are lost both ways, those of all nodes{}",
            alone("to and from them")
        ),
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
        let sits = if is_network(&address) { "in" } else { "behind" };
        format!(" (it sits {sits} {address})")
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
        Place::Way(..) | Place::Ways(..) | Place::Direction(..) | Place::Between(..) => {
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
        Place::Way(from, to) => vec![open_way(mesh, from, to)],
        Place::Ways(a, b) => vec![open_way(mesh, a, b), open_way(mesh, b, a)],
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
    let beyond = if is_network(address) {
        ""
    } else {
        " behind the NAT"
    };
    fix(
        format!("who runs {}", router_text(address)),
        format!(
            "let UDP 51820 through to {}: look for a rule that drops it{beyond}",
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
        format!("who runs {}", router_text(address)),
        "let UDP to port 51820 out, and the answers in",
        Some(
            "nft list ruleset | grep -n -e 51820 -e 'udp.*drop'   # then, before that rule: nft insert rule inet filter \
             forward udp dport 51820 accept"
                .to_owned(),
        ),
    )
}

/// What all nodes of a site suffer at one other place is most often a ban of its address there.
fn open_way(mesh: &Mesh<'_>, from: &End, to: &End) -> Fix {
    let (sender, receiver) = (text::list(&from.nodes), text::list(&to.nodes));
    let source = from.address.clone().or_else(|| outside_address(mesh, from));
    let source = source.unwrap_or_else(|| sender.clone());
    fix(
        format!("who runs the firewall in front of {receiver}, or the network between"),
        format!(
            "look for a filter that concerns {source} alone: a list of banned addresses, a rule by source"
        ),
        Some(format!(
            "nft list ruleset | grep -n {source}   # in front of {receiver}; then on {sender}: mtr --mark 32 --udp --port 51820 {}",
            outside_address(mesh, to).unwrap_or_else(|| receiver.clone())
        )),
    )
}

fn outside_address(mesh: &Mesh<'_>, end: &End) -> Option<String> {
    let inside = || inside_address(mesh, end.nodes.first()?);
    let outside = end.address.clone().filter(|site| !is_network(site));
    outside.or_else(inside)
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
