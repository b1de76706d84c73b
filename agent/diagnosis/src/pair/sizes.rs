//! Does a full-size packet pass inside the tunnel, and on the overlay's port?
//!
//! A packet is answered through the tunnel at the echo's port. So where the echo is good, an answer that does not come
//! means that the packet did not arrive.

use evidence::{Bracket, Citation, FactKey, Layer, Moment, Outcome, Sizes, SourceId};

use super::{Answer, Words, undecided};
use crate::{
    mesh::{Member, Mesh},
    timing,
};

/// Bytes that VXLAN adds to a frame over IPv4: IPv4, UDP, VXLAN and the inner Ethernet header.
pub(crate) const VXLAN_OVERHEAD: u16 = 20 + 8 + 8 + 14;

const METHOD: &str = "full-size packets, answered through the tunnel";

/// Does a packet as long as A's `kubespan` link permits arrive at B inside the tunnel?
pub(super) fn tunnel_mtu<W: Words>(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let Some(sizes) = known(a, b, Layer::Tunnel) else {
        return unasked(a, b, "no full-size packet has been sent yet");
    };
    if let Some(at) = arrived(mesh, sizes) {
        return Answer::new(Outcome::Pass, METHOD, || {
            let text = format!("a packet of {} bytes reached {}", sizes.full, b.node);
            cite(mesh, a, b, at, text)
        });
    }
    match limit(mesh, a, b, sizes) {
        Some(Bracket {
            at,
            passed: Some(passed),
            failed,
        }) => Answer::new(Outcome::Fail, METHOD, || {
            narrow(mesh, (a, b), sizes, (passed, failed), at)
        }),
        Some(_) => Answer::undecided(|| format!("{} answers packets of no size", b.node)),
        None => undecided_size(sizes),
    }
}

/// Do datagrams of A to the VXLAN port of B's node address arrive at B?
pub(super) fn overlay_port<W: Words>(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let Some(sizes) = known(a, b, Layer::Overlay) else {
        return unasked(a, b, "no node address of the peer is among its allowed IPs");
    };
    let method = "probes to UDP 8472 of the node address, heard behind the far side's firewall";
    if let Some(at) = arrived(mesh, sizes) {
        return Answer::new(Outcome::Pass, method, || {
            let text = format!("a probe reached UDP 8472 of {} at {}", b.node, sizes.to);
            cite(mesh, a, b, at, text)
        });
    }
    match limit(mesh, a, b, sizes) {
        Some(Bracket {
            at,
            passed: Some(passed),
            ..
        }) => Answer::new(Outcome::Pass, method, || {
            let text = format!(
                "a probe of {passed} bytes reached UDP 8472 of {} at {}",
                b.node, sizes.to
            );
            cite(mesh, a, b, at, text)
        }),
        Some(_) if !answers_sizes(mesh, a, b) => {
            Answer::undecided(|| format!("{} answers packets of no size", b.node))
        }
        Some(bracket) if watched(a, b, &bracket) => Answer::new(Outcome::Fail, method, || {
            unheard(mesh, (a, b), sizes, bracket.at)
        }),
        Some(_) => {
            Answer::undecided(|| format!("{} did not listen for probes of the port", b.node))
        }
        None => undecided_size(sizes),
    }
}

/// Does a packet of the overlay arrive that is as long as a full frame of a pod makes it?
pub(super) fn overlay_mtu<W: Words>(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let Some(sizes) = known(a, b, Layer::Overlay) else {
        return unasked(a, b, "no node address of the peer is among its allowed IPs");
    };
    if let Some(at) = arrived(mesh, sizes) {
        return Answer::new(Outcome::Pass, METHOD, || {
            let text = format!(
                "a packet of {} bytes reached UDP 8472 of {}: pods may use an MTU of {}",
                sizes.full,
                b.node,
                sizes.full.saturating_sub(VXLAN_OVERHEAD)
            );
            cite(mesh, a, b, at, text)
        });
    }
    match limit(mesh, a, b, sizes) {
        Some(_) if !tunnel_is_wide(a, b, sizes) => {
            Answer::unknown("whether the tunnel carries full size is not decided yet")
        }
        Some(Bracket {
            at,
            passed: Some(passed),
            failed,
        }) => Answer::new(Outcome::Fail, METHOD, || {
            narrow(mesh, (a, b), sizes, (passed, failed), at)
        }),
        _ => undecided_size(sizes),
    }
}

/// Whether full-size packets of A to B are lost in a row, whatever a search has told of them.
pub(crate) fn suspected(a: &Member<'_>, b: &Member<'_>, layer: Layer) -> bool {
    known(a, b, layer).is_some_and(|sizes| sizes.lost >= timing::LOST_IN_A_ROW)
}

/// Whether a full-size packet passed the tunnel after the overlay's began to be lost. Else both may have one cause.
fn tunnel_is_wide(a: &Member<'_>, b: &Member<'_>, overlay: &Sizes) -> bool {
    known(a, b, Layer::Tunnel)
        .is_some_and(|tunnel| tunnel.lost == 0 && tunnel.full_arrived >= overlay.lost_since)
}

/// What packets of A to B gave on a layer, while both speak.
pub(crate) fn known<'a>(a: &Member<'a>, b: &Member<'a>, layer: Layer) -> Option<&'a Sizes> {
    b.fresh()?;
    a.sizes(&b.key?, layer)
}

