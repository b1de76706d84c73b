//! Findings about one node: its agent, its identity, its `WireGuard` device. They excuse the node's pairs.

use std::collections::BTreeSet;

use evidence::{
    Citation, Confidence, EchoSent, FactKey, Finding, Moment, NodeRef, Peer, PublicKey, SourceId,
    Subject,
};

use super::{Draft, fix};
use crate::{
    mesh::{Member, Mesh, Speaks},
    text, timing,
};

/// The findings, and the nodes whose pairs they excuse. Of `nobody`, keys that no node has, nothing more is said.
pub(super) fn find(
    mesh: &Mesh<'_>,
    nobody: &BTreeSet<NodeRef>,
) -> (Vec<Finding>, BTreeSet<NodeRef>) {
    let mut findings = Vec::new();
    let mut excused = nobody.clone();
    let known = mesh.members.values();
    for member in known.filter(|member| !nobody.contains(&member.node)) {
        if member.away_on_purpose(mesh.now).is_some() {
            excused.insert(member.node.clone());
        } else if let Some(finding) = absent(mesh, member).or_else(|| no_device(mesh, member)) {
            excused.insert(member.node.clone());
            findings.push(finding);
        }
        findings.extend(second_machine(mesh, member));
    }
    findings.extend(too_few(mesh));
    (findings, excused)
}

/// A node whose agent does not speak: the agent alone, or the node?
fn absent(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    if may_be_a_newcomer(mesh, member) {
        return None;
    }
    let seen = collector_saw(mesh, member)?;
    let (signs, silent) = neighbours(mesh, member);
    let subject = Subject::Node {
        node: member.node.clone(),
    };
    let age = |life: Life| {
        let of = signs.iter().filter(|(shown, _)| *shown == life);
        of.map(|(_, sign)| sign.age_ms).min()
    };
    let refused = age(Life::Kernel);
    // After a refusal an agent may have been started, and after an answer it may have ended: the later one counts.
    let runs =
        age(Life::Agent).is_some_and(|answered| refused.is_none_or(|refused| answered < refused));
    let mut draft = if signs.is_empty() && !silent.is_empty() {
        peer_silent(member, subject, silent.len())
    } else if member.speaks == Speaks::Stale {
        reports_stale(member, subject)
    } else if runs {
        reports_do_not_come(member, subject)
    } else {
        agent_not_reporting(member, subject, (!signs.is_empty(), refused.is_some()))
    };
    draft.evidence.push(seen);
    draft
        .evidence
        .extend(signs.into_iter().map(|(_, sign)| sign));
    draft.evidence.extend(silent);
    Some(draft.finish(None))
}

/// Whether a key that nobody claims may be that of a node whose agent has just come and has not read its device yet.
fn may_be_a_newcomer(mesh: &Mesh<'_>, member: &Member<'_>) -> bool {
    let unclaimed = matches!(member.node, NodeRef::Unnamed { .. });
    let new = |view: &crate::NodeView| mesh.now.since(view.since) < timing::SETTLE;
    let mut others = mesh.members.values();
    unclaimed && others.any(|other| other.key.is_none() && other.fresh().is_some_and(new))
}

fn collector_saw(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Citation> {
    let fact = format!("report-stream/{}", member.node);
    let last = member.last_report();
    match (member.speaks, last) {
        (Speaks::Stale, Some(at)) => Some(mesh.observed(
            at,
            &fact,
            "the report stream is open, but nothing comes".to_owned(),
        )),
        (Speaks::Stopped, Some(at)) => {
            Some(mesh.observed(at, &fact, "the report stream has ended".to_owned()))
        }
        (Speaks::Never, _) if mesh.started_long_ago() => {
            let text = "no report since the collector started".to_owned();
            Some(mesh.observed(mesh.view.started, &fact, text))
        }
        _ => None,
    }
}

/// What a sign of life is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// An agent that holds the mesh key: only such a one answers an echo.
    Agent,
    /// A kernel, at a port at which no agent listens.
    Kernel,
    /// `WireGuard`; of the agent it says nothing.
    WireGuard,
}

