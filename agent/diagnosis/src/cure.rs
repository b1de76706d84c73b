//! Whether waiting can cure what a finding says. One table, so that a wait ends early for reasons that can be read.
//!
//! What contradicts itself in identities or in the configuration of nodes stays until a person changes it: that ends a
//! wait. A path, a firewall, a service or a rule that some controller writes may be mended by another hand while a script
//! waits, and often is: that does not.

use evidence::{Confidence, Finding, Gate, NodeRef, Phase, Rung, Subject};

use crate::{
    directions::Directions,
    levels::Check,
    mesh::{Mesh, Speaks},
};

/// What waiting does to a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cure {
    /// It may go away while one waits.
    Waiting,
    /// It stays until somebody changes it.
    Change,
}

/// How a finding that stays keeps a level shut. Two troubles may be there at once: only what shuts the level ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shuts {
    /// Directions that it, or what is folded under it, explains.
    Explained,
    /// All directions of the node or nodes that it is about.
    Node,
    /// Nodes that are expected and do not come.
    Absent,
    /// No level that is measured.
    Nothing,
}

use Cure::{Change, Waiting};
use Shuts::{Absent, Explained, Node, Nothing};

/// Code, whether waiting cures it, what it shuts, and why.
type Row = (&'static str, Cure, Shuts, &'static str);

