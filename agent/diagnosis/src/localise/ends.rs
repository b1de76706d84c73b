//! The ways between two ends: what is at fault where neither end is.

use std::collections::BTreeMap;

use super::{
    Suspect,
    places::{Places, Spot},
};
use crate::{
    directions::{Directions, Way},
    pair::Direction,
};

/// The ways between two ends that fail as a whole, and what none of them explains. Of two single nodes such a way is the
/// direction itself, which never explains two.
pub(super) fn between_ends(
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
