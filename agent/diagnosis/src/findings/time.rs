//! Clocks that are wrong, and time servers that do not tell the time. They excuse no path: WireGuard asks no clock.

use std::collections::BTreeMap;

use evidence::{
    Citation, Confidence, FactKey, Finding, NodeRef, NtpServer, NtpStage, Offset, Subject,
};

use super::{Draft, fix};
use crate::{
    clocks::{self, Clocks, Skewed},
    mesh::{Member, Mesh},
    text, timing,
};

/// Findings about clocks, and under them those about the time servers of the same nodes.
pub(super) fn find(mesh: &Mesh<'_>, judgement: &Clocks<'_, '_>) -> Vec<Finding> {
    let mut wrong: BTreeMap<&NodeRef, &str> = BTreeMap::new();
    let mut found = Vec::new();
    for member in mesh.members.values() {
        if let Some(finding) = impossible(mesh, member) {
            wrong.insert(&member.node, "clock-impossible");
            found.push(finding);
        }
    }
    for skewed in &judgement.skewed {
        wrong.insert(&skewed.member.node, "clock-skew");
    }
    if judgement.tie {
        found.extend(disagree(mesh, &judgement.skewed));
    } else {
        let each = judgement.skewed.iter();
        found.extend(each.map(|skewed| skew(mesh, skewed)));
        found.extend(servers_off(mesh, &judgement.agreeing, &wrong));
    }
    found.extend(unreachable(mesh, &wrong));
    found
}

/// A clock that shows a time before this program was written, or far after.
fn impossible(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let clock = member.clock()?;
    if !clocks::is_impossible(&clock.reading) {
        return None;
    }
    let node = &member.node;
    let year = year(clock.reading.wall_ms);
    let summary = format!(
        "the clock of {node} shows the year {year}: no certificate is valid for it, whatever the certificate"
    );
    let mut draft = Draft::new("clock-impossible", of(node), Confidence::Certain, summary);
    let text = format!(
        "its wall clock shows the year {year}, {} after its boot",
        text::age(clock.reading.at.since(clock.booted))
    );
    let cited = mesh.cite(member, FactKey::Clock, clock.reading.at, text);
    draft.evidence.push(cited);
    draft.evidence.extend(servers(mesh, member));
    draft.fixes.push(fix(
        "who runs the node",
        format!("give {node} a time server that it reaches early: on its LAN, by address, or a clock that keeps time without power"),
        Some(format!("talosctl -n {node} get timestatus; talosctl -n {node} time")),
    ));
    draft.could_also_be.push(format!(
        "{node} has just booted, and its clock will be set as soon as a time server answers"
    ));
    Some(draft.finish(None))
}