#[rustfmt::skip]
const ROWS: [Row; 60] = [
    ("address-overlap", Change, Explained, "addresses are configuration, and a device gives one to a single peer"),
    ("affiliate-stale", Waiting, Nothing, "the service forgets an affiliate after 30 minutes"),
    ("agent-not-reporting", Waiting, Nothing, "an agent may be started, and a way to the collector be opened"),
    ("allowed-ip-missing", Waiting, Nothing, "Talos writes allowed IPs whenever peers change"),
    ("checksums-wrong", Waiting, Nothing, "a setting of a card may be changed while one waits"),
    ("clock-impossible", Waiting, Nothing, "a time server may yet set the clock"),
    ("clock-skew", Waiting, Nothing, "a time server may yet set the clock"),
    ("cluster-id-differs", Change, Node, "the id is configuration: that machine looks for its peers elsewhere for ever"),
    ("cluster-secret-differs", Change, Absent, "the secret is configuration: nobody can ever read that machine, nor it the others"),
    ("data-dropped-handshakes-pass", Waiting, Nothing, "a filter on the way may be changed"),
    ("discovery-ipv6-broken", Waiting, Nothing, "a path may be mended"),
    ("discovery-rate-limited", Waiting, Nothing, "the limit is one of requests in a time"),
    ("discovery-unreachable", Waiting, Nothing, "a service comes back"),
    ("dns-failing", Waiting, Nothing, "a resolver comes back"),
    ("endpoint-cannot-work", Waiting, Nothing, "Talos goes on to the next candidate"),
    ("endpoint-elsewhere", Waiting, Nothing, "Talos sets another once the peer has been down for a while"),
    ("endpoint-hairpin", Waiting, Nothing, "Talos goes on to the next candidate"),
    ("endpoint-overwritten", Waiting, Nothing, "it is good again after each time, and for longer once the writer rests"),
    ("endpoint-shared-behind-nat", Waiting, Nothing, "Talos goes on to the next candidate, and a NAT gives new mappings"),
    ("endpoint-without-ipv6-route", Waiting, Nothing, "Talos goes on to the next candidate"),
    ("machine-cloned", Change, Node, "two machines with one identity stay two"),
    ("nat-mapping-moved", Waiting, Nothing, "the tunnel follows with the next packet that its device can open"),
    ("nat-symmetric-both-ends", Change, Explained, "neither router will give one port for all, and KubeSpan has no relay"),
    ("nft-set-lacks-peer", Waiting, Nothing, "Talos writes its chains whenever peers change"),
    ("node-address-changed", Waiting, Nothing, "the others learn the address when Talos has told them"),
    ("node-ip-ambiguous", Waiting, Nothing, "it may come out right, and no measured level rests on it"),
    ("ntp-unreachable", Waiting, Nothing, "a server comes back"),
    ("ntp-wrong-time", Waiting, Nothing, "a server may be set right"),
    ("observer-overloaded", Waiting, Nothing, "load passes"),
    ("one-way-loss", Waiting, Nothing, "a path may be mended"),
    ("overlay-mtu-too-small", Waiting, Nothing, "a path may be mended"),
    ("overlay-port-blocked", Waiting, Nothing, "a firewall may be changed, and rules come in the order of a rollout"),
    ("path-broken", Waiting, Nothing, "a path may be mended"),
    ("path-flapping", Waiting, Nothing, "what comes and goes may stay"),
    ("peer-missing", Waiting, Nothing, "discovery may yet tell of it"),
    ("peer-never-connected", Waiting, Nothing, "Talos goes on to the next candidate"),
    ("peer-silent", Waiting, Nothing, "a node may come back"),
    ("pmtu-black-hole", Waiting, Nothing, "a path may be mended"),
    ("port-51820-taken", Change, Node, "KubeSpan's port cannot be changed, and the other program keeps it"),
    ("reports-stale", Waiting, Nothing, "reports may come again"),
    ("reverse-path-filter", Waiting, Nothing, "a CNI sets the filter when it starts"),
    ("second-machine", Change, Node, "the second machine is never taken in, and which of the two is right nobody knows"),
    ("steering-bypassed", Waiting, Nothing, "whoever made the rule may take it back: a CNI that starts, a VPN"),
    ("steering-rule-missing", Waiting, Nothing, "Talos writes its rule anew"),
    ("steering-table-empty", Waiting, Nothing, "Talos writes its routes anew"),
    ("tls-intercepted", Waiting, Nothing, "a proxy may be changed, and a network be left"),
    ("too-few-nodes", Waiting, Nothing, "nodes may yet come"),
    ("tunnel-in-tunnel", Waiting, Nothing, "Talos and other controllers write routes anew"),
    ("tunnel-silent", Waiting, Nothing, "it is not decided yet"),
    ("udp-51820-blocked-both-ways", Waiting, Nothing, "a firewall may be changed, and rules come in the order of a rollout"),
    ("udp-51820-blocked-inbound", Waiting, Nothing, "a firewall may be changed, and rules come in the order of a rollout"),
    ("udp-51820-blocked-outbound", Waiting, Nothing, "a firewall may be changed, and rules come in the order of a rollout"),
    ("udp-51820-dropped-by-host", Waiting, Nothing, "the firewall of a host may be written anew"),
    ("uplink-mtu-too-small", Waiting, Nothing, "a router's advertisement may change the MTU of a link"),
    ("virtual-device-recursion", Waiting, Nothing, "a route may be taken back"),
    ("vxlan-mtu-too-large", Waiting, Nothing, "a CNI may make its devices anew"),
    ("vxlan-port-taken-twice", Change, Nothing, "the device that is left over stays until it is deleted"),
    ("wireguard-psk-mismatch", Change, Explained, "the preshared key is the cluster's secret, which is configuration"),
    ("wireguard-unreadable", Waiting, Nothing, "a device may yet come up"),
    ("wireguard-wrong-key", Change, Explained, "the old key is dialled until discovery forgets it: up to 30 minutes, longer than scripts wait"),
];

/// What waiting does to a finding, and why. A code that is not known ends no wait.
pub fn cure(code: &str) -> (Cure, &'static str) {
    row(code).map_or((Waiting, "it is not known"), |row| (row.1, row.3))
}

fn row(code: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.0 == code)
}

