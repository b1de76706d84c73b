//! The discovery service as the nodes see it: who reaches it, and what stops who does not.
//!
//! The service only introduces nodes to each other. While it is away a mesh that stands goes on to stand, so nothing here
//! shuts the gates of the mesh: the level `discovery` is not ready, and what builds on it waits.

use std::time::Duration;

use evidence::{
    Phase,
    discovery::{
        DiscoveryAddress, DiscoveryEndpoint, DiscoveryStage, FailureKind, NameOutcome, StageFailure,
    },
};

use crate::{
    expected,
    graph::Level,
    mesh::{Member, Mesh},
    timing,
};

/// One failure may be a packet that was lost, or a service that is started anew; the second connection is tried a quarter of a minute
/// later, the second call a minute later.
const CONFIRMED: u32 = 2;
/// A service is asked so often, over one of its addresses after the other.
const HELLO_EVERY: Duration = Duration::from_mins(1);

/// How an endpoint stands for one node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// The service answers over at least one address.
    Open,
    /// Its name has no address.
    NoName,
    /// No address leads to the service; the failure of the one that came farthest.
    Shut(&'a DiscoveryAddress, &'a DiscoveryStage, &'a StageFailure),
    /// Not tried long enough, or not lately, or in a way that accuses nobody.
    Unknown,
}

/// The endpoints that a node has looked at lately.
pub(crate) fn endpoints<'a>(
    mesh: &Mesh<'_>,
    member: &Member<'a>,
) -> impl Iterator<Item = &'a DiscoveryEndpoint> {
    endpoints_within(mesh, member, timing::DISCOVERY_FRESH)
}

fn endpoints_within<'a>(
    mesh: &Mesh<'_>,
    member: &Member<'a>,
    fresh: Duration,
) -> impl Iterator<Item = &'a DiscoveryEndpoint> {
    let endpoints = member.discovery().map_or(&[][..], |seen| &seen.endpoints);
    let now = mesh.now;
    endpoints.iter().filter(move |endpoint| {
        endpoint.at <= now.plus(timing::AHEAD) && now.since(endpoint.at) <= fresh
    })
}

/// How an endpoint stands.
pub(crate) fn way(endpoint: &DiscoveryEndpoint) -> Way<'_> {
    let mut addresses = endpoint.addresses.iter();
    if addresses.any(|address| serves(endpoint, address)) {
        return Way::Open;
    }
    if let Some(names) = &endpoint.names
        && !names.found()
    {
        let odd = [&names.ipv4, &names.ipv6]
            .iter()
            .all(|answer| answer.outcome == NameOutcome::Other);
        let sure = names.failed >= CONFIRMED && !odd;
        return if sure { Way::NoName } else { Way::Unknown };
    }
    let failing = endpoint.addresses.iter();
    let proved: Option<Vec<_>> = failing
        .map(|address| broken(address).map(|(stage, failure)| (address, stage, failure)))
        .collect();
    let farthest = proved
        .into_iter()
        .flatten()
        .max_by_key(|(_, stage, _)| stage.stage);
    farthest.map_or(Way::Unknown, |(address, stage, failure)| {
        Way::Shut(address, stage, failure)
    })
}

/// The service answers there: the newest connection came through, and the newest calls were not refused. A call that is older than its turn
/// would be says nothing of today.
pub(crate) fn serves(endpoint: &DiscoveryEndpoint, address: &DiscoveryAddress) -> bool {
    let turns = u32::try_from(endpoint.addresses.len()).unwrap_or(u32::MAX);
    let turn = HELLO_EVERY.saturating_mul(turns);
    let old = turn.saturating_add(timing::DISCOVERY_FRESH);
    let greeted = address.hello.as_ref();
    let greeted = greeted.filter(|hello| endpoint.at.since(hello.at) <= old);
    let listed = address.list.as_ref();
    address.connects()
        && greeted.is_some_and(|hello| hello.failure.is_none())
        && listed.is_none_or(|list| list.failure.is_none())
}

