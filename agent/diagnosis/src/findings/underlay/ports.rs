//! A rule by port: what goes to UDP 51820 is dropped on its way out, and what goes to another port is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use evidence::{Confidence, NodeRef};

use super::Draft;
use crate::{
    directions::Directions,
    localise::{Place, site_names},
    pair::Direction,
    text,
};

/// `KubeSpan`'s port. Behind a NAT a node is dialled at the port that the NAT gave it.
const PORT: u16 = 51_820;

/// The nodes that nothing is lost of but what goes to UDP 51820, to at least two others: of one alone, the way to it may as well
/// be at fault.
pub(in crate::findings) struct FiltersByPort {
    from: BTreeSet<usize>,
}

/// Where a filter by port may stand: what passes to another port does not speak against it. What is not decided on the underlay yet
/// counts as well, or the first way to be decided would be named by itself.
pub(in crate::findings) fn filters_by_port(
    directions: &Directions<'_, '_>,
    fails: impl Fn(&Direction<'_, '_>) -> bool,
) -> FiltersByPort {
    let mut lost: BTreeMap<usize, Lost> = BTreeMap::new();
    for direction in directions.odd().filter(fails) {
        let lost = lost.entry(direction.a.index).or_default();
        lost.ways += 1;
        lost.elsewhere = lost.elsewhere || port(&direction) != Some(PORT);
    }
    lost.retain(|_, lost| lost.ways >= 2 && !lost.elsewhere);
    FiltersByPort {
        from: lost.into_keys().collect(),
    }
}

/// What is lost of one node.
#[derive(Default)]
struct Lost {
    ways: usize,
    /// Whether some of it went to another port.
    elsewhere: bool,
}

fn port(direction: &Direction<'_, '_>) -> Option<u16> {
    direction.endpoint().map(|endpoint| endpoint.port())
}

impl FiltersByPort {
    /// Whether such a filter would let this direction through.
    pub(in crate::findings) fn let_through(&self, direction: &Direction<'_, '_>) -> bool {
        self.from.contains(&direction.a.index) && port(direction).is_some_and(|port| port != PORT)
    }
}

/// What passes to other ports out of where nothing passes to UDP 51820.
pub(super) fn beside(
    place: &Place,
    hit: &[Direction<'_, '_>],
    directions: &Directions<'_, '_>,
) -> Option<Beside> {
    let out = match place {
        Place::NodeOut(_) | Place::NodeBoth(_) | Place::SiteOut(..) | Place::SiteBoth(..) => true,
        Place::Direction(..) | Place::Way(..) => false,
        Place::NodeIn(_) | Place::SiteIn(..) | Place::Between(..) | Place::Ways(..) => return None,
    };
    let first = hit.first()?;
    if hit.iter().any(|lost| port(lost) != Some(PORT)) {
        return None;
    }
    let senders: BTreeSet<usize> = hit.iter().map(|lost| lost.a.index).collect();
    let sites = site_names(directions.mesh);
    let site = |node: usize| sites.get(node).and_then(Option::as_ref);
    let own = site(first.a.index);
    let passing: Vec<Direction<'_, '_>> = directions
        .touching(&senders, &BTreeSet::new())
        .filter(|way| way.underlay.outcome.is_good())
        .filter(|way| own.is_none() || site(way.b.index) != own)
        .collect();
    if passing.is_empty() || passing.iter().any(|way| port(way) == Some(PORT)) {
        return None;
    }
    let list = |nodes: BTreeSet<&NodeRef>| text::list(&nodes.into_iter().collect::<Vec<_>>());
    Some(Beside {
        out,
        reached: list(passing.iter().map(|way| way.to).collect()),
        lost: list(hit.iter().map(|lost| lost.to).collect()),
        from: first.from.clone(),
        to: first.endpoint()?.ip(),
    })
}

/// What a filter by port would explain, and what else does.
pub(super) struct Beside {
    /// Whether it is named.
    out: bool,
    reached: String,
    lost: String,
    from: NodeRef,
    to: IpAddr,
}

impl Beside {
    pub(super) fn refine(self, draft: &mut Draft) {
        let Self {
            out,
            reached,
            lost,
            from,
            to,
        } = self;
        // Those that are reached are other nodes as well as other ports.
        draft.confidence = draft.confidence.max(Confidence::Likely);
        let other = if out {
            let beside = format!("; what goes to other ports does arrive (at {reached})");
            draft.summary.push_str(&beside);
            format!("a loss on the ways to {lost} alone, whatever the port")
        } else {
            format!(
                "a rule in front of {from} that drops what goes to UDP 51820: what passes from there goes to other ports (of {reached})"
            )
        };
        draft.could_also_be.push(other);
        draft.decided_by = Some(format!(
            "a datagram to another port there, `mesh-probe udp {to}:51821` on {from}: if that host refuses it, the way is open for other ports; silence decides nothing"
        ));
    }
}
