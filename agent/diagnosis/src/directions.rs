//! All directions of a mesh, judged: one octet for each answer, and the words only where a finding needs them.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use evidence::{Finding, Moment, NodeRef, Rung, Tally, limits};

use crate::{
    flaps,
    mesh::{End, Member, Mesh, News},
    pair::{Direction, Outcomes, Witnesses},
};

/// An ordered pair, by the places of its nodes.
pub(crate) type Way = (usize, usize);

/// The outcomes of all ordered pairs.
#[derive(Debug, Default)]
pub(crate) struct Table {
    nodes: usize,
    cells: Vec<Option<Outcomes>>,
    /// The moment at which each must be asked anew, whatever is reported.
    until: Vec<Moment>,
    /// By the node that sends, a moment before which time alone makes none of them be asked anew.
    earliest: Vec<Moment>,
    /// Those that must be asked anew for another reason.
    due: Vec<usize>,
    /// Those that are not good in everything, in order.
    odd: Vec<Way>,
    counts: Counts,
    basis: Basis,
}

/// How many directions there are of each kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) tally: Tally,
    /// By the first rung that fails.
    broken: BTreeMap<Rung, usize>,
    /// By the highest rung that is good with all below it.
    proved: BTreeMap<Rung, usize>,
}

impl Counts {
    /// How many fail at or below `rung`, and how many are merely not proved good.
    ///
    /// The rung and all below it must be good. A young session above a way that nobody can see, or data that happens to pass
    /// beside a device that cannot be read, is no ground to build on: else a lost tap would open what it shut.
    pub(crate) fn at(&self, rung: Rung) -> (usize, usize) {
        let bad = self.broken.range(..=rung).map(|(_, count)| count).sum();
        let good: usize = self.proved.range(rung..).map(|(_, count)| count).sum();
        (bad, self.all().saturating_sub(bad).saturating_sub(good))
    }

    /// How many there are.
    pub(crate) fn all(&self) -> usize {
        usize::try_from(self.tally.all()).unwrap_or(usize::MAX)
    }

    fn add(&mut self, outcomes: Outcomes) {
        self.tally.add(outcomes.health());
        for (rung, counts) in self.places(outcomes) {
            *counts.entry(rung).or_default() += 1;
        }
    }

    fn remove(&mut self, outcomes: Outcomes) {
        self.tally.remove(outcomes.health());
        for (rung, counts) in self.places(outcomes) {
            let count = counts.entry(rung).or_default();
            *count = count.saturating_sub(1);
        }
    }

    fn places(
        &mut self,
        outcomes: Outcomes,
    ) -> impl Iterator<Item = (Rung, &mut BTreeMap<Rung, usize>)> {
        let broken = outcomes.broken_at().map(|rung| (rung, &mut self.broken));
        let proved = outcomes.highest().map(|rung| (rung, &mut self.proved));
        broken.into_iter().chain(proved)
    }
}

/// What the outcomes rest on besides what is said of peers.
#[derive(Debug, Default)]
struct Basis {
    at: Option<Moment>,
    started: Moment,
    ends: Vec<End>,
    steers: bool,
    witnesses: Witnesses,
    /// Pairs of which the history knew something.
    remembered: Vec<Way>,
}

impl Table {
    /// Judges those pairs whose outcomes may not be what they were.
    pub(crate) fn update(&mut self, mesh: &Mesh<'_>, news: &News) {
        let mut turned = Vec::new();
        if self.basis.is_of(mesh) {
            self.find_due(mesh, news);
            for place in self.due(mesh.now) {
                let way = (place / self.nodes, place % self.nodes);
                self.judge(mesh, way, &mut turned);
            }
        } else {
            self.start(mesh.members.len());
            for (from, to) in pairs(self.nodes) {
                self.judge(mesh, (from, to), &mut turned);
                self.judge(mesh, (to, from), &mut turned);
            }
        }
        self.turn(turned);
        self.basis.take(mesh);
    }

    fn start(&mut self, nodes: usize) {
        *self = Self {
            nodes,
            cells: vec![None; nodes * nodes],
            until: vec![Moment::LAST; nodes * nodes],
            earliest: vec![Moment::LAST; nodes],
            ..Self::default()
        };
    }