/// What the others say of a node that does not speak: signs of life, and silence.
fn neighbours(mesh: &Mesh<'_>, member: &Member<'_>) -> (Vec<(Life, Citation)>, Vec<Citation>) {
    let mut alive = Vec::new();
    let mut silent = Vec::new();
    let Some(key) = member.key else {
        return (alive, silent);
    };
    for other in mesh.members.values() {
        let (Some(echo), Some(peer)) = (other.echo_sent(&key), other.peer(&key)) else {
            continue;
        };
        if let Some(sign) = sign_of_life(mesh, member, other, (&key, echo, peer)) {
            alive.push(sign);
        } else if let Some(at) = echo
            .loss_since
            .filter(|_| echo.consecutive_lost >= timing::lost_in_a_row(echo.short_losses))
            .filter(|_| mesh.trouble(other).is_none())
        {
            let text = format!(
                "hears nothing of {}: {} echo requests in a row lost",
                member.node, echo.consecutive_lost
            );
            silent.push(mesh.cite(other, FactKey::EchoSent(key), at, text));
        }
    }
    (alive, silent)
}

/// What `other` still has of a node that does not speak. It must be later than what the node could have sent before its
/// last report was due, and than the first echo that it did not answer.
fn sign_of_life(
    mesh: &Mesh<'_>,
    member: &Member<'_>,
    other: &Member<'_>,
    (key, echo, peer): (&PublicKey, &EchoSent, &Peer),
) -> Option<(Life, Citation)> {
    let due = timing::ARRIVES_WITHIN + timing::SKEW;
    let gone = member
        .last_report()
        .map_or(mesh.view.started, |at| at.plus(due));
    let since = gone.max(echo.loss_since.unwrap_or(gone));
    // A tunnel without data still carries a keepalive each 25 s.
    let fresh = |at: &Moment| *at >= since && mesh.recent(*at, mesh.echo_fresh * 3);
    let refused = echo.refused.filter(fresh);
    let answered = echo.last_answered.filter(fresh);
    if let Some(at) = refused.filter(|_| refused >= answered) {
        let text = format!(
            "the kernel of {} answers through the tunnel: port unreachable, no agent listens",
            member.node
        );
        let sign = mesh.cite(other, FactKey::EchoSent(*key), at, text);
        return Some((Life::Kernel, sign));
    }
    if let Some(at) = answered {
        let text = format!(
            "{} still answers its echo: the agent runs, its reports do not come",
            member.node
        );
        let sign = mesh.cite(other, FactKey::EchoSent(*key), at, text);
        return Some((Life::Agent, sign));
    }
    // The counters are read once a second: what they show came up to that much earlier.
    let at = peer
        .rx_moved
        .filter(|at| fresh(at) && *at >= since.plus(due))?;
    let text = format!(
        "its WireGuard still receives authentic packets of {}",
        member.node
    );
    Some((
        Life::WireGuard,
        mesh.cite(other, FactKey::Peer(*key), at, text),
    ))
}

/// The agent answers others, so it is not what has to be started: something keeps its reports from here.
fn reports_do_not_come(member: &Member<'_>, subject: Subject) -> Draft {
    let node = &member.node;
    let summary = format!("the agent on {node} runs, and its reports do not get to this collector");
    let confidence = Confidence::Certain;
    let mut draft = Draft::new("agent-not-reporting", subject, confidence, summary);
    draft.fixes.push(fix(
        "who runs the node",
        format!(
            "ask the agent on {node} to whom it reports, and why not to this collector; where it names a connection that is not \
             answered or is refused, open the way to the collector's TCP port, past the tunnel or through it"
        ),
        Some(format!(
            "mesh-probe agent   # on {node}; the log of its agent says the same: talosctl -n {node} logs ext-mesh-agent"
        )),
    ));
    draft.could_also_be.extend([
        "this collector refuses its reports, or the agent was given other collectors only".to_owned(),
        "TLS fails between the two: with own certificates alone, as its echo shows that it has the mesh key".to_owned(),
    ]);
    draft.decided_by = Some(format!("what mesh-probe agent says on {node}"));
    draft
}

/// Its node is `alive`; and no agent listens there, if the kernel `refused` an echo.
fn agent_not_reporting(
    member: &Member<'_>,
    subject: Subject,
    (alive, refused): (bool, bool),
) -> Draft {
    let node = &member.node;
    let (confidence, summary) = if alive {
        (
            Confidence::Certain,
            format!("the agent on {node} does not report; the node's WireGuard is alive"),
        )
    } else {
        (
            Confidence::Likely,
            format!("the agent on {node} does not report"),
        )
    };
    let mut draft = Draft::new("agent-not-reporting", subject, confidence, summary);
    draft.fixes.push(fix(
        "who runs the node",
        format!("look at the agent's service on {node} and restart it"),
        Some(format!(
            "talosctl -n {node} service ext-mesh-agent; talosctl -n {node} logs ext-mesh-agent"
        )),
    ));
    if !alive {
        draft
            .could_also_be
            .push("the node is down or cut off".to_owned());
        draft.decided_by = Some("the echo of the other nodes towards it".to_owned());
    } else if !refused {
        draft.could_also_be.push(
            "the agent runs with another mesh key: then it answers no echo, and its connections fail in TLS".to_owned(),
        );
        draft.decided_by = Some("the log of the agent".to_owned());
    }
    draft
}

