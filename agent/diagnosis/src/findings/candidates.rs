//! Pairs that never connected because neither end dials an address at which the other can be reached.

use std::collections::BTreeSet;

use evidence::{
    Candidate, Confidence, FactKey, Finding, NodeRef, Outcome, SourceId, Subject, TalosPeer,
};

use super::{Draft, fix, ordered};
use crate::{
    candidates::{self, Standpoint, Suitability},
    directions::{Directions, Way},
    localise::Pair,
    mesh::{Member, Mesh},
    pair::Direction,
    text, timing,
};

/// One end that dials, and what it dials.
struct Dial<'m, 'a> {
    from: &'m Member<'a>,
    to: &'m Member<'a>,
    peer: &'a TalosPeer,
    /// The candidate in use; none if it dials none.
    used: Option<&'a Candidate>,
    why: Suitability,
    /// Another node that advertises the very same endpoint.
    shared_with: Option<NodeRef>,
}

pub(super) fn find(mesh: &Mesh<'_>, directions: &Directions<'_, '_>) -> Vec<Finding> {
    let hopeless = hopeless(directions);
    let finding = |pair| finding(mesh, pair);
    hopeless.into_iter().filter_map(finding).collect()
}

/// Those of the directions of which Talos may yet say that they are dialled where nobody can be reached: the path that they
/// seem to lack is accused of nothing until then.
pub(super) fn decided<'m, 'a>(
    mesh: &'m Mesh<'a>,
    directions: &Directions<'m, 'a>,
) -> Directions<'m, 'a> {
    let open = |(a, b): &Way| {
        let ends = (mesh.members.at(*a), mesh.members.at(*b));
        matches!(ends, (Some(a), Some(b)) if is_open(mesh, a, b) || is_open(mesh, b, a))
    };
    let open = hopeless(directions).into_iter().filter(open);
    directions.hiding(open.flat_map(|(a, b)| [(a, b), (b, a)]))
}

/// Whether it is not told yet where one end dials the other, or how that would be reached.
fn is_open(mesh: &Mesh<'_>, from: &Member<'_>, to: &Member<'_>) -> bool {
    let Some((key, device)) = to.key.and_then(|key| Some((key, from.peer(&key)?))) else {
        return false;
    };
    let new = mesh.now.since(device.since) < timing::CANDIDATES_TOLD;
    if !new || device.last_handshake.is_some() || from.working(SourceId::Talos).is_none() {
        return false;
    }
    let (Some(peer), Some(_), Some(endpoint)) =
        (from.talos_peer(&key), from.talos(), device.endpoint)
    else {
        return true;
    };
    let mut listed = peer.candidates.iter();
    listed
        .find(|candidate| candidate.to == endpoint)
        .is_none_or(|used| candidates::judge(used, standpoint(from)) == Suitability::Unknown)
}

/// Pairs that do not carry in either direction, and fail in one.
pub(super) fn hopeless(directions: &Directions<'_, '_>) -> Vec<Way> {
    let fails = |direction: &Direction<'_, '_>| {
        [direction.tunnel.outcome, direction.underlay.outcome].contains(&Outcome::Fail)
    };
    // One end that carries shows that an endpoint works.
    let carries = |direction: &Direction<'_, '_>| direction.tunnel.outcome.is_good();
    let pair = |direction: Direction<'_, '_>| {
        let back = directions.back(&direction);
        let hopeless = !carries(&direction) && !back.is_some_and(|back| carries(&back));
        let (a, b) = (direction.a.index, direction.b.index);
        // Where both fail, the first of them stands for the pair.
        let first = a < b || !back.is_some_and(|back| fails(&back));
        (hopeless && first).then_some((a.min(b), a.max(b)))
    };
    let mut pairs: Vec<Way> = directions.odd().filter(fails).filter_map(pair).collect();
    pairs.sort_unstable();
    pairs
}

