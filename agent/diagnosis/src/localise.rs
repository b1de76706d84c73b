//! Where the trouble is: the smallest set of places that explains all failures and that no success contradicts.
//!
//! A place is a node's way in or out, a site's (the nodes behind one public address), or, if nothing wider fits, the way
//! between two ends, or a single direction. Directions between nodes of one site never pass the site's router, so they say
//! nothing about it.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{End, NodeRef};

use crate::mesh::Mesh;

/// An ordered pair.
pub(crate) type Pair = (NodeRef, NodeRef);

/// A place that can be at fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Everything from outside into the site.
    SiteIn(String, Vec<NodeRef>),
    /// Everything out of the site.
    SiteOut(String, Vec<NodeRef>),
    /// Both.
    SiteBoth(String, Vec<NodeRef>),
    /// Everything from outside into the node.
    NodeIn(NodeRef),
    /// Everything out of the node.
    NodeOut(NodeRef),
    /// Both.
    NodeBoth(NodeRef),
    /// Everything from one end to another, of which at least one is a site.
    Way(End, End),
    /// The same both ways.
    Ways(End, End),
    /// One direction only.
    Direction(NodeRef, NodeRef),
    /// Both directions between two nodes.
    Between(NodeRef, NodeRef),
}

/// A place, what it explains, and the places that would explain just the same, or more of what is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Culprit {
    pub(crate) place: Place,
    pub(crate) explains: BTreeSet<Pair>,
    pub(crate) ties: Vec<Place>,
}

/// Explains `failing` by places, none of which a pair of `passing` contradicts.
pub(crate) fn localise(
    mesh: &Mesh<'_>,
    failing: &BTreeSet<Pair>,
    passing: &BTreeSet<Pair>,
) -> Vec<Culprit> {
    let mut remaining = failing.clone();
    let mut culprits: Vec<Culprit> = Vec::new();
    // A way between two ends is named only where no node and no site explains more: it is a part of both.
    for places in [places, ways] {
        let candidates = candidates(mesh, failing, passing, places);
        while let Some(mut best) = best(&candidates, &remaining) {
            best.explains.extend(
                remaining
                    .iter()
                    .filter(|pair| absorbs(&best.place, pair))
                    .cloned(),
            );
            remaining.retain(|pair| !best.explains.contains(pair));
            culprits.push(best);
        }
    }
    let (outside, anywhere) = (
        contradicted(passing, |pair| crosses(mesh, pair)),
        contradicted(passing, |_| true),
    );
    culprits.extend(remaining.into_iter().map(|pair| {
        let known = if crosses(mesh, &pair) {
            &outside
        } else {
            &anywhere
        };
        single(pair, known)
    }));
    join_both_ways(culprits)
}

/// One direction by itself. As long as nothing else passes the same way in or out, that may be what is at fault.
fn single(pair: Pair, contradicted: &BTreeSet<Place>) -> Culprit {
    let ties = ends(&pair)
        .into_iter()
        .filter(|place| !contradicted.contains(place))
        .collect();
    Culprit {
        place: Place::Direction(pair.0.clone(), pair.1.clone()),
        explains: BTreeSet::from([pair]),
        ties,
    }
}

fn contradicted(passing: &BTreeSet<Pair>, which: impl Fn(&Pair) -> bool) -> BTreeSet<Place> {
    let known = passing.iter().filter(|pair| which(pair));
    known.flat_map(ends).collect()
}

fn ends((from, to): &Pair) -> [Place; 2] {
    [Place::NodeOut(from.clone()), Place::NodeIn(to.clone())]
}

/// Whether a direction leaves its site.
fn crosses(mesh: &Mesh<'_>, (a, b): &Pair) -> bool {
    !mesh.same_site(a, b)
}

