//! Pairs that come and go. A regular period is that of a program; a path has none.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use evidence::{
    Citation, Confidence, EndpointChange, FactKey, Finding, Flapping, Moment, NodeRef, Outcome,
    PairRef, Subject,
};

use super::{Draft, elsewhere, explained, fix, named, place_text, subject};
use crate::{
    directions::Directions,
    flaps::{fact, words},
    history,
    localise::{Culprit, localise},
    mesh::Mesh,
    pair::Direction,
    text, timing,
};

const PATH: &str = "path-flapping";
const ENDPOINT: &str = "endpoint-overwritten";

/// Changes of an endpoint that are more than a peer that roamed, and back.
const REWRITTEN: usize = 4;

/// What flaps becomes the root of what is said of the same pairs while they fail: that is named in turn, and gone again. But a
/// cause that is certain is told first while it is there: then it is what flaps. Who rewrites an endpoint is the cause of that, too.
pub(super) fn fold(directions: &Directions<'_, '_>, mut findings: Vec<Finding>) -> Vec<Finding> {
    if directions.mesh.view.history.is_empty() {
        return findings;
    }
    let flaps = |direction: &Direction<'_, '_>| direction.flapping().is_some();
    let passes = |direction: &Direction<'_, '_>| {
        direction.tunnel.outcome.is_good() && direction.flapping().is_none()
    };
    let mut flapping: Vec<Finding> = localise(directions, flaps, passes)
        .iter()
        .map(|culprit| root(culprit, directions))
        .collect();
    if flapping.is_empty() {
        return findings;
    }
    for one in flapping.iter_mut().filter(|one| one.code == PATH) {
        let cause = findings
            .iter()
            .find(|finding| is_certain(finding) && stands_between(finding, one));
        one.suppressed_by = cause.map(|cause| cause.code.clone());
    }
    let (roots, explained): (Vec<Finding>, Vec<Finding>) = flapping
        .into_iter()
        .partition(|one| one.suppressed_by.is_none());
    let certain = findings.iter().filter(|finding| is_certain(finding));
    let certain: BTreeSet<String> = certain.map(|finding| finding.code.clone()).collect();
    let stays = |finding: &Finding| match &finding.suppressed_by {
        Some(root) => certain.contains(root),
        None => is_certain(finding),
    };
    for finding in &mut findings {
        let why = |root: &&Finding| root.code == ENDPOINT || !stays(finding);
        let mut roots = roots.iter().filter(why);
        if let Some(root) = roots.find(|root| covers(root, finding)) {
            finding.suppressed_by = Some(root.code.clone());
        }
    }
    let left: BTreeSet<String> = findings
        .iter()
        .filter(|finding| finding.suppressed_by.is_none())
        .chain(&roots)
        .map(|finding| finding.code.clone())
        .collect();
    let first = roots.first().map(|root| root.code.clone());
    for finding in &mut findings {
        if finding
            .suppressed_by
            .as_ref()
            .is_some_and(|code| !left.contains(code))
        {
            finding.suppressed_by.clone_from(&first);
        }
    }
    let (own, effects): (Vec<Finding>, Vec<Finding>) = findings
        .into_iter()
        .partition(|finding| finding.suppressed_by.is_none());
    let (certain, own): (Vec<Finding>, Vec<Finding>) = own.into_iter().partition(is_certain);
    [certain, roots, own, effects, explained].concat()
}

/// Whether it is a root that the evidence allows nothing else than, and that explains pairs.
fn is_certain(finding: &Finding) -> bool {
    let is_root = finding.suppressed_by.is_none() && !finding.explains.is_empty();
    is_root && finding.confidence == Confidence::Certain
}

/// Whether one is said of all pairs that the other is said of, of either direction: an echo needs both.
fn stands_between(one: &Finding, other: &Finding) -> bool {
    let mut pairs = other.explains.iter();
    pairs.all(|pair| {
        let (from, to) = (&pair.from, &pair.to);
        let same = |known: &PairRef| [(from, to), (to, from)].contains(&(&known.from, &known.to));
        one.explains.iter().any(same)
    })
}

