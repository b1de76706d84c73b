//! Where the trouble is: the smallest set of places that explains all failures and that no success contradicts.
//!
//! A place is a node's way in or out, a site's (the nodes behind one public address, or in one network that others reach
//! without a translation), or, if nothing wider fits, the way between two ends, or a single direction. Directions between
//! nodes of one site never pass the site's router, so they say nothing about it.

mod ends;
mod lan;
mod places;

use std::collections::{BTreeMap, BTreeSet};

use evidence::{End, NodeRef};

pub(crate) use self::places::{Sites, site_names};
use self::{
    ends::between_ends,
    places::{Places, Spot},
};
use crate::{
    directions::{Directions, Way},
    mesh::Mesh,
    pair::Direction,
};

/// An ordered pair, by its names.
pub(crate) type Pair = (NodeRef, NodeRef);

/// Places that are told at most: each node's ways in and out. Who has more single directions broken reads no list.
const PLACES: usize = 2 * evidence::limits::NODES;

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
    /// In order.
    pub(crate) explains: Vec<Way>,
    pub(crate) ties: Vec<Place>,
}

/// What a direction speaks against by passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    /// Nothing: it does not pass.
    No,
    /// What stands in front of the far end only. A filter at the near one would let it through.
    Into,
    /// Every place that it passes.
    Whole,
}

impl From<bool> for Passes {
    fn from(passes: bool) -> Self {
        if passes { Self::Whole } else { Self::No }
    }
}

/// A culprit by numbers.
struct Suspect {
    spot: Spot,
    explains: Vec<Way>,
    ties: Vec<usize>,
}

/// Explains the directions that fail by places, none of which one that passes contradicts.
pub(crate) fn localise<P: Into<Passes>>(
    directions: &Directions<'_, '_>,
    fails: impl Fn(&Direction<'_, '_>) -> bool,
    passes: impl Fn(&Direction<'_, '_>) -> P,
) -> Vec<Culprit> {
    let way = |direction: Direction<'_, '_>| (direction.a.index, direction.b.index);
    let failing: Vec<Way> = directions.odd().filter(fails).map(way).collect();
    if failing.is_empty() {
        return Vec::new();
    }
    let places = Places::of(directions.mesh);
    let mut spoken_for = Passed {
        outside: vec![false; places.count()],
        anywhere: vec![false; places.count()],
    };
    let passes = |direction: &Direction<'_, '_>| passes(direction).into();
    for direction in directions.iter() {
        let said = passes(&direction);
        spoken_for.take(&places, way(direction), said);
    }
    let (mut suspects, rest) = widest(&places, &failing, &spoken_for);
    // A way between two ends is named only where no node and no site explains more: it is a part of both.
    let passes = |direction: &Direction<'_, '_>| passes(direction) != Passes::No;
    let (ways, rest) = between_ends(&places, directions, rest, passes);
    suspects.extend(ways);
    suspects.extend(rest.into_iter().map(|way| {
        let known = if places.crosses(way) {
            &spoken_for.outside
        } else {
            &spoken_for.anywhere
        };
        single(&places, way, known)
    }));
    join_both_ways(&places, suspects)
}

/// The places that are passed by a direction that passes.
struct Passed {
    /// By one that leaves its site.
    outside: Vec<bool>,
    /// By any, of the ways into and out of single nodes.
    anywhere: Vec<bool>,
}

impl Passed {
    fn take(&mut self, places: &Places<'_, '_>, way: Way, said: Passes) {
        let ends = places.ends(way);
        let counts = |spot: &usize| match said {
            Passes::No => false,
            Passes::Into => places.into(way).any(|into| into == *spot),
            Passes::Whole => true,
        };
        for spot in ends.into_iter().filter(counts) {
            mark(&mut self.anywhere, spot);
        }
        if places.crosses(way) {
            for spot in places.wide(way).filter(counts) {
                mark(&mut self.outside, spot);
            }
        }
    }
}

fn mark(spots: &mut [bool], spot: usize) {
    if let Some(marked) = spots.get_mut(spot) {
        *marked = true;
    }
}

fn is_marked(spots: &[bool], spot: usize) -> bool {
    spots.get(spot) == Some(&true)
}

