//! Small packets pass and large ones do not, or the overlay's port is shut.
//!
//! A rung is judged only where all below it hold, so none of these is an effect of another; only the tunnel's sizes are judged
//! beside trouble with steering as well.

mod past;

use std::collections::{BTreeMap, BTreeSet};

use evidence::{
    Citation, Confidence, Finding, Fix, Layer, Moment, NodeAsked, NodeRef, Outcome, Rung, Sizes,
};

use super::{Draft, explained, fix, named, place_text, subject};
use crate::{
    directions::Directions,
    localise::{Culprit, localise, site_names},
    mesh::{Member, Mesh},
    pair::{
        Answer, Direction,
        sizes::{VXLAN_OVERHEAD, dropped_by_host, known, suspected, tap_watched},
    },
    text, timing,
};

/// Below this Talos refuses an MTU for `KubeSpan`: IPv6 inside needs it (RFC 8200 section 5).
const LEAST_KUBESPAN_MTU: u32 = 1280;

const RUNGS: [Rung; 3] = [Rung::TunnelMtu, Rung::OverlayPort, Rung::OverlayMtu];

pub(super) fn find(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let makers: [(Rung, Maker); 3] = [
        (Rung::TunnelMtu, black_hole),
        (Rung::OverlayPort, port_blocked),
        (Rung::OverlayMtu, overlay_too_narrow),
    ];
    let tried = Tried::of(mesh, directions);
    makers
        .into_iter()
        .flat_map(|maker| at(mesh, directions, &tried, maker))
        .collect()
}

type Maker = fn(&Culprit, &[Direction<'_, '_>]) -> Draft;

/// The findings of one rung, placed. Searches are made one after the other: what is lost and not searched yet may be part of
/// the same trouble, and the root must not wander meanwhile. It never makes a trouble of its own.
fn at(
    mesh: &Mesh<'_>,
    directions: &Directions<'_, '_>,
    tried: &Tried,
    (rung, make): (Rung, Maker),
) -> Vec<Finding> {
    let outcome = |direction: &Direction<'_, '_>| {
        if tried.is_mended_near(direction) && !direction.outcome(rung).is_good() {
            return Outcome::NotApplicableYet;
        }
        if rung != Rung::TunnelMtu && (moving(mesh, direction) || astray(mesh, direction)) {
            return Outcome::NotApplicableYet;
        }
        direction.outcome(rung)
    };
    let proved = |direction: &Direction<'_, '_>| outcome(direction) == Outcome::Fail;
    let fails = |direction: &Direction<'_, '_>| {
        let open = outcome(direction) == Outcome::Unknown;
        proved(direction) || (open && lost(direction, rung))
    };
    let finding = |culprit: &Culprit| {
        let hit = explained(&culprit.explains, directions);
        let (hit, open): (Vec<_>, Vec<_>) = hit.into_iter().partition(proved);
        let mut draft = make(culprit, &hit);
        if !open.is_empty() {
            draft.confidence = Confidence::Likely;
        }
        draft.evidence = evidence(rung, &hit, directions);
        if rung == Rung::TunnelMtu {
            // Searches are made one after the other: of several directions one may not have been tried yet.
            let told = hit
                .iter()
                .map(|direction| past::the_tunnel(mesh, direction));
            let told = told.filter(|told| !told.is_empty());
            draft.evidence.extend(told.take(1).flatten());
        }
        draft.explains = named(mesh, &culprit.explains);
        if !culprit.ties.is_empty() {
            draft.confidence = Confidence::Likely;
            draft.could_also_be = culprit.ties.iter().map(place_text).collect();
            draft.decided_by =
                Some("an agent on one more node outside, or a direction that passes".to_owned());
        }
        draft.finish(None)
    };
    let is_certain = |culprit: &&Culprit| {
        let hit = explained(&culprit.explains, directions);
        hit.iter().any(proved) && !tried.may_widen(&hit, rung)
    };
    localise(directions, fails, |direction| outcome(direction).is_good())
        .iter()
        .filter(is_certain)
        .map(finding)
        .collect()
}

