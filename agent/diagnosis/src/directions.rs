//! All directions of a mesh, judged: one octet for each answer, and the words only where a finding needs them.

use std::{collections::BTreeSet, rc::Rc};

use evidence::{Finding, NodeRef, Tally, limits};

use crate::{
    flaps,
    mesh::{Member, Mesh},
    pair::{Direction, Outcomes},
};

/// An ordered pair, by the places of its nodes.
pub(crate) type Way = (usize, usize);

/// The outcomes of all ordered pairs.
#[derive(Debug)]
pub(crate) struct Table {
    nodes: usize,
    cells: Vec<Option<Outcomes>>,
    /// Those that are not good in everything, in order.
    odd: Vec<Way>,
}

impl Table {
    /// Judges all.
    pub(crate) fn of(mesh: &Mesh<'_>) -> Self {
        let nodes = mesh.members.len();
        let mut table = Self {
            nodes,
            cells: vec![None; nodes * nodes],
            odd: Vec::new(),
        };
        // Both directions of a pair rest on the same facts: together they are fetched once.
        for (from, a) in mesh.members.values().enumerate() {
            for (to, b) in mesh.members.values().enumerate().skip(from + 1) {
                for (way, ends) in [((from, to), (a, b)), ((to, from), (b, a))] {
                    let outcomes = flaps::marked(mesh, ends, Outcomes::of(mesh, ends.0, ends.1));
                    let place = table.place(way);
                    if let Some(cell) = table.cells.get_mut(place) {
                        *cell = Some(outcomes);
                    }
                }
            }
        }
        let odd = |way: &Way| table.get(*way).is_some_and(|one| !one.all_good());
        table.odd = ways(nodes).filter(odd).collect();
        table
    }

    /// How the pairs are.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.iter().for_each(|one| tally.add(one.health()));
        tally
    }

    /// The pairs that are told unasked: all, or those that are not good in everything, after those of which it is remembered that
    /// they were not.
    pub(crate) fn told(&self, mesh: &Mesh<'_>) -> Vec<Way> {
        let all = self.nodes * self.nodes.saturating_sub(1);
        if all > limits::LADDERS {
            let mut finder = Finder::new(mesh);
            let pasts = mesh.view.history.pairs();
            let remembered = pasts.filter_map(|(from, to)| finder.way(from, to));
            let mut told: BTreeSet<Way> = remembered.take(limits::LADDERS).collect();
            for way in &self.odd {
                if told.len() >= limits::LADDERS {
                    break;
                }
                told.insert(*way);
            }
            return told.into_iter().collect();
        }
        ways(self.nodes).filter(|(from, to)| from != to).collect()
    }

    /// Of all ordered pairs, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Outcomes> {
        self.cells.iter().flatten()
    }

    fn get(&self, (from, to): Way) -> Option<Outcomes> {
        if to >= self.nodes {
            return None;
        }
        self.cells.get(self.place((from, to))).copied().flatten()
    }

    const fn place(&self, (from, to): Way) -> usize {
        from * self.nodes + to
    }
}

fn ways(nodes: usize) -> impl Iterator<Item = Way> {
    (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to)))
}

/// Directions that a finding looks at: all, or those that nothing explains yet.
#[derive(Clone)]
pub(crate) struct Directions<'m, 'a> {
    pub(crate) mesh: &'m Mesh<'a>,
    table: &'m Table,
    /// Those that are left out; none if nothing is.
    hidden: Rc<Vec<bool>>,
}

