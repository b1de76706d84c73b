//! Where the trouble is: the smallest set of places that explains all failures and that no success contradicts.
//!
//! A place is a node's way in or out, a site's (the nodes behind one public address), or, if nothing wider fits, the way
//! between two ends, or a single direction. Directions between nodes of one site never pass the site's router, so they say
//! nothing about it.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{End, NodeRef};

use crate::{
    directions::{Directions, Way},
    mesh::{Member, Mesh},
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

/// A place by numbers: what a mesh of 1,024 nodes has of them is gone through some thousand times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    /// A place that more than one direction passes, by its rank among [`Places`].
    Wide(usize),
    /// The way between two ends, of which at least one is a site; by [`Places::end`].
    Ends(usize, usize),
    Single(Way),
}

/// A culprit by numbers.
struct Suspect {
    spot: Spot,
    explains: Vec<Way>,
    ties: Vec<usize>,
}

/// Explains the directions that fail by places, none of which one that passes contradicts.
pub(crate) fn localise(
    directions: &Directions<'_, '_>,
    fails: impl Fn(&Direction<'_, '_>) -> bool,
    passes: impl Fn(&Direction<'_, '_>) -> bool,
) -> Vec<Culprit> {
    let way = |direction: Direction<'_, '_>| (direction.a.index, direction.b.index);
    let failing: Vec<Way> = directions.odd().filter(fails).map(way).collect();
    if failing.is_empty() {
        return Vec::new();
    }
    let places = Places::of(directions.mesh);
    let mut outside = vec![false; places.count()];
    let mut anywhere = vec![false; places.count()];
    for way in directions.iter().filter(&passes).map(way) {
        places
            .ends(way)
            .into_iter()
            .for_each(|spot| mark(&mut anywhere, spot));
        if places.crosses(way) {
            places.wide(way).for_each(|spot| mark(&mut outside, spot));
        }
    }
    let (mut suspects, rest) = widest(&places, &failing, &outside);
    // A way between two ends is named only where no node and no site explains more: it is a part of both.
    let (ways, rest) = between_ends(&places, directions, rest, passes);
    suspects.extend(ways);
    suspects.extend(rest.into_iter().map(|way| {
        let known = if places.crosses(way) {
            &outside
        } else {
            &anywhere
        };
        single(&places, way, known)
    }));
    join_both_ways(&places, suspects)
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

/// The wide places by number, in the order of [`Place`]: ways into sites, out of sites, into nodes, out of nodes.
struct Places<'m, 'a> {
    mesh: &'m Mesh<'a>,
    sites: Vec<(String, Vec<NodeRef>)>,
    /// The site of each node.
    site_of: Vec<Option<usize>>,
}

impl<'m, 'a> Places<'m, 'a> {
    fn of(mesh: &'m Mesh<'a>) -> Self {
        let mut nodes: BTreeMap<String, Vec<NodeRef>> = BTreeMap::new();
        for member in mesh.members.values() {
            if let Some(site) = member.site {
                let node = member.node.clone();
                nodes.entry(site.to_string()).or_default().push(node);
            }
        }
        let sites: Vec<(String, Vec<NodeRef>)> = nodes.into_iter().collect();
        let rank = |member: &Member<'_>| {
            let site = member.site?.to_string();
            sites.binary_search_by(|(known, _)| known.cmp(&site)).ok()
        };
        let site_of = mesh.members.values().map(rank).collect();
        Self {
            mesh,
            sites,
            site_of,
        }
    }

    fn count(&self) -> usize {
        2 * (self.sites.len() + self.site_of.len())
    }

    fn site(&self, node: usize) -> Option<usize> {
        self.site_of.get(node).copied().flatten()
    }

    /// Whether a direction leaves its site.
    fn crosses(&self, (from, to): Way) -> bool {
        self.site(from).is_none() || self.site(from) != self.site(to)
    }

    /// The end that a node is, or belongs to: its site, if it has more than one node; after the sites the nodes.
    fn end(&self, node: usize) -> usize {
        let site = self.site(node).filter(|site| {
            let known = self.sites.get(*site);
            known.is_some_and(|(_, nodes)| nodes.len() >= 2)
        });
        site.unwrap_or(self.sites.len() + node)
    }

    /// The nodes of an end.
    fn nodes_at(&self, end: usize) -> Vec<usize> {
        match end.checked_sub(self.sites.len()) {
            Some(node) => vec![node],
            None => {
                let nodes = self.site_of.iter().enumerate();
                let here = nodes.filter(|(_, site)| **site == Some(end));
                here.map(|(node, _)| node).collect()
            }
        }
    }

    fn end_of(&self, end: usize) -> End {
        match self.sites.get(end) {
            Some((address, nodes)) => End {
                address: Some(address.clone()),
                nodes: nodes.clone(),
            },
            None => End {
                address: None,
                nodes: vec![self.named(end - self.sites.len())],
            },
        }
    }

    /// The way out of the one node, and into the other.
    fn ends(&self, (from, to): Way) -> [usize; 2] {
        let first = 2 * self.sites.len();
        [first + self.site_of.len() + from, first + to]
    }

    /// All wide places that a direction passes.
    fn wide(&self, way: Way) -> impl Iterator<Item = usize> {
        let into = self.site(way.1);
        let out = self.site(way.0).map(|site| self.sites.len() + site);
        self.ends(way).into_iter().chain(into).chain(out)
    }

    /// The node of which a place is the way in or out, and whether it is the way in.
    fn node(&self, spot: usize) -> Option<(usize, bool)> {
        let node = spot.checked_sub(2 * self.sites.len())?;
        let nodes = self.site_of.len();
        Some((node % nodes, node < nodes))
    }

    /// The other way of the same node or site.
    fn opposite(&self, spot: Spot) -> Spot {
        match spot {
            Spot::Single((from, to)) => Spot::Single((to, from)),
            Spot::Ends(from, to) => Spot::Ends(to, from),
            Spot::Wide(spot) => {
                let (sites, nodes) = (self.sites.len(), self.site_of.len());
                let other = match (self.node(spot), spot < sites) {
                    (Some((_, true)), _) => spot + nodes,
                    (Some((_, false)), _) => spot - nodes,
                    (None, true) => spot + sites,
                    (None, false) => spot - sites,
                };
                Spot::Wide(other)
            }
        }
    }

    fn named(&self, node: usize) -> NodeRef {
        let member = self.mesh.members.at(node);
        let unknown = || NodeRef::Unnamed {
            key: evidence::PublicKey::from_bytes([0; 32]),
        };
        member.map_or_else(unknown, |member| member.node.clone())
    }

    fn place(&self, spot: Spot) -> Place {
        let spot = match spot {
            Spot::Single((from, to)) => {
                return Place::Direction(self.named(from), self.named(to));
            }
            Spot::Ends(from, to) => return Place::Way(self.end_of(from), self.end_of(to)),
            Spot::Wide(spot) => spot,
        };
        if let Some((node, inwards)) = self.node(spot) {
            let node = self.named(node);
            return if inwards {
                Place::NodeIn(node)
            } else {
                Place::NodeOut(node)
            };
        }
        let site = self.sites.get(spot % self.sites.len());
        let (address, nodes) = site.cloned().unwrap_or_default();
        if spot < self.sites.len() {
            Place::SiteIn(address, nodes)
        } else {
            Place::SiteOut(address, nodes)
        }
    }

    /// A place and its opposite as one.
    fn both(&self, spot: Spot) -> Place {
        match self.place(spot) {
            Place::NodeIn(node) | Place::NodeOut(node) => Place::NodeBoth(node),
            Place::SiteIn(address, nodes) | Place::SiteOut(address, nodes) => {
                Place::SiteBoth(address, nodes)
            }
            Place::Way(a, b) if a <= b => Place::Ways(a, b),
            Place::Way(a, b) => Place::Ways(b, a),
            Place::Direction(a, b) if a <= b => Place::Between(a, b),
            Place::Direction(a, b) => Place::Between(b, a),
            place => place,
        }
    }
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

/// A wide place that fails as a whole: at least two directions are known, and all of them fail.
struct Candidate {
    spot: usize,
    /// What it explains, as places in the list of failures.
    failures: Vec<usize>,
    /// How many of them nothing explains yet.
    left: usize,
}

/// The places that explain most, one after the other, and what none of them explains.
fn widest(
    places: &Places<'_, '_>,
    failing: &[Way],
    contradicted: &[bool],
) -> (Vec<Suspect>, Vec<Way>) {
    let mut candidates = candidates(places, failing, contradicted);
    let mut rank = vec![None; places.count()];
    for (at, candidate) in candidates.iter().enumerate() {
        if let Some(rank) = rank.get_mut(candidate.spot) {
            *rank = Some(at);
        }
    }
    let mut remaining = vec![true; failing.len()];
    let mut suspects = Vec::new();
    while let Some((spot, mut failures, ties)) = best(places, &candidates, failing, &remaining) {
        absorb(places, spot, failing, &remaining, &mut failures);
        for failure in &failures {
            if let Some(open) = remaining.get_mut(*failure) {
                *open = false;
            }
            let passed = failing.get(*failure).filter(|way| places.crosses(**way));
            for spot in passed.into_iter().flat_map(|way| places.wide(*way)) {
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

fn candidates(places: &Places<'_, '_>, failing: &[Way], contradicted: &[bool]) -> Vec<Candidate> {
    let mut covers: Vec<Vec<usize>> = vec![Vec::new(); places.count()];
    for (at, way) in failing
        .iter()
        .enumerate()
        .filter(|(_, way)| places.crosses(**way))
    {
        for spot in places.wide(*way) {
            if let Some(failures) = covers.get_mut(spot) {
                failures.push(at);
            }
        }
    }
    let all = covers.into_iter().enumerate();
    let fitting = all.filter(|(spot, failures)| {
        failures.len() >= 2
            && !is_marked(contradicted, *spot)
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
    failing: &[Way],
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
        ways.all(|way| places.wide(*way).any(|spot| spot == candidate.spot))
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

/// The ways between two ends that fail as a whole, and what none of them explains. Of two single nodes such a way is the
/// direction itself, which never explains two.
fn between_ends(
    places: &Places<'_, '_>,
    directions: &Directions<'_, '_>,
    failing: Vec<Way>,
    passes: impl Fn(&Direction<'_, '_>) -> bool,
) -> (Vec<Suspect>, Vec<Way>) {
    let mut groups: BTreeMap<(usize, usize), Vec<Way>> = BTreeMap::new();
    for way in failing.iter().filter(|way| places.crosses(**way)) {
        let ends = (places.end(way.0), places.end(way.1));
        groups.entry(ends).or_default().push(*way);
    }
    groups.retain(|(from, to), ways| {
        let (from, to) = (places.nodes_at(*from), places.nodes_at(*to));
        let mut all = from
            .iter()
            .flat_map(|from| to.iter().map(move |to| (*from, *to)));
        ways.len() >= 2 && !all.any(|way| directions.get(way).is_some_and(|one| passes(&one)))
    });
    let suspects: Vec<Suspect> = groups
        .into_iter()
        .map(|((from, to), explains)| Suspect {
            spot: Spot::Ends(from, to),
            explains,
            ties: Vec::new(),
        })
        .collect();
    let mut rest = failing;
    let explained = |way: &Way| suspects.iter().any(|one| one.explains.contains(way));
    rest.retain(|way| !explained(way));
    (suspects, rest)
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