fn finding(mesh: &Mesh<'_>, (a, b): Way) -> Option<Finding> {
    let (a, b) = (mesh.members.at(a)?, mesh.members.at(b)?);
    let pair = &ordered(&a.node, &b.node);
    let dials = [dial(mesh, a, b)?, dial(mesh, b, a)?];
    // The end that has a good candidate and does not use it can be helped; without one, the end that is told most of.
    let parked = |dial: &&Dial<'_, '_>| dial.rotation(mesh).is_some();
    let told = |dial: &&Dial<'_, '_>| dial.used.is_some();
    let dial = dials
        .iter()
        .find(|dial| told(dial) && parked(dial))
        .or_else(|| dials.iter().find(|dial| dial.shared_with.is_some()))
        .or_else(|| dials.iter().find(told))?;
    let mut draft = draft(mesh, dial, pair);
    for dial in &dials {
        cite(mesh, dial, &mut draft);
    }
    draft.explains = BTreeSet::from([pair.clone(), (pair.1.clone(), pair.0.clone())]);
    Some(draft.finish(None))
}

/// None if this end may well reach the other, or nobody can say.
fn dial<'m, 'a>(mesh: &Mesh<'a>, from: &'m Member<'a>, to: &'m Member<'a>) -> Option<Dial<'m, 'a>> {
    let key = to.key?;
    let device = from.peer(&key)?;
    if device.last_handshake.is_some() {
        return None;
    }
    let peer = from.talos_peer(&key)?;
    let listed = |to| peer.candidates.iter().find(|candidate| candidate.to == to);
    let Some(endpoint) = device.endpoint else {
        return Some(Dial {
            from,
            to,
            peer,
            used: None,
            why: Suitability::NoRoute,
            shared_with: None,
        });
    };
    // What is not a candidate was learnt from a packet: it works, or did.
    let used = listed(endpoint)?;
    let why = candidates::judge(used, standpoint(from));
    let shared_with = shared(mesh, from, to, used);
    (!why.can_work() || shared_with.is_some()).then_some(Dial {
        from,
        to,
        peer,
        used: Some(used),
        why,
        shared_with,
    })
}

fn standpoint<'a>(member: &Member<'a>) -> Standpoint<'a> {
    let own = member.identity().map(|identity| &identity.addresses[..]);
    let public = member.talos().map(|talos| &talos.discovered[..]);
    Standpoint {
        own: own.unwrap_or_default(),
        public: public.unwrap_or_default(),
    }
}

/// Another node that is advertised with the same endpoint, which neither of them has itself: a router can send what comes
/// there to one of them only.
fn shared(
    mesh: &Mesh<'_>,
    from: &Member<'_>,
    to: &Member<'_>,
    used: &Candidate,
) -> Option<NodeRef> {
    let has = |member: &Member<'_>| {
        let own = member.identity().map(|identity| &identity.addresses);
        own.is_none_or(|own| own.contains(&used.to.ip()))
    };
    let others = mesh.members.values();
    let mut others = others.filter(|other| other.node != to.node && other.node != from.node);
    let other = others.find(|other| {
        let peer = other.key.and_then(|key| from.talos_peer(&key));
        let listed = |peer: &TalosPeer| peer.candidates.iter().any(|one| one.to == used.to);
        peer.is_some_and(listed) && !has(other)
    })?;
    (!has(to)).then(|| other.node.clone())
}

impl<'a> Dial<'_, 'a> {
    fn rotation(&self, mesh: &Mesh<'_>) -> Option<candidates::Rotation<'a>> {
        candidates::rotation(self.peer, standpoint(self.from), mesh.now)
    }

    /// The candidates that cannot work from here, each once by its address.
    fn bad(&self) -> Vec<String> {
        let from = standpoint(self.from);
        let bad = self.peer.candidates.iter();
        let bad = bad.filter(|candidate| !candidates::judge(candidate, from).can_work());
        let ips: BTreeSet<_> = bad.map(|candidate| candidate.to.ip()).collect();
        let line = |ip: &std::net::IpAddr| {
            let length = if ip.is_ipv4() { 32 } else { 128 };
            format!("\"!{ip}/{length}\"")
        };
        ips.iter().map(line).collect()
    }
}