/// One clock against those of most others.
fn skew(mesh: &Mesh<'_>, skewed: &Skewed<'_, '_>) -> Finding {
    let node = &skewed.member.node;
    let summary = format!(
        "the clock of {node} is {} the clocks of the other nodes by {} or more",
        if skewed.ahead_ms > 0 {
            "ahead of"
        } else {
            "behind"
        },
        text::age(clocks::duration(skewed.ahead_ms)),
    );
    let confidence = if skewed.witnesses.len() >= 2 {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let mut draft = Draft::new("clock-skew", of(node), confidence, summary);
    cite_witnesses(mesh, skewed, &mut draft);
    draft.evidence.extend(servers(mesh, skewed.member));
    draft.fixes.push(same_servers(node));
    draft.finish(None)
}

/// As many clocks differ as agree: nobody can say which are right.
fn disagree(mesh: &Mesh<'_>, skewed: &[Skewed<'_, '_>]) -> Option<Finding> {
    let nodes: Vec<&NodeRef> = skewed.iter().map(|skewed| &skewed.member.node).collect();
    let first = skewed.first()?;
    let subject = match nodes[..] {
        [a, b] => Subject::Pair {
            a: a.min(b).clone(),
            b: a.max(b).clone(),
        },
        _ => Subject::Cluster,
    };
    let summary = format!(
        "the clocks of {} differ by {} or more, and nothing says which of them are right",
        text::list(&nodes),
        text::age(clocks::duration(first.ahead_ms)),
    );
    let mut draft = Draft::new("clock-skew", subject, Confidence::Undecided, summary);
    for skewed in skewed {
        cite_witnesses(mesh, skewed, &mut draft);
        draft.could_also_be.push(format!(
            "the clock of {} is the right one",
            skewed.member.node
        ));
    }
    draft.decided_by = Some("a time server that one of them reaches, or a third node".to_owned());
    draft.fixes.push(same_servers(first.member.node.clone()));
    Some(draft.finish(None))
}

fn cite_witnesses(mesh: &Mesh<'_>, skewed: &Skewed<'_, '_>, draft: &mut Draft) {
    /// So many say enough.
    const CITED: usize = 3;
    let node = &skewed.member.node;
    for (witness, offset) in skewed.witnesses.iter().take(CITED) {
        let text = format!("the clock of {node} is {} its own", ahead(*offset));
        let (fact, at) = skewed
            .member
            .key
            .and_then(|key| Some((FactKey::EchoSent(key), witness.echo_sent(&key)?.clock?.at)))
            .unwrap_or((FactKey::Clock, mesh.now));
        draft.evidence.push(mesh.cite(witness, fact, at, text));
    }
}

fn same_servers(node: impl std::fmt::Display) -> evidence::Fix {
    fix(
        "who runs the cluster",
        format!("give all nodes the same time servers, and see why {node} does not follow them"),
        Some(format!(
            "talosctl -n {node} time; talosctl -n {node} get timeservers; talosctl -n {node} get timestatus"
        )),
    )
}

/// A time server that tells another time than the nodes agree on. A clock that was compared with no other speaks for nobody.
fn servers_off(
    mesh: &Mesh<'_>,
    agreeing: &[&Member<'_>],
    wrong: &BTreeMap<&NodeRef, &str>,
) -> Vec<Finding> {
    let mut off: BTreeMap<&str, Draft> = BTreeMap::new();
    let well = agreeing
        .iter()
        .filter(|member| !wrong.contains_key(&member.node));
    for member in well {
        for (server, told, offset) in clocks::servers(mesh, member) {
            if offset.at_least() <= timing::SKEW_WARN {
                continue;
            }
            let draft = off
                .entry(&server.name)
                .or_insert_with(|| wrong_server(server, offset));
            let text = format!(
                "{} told a time that is {} its own clock",
                server.name,
                ahead(offset)
            );
            draft
                .evidence
                .push(mesh.cite(member, FactKey::Ntp, told.at, text));
        }
    }
    off.into_values().map(|draft| draft.finish(None)).collect()
}

fn wrong_server(server: &NtpServer, offset: Offset) -> Draft {
    let summary = format!(
        "the time server {} tells a time that is {} the clocks that the nodes agree on",
        server.name,
        ahead(offset)
    );
    let mut draft = Draft::new(
        "ntp-wrong-time",
        Subject::Cluster,
        Confidence::Likely,
        summary,
    );
    draft
        .could_also_be
        .push("the clocks of all nodes are off together, and the server is right".to_owned());
    draft.decided_by = Some("another time server".to_owned());
    draft.fixes.push(fix(
        "who runs the cluster",
        format!(
            "compare {} with a time server that you trust, and use another until it is right",
            server.name
        ),
        None,
    ));
    draft
}

/// Nodes none of whose time servers tells the time, together where it is all of them.
fn unreachable(mesh: &Mesh<'_>, wrong: &BTreeMap<&NodeRef, &str>) -> Vec<Finding> {
    let mut alike: BTreeMap<Vec<(&str, NtpStage)>, Vec<&Member<'_>>> = BTreeMap::new();
    let mut asking = 0;
    for member in mesh.members.values() {
        asking += usize::from(member.ntp().is_some());
        if let Some(stages) = in_vain(mesh, member) {
            alike.entry(stages).or_default().push(member);
        }
    }
    let mut found = Vec::new();
    for (stages, members) in &alike {
        let folded = |member: &&Member<'_>| wrong.get(&member.node).copied();
        let all = members.len() >= 2 && members.len() == asking;
        if all && members.iter().find_map(folded).is_none() {
            found.push(in_vain_finding(mesh, Subject::Cluster, stages, members).finish(None));
            continue;
        }
        for member in members {
            let draft = in_vain_finding(mesh, of(&member.node), stages, &[member]);
            found.push(draft.finish(folded(member)));
        }
    }
    found
}

/// How far the questions to each server of a node came, if none brought the time and that is no matter of a lost packet.
fn in_vain<'a>(mesh: &Mesh<'_>, member: &Member<'a>) -> Option<Vec<(&'a str, NtpStage)>> {
    let servers = &member.ntp()?.servers;
    let lost = |server: &&NtpServer| server.stage == NtpStage::Silent;
    let silences: u32 = servers
        .iter()
        .filter(lost)
        .fold(0, |sum, server| sum.saturating_add(server.failed_in_a_row));
    // One silence is no matter, neither of a server nor of a resolver: all are asked at one time, and one blip hits them all.
    let is_sure = |server: &NtpServer| match server.stage {
        NtpStage::Silent => server.failed_in_a_row >= 2 && silences >= timing::LOST_IN_A_ROW,
        NtpStage::NameUnanswered => server.failed_in_a_row >= 2,
        _ => true,
    };
    let failed = |server: &NtpServer| {
        server.stage != NtpStage::Answered
            && mesh.recent(server.asked, timing::NTP_FRESH)
            && is_sure(server)
    };
    let all = !servers.is_empty() && servers.iter().all(failed);
    let stage = |server: &'a NtpServer| (server.name.as_str(), server.stage);
    all.then(|| servers.iter().map(stage).collect())
}

fn in_vain_finding(
    mesh: &Mesh<'_>,
    subject: Subject,
    stages: &[(&str, NtpStage)],
    members: &[&Member<'_>],
) -> Draft {
    let furthest = stages.iter().map(|(_, stage)| *stage).max();
    let stage = furthest.unwrap_or(NtpStage::Silent);
    let names: Vec<&str> = stages.iter().map(|(name, _)| *name).collect();
    let who: Vec<&NodeRef> = members.iter().map(|member| &member.node).collect();
    let summary = format!(
        "{} gets no time from {}: {}",
        text::list(&who),
        text::list(&names),
        what(stage)
    );
    let mut draft = Draft::new("ntp-unreachable", subject, Confidence::Certain, summary);
    for member in members {
        draft.evidence.extend(servers(mesh, member));
    }
    draft.fixes.push(remedy(stage, &text::list(&names)));
    draft
}

const fn what(stage: NtpStage) -> &'static str {
    match stage {
        NtpStage::NoSuchName => "a resolver says that there is no such name",
        NtpStage::NameUnanswered => "its name could not be resolved",
        NtpStage::NoRoute => "there is no way to it from here",
        NtpStage::PortClosed => "its port UDP 123 is closed",
        NtpStage::Silent => "UDP 123 brings no answer",
        NtpStage::Malformed => "what answers on UDP 123 speaks no NTP",
        NtpStage::Refused => "it tells this node to go away",
        NtpStage::Unsynchronized | NtpStage::Answered => "it does not know the time itself",
    }
}

fn remedy(stage: NtpStage, names: &str) -> evidence::Fix {
    let (who, action) = match stage {
        NtpStage::NoSuchName | NtpStage::NameUnanswered => (
            "who runs the resolvers",
            format!(
                "let the nodes' resolvers resolve {names}, or configure the time servers by address"
            ),
        ),
        NtpStage::NoRoute | NtpStage::Silent => (
            "who runs the firewall",
            format!("let UDP 123 out to {names}, and its answers back in"),
        ),
        NtpStage::Refused => (
            "who runs the cluster",
            format!("ask {names} less often or from fewer addresses, or use a server of your own"),
        ),
        _ => (
            "who runs the time server",
            format!("let an NTP server that is synchronized run on {names}, or configure another"),
        ),
    };
    fix(
        who,
        action,
        Some("talosctl get timeservers; talosctl get timestatus".to_owned()),
    )
}

/// What a node says of each of its servers.
fn servers(mesh: &Mesh<'_>, member: &Member<'_>) -> Vec<Citation> {
    let all = member.ntp().into_iter().flat_map(|ntp| &ntp.servers);
    let cite = |server: &NtpServer| {
        let detail = server.detail.as_ref();
        let detail = detail.map_or_else(String::new, |detail| format!(" ({detail})"));
        let text = format!("time server {}: {}{detail}", server.name, server.stage);
        mesh.cite(member, FactKey::Ntp, server.asked, text)
    };
    all.map(cite).collect()
}

fn of(node: &NodeRef) -> Subject {
    Subject::Node { node: node.clone() }
}

/// `12 s ahead of`, with the error where it is worth a word.
fn ahead(offset: Offset) -> String {
    let side = if offset.ahead_ms < 0 {
        "behind"
    } else {
        "ahead of"
    };
    format!(
        "{} (give or take {} ms) {side}",
        text::age(clocks::duration(offset.ahead_ms)),
        offset.error_ms
    )
}

/// The year of a wall clock, in years of their mean length: near its ends it may be the one beside.
fn year(wall_ms: i64) -> i64 {
    const MEAN_YEAR_MS: i64 = 31_556_952_000;
    1970 + wall_ms.div_euclid(MEAN_YEAR_MS)
}
