//! Ladders on request: those of some ordered pairs, so many at a time.

use evidence::{Ladder, Moment, NodeRef, PairHealth, PairRef, limits};

use crate::{
    View, flaps,
    mesh::{Member, Memo, Mesh},
    pair::{self, Outcomes},
};

/// Which ordered pairs are asked for; all, if nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairFilter {
    /// Those of which this node is an end, as it is spoken of.
    pub node: Option<String>,
    /// Those that leave this node.
    pub from: Option<String>,
    /// Those that lead to this node.
    pub to: Option<String>,
    /// Those that are broken or not proved.
    pub not_good: bool,
    /// Those that come after this one.
    pub after: Option<PairRef>,
}

/// Some ladders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In order, at most [`limits::PAGE`].
    pub pairs: Vec<Ladder>,
    /// Whether others come after them.
    pub more: bool,
}

/// The ladders of the pairs that are asked for: bit for bit those that a verdict of the same view and moment has.
pub fn pairs(view: &View, filter: &PairFilter, now: Moment) -> Page {
    let mut memo = Memo::default();
    let news = memo.take_in(view, now);
    of(&Mesh::new(view, now, (&memo, &news), &[]), filter)
}

pub(crate) fn of(mesh: &Mesh<'_>, filter: &PairFilter) -> Page {
    let is = |wanted: &Option<String>, node: &NodeRef| {
        wanted.as_ref().is_none_or(|name| node.to_string() == *name)
    };
    let ends = |name: &Option<String>| -> Vec<&Member<'_>> {
        let members = mesh.members.values();
        members.filter(|member| is(name, &member.node)).collect()
    };
    let (from, to, node) = (ends(&filter.from), ends(&filter.to), ends(&filter.node));
    let concerned = |a: &Member<'_>, b: &Member<'_>| {
        let mut node = node.iter().map(|member| member.index);
        filter.node.is_none() || node.any(|one| one == a.index || one == b.index)
    };
    let later = |a: &Member<'_>, b: &Member<'_>| {
        let after = filter.after.as_ref();
        after.is_none_or(|after| (&a.node, &b.node) > (&after.from, &after.to))
    };
    let not_good = |a, b| {
        let outcomes = flaps::marked(mesh, (a, b), Outcomes::of(mesh, a, b).0);
        outcomes.health() != PairHealth::Good
    };
    let all = from
        .iter()
        .flat_map(|a| to.iter().map(move |b| (*a, *b)))
        .filter(|(a, b)| a.index != b.index && concerned(a, b) && later(a, b));
    let mut wanted = all.filter(|(a, b)| !filter.not_good || not_good(a, b));
    let pairs = wanted.by_ref().take(limits::PAGE);
    let pairs = pairs.map(|(a, b)| pair::ladder_of(mesh, a, b)).collect();
    Page {
        pairs,
        more: wanted.next().is_some(),
    }
}