/// Whether a level with such a check is shut by a root that no waiting cures.
pub(crate) fn shuts_for_good(
    mesh: &Mesh<'_>,
    directions: &Directions<'_, '_>,
    findings: &[Finding],
    check: Check,
) -> bool {
    // What decides nothing yet ends no wait.
    let roots = findings.iter().filter(|finding| {
        finding.suppressed_by.is_none() && finding.confidence != Confidence::Undecided
    });
    roots
        .filter_map(|root| Some((root, row(&root.code)?)))
        .filter(|(_, row)| row.1 == Change)
        .any(|(root, row)| match row.2 {
            Explained => explained_fails(directions, findings, root, check.rung()),
            Node => touched_is_unproved(directions, root, check.rung()),
            Absent => check != Check::None && somebody_is_missing(mesh),
            Nothing => false,
        })
}

fn explained_fails(
    directions: &Directions<'_, '_>,
    findings: &[Finding],
    root: &Finding,
    rung: Option<Rung>,
) -> bool {
    let effect = |finding: &&Finding| finding.suppressed_by.as_deref() == Some(root.code.as_str());
    let explained = findings
        .iter()
        .filter(effect)
        .chain([root])
        .flat_map(|finding| &finding.explains);
    let failing = |from: &NodeRef, to: &NodeRef| {
        let direction = directions
            .odd()
            .find(|direction| direction.from == from && direction.to == to);
        let broken = direction.and_then(|direction| direction.ladder.broken_at());
        matches!((broken, rung), (Some(at), Some(rung)) if at <= rung)
    };
    let mut explained = explained;
    explained.any(|pair| failing(&pair.from, &pair.to))
}

fn touched_is_unproved(
    directions: &Directions<'_, '_>,
    root: &Finding,
    rung: Option<Rung>,
) -> bool {
    let about = |node: &NodeRef| match &root.subject {
        Subject::Node { node: one } => node == one,
        Subject::Pair { a, b } => node == a || node == b,
        Subject::Cluster
        | Subject::Direction { .. }
        | Subject::Site { .. }
        | Subject::Ends { .. } => false,
    };
    let mut touched = directions
        .odd()
        .filter(|direction| about(direction.from) || about(direction.to));
    rung.is_some() && touched.any(|direction| direction.ladder.highest() < rung)
}

fn somebody_is_missing(mesh: &Mesh<'_>) -> bool {
    let never = |member: &crate::mesh::Member<'_>| member.speaks == Speaks::Never;
    let few = mesh.fresh_reporters() < mesh.view.expectation.min_nodes;
    mesh.started_long_ago() && (few || mesh.members.values().any(never))
}

/// What is shut for good below a level shuts it for good, unless it is ready all the same.
pub(crate) fn rise(gates: &mut [Gate]) {
    // A path is no longer than there are levels, whatever their order.
    for _ in 0..gates.len() {
        let shut: Vec<String> = gates
            .iter()
            .filter(|gate| gate.terminal)
            .map(|gate| gate.level.clone())
            .collect();
        let mut risen = false;
        for gate in gates.iter_mut() {
            let rests = gate.depends_on.iter().any(|below| shut.contains(below));
            if rests && !gate.terminal && gate.phase != Phase::Ready {
                gate.terminal = true;
                risen = true;
            }
        }
        if !risen {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_decided_once_and_with_a_reason() {
        let pages: BTreeSet<&str> = crate::pages().iter().map(|page| page.code).collect();
        let decided: BTreeSet<&str> = ROWS.iter().map(|row| row.0).collect();
        assert_eq!(decided, pages, "each page has a row, and each row a page");
        assert_eq!(decided.len(), ROWS.len());
        for (code, cure, shuts, why) in ROWS {
            assert!(!why.is_empty(), "{code}");
            assert!(cure == Change || shuts == Nothing, "{code}");
        }
    }

    #[test]
    fn what_is_not_known_ends_no_wait() {
        assert_eq!(cure("of-a-later-version").0, Waiting);
        assert_eq!(cure("wireguard-psk-mismatch").0, Change);
        assert_eq!(cure("udp-51820-blocked-inbound").0, Waiting);
    }
}