/// Where full-size packets were last seen to pass.
///
/// Each way is tried once in a round, and not all of them at once: what one has shown before the trouble began, or ended, somewhere near
/// says nothing of it.
///
/// A spot is a node, by its place, or a site, by a number after those of the nodes.
#[derive(Default)]
struct Tried {
    /// The site of each node.
    sites: Vec<Option<usize>>,
    /// Whether they pass a spot again since a moment ago: what has not been tried again there since is held against nobody. Else the
    /// last ways of a site to be tried would each be called narrow by themselves when its router has been mended.
    mended: Vec<bool>,
    /// Of the ways of a spot that pass, when the one was tried that was tried longest ago: in the tunnel, and on the overlay's port.
    oldest: [Vec<Option<Moment>>; 2],
}

impl Tried {
    fn of(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Self {
        let narrow = |direction: Direction<'_, '_>| {
            RUNGS
                .iter()
                .any(|rung| direction.outcome(*rung) == Outcome::Fail)
        };
        // Most meshes have no narrow way, and a large one has a million ways to look at.
        if !directions.odd().any(narrow) {
            return Self::default();
        }
        let mut tried = Self::untried(mesh);
        let again = timing::tried_again(mesh.members.len());
        for direction in directions.iter() {
            let spots = tried.spots(&direction);
            for rung in [Rung::TunnelMtu, Rung::OverlayMtu] {
                let Some(sizes) = known(direction.a, direction.b, layer(rung)) else {
                    continue;
                };
                let mended = sizes.mended.is_some_and(|at| mesh.recent(at, again));
                let passed = sizes
                    .full_arrived
                    .filter(|_| direction.outcome(rung).is_good());
                for spot in spots.into_iter().flatten() {
                    if let Some(before) = tried.mended.get_mut(spot) {
                        *before |= mended;
                    }
                    let [tunnel, overlay] = &mut tried.oldest;
                    let oldest = if rung == Rung::TunnelMtu {
                        tunnel
                    } else {
                        overlay
                    };
                    if let (Some(oldest), Some(at)) = (oldest.get_mut(spot), passed) {
                        *oldest = Some(oldest.map_or(at, |oldest| oldest.min(at)));
                    }
                }
            }
        }
        tried
    }

    fn untried(mesh: &Mesh<'_>) -> Self {
        let names = site_names(mesh);
        let mut numbers: BTreeMap<&String, usize> = BTreeMap::new();
        let sites: Vec<Option<usize>> = names
            .iter()
            .map(|name| {
                let next = names.len() + numbers.len();
                Some(*numbers.entry(name.as_ref()?).or_insert(next))
            })
            .collect();
        let spots = names.len() + numbers.len();
        Self {
            sites,
            mended: vec![false; spots],
            oldest: [vec![None; spots], vec![None; spots]],
        }
    }

    /// The ends of a direction, and their sites.
    fn spots(&self, direction: &Direction<'_, '_>) -> [Option<usize>; 4] {
        let (from, to) = (direction.a.index, direction.b.index);
        let site = |end: usize| self.sites.get(end).copied().flatten();
        [Some(from), Some(to), site(from), site(to)]
    }

    fn is_mended_near(&self, direction: &Direction<'_, '_>) -> bool {
        let mut spots = self.spots(direction).into_iter().flatten();
        spots.any(|spot| self.mended.get(spot) == Some(&true))
    }

    /// Whether a way near those that are hit has passed before they began to lose, and not been tried since: then it may be part of
    /// the same trouble, which is a wider one. That ends by itself: what has not been tried for two rounds is no way that passes.
    fn may_widen(&self, hit: &[Direction<'_, '_>], rung: Rung) -> bool {
        let layer = layer(rung);
        let began = |direction: &Direction<'_, '_>| {
            known(direction.a, direction.b, layer).and_then(|sizes| sizes.lost_since)
        };
        let Some(began) = hit.iter().filter_map(began).min() else {
            return false;
        };
        let [tunnel, overlay] = &self.oldest;
        let oldest = if layer == Layer::Tunnel {
            tunnel
        } else {
            overlay
        };
        let mut spots = hit.iter().flat_map(|one| self.spots(one)).flatten();
        spots.any(|spot| {
            let oldest = oldest.get(spot).copied().flatten();
            oldest.is_some_and(|at| at < began)
        })
    }
}

/// Whether an address of either end has just changed: what is lost on the way to node addresses may be for that.
fn moving(mesh: &Mesh<'_>, direction: &Direction<'_, '_>) -> bool {
    let changed = |member: &Member<'_>| member.host()?.address_changes.last;
    [direction.a, direction.b]
        .into_iter()
        .filter_map(changed)
        .any(|at| mesh.recent(at, timing::ADDRESS_MOVES))
}

/// Whether traffic for node addresses goes around the tunnel here, or did until a moment ago: another node hears the sender's past it,
/// and here it is lost, though not often enough yet to say so; or it is well again, and the overlay's port has not been tried since.
fn astray(mesh: &Mesh<'_>, direction: &Direction<'_, '_>) -> bool {
    let again = timing::tried_again(mesh.members.len());
    asked(direction).iter().any(|asked| {
        let beside = asked.beside.filter(|_| asked.lost > 0);
        let doubted = beside.is_some_and(|at| mesh.recent(at, timing::NODE_ECHO_AROUND));
        doubted || asked.mended.is_some_and(|at| mesh.recent(at, again))
    })
}

/// What the sender has asked the receiver's node addresses.
fn asked<'a>(direction: &Direction<'_, 'a>) -> &'a [NodeAsked] {
    let key = direction.b.key;
    let echo = key.and_then(|key| direction.a.node_echo(&key));
    echo.map_or(&[], |echo| &echo.asked)
}

fn lost(direction: &Direction<'_, '_>, rung: Rung) -> bool {
    suspected(direction.a, direction.b, layer(rung))
}

const fn layer(rung: Rung) -> Layer {
    match rung {
        Rung::TunnelMtu => Layer::Tunnel,
        _ => Layer::Overlay,
    }
}

fn answer(direction: &Direction<'_, '_>, rung: Rung) -> Answer {
    let told = direction.told();
    match rung {
        Rung::TunnelMtu => told.tunnel_mtu,
        Rung::OverlayPort => told.overlay_port,
        _ => told.overlay_mtu,
    }
}

/// What fails, and one direction beside it that does not.
fn evidence(
    rung: Rung,
    hit: &[Direction<'_, '_>],
    directions: &Directions<'_, '_>,
) -> Vec<Citation> {
    let ends = hit.iter().map(|bad| (bad.a.index, bad.b.index));
    let (from, to): (BTreeSet<usize>, BTreeSet<usize>) = ends.unzip();
    let mut beside = directions.touching(&from, &to);
    let passing = beside.find(|direction| direction.outcome(rung).is_good());
    let first = hit.first().copied();
    let cited = first.into_iter().chain(passing);
    cited
        .flat_map(|direction| answer(&direction, rung).evidence.clone())
        .collect()
}

fn black_hole(culprit: &Culprit, hit: &[Direction<'_, '_>]) -> Draft {
    let passed = least_passed(hit, Layer::Tunnel);
    let summary = format!(
        "packets inside the tunnel are lost above {passed} bytes ({}), and smaller ones pass: handshakes and small requests \
         work, transfers hang",
        place_text(&culprit.place)
    );
    let mut draft = draft("pmtu-black-hole", culprit, summary);
    draft.fixes.push(narrow_or_repair(culprit, passed));
    draft
}

fn overlay_too_narrow(culprit: &Culprit, hit: &[Direction<'_, '_>]) -> Draft {
    let passed = least_passed(hit, Layer::Overlay);
    let pods = passed.saturating_sub(u32::from(VXLAN_OVERHEAD));
    let summary = format!(
        "full-size packets pass inside the tunnel, but to UDP 8472 only up to {passed} bytes ({}): a frame of a pod fits \
         up to an MTU of {pods}",
        place_text(&culprit.place)
    );
    let mut draft = draft("overlay-mtu-too-small", culprit, summary);
    draft.fixes.push(fix(
        "who runs the nodes",
        "look for a route or a filter by length that concerns node addresses and not KubeSpan's own",
        Some("ip route get NODE_ADDRESS mark 0x40; nft list ruleset | grep -n -e length -e 8472".to_owned()),
    ));
    draft
}

fn port_blocked(culprit: &Culprit, hit: &[Direction<'_, '_>]) -> Draft {
    let place = place_text(&culprit.place);
    let arrive = |direction: &Direction<'_, '_>| {
        of(direction, Layer::Overlay).is_some_and(|sizes| dropped_by_host(sizes).is_some())
    };
    let watched = hit.iter().all(tap_saw);
    let receivers = text::list(&sorted(hit, |direction| direction.to));
    let (what, who) = if hit.iter().all(arrive) {
        (
            format!("arrives at the interface of {receivers} and is dropped by its own firewall"),
            receivers.clone(),
        )
    } else {
        let senders = sorted(hit, |direction| direction.from);
        let lost = if watched {
            "does not arrive"
        } else {
            "is not delivered"
        };
        (
            format!("{lost} ({place})"),
            format!("{} and of {receivers}", text::list(&senders)),
        )
    };
    let summary = format!(
        "UDP 8472 (VXLAN) to node addresses {what}: the tunnel carries, an overlay on it will not"
    );
    let mut draft = draft("overlay-port-blocked", culprit, summary);
    if !watched && !hit.iter().all(arrive) {
        draft.could_also_be.push(format!(
            "it arrives at the interface of {receivers}, whose tap did not watch, and is dropped by its own firewall"
        ));
        draft.decided_by = Some("a tap there that sees the next search".to_owned());
        draft.confidence = Confidence::Likely;
    }
    let silent = |direction: &Direction<'_, '_>| {
        let mut asked = asked(direction).iter();
        asked.any(|asked| asked.lost >= timing::LOST_IN_A_ROW)
    };
    if hit.iter().all(silent) {
        draft
            .summary
            .push_str(". It is not this port alone: echoes to UDP 21820 there are lost as well");
        draft.fixes.push(fix(
            format!("who runs what filters on {who}"),
            "look for a rule that drops by address: what comes by kubespan from node addresses, or goes to them, has to pass",
            Some("nft list ruleset | grep -n -e drop -e reject   # from a privileged pod".to_owned()),
        ));
    }
    draft.fixes.push(allow_overlay(&who));
    draft
}

/// Whether the far tap would have seen what it did not tell of.
fn tap_saw(direction: &Direction<'_, '_>) -> bool {
    let (from, to) = (direction.a, direction.b);
    known(from, to, Layer::Overlay).is_some_and(|sizes| tap_watched(from, to, sizes))
}

/// The nodes of one side of these directions, each once.
fn sorted<'m>(
    hit: &[Direction<'m, '_>],
    side: fn(&Direction<'m, '_>) -> &'m NodeRef,
) -> Vec<&'m NodeRef> {
    let nodes: BTreeSet<&NodeRef> = hit.iter().map(side).collect();
    nodes.into_iter().collect()
}