fn peer_silent(member: &Member<'_>, subject: Subject, observers: usize) -> Draft {
    let node = &member.node;
    let confidence = if observers >= 2 {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let summary =
        format!("{node} is silent: it does not report, and no other node hears it in the tunnel");
    let mut draft = Draft::new("peer-silent", subject, confidence, summary);
    draft.fixes.push(fix(
        "who runs the node",
        format!("see whether {node} is up: its console, its hypervisor, its uplink"),
        Some(format!(
            "talosctl -n {node} version   # by its underlay address, from its own site"
        )),
    ));
    draft
        .could_also_be
        .push("its uplink is down while the node itself is well".to_owned());
    draft
}

fn reports_stale(member: &Member<'_>, subject: Subject) -> Draft {
    let node = &member.node;
    let summary = format!("the reports of {node} have stopped though its connection is open");
    let mut draft = Draft::new("reports-stale", subject, Confidence::Likely, summary);
    draft.fixes.push(fix(
        "who runs the node",
        format!("see whether the agent on {node} hangs or the node is starved"),
        Some(format!(
            "talosctl -n {node} logs ext-mesh-agent --tail 20; talosctl -n {node} processes"
        )),
    ));
    draft
        .could_also_be
        .push("the path from the node to the collector has just died".to_owned());
    draft.decided_by =
        Some("the connection's own timeout (5 s), and the echo of the other nodes".to_owned());
    draft
}

/// The node reports, but has no readable `WireGuard` device.
fn no_device(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let source = member.source(SourceId::WireGuard)?;
    let gap = source.gap.as_ref()?;
    let node = &member.node;
    let mut draft = Draft::new(
        "wireguard-unreadable",
        Subject::Node { node: node.clone() },
        Confidence::Certain,
        format!("{node} has no readable WireGuard device kubespan"),
    );
    draft.evidence.push(mesh.cite(
        member,
        FactKey::Source(SourceId::WireGuard),
        source.read_at,
        gap.reason.clone(),
    ));
    draft.fixes.push(fix(
        "who runs the node",
        "see whether KubeSpan is on and its link is up",
        Some(format!(
            "talosctl -n {node} get kubespanidentities; talosctl -n {node} get links kubespan"
        )),
    ));
    Some(draft.finish(None))
}

fn second_machine(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    /// A conflict is news for so long after the last attempt; a clone tries again within seconds.
    const NEWS: std::time::Duration = std::time::Duration::from_mins(1);
    let conflict = member
        .view?
        .conflict
        .as_ref()
        .filter(|conflict| mesh.now.since(conflict.at) <= NEWS)?;
    let node = &member.node;
    let mut draft = Draft::new(
        "second-machine",
        Subject::Node { node: node.clone() },
        Confidence::Certain,
        format!("a second machine claims to be {node}; its reports are refused"),
    );
    let fact = format!("report-stream/{node}");
    draft
        .evidence
        .push(mesh.observed(conflict.at, &fact, conflict.what.clone()));
    draft.could_also_be.push(format!(
        "{node} was reset and has new keys: then restart the collector, with --forget {node} if it has a store"
    ));
    draft.fixes.push(fix(
        "who runs the machines",
        "find the machine with the same host name or a cloned disk, and reset its STATE partition",
        Some("talosctl reset --system-labels-to-wipe STATE --reboot   # on the clone".to_owned()),
    ));
    Some(draft.finish(None))
}

fn too_few(mesh: &Mesh<'_>) -> Option<Finding> {
    let (fresh, least) = (mesh.fresh_reporters(), mesh.view.expectation.min_nodes);
    let waited = mesh.now.since(mesh.view.started);
    if fresh >= least || !mesh.started_long_ago() {
        return None;
    }
    let summary = text::too_few(fresh, least);
    let mut draft = Draft::new(
        "too-few-nodes",
        Subject::Cluster,
        Confidence::Certain,
        summary.clone(),
    );
    let text = format!(
        "{summary}, {} after the collector started",
        text::age(waited)
    );
    draft
        .evidence
        .push(mesh.observed(mesh.now, "reporters", text));
    draft.fixes.push(fix(
        "who runs the cluster",
        "start the agents, or lower --min-nodes of the collector if the cluster is that small",
        None,
    ));
    Some(draft.finish(None))
}