/// What is past doubt to be wrong with an address.
pub(crate) fn broken(address: &DiscoveryAddress) -> Option<(&DiscoveryStage, &StageFailure)> {
    let (stage, failure) = address.failure()?;
    let failed = if address.connects() {
        address.calls_failed
    } else {
        address.failed
    };
    let sure = failed >= CONFIRMED;
    (sure && failure.kind != FailureKind::Other).then_some((stage, failure))
}

/// The level: ready when the service serves every node, over one endpoint at least. A node that does not report is not known to be
/// served.
pub(crate) fn level(mesh: &Mesh<'_>, level: &Level) -> (Phase, Vec<String>) {
    let mut members = mesh.members.values();
    if members.all(|member| member.discovery().is_none()) {
        let reason =
            "no agent knows where the discovery service is (--discovery, --discovery-from-talos)";
        return (Phase::Unknown, vec![reason.to_owned()]);
    }
    let mut reasons = expected::missing(mesh, level);
    let mut phase = if reasons.is_empty() {
        Phase::Ready
    } else {
        Phase::Unknown
    };
    if mesh.members.values().all(|member| is_off(member)) {
        reasons.push("not applicable: Talos uses the discovery service on no node".to_owned());
    }
    let fresh = level.fresh_within.map_or(timing::DISCOVERY_FRESH, |bound| {
        bound.min(timing::DISCOVERY_FRESH)
    });
    for member in mesh.members.values() {
        let (own, reason) = node(mesh, member, fresh);
        phase = match (phase, own) {
            (Phase::NotReady, _) | (_, Phase::NotReady) => Phase::NotReady,
            (Phase::Ready, Phase::Ready) => Phase::Ready,
            _ => Phase::Unknown,
        };
        reasons.extend(reason.map(|reason| format!("{}: {reason}", member.node)));
    }
    (phase, reasons)
}

/// Whether Talos there says that it does not use the service.
fn is_off(member: &Member<'_>) -> bool {
    member.discovery().is_some_and(|seen| seen.registry_off)
}

/// A node whose Talos does not use the service. If no node does there is nothing to wait for: each has said so itself. One among others
/// that do is introduced to nobody.
fn off(mesh: &Mesh<'_>) -> (Phase, Option<String>) {
    let mut others = mesh.members.values().filter(|member| !is_off(member));
    let used = |member: &Member<'_>| member.discovery().is_some();
    let reason = "Talos does not use the discovery service there";
    match (others.clone().any(used), others.next()) {
        (true, _) => (
            Phase::NotReady,
            Some(format!("{reason}, and elsewhere it does")),
        ),
        (false, Some(_)) => (
            Phase::Unknown,
            Some(format!("{reason}; of other nodes it is not known")),
        ),
        (false, None) => (Phase::Ready, None),
    }
}

fn node(mesh: &Mesh<'_>, member: &Member<'_>, fresh: Duration) -> (Phase, Option<String>) {
    let unknown = |reason: &str| (Phase::Unknown, Some(reason.to_owned()));
    if member.fresh().is_none() {
        return unknown("without a fresh report");
    }
    if is_off(member) {
        return off(mesh);
    }
    // One that sends its clients elsewhere serves nobody: it is looked at where it sends them.
    let last = endpoints_within(mesh, member, fresh).filter(|endpoint| endpoint.redirect.is_none());
    let ways: Vec<Way<'_>> = last.map(way).collect();
    if ways.iter().any(|way| matches!(way, Way::Open)) {
        return (Phase::Ready, None);
    }
    if ways.is_empty() {
        return unknown("has not looked at the discovery service lately");
    }
    if mesh.trouble(member).is_some() {
        return unknown("is in trouble itself");
    }
    let reason = match ways.iter().find(|way| !matches!(way, Way::Unknown)) {
        Some(Way::NoName) => "the name of the discovery service has no address".to_owned(),
        Some(Way::Shut(_, stage, failure)) => {
            format!(
                "the discovery service fails at {}: {}",
                stage.stage.as_str(),
                failure.text
            )
        }
        _ => return unknown("has not reached the discovery service yet"),
    };
    let sure = ways.iter().all(|way| !matches!(way, Way::Unknown));
    let phase = if sure {
        Phase::NotReady
    } else {
        Phase::Unknown
    };
    (phase, Some(reason))
}