/// Whether one is said of all pairs that the other is said of, if that is said of any.
fn covers(one: &Finding, other: &Finding) -> bool {
    let explains = |pair| one.explains.contains(pair);
    !other.explains.is_empty() && other.explains.iter().all(explains)
}

fn root(culprit: &Culprit, directions: &Directions<'_, '_>) -> Finding {
    let mesh = directions.mesh;
    let concerned: Vec<Direction<'_, '_>> = explained(&culprit.explains, directions)
        .into_iter()
        .filter(|direction| direction.flapping().is_some())
        .collect();
    let rewritten: Vec<Rewritten> = concerned
        .iter()
        .filter_map(|direction| Rewritten::of(mesh, direction))
        .collect();
    let regular = concerned
        .iter()
        .filter_map(Direction::flapping)
        .find(|flapping| flapping.period_ms.is_some());
    // Talos itself goes round the candidates of a peer that is down. What is none of them was set by somebody else, however
    // the pair comes and goes.
    let is_set = regular.is_some() || rewritten.iter().any(|one| one.elsewhere);
    let mut draft = if is_set && !rewritten.is_empty() {
        endpoint(regular, &rewritten)
    } else {
        path(culprit, &concerned, regular)
    };
    for direction in &concerned {
        let flaps = mesh
            .view
            .history
            .flaps(direction.from, direction.to, mesh.now);
        let cited = flaps.map(|flaps| {
            let text = format!(
                "{} -> {} {}",
                direction.from,
                direction.to,
                words(flaps.told)
            );
            mesh.observed(flaps.last, &fact(direction.from, direction.to), text)
        });
        draft.evidence.extend(cited);
    }
    let seen = rewritten.into_iter().map(|rewritten| rewritten.cited);
    draft.evidence.splice(
        1.min(draft.evidence.len())..1.min(draft.evidence.len()),
        seen,
    );
    draft.explains = named(mesh, &culprit.explains);
    draft.finish(None)
}

/// A device in which the endpoint of a peer was changed again and again.
struct Rewritten {
    at: NodeRef,
    of: NodeRef,
    /// Whether one of the endpoints is where nobody knows the peer.
    elsewhere: bool,
    /// How long it takes from one change to the next but one, if that is regular.
    period: Option<Duration>,
    cited: Citation,
}

impl Rewritten {
    /// An endpoint that comes back to what it was, as it does where two writers, or one writer and roaming, are at odds.
    fn of(mesh: &Mesh<'_>, direction: &Direction<'_, '_>) -> Option<Self> {
        let member = direction.a;
        let key = direction.b.key?;
        let peer = member.peer(&key)?;
        let changes: Vec<&EndpointChange> = peer
            .endpoint_changes
            .iter()
            .filter(|change| mesh.recent(change.at, timing::FLAP_WINDOW))
            .collect();
        let (first, last) = changes.first().zip(changes.last())?;
        let values: BTreeSet<_> = changes.iter().map(|change| change.to).collect();
        if changes.len() < REWRITTEN || values.len() * 2 > changes.len() {
            return None;
        }
        let ends = (direction.a, direction.b);
        let strange = |at: &&SocketAddr| elsewhere::is_of(mesh, ends, **at) == Some(false);
        let moments: Vec<Moment> = changes.iter().map(|change| change.at).collect();
        let period = history::period(&moments);
        let pace = period.map_or_else(String::new, |period| {
            format!(", regularly: each {}", text::age(period))
        });
        let text = format!(
            "its device had the endpoint of {} changed {} times in {}{pace}, last from {} to {}",
            direction.to,
            changes.len(),
            text::age(last.at.since(first.at)),
            last.from,
            last.to,
        );
        Some(Self {
            at: direction.from.clone(),
            of: direction.to.clone(),
            elsewhere: values.iter().find(strange).is_some(),
            period,
            cited: mesh.cite(member, FactKey::Peer(key), last.at, text),
        })
    }
}

