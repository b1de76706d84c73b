//! What is wrong: roots first, and under each root what it explains.

mod affiliates;
mod candidates;
mod discovery;
mod elsewhere;
mod encapsulation;
mod flapping;
mod host;
mod keys;
mod nat;
mod node_address;
mod nodes;
mod observer;
mod overlay;
mod session;
mod sizes;
mod steering;
mod time;
mod underlay;
mod uplink;

use std::collections::BTreeSet;

use evidence::{Citation, Confidence, Finding, Fix, NodeRef, Outcome, PairRef, Subject, limits};

use crate::{
    clocks::Clocks,
    directions::{Directions, Finder, Table, Way},
    localise::{Culprit, Pair, Passes, Place, localise, router_text},
    mesh::Mesh,
    pair::Direction,
    text,
};

/// Most citations that one finding carries; the ladders have the rest.
const CITED: usize = 6;
/// Most effects that are told, of one root and of all: a root counts what it explains.
const EFFECTS_OF_ONE: usize = limits::EXPLAINED;
const EFFECTS: usize = limits::FINDINGS;

/// All findings, roots first.
pub(crate) fn find(mesh: &Mesh<'_>, table: &Table, clocks: &Clocks<'_, '_>) -> Vec<Finding> {
    let (wrong, nobody): (Vec<Finding>, BTreeSet<NodeRef>) = keys::wrong(mesh).into_iter().unzip();
    let (stale, gone): (Vec<Finding>, BTreeSet<NodeRef>) =
        affiliates::stale(mesh).into_iter().unzip();
    let nobody = nobody.union(&gone).cloned().collect();
    let (mut roots, excused) = nodes::find(mesh, &nobody);
    let open = Directions::new(mesh, table).beside(&excused);
    let rest = open.without(&wrong);
    let missing = missing_peers(&rest);
    let rest = rest.without(&missing);
    let inside = steering::below(&rest);
    let rest = rest.without(&inside);
    let apart = nat::find(mesh, &rest);
    let rest = rest.without(&apart);
    let mut astray = candidates::find(mesh, &rest);
    astray.extend(elsewhere::find(mesh, &rest.without(&astray)));
    let rest = candidates::decided(mesh, &rest.without(&astray));
    let blocked = underlay(mesh, &rest);
    let rest = rest.without(&blocked);
    let broken = session(mesh, &rest);
    let beside = steering::above(&rest.without(&broken));
    let mut path = [wrong, missing, inside, apart, astray, blocked, broken].concat();
    // What is not steered leaves the tunnel as wide as it is.
    let rest = open.without(&path);
    path.extend(beside);
    let effects = effects(mesh, &path, &open);
    let sick = observer::find(mesh, &open.without(&path));
    let uplinks = uplink::find(mesh, &rest);
    let large = sizes::find(mesh, &rest.without(&uplinks));
    roots.extend(path);
    roots.extend(sick);
    roots.extend(uplinks);
    roots.extend(large);
    roots.extend(overlay::find(mesh));
    roots.extend(encapsulation::find(mesh));
    roots.extend(node_address::find(mesh));
    roots.extend(time::find(mesh, clocks));
    roots.extend(discovery::find(mesh));
    roots.extend(stale);
    roots.extend(affiliates::differing(mesh));
    roots.extend(effects);
    flapping::fold(&Directions::new(mesh, table), host::refine(mesh, roots))
}

fn missing_peers(directions: &Directions<'_, '_>) -> Vec<Finding> {
    directions
        .odd()
        .filter(|direction| direction.discovered.outcome == Outcome::Fail)
        .map(|direction| session::peer_missing(&direction))
        .collect()
}

/// What fails inside the tunnel and is not decided on the underlay may be part of the same trouble: taps decide one
/// direction sooner than another, and the root must not wander meanwhile. It never makes a trouble of its own.
fn underlay(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let proved = |direction: &Direction<'_, '_>| direction.underlay.outcome == Outcome::Fail;
    let fails = |direction: &Direction<'_, '_>| {
        let open = direction.underlay.outcome == Outcome::Unknown;
        proved(direction) || (open && direction.tunnel.outcome == Outcome::Fail)
    };
    let filters = underlay::filters_by_port(directions, fails);
    let culprits = localise(directions, fails, |direction| {
        let good = direction.underlay.outcome.is_good() && !direction.is_losing();
        if good && filters.let_through(direction) {
            Passes::Into
        } else {
            good.into()
        }
    });
    let is_certain = |culprit: &Culprit| {
        explained(&culprit.explains, directions).iter().any(proved)
            && !underlay::may_widen(mesh, culprit, directions, fails)
    };
    let culprits = culprits.into_iter().filter(is_certain).collect();
    underlay::with_ways_back(mesh, culprits)
        .iter()
        .map(|(culprit, ways_back)| underlay::finding(mesh, culprit, ways_back, directions))
        .collect()
}

fn session(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let fails = |direction: &Direction<'_, '_>| direction.tunnel.outcome == Outcome::Fail;
    localise(directions, fails, |direction| {
        direction.tunnel.outcome.is_good()
    })
    .iter()
    .map(|culprit| session::finding(mesh, culprit, directions))
    .collect()
}

