//! What Talos says, of the node and of its peers.

use std::net::IpAddr;

use diagnosis::candidates::{self, Standpoint, Suitability};
use evidence::{Condition, Moment, Talos, TalosNetwork, TalosPeer, TalosService};

use crate::render::text::few;

/// Names of a list that are shown.
const SHOWN: usize = 4;

/// The node. What Talos does not say has no line.
pub fn node(talos: &Talos) -> Vec<String> {
    let known = |what: &Option<String>| what.clone().unwrap_or_else(|| "?".to_owned());
    let mut lines = vec![format!(
        "Talos {} on {}: {}",
        known(&talos.version),
        known(&talos.hostname),
        stage(talos)
    )];
    lines.extend(talos.unmet.iter().map(|unmet| told("not met", unmet)));
    lines.extend(addresses("advertises", &talos.addresses));
    lines.extend(addresses("seen by discovery as", &talos.discovered));
    lines.extend(counts(talos));
    lines.extend(talos.time.map(|time| {
        let state = match (time.synced, time.disabled) {
            (true, _) => "in step",
            (false, true) => "not kept in step, by configuration",
            (false, false) => "NOT in step",
        };
        format!("clock: {state}")
    }));
    lines.extend(talos.network.and_then(lacking));
    lines.extend(talos.kubeprism.map(|healthy| {
        let state = if healthy { "reaches" } else { "does NOT reach" };
        format!("KubePrism {state} an API server")
    }));
    lines.extend(services(&talos.services));
    lines.extend(
        talos
            .diagnostics
            .iter()
            .map(|found| told("diagnostic", found)),
    );
    if talos.left_out > 0 {
        lines.push(format!("and {} more that are not told", talos.left_out));
    }
    lines
}

/// A peer with its candidates, judged from where this node stands.
pub fn peer(peer: &TalosPeer, from: Standpoint<'_>, now: Moment) -> Vec<String> {
    let status = peer.status.as_ref();
    let state = status.map_or("not looked at yet", |status| status.state.as_str());
    let mut lines = vec![format!("{}: {state}", peer.label)];
    let used = status.and_then(|status| status.endpoint);
    let last = status.and_then(|status| status.last_used);
    for candidate in &peer.candidates {
        let mark = match Some(candidate.to) {
            to if to == used => "in use",
            to if to == last => "set last",
            _ => "",
        };
        let why = candidates::judge(candidate, from).as_str();
        lines.push(format!("  {mark:<8}  {}  {why}", candidate.to));
    }
    if peer.left_out > 0 {
        lines.push(format!("  and {} more candidates", peer.left_out));
    }
    lines.extend(learnt(peer));
    lines.extend(rotation(peer, from, now));
    lines
}

fn stage(talos: &Talos) -> String {
    let stage = talos.stage.map_or("?", evidence::Stage::as_str);
    match talos.ready {
        Some(true) => format!("{stage}, ready"),
        Some(false) => format!("{stage}, NOT ready"),
        None => stage.to_owned(),
    }
}

fn told(what: &str, condition: &Condition) -> String {
    format!("{what}: {}: {}", condition.name, condition.reason)
}

fn addresses(what: &str, list: &[IpAddr]) -> Option<String> {
    (!list.is_empty()).then(|| format!("{what} {}", few(list.iter(), SHOWN)))
}

fn counts(talos: &Talos) -> Option<String> {
    let members = talos.members?;
    let affiliates = talos.affiliates?;
    Some(format!("{members} members of {affiliates} affiliates"))
}

fn lacking(network: TalosNetwork) -> Option<String> {
    let parts = [
        (network.addresses, "an address"),
        (network.connectivity, "connectivity"),
        (network.hostname, "a host name"),
        (network.etc_files, "the resolver's files"),
    ];
    let lacking = parts.iter().filter(|(ready, _)| !ready);
    let lacking: Vec<&str> = lacking.map(|(_, part)| *part).collect();
    (!lacking.is_empty()).then(|| format!("network: waits for {}", few(lacking.iter(), SHOWN)))
}