    /// Notes which must be judged for another reason than the time.
    fn find_due(&mut self, mesh: &Mesh<'_>, news: &News) {
        let all = 0..self.nodes;
        let other = |member: &&Member<'_>| {
            let last = self.basis.ends.get(member.index);
            let devices = !news.holdings.is_empty() && news.has_other_holdings(&member.node);
            devices || !last.is_some_and(|last| last.is_of(member))
        };
        let others: Vec<usize> = mesh
            .members
            .values()
            .filter(other)
            .map(|one| one.index)
            .collect();
        for one in others {
            for two in all.clone() {
                self.set_due((one, two));
                self.set_due((two, one));
            }
        }
        for (node, places) in &news.rows {
            let Some(from) = mesh.members.get(&NodeRef::named(node)) else {
                continue;
            };
            for to in places.iter().flat_map(|place| mesh.of_key(*place)) {
                self.set_due((from.index, *to));
                self.set_due((*to, from.index));
            }
        }
        for way in std::mem::take(&mut self.basis.remembered) {
            self.set_due(way);
        }
        for way in remembered(mesh) {
            self.set_due(way);
        }
    }

    fn set_due(&mut self, way: Way) {
        let place = self.place(way);
        let until = self.until.get_mut(place).filter(|_| way.0 != way.1);
        if let Some(until) = until.filter(|until| **until != Moment::FIRST) {
            *until = Moment::FIRST;
            self.due.push(place);
        }
    }

    /// All that must be asked anew, in order.
    fn due(&mut self, now: Moment) -> Vec<usize> {
        let mut due = std::mem::take(&mut self.due);
        let rows = self.until.chunks(self.nodes.max(1));
        for (from, (row, earliest)) in rows.zip(&mut self.earliest).enumerate() {
            if *earliest > now {
                continue;
            }
            *earliest = Moment::LAST;
            for (to, until) in row.iter().enumerate() {
                if *until <= now {
                    due.push(from * self.nodes + to);
                } else {
                    *earliest = (*earliest).min(*until);
                }
            }
        }
        due.sort_unstable();
        due.dedup();
        due
    }

    fn judge(&mut self, mesh: &Mesh<'_>, way: Way, turned: &mut Vec<Way>) {
        let ends = mesh.members.at(way.0).zip(mesh.members.at(way.1));
        let Some((a, b)) = ends.filter(|(a, b)| a.index != b.index) else {
            return;
        };
        let (outcomes, holds) = Outcomes::of(mesh, a, b);
        let outcomes = flaps::marked(mesh, (a, b), outcomes);
        let place = self.place(way);
        if let Some(until) = self.until.get_mut(place) {
            *until = holds;
        }
        if let Some(earliest) = self.earliest.get_mut(way.0) {
            *earliest = (*earliest).min(holds);
        }
        let Some(cell) = self.cells.get_mut(place) else {
            return;
        };
        let before = cell.replace(outcomes);
        if before == Some(outcomes) {
            return;
        }
        if let Some(before) = before {
            self.counts.remove(before);
        }
        self.counts.add(outcomes);
        if before.is_none_or(Outcomes::all_good) != outcomes.all_good() {
            turned.push(way);
        }
    }

    /// Takes those into the list of the odd that became so, and out of it those that are good again.
    fn turn(&mut self, turned: Vec<Way>) {
        if turned.is_empty() {
            return;
        }
        let mut odd = std::mem::take(&mut self.odd);
        odd.extend(turned);
        odd.sort_unstable();
        odd.dedup();
        odd.retain(|way| self.get(*way).is_some_and(|one| !one.all_good()));
        self.odd = odd;
    }

    /// How the pairs are.
    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
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

impl Basis {
    /// Whether it is that of a mesh of the same nodes, so that what was found of most pairs may still hold.
    fn is_of(&self, mesh: &Mesh<'_>) -> bool {
        let same = |(last, member): (&End, &Member<'_>)| last.is_who(member);
        self.at.is_some_and(|at| at <= mesh.now)
            && self.started == mesh.view.started
            && self.steers == mesh.steers
            && self.ends.len() == mesh.members.len()
            && self.ends.iter().zip(mesh.members.values()).all(same)
            && self.witnesses == mesh.witnesses
    }

    fn take(&mut self, mesh: &Mesh<'_>) {
        self.at = Some(mesh.now);
        self.started = mesh.view.started;
        self.steers = mesh.steers;
        if self.witnesses != mesh.witnesses {
            self.witnesses = mesh.witnesses.clone();
        }
        self.ends.truncate(mesh.members.len());
        for (index, member) in mesh.members.values().enumerate() {
            match self.ends.get_mut(index) {
                Some(last) if last.is_who(member) && last.is_of(member) => {}
                Some(last) => *last = member.end(),
                None => self.ends.push(member.end()),
            }
        }
        self.remembered = remembered(mesh);
    }
}

/// The pairs of which the history knows something: what they are may change with it.
fn remembered(mesh: &Mesh<'_>) -> Vec<Way> {
    let mut finder = Finder::new(mesh);
    let pairs = mesh.view.history.pairs();
    pairs
        .filter_map(|(from, to)| finder.way(from, to))
        .collect()
}

/// All pairs, square by square: both directions of a pair rest on what both nodes say, and what so few nodes say of so few stays
/// at hand.
fn pairs(nodes: usize) -> impl Iterator<Item = Way> {
    const SQUARE: usize = 64;
    let squares = move |from: usize| (from..nodes).step_by(SQUARE).map(move |to| (from, to));
    let squares = (0..nodes).step_by(SQUARE).flat_map(squares);
    squares.flat_map(move |(first, last)| {
        let row = move |from: usize| {
            let to = last.max(from + 1)..nodes.min(last + SQUARE);
            to.map(move |to| (from, to))
        };
        (first..nodes.min(first + SQUARE)).flat_map(row)
    })
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