fn endpoint(flapping: Option<Flapping>, rewritten: &[Rewritten]) -> Draft {
    let at: BTreeSet<&NodeRef> = rewritten.iter().map(|rewritten| &rewritten.at).collect();
    let nodes: Vec<&NodeRef> = at.iter().copied().collect();
    let subject = match (nodes.as_slice(), rewritten) {
        ([one], _) => Subject::Node {
            node: (*one).clone(),
        },
        ([a, b], [first, ..]) if first.of == **a || first.of == **b => Subject::Pair {
            a: (*a).clone(),
            b: (*b).clone(),
        },
        _ => Subject::Cluster,
    };
    // The writer's own pace; that of the pair is as late as its tunnel is slow to recover.
    let period = rewritten.iter().find_map(|one| one.period);
    let period = period.map_or_else(
        || flapping.map_or_else(String::new, |flapping| format!(", {}", each(flapping))),
        |period| format!(", each {}", text::age(period)),
    );
    let names = text::list(&nodes);
    let mut draft = Draft::new(
        ENDPOINT,
        subject,
        Confidence::Likely,
        format!(
            "Something on {names} rewrites the endpoint of a WireGuard peer over and over{period}: each time the tunnel breaks until the endpoint is right again"
        ),
    );
    draft.fixes = vec![fix(
        format!("whoever runs {names}"),
        "watch the endpoint change, find who sets it, and let only one program do it: a WireGuard program that sets what it was configured with must leave an endpoint alone that WireGuard has learned",
        Some("talosctl get kubespanendpoints,kubespanpeerstatuses --watch".to_owned()),
    )];
    draft.could_also_be = vec![
        "Talos going round the candidates of a peer that is down: then the path fails first, and the endpoint after it".to_owned(),
    ];
    draft.decided_by = Some(
        "whether the endpoint changes before the tunnel breaks, or after: mesh-probe history beside the endpoint's changes".to_owned(),
    );
    draft
}

fn path(culprit: &Culprit, concerned: &[Direction<'_, '_>], regular: Option<Flapping>) -> Draft {
    let times = concerned
        .iter()
        .filter_map(Direction::flapping)
        .map(|flapping| flapping.changes)
        .max()
        .unwrap_or_default();
    let place = place_text(&culprit.place);
    let cause = match regular {
        Some(flapping) => format!(
            "regularly, {}: that is a program or a timer, not the weather of the path",
            each(flapping)
        ),
        None => "at no regular interval: that points to the path".to_owned(),
    };
    let mut draft = Draft::new(
        PATH,
        subject(&culprit.place),
        Confidence::Likely,
        format!("Traffic comes and goes at {place}: {times} changes, {cause}"),
    );
    let (who, action) = match regular {
        Some(_) => (
            "whoever runs the nodes and the router",
            "look for what runs at that interval: a script or a controller that sets firewall rules or endpoints, a lease, a timeout of the NAT",
        ),
        None => (
            "whoever runs the link or the router",
            "look at the link: its log of drops and retrains, the load of the uplink, the NAT's table of connections",
        ),
    };
    draft.fixes = vec![fix(who, action, Some("mesh-probe history".to_owned()))];
    draft.could_also_be = culprit.ties.iter().map(place_text).collect();
    draft.could_also_be.push(
        "a NAT that forgets or changes its mapping: the port that others see of a node changes with it"
            .to_owned(),
    );
    if concerned
        .iter()
        .any(|direction| direction.underlay.outcome == Outcome::Unknown)
    {
        draft.decided_by =
            Some("a tap on both nodes: whether datagrams arrive while it fails".to_owned());
    }
    draft
}

fn each(flapping: Flapping) -> String {
    flapping.period_ms.map_or_else(
        || "irregularly".to_owned(),
        |period| format!("each {}", text::age(Duration::from_millis(period))),
    )
}