fn draft(mesh: &Mesh<'_>, dial: &Dial<'_, '_>, pair: &Pair) -> Draft {
    let (from, to) = (&dial.from.node, &dial.to.node);
    let endpoint = dial
        .used
        .map_or_else(String::new, |used| used.to.to_string());
    let rotation = dial.rotation(mesh);
    let wait = rotation.map_or_else(
        || "; none of its candidates can work".to_owned(),
        |left| {
            format!(
                "; the next that can is {}, in {} or more if KubeSpan rotates",
                left.next_good.to,
                text::age(left.at_least)
            )
        },
    );
    let (code, what) = name(dial, rotation.is_some());
    let summary = format!("{from} dials {to} at {endpoint}, which {what}{wait}");
    let confidence = if dial.why.is_certain() && !dial.why.can_work() {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let subject = Subject::Pair {
        a: pair.0.clone(),
        b: pair.1.clone(),
    };
    let mut draft = Draft::new(code, subject, confidence, summary);
    fixes(dial, code, &mut draft);
    draft
}

/// The code, and what is wrong with the endpoint. Where the rotation will come to one that can work, what it passes on the way is
/// named by its own kind.
fn name(dial: &Dial<'_, '_>, will_pass: bool) -> (&'static str, String) {
    let why = dial.why;
    let foreign = why == Suitability::OtherSite && !will_pass;
    match &dial.shared_with {
        Some(other) if why.can_work() || foreign => (
            "endpoint-shared-behind-nat",
            format!("is advertised by {other} too, and a router can give it to one of them only"),
        ),
        _ => {
            let code = match why {
                Suitability::Hairpin => "endpoint-hairpin",
                Suitability::NoIpv6Route => "endpoint-without-ipv6-route",
                _ => "endpoint-cannot-work",
            };
            (code, why.as_str().to_owned())
        }
    }
}

fn fixes(dial: &Dial<'_, '_>, code: &str, draft: &mut Draft) {
    let (from, to) = (&dial.from.node, &dial.to.node);
    if code == "endpoint-shared-behind-nat" {
        draft.fixes.push(fix(
            format!("who runs the router in front of {to}"),
            format!("forward another UDP port to {to}, and let it announce that one"),
            Some(
                "apiVersion: v1alpha1\nkind: KubeSpanEndpointsConfig\nextraAnnouncedEndpoints:\n  - <public address>:51821"
                    .to_owned(),
            ),
        ));
    }
    let bad = dial.bad();
    if !bad.is_empty() {
        draft.fixes.push(fix(
            format!("who writes the machine config of {to}"),
            format!("do not advertise what {from} cannot reach, unless others need it"),
            Some(format!(
                "machine:\n  network:\n    kubespan:\n      filters:\n        endpoints: [\"0.0.0.0/0\", \"::/0\", {}]",
                bad.join(", ")
            )),
        ));
    }
    draft.fixes.push(fix(
        "who runs the cluster",
        "look at the candidates and at the one in use",
        Some(format!(
            "talosctl -n {from} get kubespanpeerspecs -o yaml; talosctl -n {from} get kubespanpeerstatuses"
        )),
    ));
}

fn cite(mesh: &Mesh<'_>, dial: &Dial<'_, '_>, draft: &mut Draft) {
    let Some(key) = dial.to.key else {
        return;
    };
    let to = &dial.to.node;
    let from = standpoint(dial.from);
    let used = match dial.used {
        Some(used) => format!("dials {to} at {}", used.to),
        None => format!("has no endpoint for {to}"),
    };
    let judged = dial.peer.candidates.iter().map(|candidate| {
        let why = candidates::judge(candidate, from);
        format!("{} {}", candidate.to, why.as_str())
    });
    let judged: Vec<_> = judged.collect();
    let text = format!("{used}; of its candidates {}", text::list(&judged));
    let at = dial.from.last_report().unwrap_or(mesh.now);
    let cited = mesh.cite(dial.from, FactKey::TalosPeer(key), at, text);
    draft.evidence.push(cited);
}