/// For each pair of nodes that a root explains, the effect: no data in the tunnel.
fn effects(mesh: &Mesh<'_>, roots: &[Finding], directions: &Directions<'_, '_>) -> Vec<Finding> {
    let mut effects = Vec::new();
    let mut finder = Finder::new(mesh);
    for root in roots
        .iter()
        .filter(|root| !session::is_effect_code(&root.code))
    {
        let mut seen = BTreeSet::new();
        for pair in &root.explains {
            if seen.len() >= EFFECTS_OF_ONE || effects.len() >= EFFECTS {
                break;
            }
            let way = finder.way(&pair.from, &pair.to);
            let silent = way
                .and_then(|way| directions.get(way))
                .filter(|direction| direction.tunnel.outcome == Outcome::Fail);
            let key = ordered(&pair.from, &pair.to);
            if let Some(direction) = silent.filter(|_| seen.insert(key.clone())) {
                effects.push(session::effect(mesh, &direction, &key, &root.code));
            }
        }
    }
    effects
}

fn ordered(a: &NodeRef, b: &NodeRef) -> Pair {
    if a <= b {
        (a.clone(), b.clone())
    } else {
        (b.clone(), a.clone())
    }
}

/// A finding in the making; `code` has a page in `pages/`.
struct Draft {
    code: &'static str,
    subject: Subject,
    confidence: Confidence,
    summary: String,
    evidence: Vec<Citation>,
    fixes: Vec<Fix>,
    could_also_be: Vec<String>,
    decided_by: Option<String>,
    explains: BTreeSet<Pair>,
}

impl Draft {
    fn new(code: &'static str, subject: Subject, confidence: Confidence, summary: String) -> Self {
        Self {
            code,
            subject,
            confidence,
            summary,
            evidence: Vec::new(),
            fixes: Vec::new(),
            could_also_be: Vec::new(),
            decided_by: None,
            explains: BTreeSet::new(),
        }
    }

    fn finish(mut self, suppressed_by: Option<&str>) -> Finding {
        let mut seen = BTreeSet::new();
        self.evidence.retain(|citation| {
            seen.insert((
                citation.reporter.clone(),
                citation.fact.clone(),
                citation.text.clone(),
            ))
        });
        self.evidence.truncate(CITED);
        Finding {
            code: self.code.to_owned(),
            subject_text: self.subject.to_string(),
            subject: self.subject,
            confidence: self.confidence,
            summary: self.summary,
            evidence: self.evidence,
            fixes: self.fixes,
            could_also_be: self.could_also_be,
            decided_by: self.decided_by,
            explains: self
                .explains
                .into_iter()
                .map(|(from, to)| PairRef { from, to })
                .collect(),
            explains_more: 0,
            suppressed_by: suppressed_by.map(str::to_owned),
        }
    }
}

fn fix(who: impl Into<String>, action: impl Into<String>, command: Option<String>) -> Fix {
    Fix {
        who: who.into(),
        action: action.into(),
        command,
    }
}

/// The subject that a place stands for.
fn subject(place: &Place) -> Subject {
    let node = |node: &NodeRef| Subject::Node { node: node.clone() };
    match place {
        Place::NodeIn(n) | Place::NodeOut(n) | Place::NodeBoth(n) => node(n),
        Place::SiteIn(address, nodes)
        | Place::SiteOut(address, nodes)
        | Place::SiteBoth(address, nodes) => Subject::Site {
            address: address.clone(),
            nodes: nodes.clone(),
        },
        Place::Way(a, b) | Place::Ways(a, b) => Subject::Ends {
            a: a.clone(),
            b: b.clone(),
            both_ways: matches!(place, Place::Ways(..)),
        },
        Place::Direction(from, to) => Subject::Direction {
            from: from.clone(),
            to: to.clone(),
        },
        Place::Between(a, b) => Subject::Pair {
            a: a.clone(),
            b: b.clone(),
        },
    }
}

/// How a place is spoken of as an alternative.
fn place_text(place: &Place) -> String {
    match place {
        Place::NodeIn(node) => format!("what stands in front of {node}, inbound"),
        Place::NodeOut(node) => format!("what stands in front of {node}, outbound"),
        Place::NodeBoth(node) => format!("what stands in front of {node}, both ways"),
        Place::SiteIn(address, nodes) => {
            format!("{} ({}), inbound", router_text(address), text::list(nodes))
        }
        Place::SiteOut(address, nodes) => {
            format!("{} ({}), outbound", router_text(address), text::list(nodes))
        }
        Place::SiteBoth(address, nodes) => {
            format!(
                "{} ({}), both ways",
                router_text(address),
                text::list(nodes)
            )
        }
        Place::Way(from, to) => format!("the path from {from} to {to}"),
        Place::Ways(a, b) => format!("the path between {a} and {b}"),
        Place::Direction(from, to) => format!("the path from {from} to {to}"),
        Place::Between(a, b) => format!("the path between {a} and {b}"),
    }
}

/// The directions that a culprit explains.
fn explained<'m, 'a>(explains: &[Way], directions: &Directions<'m, 'a>) -> Vec<Direction<'m, 'a>> {
    let found = explains.iter();
    found.filter_map(|way| directions.get(*way)).collect()
}

/// The same by the names of their nodes.
fn named(mesh: &Mesh<'_>, explains: &[Way]) -> BTreeSet<Pair> {
    let name = |index| Some(mesh.members.at(index)?.node.clone());
    let names = explains.iter();
    names
        .filter_map(|(from, to)| Some((name(*from)?, name(*to)?)))
        .collect()
}

fn pair(direction: &Direction<'_, '_>) -> Pair {
    (direction.from.clone(), direction.to.clone())
}
