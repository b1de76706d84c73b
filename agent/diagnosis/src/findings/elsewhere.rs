//! Endpoints in a device that are no address of the peer: nobody knows the peer there, and nothing came from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use evidence::{
    Citation, Confidence, FactKey, Finding, Moment, Outcome, SourceId, Subject, TalosPeer,
};

use super::{Draft, fix, ordered};
use crate::{
    directions::{Directions, Way},
    localise::Pair,
    mesh::{Member, Mesh, heard_at, was_set},
    pair::Direction,
    text, timing,
};

const CODE: &str = "endpoint-elsewhere";

/// One end that dials the other where that is not.
struct Astray<'m, 'a> {
    from: &'m Member<'a>,
    to: &'m Member<'a>,
    dialled: SocketAddr,
    /// When it was changed to that, and from what.
    set: Option<(Moment, SocketAddr)>,
    /// What Talos lists for the peer, if it is heard.
    listed: Option<&'a TalosPeer>,
}

pub(super) fn find(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let mut pairs: BTreeMap<Way, Vec<Astray<'_, '_>>> = BTreeMap::new();
    let fails = |direction: &Direction<'_, '_>| {
        [direction.tunnel.outcome, direction.underlay.outcome].contains(&Outcome::Fail)
    };
    // One direction that fails is enough: the other may be told a moment later.
    for direction in directions.odd().filter(fails) {
        let ends = [(direction.a, direction.b), (direction.b, direction.a)];
        let astray = ends.map(|(from, to)| astray(mesh, from, to));
        let (one, other) = (direction.a.index, direction.b.index);
        let astray: Vec<_> = astray.into_iter().flatten().collect();
        if !astray.is_empty() {
            pairs
                .entry((one.min(other), one.max(other)))
                .or_insert(astray);
        }
    }
    let pairs = pairs.into_values();
    pairs
        .filter_map(|ends| finding(mesh, directions, &ends))
        .collect()
}

fn astray<'m, 'a>(
    mesh: &Mesh<'a>,
    from: &'m Member<'a>,
    to: &'m Member<'a>,
) -> Option<Astray<'m, 'a>> {
    let key = to.key?;
    let peer = from.peer(&key)?;
    let dialled = peer.endpoint?;
    let listed = from.talos_peer(&key);
    let set = was_set(peer).map(|change| (change.at, change.from));
    // Without a change only Talos' list shows that there is another, and what has come shows that it is right.
    let told = listed.is_some() && mesh.reached(peer.since.plus(timing::CANDIDATES_TOLD));
    let silent = peer.rx_moved.is_none() && peer.last_handshake.is_none();
    (set.is_some() || (told && silent)).then_some(())?;
    (!is_of(mesh, (from, to), dialled)?).then_some(Astray {
        from,
        to,
        dialled,
        set,
        listed,
    })
}

/// Whether anybody knows `to` at an address; none if `to` does not say which it has.
pub(super) fn is_of(
    mesh: &Mesh<'_>,
    (from, to): (&Member<'_>, &Member<'_>),
    at: SocketAddr,
) -> Option<bool> {
    let (from_key, to_key) = (from.key?, to.key?);
    let ip = at.ip();
    if to.identity()?.addresses.contains(&ip) {
        // No router stands between it and its own address, to give it another port.
        let listens = to.device().and_then(|device| device.listen_port);
        return Some(listens.is_none_or(|port| port == at.port()));
    }
    let is_it = |other: IpAddr| other == ip;
    let public = || {
        to.talos()
            .is_some_and(|talos| talos.discovered.contains(&ip))
    };
    let listed = || {
        let peer = from.talos_peer(&to_key);
        peer.is_some_and(|peer| peer.candidates.iter().any(|one| is_it(one.to.ip())))
    };
    let heard = || {
        let inert = from.inert(&to_key).and_then(|inert| inert.heard_from);
        inert.is_some_and(|from| is_it(from.ip()))
    };
    let answered = || {
        let replies = to.inert(&from_key).and_then(|inert| inert.replies);
        replies.is_some_and(|replies| is_it(replies.mapped.ip()))
    };
    let by_others = || {
        let mut others = mesh.members.values();
        others.any(|other| other.peer(&to_key).and_then(heard_at).is_some_and(is_it))
    };
    let known = to.site.is_some_and(is_it) || public() || listed() || heard() || answered();
    Some(known || by_others())
}