impl<'m, 'a> Directions<'m, 'a> {
    pub(crate) fn new(mesh: &'m Mesh<'a>, table: &'m Table) -> Self {
        Self {
            mesh,
            table,
            hidden: Rc::default(),
        }
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Direction<'m, 'a>> {
        ways(self.table.nodes).filter_map(|way| self.get(way))
    }

    /// Those of them that are not good in everything: what fails, and what is not known.
    pub(crate) fn odd(&self) -> impl Iterator<Item = Direction<'m, 'a>> {
        self.table.odd.iter().filter_map(|way| self.get(*way))
    }

    /// One of them.
    pub(crate) fn get(&self, way: Way) -> Option<Direction<'m, 'a>> {
        let outcomes = self.table.get(way)?;
        let hidden = self.hidden.get(self.table.place(way)) == Some(&true);
        let members = &self.mesh.members;
        let ends = members.at(way.0).zip(members.at(way.1))?;
        (!hidden).then(|| Direction::new(self.mesh, ends, outcomes))
    }

    /// The way back of one of them, if that is one of them too.
    pub(crate) fn back(&self, direction: &Direction<'_, '_>) -> Option<Direction<'m, 'a>> {
        self.get((direction.b.index, direction.a.index))
    }

    /// Those that lead to a node.
    pub(crate) fn into(&self, member: &Member<'_>) -> impl Iterator<Item = Direction<'m, 'a>> {
        let to = member.index;
        (0..self.table.nodes).filter_map(move |from| self.get((from, to)))
    }

    /// Those that leave one of these nodes or lead to one of those, in order.
    pub(crate) fn touching<'n>(
        &'n self,
        from: &'n BTreeSet<usize>,
        to: &'n BTreeSet<usize>,
    ) -> impl Iterator<Item = Direction<'m, 'a>> + use<'n, 'm, 'a> {
        let nodes = self.table.nodes;
        let row = move |one: usize| {
            let all = from.contains(&one);
            let whole = if all { 0..nodes } else { 0..0 };
            let some = to.iter().copied().filter(move |_| !all);
            whole.chain(some).map(move |other| (one, other))
        };
        (0..nodes).flat_map(row).filter_map(|way| self.get(way))
    }

    /// Those between which no root stands yet, either way.
    pub(crate) fn without(&self, roots: &[Finding]) -> Self {
        let mut finder = Finder::new(self.mesh);
        let pairs = roots.iter().flat_map(|root| &root.explains);
        let ways = pairs.filter_map(|pair| finder.way(&pair.from, &pair.to));
        self.hiding(ways.flat_map(|(from, to)| [(from, to), (to, from)]))
    }

    /// Those that neither begin nor end at one of these nodes.
    pub(crate) fn beside(&self, nodes: &BTreeSet<NodeRef>) -> Self {
        let members = nodes.iter();
        let members = members.filter_map(|node| self.mesh.members.get(node));
        let all = 0..self.table.nodes;
        self.hiding(members.flat_map(|member| {
            let index = member.index;
            all.clone()
                .flat_map(move |other| [(index, other), (other, index)])
        }))
    }

    /// Those without these.
    pub(crate) fn hiding(&self, ways: impl Iterator<Item = Way>) -> Self {
        let mut ways = ways.peekable();
        if ways.peek().is_none() {
            return self.clone();
        }
        let mut hidden = Vec::clone(&self.hidden);
        hidden.resize(self.table.nodes * self.table.nodes, false);
        for way in ways {
            if let Some(hidden) = hidden.get_mut(self.table.place(way)) {
                *hidden = true;
            }
        }
        Self {
            hidden: Rc::new(hidden),
            ..self.clone()
        }
    }
}

/// Finds pairs by the names of their nodes. One is mostly the last one's neighbour.
pub(crate) struct Finder<'m, 'a> {
    mesh: &'m Mesh<'a>,
    last: Way,
}

impl<'m, 'a> Finder<'m, 'a> {
    pub(crate) fn new(mesh: &'m Mesh<'a>) -> Self {
        Self { mesh, last: (0, 0) }
    }

    pub(crate) fn way(&mut self, from: &NodeRef, to: &NodeRef) -> Option<Way> {
        let way = (self.near(self.last.0, from)?, self.near(self.last.1, to)?);
        self.last = way;
        Some(way)
    }

    fn near(&self, last: usize, node: &NodeRef) -> Option<usize> {
        let members = &self.mesh.members;
        let is_there = |index: &usize| members.at(*index).is_some_and(|one| one.node == *node);
        let near = [last, last + 1].into_iter().find(is_there);
        near.or_else(|| Some(members.get(node)?.index))
    }
}