/// One direction by itself. As long as nothing else passes the same way in or out, that may be what is at fault.
fn single(places: &Places<'_, '_>, way: Way, contradicted: &[bool]) -> Suspect {
    let ends = places.ends(way).into_iter();
    Suspect {
        spot: Spot::Single(way),
        explains: vec![way],
        ties: ends
            .filter(|spot| !is_marked(contradicted, *spot))
            .collect(),
    }
}

/// The site of a node, if it has one.
pub(crate) fn site(mesh: &Mesh<'_>, node: &NodeRef) -> Option<(String, Vec<NodeRef>)> {
    let places = Places::of(mesh);
    let site = places.site(mesh.members.get(node)?.index)?;
    places.sites.get(site).cloned()
}

/// Whether a site is a network that is reached without a translation, and not what is behind a public address.
pub(crate) fn is_network(site: &str) -> bool {
    site.contains('/')
}

/// `the site behind 198.51.100.2`, `the network 10.1.0.0/24`
pub(crate) fn site_text(site: &str) -> String {
    let kind = if is_network(site) {
        "network"
    } else {
        "site behind"
    };
    format!("the {kind} {site}")
}

/// `the router at 198.51.100.2`, `the router of 10.1.0.0/24`
pub(crate) fn router_text(site: &str) -> String {
    let which = if is_network(site) { "of" } else { "at" };
    format!("the router {which} {site}")
}

/// A wide place that fails as a whole: at least two directions are known, and all of them fail.
struct Candidate {
    spot: usize,
    /// What it explains, as places in the list of failures.
    failures: Vec<usize>,
    /// How many of them nothing explains yet.
    left: usize,
}

/// The places that explain most, one after the other, and what none of them explains.
fn widest(places: &Places<'_, '_>, failing: &[Way], passed: &Passed) -> (Vec<Suspect>, Vec<Way>) {
    let mut candidates = candidates(places, failing, passed);
    let mut rank = vec![None; places.count()];
    for (at, candidate) in candidates.iter().enumerate() {
        if let Some(rank) = rank.get_mut(candidate.spot) {
            *rank = Some(at);
        }
    }
    let mut remaining = vec![true; failing.len()];
    let mut suspects = Vec::new();
    while let Some((spot, mut failures, ties)) =
        best(places, &candidates, (failing, passed), &remaining)
    {
        absorb(places, spot, failing, &remaining, &mut failures);
        for failure in &failures {
            if let Some(open) = remaining.get_mut(*failure) {
                *open = false;
            }
            let way = failing.get(*failure).into_iter();
            for spot in way.flat_map(|way| places.failing(*way, &passed.anywhere)) {
                let at = rank.get(spot).copied().flatten();
                if let Some(candidate) = at.and_then(|at| candidates.get_mut(at)) {
                    candidate.left = candidate.left.saturating_sub(1);
                }
            }
        }
        let explains = failures.iter().filter_map(|at| failing.get(*at).copied());
        suspects.push(Suspect {
            spot: Spot::Wide(spot),
            explains: explains.collect(),
            ties,
        });
    }
    let rest = failing.iter().zip(remaining);
    let rest = rest.filter(|(_, open)| *open).map(|(way, _)| *way);
    (suspects, rest.collect())
}

fn candidates(places: &Places<'_, '_>, failing: &[Way], passed: &Passed) -> Vec<Candidate> {
    let mut covers: Vec<Vec<usize>> = vec![Vec::new(); places.count()];
    for (at, way) in failing.iter().enumerate() {
        for spot in places.failing(*way, &passed.anywhere) {
            if let Some(failures) = covers.get_mut(spot) {
                failures.push(at);
            }
        }
    }
    let all = covers.into_iter().enumerate();
    let fitting = all.filter(|(spot, failures)| {
        failures.len() >= 2
            && !is_marked(&passed.outside, *spot)
            && is_wide(places, *spot, failing, failures)
    });
    fitting
        .map(|(spot, failures)| Candidate {
            spot,
            left: failures.len(),
            failures,
        })
        .collect()
}