/// The wide places that fail as a whole: at least two directions are known, and all of them fail.
fn candidates(
    mesh: &Mesh<'_>,
    failing: &BTreeSet<Pair>,
    passing: &BTreeSet<Pair>,
    places: fn(&Mesh<'_>, &Pair) -> Vec<Place>,
) -> Vec<(Place, BTreeSet<Pair>)> {
    let mut covers: BTreeMap<Place, BTreeSet<Pair>> = BTreeMap::new();
    let mut contradicted: BTreeSet<Place> = BTreeSet::new();
    for pair in failing.iter().filter(|pair| crosses(mesh, pair)) {
        for place in places(mesh, pair) {
            covers.entry(place).or_default().insert(pair.clone());
        }
    }
    for pair in passing.iter().filter(|pair| crosses(mesh, pair)) {
        contradicted.extend(places(mesh, pair));
    }
    covers
        .into_iter()
        .filter(|(place, pairs)| {
            pairs.len() >= 2 && !contradicted.contains(place) && is_wide(place, pairs)
        })
        .collect()
}

/// A site is at fault only if more than one of its nodes is hit; otherwise the node is.
fn is_wide(place: &Place, pairs: &BTreeSet<Pair>) -> bool {
    let distinct =
        |side: fn(&Pair) -> &NodeRef| pairs.iter().map(side).collect::<BTreeSet<_>>().len();
    match place {
        Place::SiteIn(..) => distinct(|pair| &pair.1) >= 2,
        Place::SiteOut(..) => distinct(|pair| &pair.0) >= 2,
        _ => true,
    }
}

/// All wide places that a direction passes.
fn places(mesh: &Mesh<'_>, pair: &Pair) -> Vec<Place> {
    let (from, to) = pair;
    let mut places = Vec::from(ends(pair));
    if let Some((address, nodes)) = site(mesh, from) {
        places.push(Place::SiteOut(address, nodes));
    }
    if let Some((address, nodes)) = site(mesh, to) {
        places.push(Place::SiteIn(address, nodes));
    }
    places
}

/// The way between the ends of a direction. Of two single nodes it is the direction itself, which never explains two.
fn ways(mesh: &Mesh<'_>, (from, to): &Pair) -> Vec<Place> {
    let end = |node: &NodeRef| {
        let site = site(mesh, node).filter(|(_, nodes)| nodes.len() >= 2);
        site.map_or_else(
            || End {
                address: None,
                nodes: vec![node.clone()],
            },
            |(address, nodes)| End {
                address: Some(address),
                nodes,
            },
        )
    };
    vec![Place::Way(end(from), end(to))]
}

pub(crate) fn site(mesh: &Mesh<'_>, node: &NodeRef) -> Option<(String, Vec<NodeRef>)> {
    let address = mesh.members.get(node)?.site?;
    let nodes = mesh
        .members
        .values()
        .filter(|member| member.site == Some(address));
    Some((
        address.to_string(),
        nodes.map(|member| member.node.clone()).collect(),
    ))
}

/// The place that explains most of what remains; others that explain the very same are ties.
fn best(candidates: &[(Place, BTreeSet<Pair>)], remaining: &BTreeSet<Pair>) -> Option<Culprit> {
    let explained = |(place, pairs): &(Place, BTreeSet<Pair>)| {
        (
            place.clone(),
            pairs
                .intersection(remaining)
                .cloned()
                .collect::<BTreeSet<Pair>>(),
        )
    };
    let live: Vec<_> = candidates
        .iter()
        .map(explained)
        .filter(|(_, pairs)| pairs.len() >= 2)
        .collect();
    let most = live.iter().map(|(_, pairs)| pairs.len()).max()?;
    let mut widest = live.into_iter().filter(|(_, pairs)| pairs.len() == most);
    let (place, explains) = widest.next()?;
    let ties = widest
        .filter(|(_, pairs)| *pairs == explains)
        .map(|(place, _)| place)
        .collect();
    Some(Culprit {
        place,
        explains,
        ties,
    })
}

/// A place at fault both ways is one trouble, not two.
fn join_both_ways(mut culprits: Vec<Culprit>) -> Vec<Culprit> {
    let mut joined: Vec<Culprit> = Vec::new();
    while let Some(culprit) = culprits.pop() {
        let opposite = culprits
            .iter()
            .position(|other| both(&culprit.place, &other.place).is_some());
        let Some(other) = opposite.map(|at| culprits.remove(at)) else {
            joined.push(culprit);
            continue;
        };
        let place = both(&culprit.place, &other.place).unwrap_or(culprit.place);
        let ties = culprit.ties.iter();
        let ties = ties.flat_map(|tie| other.ties.iter().filter_map(|with| both(tie, with)));
        joined.push(Culprit {
            place,
            ties: ties.collect(),
            explains: culprit.explains.into_iter().chain(other.explains).collect(),
        });
    }
    joined.sort_by(|a, b| {
        b.explains
            .len()
            .cmp(&a.explains.len())
            .then_with(|| a.place.cmp(&b.place))
    });
    joined
}

/// A neighbour on the same site that fails like the rest needs no cause of its own.
fn absorbs(place: &Place, (from, to): &Pair) -> bool {
    match place {
        Place::NodeIn(node) => to == node,
        Place::NodeOut(node) => from == node,
        _ => false,
    }
}

fn both(a: &Place, b: &Place) -> Option<Place> {
    match (a, b) {
        (Place::NodeIn(x), Place::NodeOut(y)) | (Place::NodeOut(x), Place::NodeIn(y)) if x == y => {
            Some(Place::NodeBoth(x.clone()))
        }
        (Place::SiteIn(x, nodes), Place::SiteOut(y, _))
        | (Place::SiteOut(x, nodes), Place::SiteIn(y, _))
            if x == y =>
        {
            Some(Place::SiteBoth(x.clone(), nodes.clone()))
        }
        (Place::Way(a, b), Place::Way(c, d)) if a == d && b == c => {
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            Some(Place::Ways(low.clone(), high.clone()))
        }
        (Place::Direction(a, b), Place::Direction(c, d)) if a == d && b == c => {
            let (low, high) = if a <= b { (a, b) } else { (b, a) };
            Some(Place::Between(low.clone(), high.clone()))
        }
        _ => None,
    }
}