fn draft(code: &'static str, culprit: &Culprit, summary: String) -> Draft {
    Draft::new(code, subject(&culprit.place), Confidence::Certain, summary)
}

/// The longest packet that passes in all of these directions.
fn least_passed(hit: &[Direction<'_, '_>], layer: Layer) -> u32 {
    let passed = |direction: &Direction<'_, '_>| of(direction, layer)?.bracket?.passed;
    hit.iter().filter_map(passed).min().unwrap_or(0).into()
}

fn of<'a>(direction: &Direction<'_, 'a>, layer: Layer) -> Option<&'a Sizes> {
    known(direction.a, direction.b, layer)
}

fn narrow_or_repair(culprit: &Culprit, passed: u32) -> Fix {
    let place = place_text(&culprit.place);
    if passed < LEAST_KUBESPAN_MTU {
        return fix(
            format!("who runs {place}"),
            format!(
                "raise the MTU there, or let ICMP \"fragmentation needed\" and \"packet too big\" pass: KubeSpan needs \
                 {LEAST_KUBESPAN_MTU} bytes, {passed} pass"
            ),
            None,
        );
    }
    fix(
        "who writes the machine configs",
        format!(
            "set KubeSpan's MTU to {passed} on every node (a VXLAN on it then takes {}), or raise the MTU of {place}",
            passed.saturating_sub(u32::from(VXLAN_OVERHEAD))
        ),
        Some(format!(
            "apiVersion: v1alpha1\nkind: KubeSpanConfig\nenabled: true\nmtu: {passed}"
        )),
    )
}

fn allow_overlay(who: &str) -> Fix {
    fix(
        format!("who writes the machine config of {who}"),
        "allow UDP 8472 between the nodes in Talos' ingress firewall; inside the tunnel it sees the node addresses",
        Some(
            "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: vxlan\nportSelector:\n  ports: [8472]\n  \
             protocol: udp\ningress:\n  - subnet: NODE_ADDRESSES"
                .to_owned(),
        ),
    )
}
