//! What is wrong: roots first, and under each root what it explains.

mod affiliates;
mod candidates;
mod discovery;
mod flapping;
mod host;
mod keys;
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

use evidence::{Citation, Confidence, Finding, Fix, NodeRef, Outcome, PairRef, Subject};

use crate::{
    localise::{Pair, Place, localise},
    mesh::Mesh,
    pair::Direction,
    text,
};

/// Most citations that one finding carries; the ladders have the rest.
const CITED: usize = 6;

/// All findings, roots first.
pub(crate) fn find(mesh: &Mesh<'_>, directions: &[Direction]) -> Vec<Finding> {
    let (wrong, nobody): (Vec<Finding>, BTreeSet<NodeRef>) = keys::wrong(mesh).into_iter().unzip();
    let (stale, gone): (Vec<Finding>, BTreeSet<NodeRef>) =
        affiliates::stale(mesh).into_iter().unzip();
    let nobody = nobody.union(&gone).cloned().collect();
    let (mut roots, excused) = nodes::find(mesh, &nobody);
    let open: Vec<&Direction> = directions
        .iter()
        .filter(|direction| !excused.contains(&direction.from) && !excused.contains(&direction.to))
        .collect();
    let rest = without(&open, &wrong);
    let missing = missing_peers(&rest);
    let rest = without(&rest, &missing);
    let inside = steering::below(&rest);
    let rest = without(&rest, &inside);
    let astray = candidates::find(mesh, &rest);
    let rest = candidates::decided(mesh, &without(&rest, &astray));
    let blocked = underlay(mesh, &rest);
    let rest = without(&rest, &blocked);
    let broken = session(mesh, &rest);
    let beside = steering::above(&without(&rest, &broken));
    let path: Vec<Finding> = [wrong, missing, inside, astray, blocked, broken, beside].concat();
    let effects = effects(mesh, &path, &open);
    let sick = observer::find(mesh, &without(&open, &path));
    let rest = without(&open, &path);
    let uplinks = uplink::find(mesh, &rest);
    let large = sizes::find(mesh, &without(&rest, &uplinks));
    roots.extend(path);
    roots.extend(sick);
    roots.extend(uplinks);
    roots.extend(large);
    roots.extend(overlay::find(mesh));
    roots.extend(time::find(mesh));
    roots.extend(discovery::find(mesh));
    roots.extend(stale);
    roots.extend(affiliates::differing(mesh));
    roots.extend(effects);
    flapping::fold(mesh, directions, host::refine(mesh, roots))
}

/// The directions between which no root stands yet, either way.
fn without<'a>(directions: &[&'a Direction], roots: &[Finding]) -> Vec<&'a Direction> {
    let explained: BTreeSet<(&NodeRef, &NodeRef)> = roots
        .iter()
        .flat_map(|root| &root.explains)
        .flat_map(|pair| [(&pair.from, &pair.to), (&pair.to, &pair.from)])
        .collect();
    directions
        .iter()
        .filter(|direction| !explained.contains(&(&direction.from, &direction.to)))
        .copied()
        .collect()
}

fn missing_peers(directions: &[&Direction]) -> Vec<Finding> {
    directions
        .iter()
        .filter(|direction| direction.discovered.outcome == Outcome::Fail)
        .map(|direction| session::peer_missing(direction))
        .collect()
}

/// What fails inside the tunnel and is not decided on the underlay may be part of the same trouble: taps decide one
/// direction sooner than another, and the root must not wander meanwhile. It never makes a trouble of its own.
fn underlay(mesh: &Mesh<'_>, directions: &[&Direction]) -> Vec<Finding> {
    let proved = |direction: &Direction| direction.underlay.outcome == Outcome::Fail;
    let failing = pairs(directions, |direction| {
        let open = direction.underlay.outcome == Outcome::Unknown;
        proved(direction) || (open && direction.tunnel.outcome == Outcome::Fail)
    });
    let passing = pairs(directions, |direction| direction.underlay.outcome.is_good());
    let proved = pairs(directions, proved);
    localise(mesh, &failing, &passing)
        .iter()
        .filter(|culprit| !culprit.explains.is_disjoint(&proved))
        .map(|culprit| underlay::finding(mesh, culprit, directions))
        .collect()
}

fn session(mesh: &Mesh<'_>, directions: &[&Direction]) -> Vec<Finding> {
    let failing = pairs(directions, |direction| {
        direction.tunnel.outcome == Outcome::Fail
    });
    let passing = pairs(directions, |direction| direction.tunnel.outcome.is_good());
    localise(mesh, &failing, &passing)
        .iter()
        .map(|culprit| session::finding(mesh, culprit, directions))
        .collect()
}

fn pairs(directions: &[&Direction], which: impl Fn(&Direction) -> bool) -> BTreeSet<Pair> {
    directions
        .iter()
        .filter(|direction| which(direction))
        .map(|direction| (direction.from.clone(), direction.to.clone()))
        .collect()
}

/// For each pair of nodes that a root explains, the effect: no data in the tunnel.
fn effects(mesh: &Mesh<'_>, roots: &[Finding], directions: &[&Direction]) -> Vec<Finding> {
    let mut effects = Vec::new();
    for root in roots
        .iter()
        .filter(|root| !session::is_effect_code(&root.code))
    {
        let mut seen = BTreeSet::new();
        for pair in &root.explains {
            let key = ordered(&pair.from, &pair.to);
            let silent = directions
                .iter()
                .find(|direction| (&direction.from, &direction.to) == (&pair.from, &pair.to))
                .filter(|direction| direction.tunnel.outcome == Outcome::Fail);
            if let Some(direction) = silent.filter(|_| seen.insert(key.clone())) {
                effects.push(session::effect(mesh, direction, &key, &root.code));
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
            format!("the router at {address} ({}), inbound", text::list(nodes))
        }
        Place::SiteOut(address, nodes) => {
            format!("the router at {address} ({}), outbound", text::list(nodes))
        }
        Place::SiteBoth(address, nodes) => {
            format!("the router at {address} ({}), both ways", text::list(nodes))
        }
        Place::Direction(from, to) => format!("the path from {from} to {to}"),
        Place::Between(a, b) => format!("the path between {a} and {b}"),
    }
}

/// The directions that a culprit explains.
fn explained<'a>(explains: &BTreeSet<Pair>, directions: &[&'a Direction]) -> Vec<&'a Direction> {
    directions
        .iter()
        .filter(|direction| explains.contains(&(direction.from.clone(), direction.to.clone())))
        .copied()
        .collect()
}
