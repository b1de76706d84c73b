//! What packets of many sizes gave past the tunnel, on its own five-tuple, where the tunnel has a hole.

use evidence::{Citation, FactKey, Layer, Moment, Sizes, TooBig};

use crate::{
    mesh::{Member, Mesh},
    pair::{Direction, sizes::known},
};

/// What was found since the tunnel began to lose full-size packets.
pub(super) fn the_tunnel(mesh: &Mesh<'_>, direction: &Direction<'_, '_>) -> Vec<Citation> {
    let (a, b) = (direction.a, direction.b);
    let since = known(a, b, Layer::Tunnel).and_then(|tunnel| tunnel.lost_since);
    let (Some(sizes), Some(since)) = (known(a, b, Layer::Underlay), since) else {
        return Vec::new();
    };
    let cite = |(at, text)| {
        let fact = FactKey::Sizes(b.key?);
        (at >= since).then(|| mesh.cite(a, fact, at, text))
    };
    said(sizes, b).into_iter().filter_map(cite).collect()
}

fn said(sizes: &Sizes, b: &Member<'_>) -> Vec<(Moment, String)> {
    let Some(bracket) = sizes.bracket else {
        let whole = |at| {
            let text = format!(
                "past the tunnel a packet of {} bytes, as long as a full-size one becomes in it, reached {}",
                sizes.full, b.node
            );
            (at, text)
        };
        return sizes.full_arrived.map(whole).into_iter().collect();
    };
    let fragments = match sizes.in_fragments {
        Some(_) => ", except where they might be fragmented",
        None => "",
    };
    let found = match bracket.passed {
        Some(passed) => format!(
            "past the tunnel, not to be fragmented, {passed} bytes reached {} and {} did not{fragments}",
            b.node, bracket.failed
        ),
        None => format!("past the tunnel packets of no size reached {}", b.node),
    };
    vec![(bracket.at, found), word(sizes.too_big, bracket.at)]
}

fn word(word: Option<TooBig>, at: Moment) -> (Moment, String) {
    let Some(word) = word else {
        let text = "past the tunnel nobody told it that a packet was too big";
        return (at, text.to_owned());
    };
    let text = match word.reporter {
        Some(hop) => format!(
            "past the tunnel {hop} says that {} bytes are the limit",
            word.mtu
        ),
        None => format!(
            "its own kernel says that {} bytes are the limit past the tunnel",
            word.mtu
        ),
    };
    (word.at, text)
}