fn unasked<W: Words>(a: &Member<'_>, b: &Member<'_>, why: &'static str) -> Answer<W> {
    if a.fresh().is_none() || b.fresh().is_none() {
        return undecided(a, b);
    }
    Answer::unknown(why)
}

/// When a full-size packet arrived, if that was lately and no run of losses has come since.
fn arrived(mesh: &Mesh<'_>, sizes: &Sizes) -> Option<Moment> {
    full_size_passes(sizes).filter(|at| mesh.recent(*at, mesh.size_fresh))
}

/// When a full-size packet arrived, whenever that was, if no run of losses has come since.
pub(super) fn full_size_passes(sizes: &Sizes) -> Option<Moment> {
    sizes
        .full_arrived
        .filter(|_| sizes.lost < timing::LOST_IN_A_ROW)
}

/// What a search found during a run of losses that began while both spoke.
fn limit(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, sizes: &Sizes) -> Option<Bracket> {
    let known = b.peer(&a.key?)?.since;
    let began = sizes
        .lost_since?
        .max(Mesh::both_steady_since(a, b)?)
        .max(known);
    sizes
        .bracket
        .filter(|_| sizes.lost >= timing::LOST_IN_A_ROW)
        .filter(|bracket| bracket.at >= began && mesh.reached(bracket.at.minus(timing::AHEAD)))
}

/// Whether B answers probes of A that come through the tunnel; an agent of an older version does not.
fn answers_sizes(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> bool {
    known(a, b, Layer::Tunnel).is_some_and(|sizes| {
        let found = limit(mesh, a, b, sizes).and_then(|bracket| bracket.passed);
        arrived(mesh, sizes).is_some() || found.is_some()
    })
}

/// Whether B listened all the time that the search took.
fn watched(a: &Member<'_>, b: &Member<'_>, bracket: &Bracket) -> bool {
    b.counting_since(SourceId::Overlay, a)
        .is_some_and(|since| bracket.at >= since.plus(timing::SIZE_SEARCH))
}

/// Whether B's tap watched all the time that the search took, and has said so since. Else that it saw none says nothing.
pub(crate) fn tap_watched(a: &Member<'_>, b: &Member<'_>, sizes: &Sizes) -> bool {
    let since = b.counting_since(SourceId::Tap, a);
    let (Some(bracket), Some(since), Some(read_at)) = (sizes.bracket, since, b.tap_read_at())
    else {
        return false;
    };
    bracket.at >= since.plus(timing::SIZE_SEARCH) && read_at >= bracket.at
}

/// When B's tap saw probes at its interface, of a run of losses in which none was delivered behind its firewall.
pub(crate) fn dropped_by_host(sizes: &Sizes) -> Option<Moment> {
    sizes
        .seen_arriving
        .filter(|at| sizes.lost_since.is_some_and(|since| *at >= since))
}

fn undecided_size<W: Words>(sizes: &Sizes) -> Answer<W> {
    Answer::undecided(|| match sizes.lost {
        0 => "no full-size packet has been answered lately".to_owned(),
        lost => format!("{lost} full-size packets in a row lost; the limit is being looked for"),
    })
}

fn cite(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    at: Moment,
    text: String,
) -> Vec<Citation> {
    let fact = b.key.map(FactKey::Sizes);
    fact.map(|fact| mesh.cite(a, fact, at, text))
        .into_iter()
        .collect()
}

fn narrow(
    mesh: &Mesh<'_>,
    (a, b): (&Member<'_>, &Member<'_>),
    sizes: &Sizes,
    (passed, failed): (u16, u16),
    at: Moment,
) -> Vec<Citation> {
    let lost = format!(
        "{} packets of {} bytes in a row to {} went unanswered",
        sizes.lost, sizes.full, b.node
    );
    let found = format!(
        "of many sizes, {passed} bytes reached {} and {failed} did not",
        b.node
    );
    let word = match sizes.too_big {
        None => (
            at,
            format!("nobody told it that a packet to {} was too big", b.node),
        ),
        Some(word) => {
            let who = word
                .reporter
                .map_or_else(|| "its own kernel".to_owned(), |hop| hop.to_string());
            (
                word.at,
                format!("{who} says that {} bytes are the limit", word.mtu),
            )
        }
    };
    [(sizes.lost_since.unwrap_or(at), lost), (at, found), word]
        .into_iter()
        .flat_map(|(at, text)| cite(mesh, a, b, at, text))
        .collect()
}

fn unheard(
    mesh: &Mesh<'_>,
    (a, b): (&Member<'_>, &Member<'_>),
    sizes: &Sizes,
    at: Moment,
) -> Vec<Citation> {
    let sent = format!(
        "probes of many sizes to UDP 8472 of {} at {} went unanswered, though it answers those to its echo",
        b.node, sizes.to
    );
    let mut cited = cite(mesh, a, b, at, sent);
    if let Some(seen) = dropped_by_host(sizes) {
        let text = format!(
            "the tap of {} saw them arrive at its interface; none passed its firewall",
            b.node
        );
        cited.extend(cite(mesh, a, b, seen, text));
    } else if let Some(tap) = b
        .working(SourceId::Tap)
        .filter(|_| tap_watched(a, b, sizes))
    {
        let text = format!(
            "its tap, which sees datagrams before any firewall of the host, saw none of {}",
            a.node
        );
        cited.push(mesh.cite(b, FactKey::Source(SourceId::Tap), tap.read_at, text));
    }
    cited
}