/// A site is at fault only if more than one of its nodes is hit; otherwise the node is.
fn is_wide(places: &Places<'_, '_>, spot: usize, failing: &[Way], failures: &[usize]) -> bool {
    if places.node(spot).is_some() {
        return true;
    }
    let ways = failures.iter().filter_map(|at| failing.get(*at));
    let hit = ways.map(|(from, to)| if spot < places.sites.len() { to } else { from });
    hit.collect::<BTreeSet<_>>().len() >= 2
}

/// The place that explains most of what remains; others that explain the very same are ties.
fn best(
    places: &Places<'_, '_>,
    candidates: &[Candidate],
    (failing, passed): (&[Way], &Passed),
    remaining: &[bool],
) -> Option<(usize, Vec<usize>, Vec<usize>)> {
    let most = candidates.iter().map(|candidate| candidate.left).max();
    let most = most.filter(|most| *most >= 2)?;
    let mut widest = candidates.iter().filter(|candidate| candidate.left == most);
    let best = widest.next()?;
    let failures = best.failures.iter().copied();
    let failures: Vec<usize> = failures.filter(|at| is_marked(remaining, *at)).collect();
    let covers = |candidate: &&Candidate| {
        let mut ways = failures.iter().filter_map(|at| failing.get(*at));
        ways.all(|way| {
            let mut spots = places.failing(*way, &passed.anywhere);
            spots.any(|spot| spot == candidate.spot)
        })
    };
    let ties = widest
        .filter(covers)
        .map(|candidate| candidate.spot)
        .collect();
    Some((best.spot, failures, ties))
}

/// A neighbour on the same site that fails like the rest needs no cause of its own.
fn absorb(
    places: &Places<'_, '_>,
    spot: usize,
    failing: &[Way],
    remaining: &[bool],
    failures: &mut Vec<usize>,
) {
    let Some((node, inwards)) = places.node(spot) else {
        return;
    };
    let (site, nodes) = (places.site(node), places.site_of.len());
    let near = (0..nodes).filter(|other| site.is_some() && places.site(*other) == site);
    let ways = near.map(|other| {
        if inwards {
            (other, node)
        } else {
            (node, other)
        }
    });
    let found = ways.filter_map(|way| failing.binary_search(&way).ok());
    failures.extend(found.filter(|at| is_marked(remaining, *at)));
    failures.sort_unstable();
}

/// A place at fault both ways is one trouble, not two.
fn join_both_ways(places: &Places<'_, '_>, suspects: Vec<Suspect>) -> Vec<Culprit> {
    let rank: BTreeMap<Spot, usize> = suspects
        .iter()
        .enumerate()
        .map(|(at, suspect)| (suspect.spot, at))
        .collect();
    let mut open: Vec<Option<Suspect>> = suspects.into_iter().map(Some).collect();
    let mut joined = Vec::new();
    for at in (0..open.len()).rev() {
        let Some(suspect) = open.get_mut(at).and_then(Option::take) else {
            continue;
        };
        let opposite = rank.get(&places.opposite(suspect.spot));
        let opposite = opposite.and_then(|at| open.get_mut(*at)?.take());
        joined.push(match opposite {
            Some(other) => both(places, suspect, other),
            None => Culprit {
                place: places.place(suspect.spot),
                explains: suspect.explains,
                ties: suspect
                    .ties
                    .iter()
                    .map(|tie| places.place(Spot::Wide(*tie)))
                    .collect(),
            },
        });
    }
    joined.sort_by(|a, b| {
        b.explains
            .len()
            .cmp(&a.explains.len())
            .then_with(|| a.place.cmp(&b.place))
    });
    joined.truncate(PLACES);
    joined
}

fn both(places: &Places<'_, '_>, suspect: Suspect, other: Suspect) -> Culprit {
    let opposed = |tie: &&usize| {
        let Spot::Wide(opposite) = places.opposite(Spot::Wide(**tie)) else {
            return false;
        };
        other.ties.contains(&opposite)
    };
    let ties = suspect.ties.iter().filter(opposed);
    let ties = ties.map(|tie| places.both(Spot::Wide(*tie))).collect();
    let mut explains = [suspect.explains, other.explains].concat();
    explains.sort_unstable();
    explains.dedup();
    Culprit {
        place: places.both(suspect.spot),
        explains,
        ties,
    }
}