fn finding(
    mesh: &Mesh<'_>,
    directions: &Directions<'_, '_>,
    ends: &[Astray<'_, '_>],
) -> Option<Finding> {
    let first = ends.first()?;
    let (from, to) = (&first.from.node, &first.to.node);
    let pair = ordered(from, to);
    let subject = if ends.len() > 1 {
        Subject::Pair {
            a: pair.0.clone(),
            b: pair.1.clone(),
        }
    } else {
        Subject::Direction {
            from: from.clone(),
            to: to.clone(),
        }
    };
    let dials: Vec<String> = ends
        .iter()
        .map(|end| format!("{} dials {} at {}", end.from.node, end.to.node, end.dialled))
        .collect();
    let certain = ends.iter().all(Astray::is_certain);
    let confidence = if certain {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let summary = format!(
        "{}, where nobody knows it: something set that endpoint, and datagrams to it go elsewhere",
        text::list(&dials)
    );
    let mut draft = Draft::new(CODE, subject, confidence, summary);
    draft.evidence = ends
        .iter()
        .filter_map(|end| end.cited(mesh))
        .flatten()
        .collect();
    let names: BTreeSet<_> = ends.iter().map(|end| &end.from.node).collect();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let (nodes, names) = (names.join(","), text::list(&names));
    draft.fixes = vec![fix(
        format!("whoever runs {names}"),
        "find what sets the endpoint, another WireGuard program or a script, and stop it; Talos goes on to its next candidate, if it has another, 275 s after the last handshake",
        Some(format!(
            "talosctl -n {nodes} get kubespanpeerspecs -o yaml   # the candidates; the endpoint in use: get kubespanpeerstatuses"
        )),
    )];
    if !certain {
        draft.could_also_be = vec![
            "an address that the peer has and that nobody told: Talos' list of candidates was not heard since, or not the whole of it"
                .to_owned(),
        ];
        draft.decided_by = Some(format!("the candidates that Talos of {names} has"));
    }
    draft.explains = explains(directions, ends, &pair);
    Some(draft.finish(None))
}

/// Both directions, as an echo needs both; but not one that is lost on the underlay though it is dialled where it should be.
fn explains(
    directions: &Directions<'_, '_>,
    ends: &[Astray<'_, '_>],
    pair: &Pair,
) -> BTreeSet<Pair> {
    let both = [pair.clone(), (pair.1.clone(), pair.0.clone())];
    let lost = |(from, to): &Pair| {
        let astray = ends
            .iter()
            .any(|end| end.from.node == *from && end.to.node == *to);
        let own = |end: &Astray<'_, '_>| directions.get((end.to.index, end.from.index));
        let back = ends.first().and_then(own);
        !astray && back.is_some_and(|back| back.underlay.outcome == Outcome::Fail)
    };
    both.into_iter().filter(|one| !lost(one)).collect()
}

impl Astray<'_, '_> {
    /// Whether Talos was heard since, with the whole of its list.
    fn is_certain(&self) -> bool {
        let talos = self.from.working(SourceId::Talos);
        let since = self.set.map_or(Moment::FIRST, |(at, _)| at);
        let whole = self.listed.is_some_and(|listed| listed.left_out == 0);
        whole && talos.is_some_and(|talos| talos.read_at >= since)
    }

    fn cited(&self, mesh: &Mesh<'_>) -> Option<Vec<Citation>> {
        let key = self.to.key?;
        let at = self.from.last_report()?;
        let (set_at, set) = match self.set {
            Some((at, before)) => (
                at,
                format!(", which was {before} before; nothing came since"),
            ),
            None => (at, ", and nothing ever came from it".to_owned()),
        };
        let text = format!(
            "its device has the endpoint {} for {}{set}",
            self.dialled, self.to.node
        );
        let mut cited = vec![mesh.cite(self.from, FactKey::Peer(key), set_at, text)];
        if let Some(identity) = self.to.identity() {
            let has: Vec<_> = identity.addresses.iter().collect();
            let port = self.to.device().and_then(|device| device.listen_port);
            let port = port.map_or_else(String::new, |port| {
                format!("; its device listens on {port}")
            });
            let text = format!("it has the addresses {}{port}", text::list(&has));
            let said = self.to.last_report()?;
            cited.push(mesh.cite(self.to, FactKey::Identity, said, text));
        }
        if let Some(peer) = self.listed {
            let listed: Vec<_> = peer.candidates.iter().map(|one| one.to).collect();
            let text = format!(
                "Talos lists for {} the candidates {}",
                self.to.node,
                text::list(&listed)
            );
            cited.push(mesh.cite(self.from, FactKey::TalosPeer(key), at, text));
        }
        Some(cited)
    }
}