fn services(services: &[TalosService]) -> Option<String> {
    if services.is_empty() {
        return None;
    }
    let well = |service: &&TalosService| service.running && service.healthy != Some(false);
    let good = services.iter().filter(well).count();
    let bad = services.iter().filter(|service| !well(service));
    let bad: Vec<String> = bad.map(|service| service.name.clone()).collect();
    let tail = if bad.is_empty() {
        String::new()
    } else {
        format!("; not well: {}", few(bad.iter(), SHOWN))
    };
    Some(format!(
        "{good} of {} services are well{tail}",
        services.len()
    ))
}

/// An endpoint that is no candidate was learnt from a packet.
fn learnt(peer: &TalosPeer) -> Option<String> {
    let used = peer.status.as_ref()?.endpoint?;
    let listed = peer.candidates.iter().any(|candidate| candidate.to == used);
    (!listed).then(|| format!("  in use    {used}  learnt from a packet of the peer"))
}

/// Told only while the endpoint in use cannot work.
fn rotation(peer: &TalosPeer, from: Standpoint<'_>, now: Moment) -> Option<String> {
    let used = peer.status.as_ref()?.endpoint?;
    let candidate = peer.candidates.iter().find(|one| one.to == used)?;
    let why: Suitability = candidates::judge(candidate, from);
    if why.can_work() {
        return None;
    }
    Some(match candidates::rotation(peer, from, now) {
        Some(left) => format!(
            "  next that can work: {}, in {} s or more",
            left.next_good.to,
            left.at_least.as_secs()
        ),
        None => "  none of its candidates can work".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use evidence::{Candidate, CandidateWay, Stage, TalosPeerState, TalosPeerStatus, TalosTime};

    use super::*;

    #[test]
    fn a_node_is_told_in_short_and_what_is_wrong_stands_out() {
        let service = |name: &str, healthy| TalosService {
            name: name.to_owned(),
            running: true,
            healthy,
        };
        let talos = Talos {
            version: Some("v1.13.9".to_owned()),
            hostname: Some("vps-1".to_owned()),
            stage: Some(Stage::Running),
            ready: Some(false),
            unmet: vec![Condition {
                name: "services".to_owned(),
                reason: "kubelet is not healthy".to_owned(),
            }],
            addresses: vec![[203, 0, 113, 11].into()],
            members: Some(3),
            affiliates: Some(4),
            time: Some(TalosTime {
                synced: false,
                disabled: false,
            }),
            services: vec![service("apid", Some(true)), service("kubelet", Some(false))],
            ..Talos::default()
        };
        assert_eq!(
            node(&talos),
            [
                "Talos v1.13.9 on vps-1: running, NOT ready",
                "not met: services: kubelet is not healthy",
                "advertises 203.0.113.11",
                "3 members of 4 affiliates",
                "clock: NOT in step",
                "1 of 2 services are well; not well: kubelet",
            ]
        );
    }

    #[test]
    fn candidates_are_told_in_order_with_what_speaks_against_each() {
        let candidate = |to: &str, via: Option<&str>| Candidate {
            to: to.parse().unwrap(),
            way: Some(CandidateWay {
                via: via.map(str::to_owned),
                on_link: false,
            }),
        };
        let bad = candidate("[2001:db8::1]:51820", None);
        let told = TalosPeer {
            since: Moment::ZERO,
            label: "vps-2".to_owned(),
            address: None,
            allowed_ips: Vec::new(),
            status: Some(TalosPeerStatus {
                state: TalosPeerState::Unknown,
                endpoint: Some(bad.to),
                last_used: Some(bad.to),
                last_change: Some(Moment::from_millis(20_000)),
            }),
            candidates: vec![bad, candidate("203.0.113.12:51820", Some("eth0"))],
            left_out: 0,
        };
        let now = Moment::from_millis(30_000);
        assert_eq!(
            peer(&told, Standpoint::default(), now),
            [
                "vps-2: unknown",
                "  in use    [2001:db8::1]:51820  has no IPv6 route",
                "            203.0.113.12:51820  can be reached",
                "  next that can work: 203.0.113.12:51820, in 20 s or more",
            ]
        );
    }
}
