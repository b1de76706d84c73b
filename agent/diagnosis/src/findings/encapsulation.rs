//! What a kernel or a network card makes of encapsulated packets: wrong checksums, and devices that are led into themselves.

use std::time::Duration;

use evidence::{
    Complaint, ComplaintKind, Confidence, FactKey, Finding, Host, HostLink, Layer, Subject,
};

use super::{Draft, fix};
use crate::{
    mesh::{Member, Mesh},
    text, timing,
};

/// So many wrong checksums in a minute are no accident of the line; strangers cause one now and then.
const MANY: u32 = 10;
const KUBESPAN: &str = "kubespan";
/// The kind of a link that the kernel itself encrypts for.
const IN_KERNEL: &str = "wireguard";
/// How long ago the kernel may have complained last: it holds such lines back when there are many, and the log is read each 5 s.
const COMPLAINED: Duration = Duration::from_mins(1);

pub(super) fn find(mesh: &Mesh<'_>) -> Vec<Finding> {
    let members = mesh.members.values();
    let fresh = members.filter(|member| member.fresh().is_some());
    fresh
        .flat_map(|member| [recursion(mesh, member), checksums(mesh, member)])
        .flatten()
        .collect()
}

/// The kernel says that what a device encapsulates comes back to it, and the device drops. The log is that of all namespaces of the
/// machine: a line about a device of this name that does not drop here is about another one.
fn recursion(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let host = member.host()?;
    let lately = |drops: &evidence::Drops| {
        let last = drops.last;
        last.filter(|at| mesh.recent(*at, COMPLAINED))
    };
    let drops = |link: &&HostLink| {
        link.tx_dropped
            .is_some_and(|drops| lately(&drops).is_some())
    };
    let of = |complaint: &Complaint| {
        let links = host.links.iter().filter(drops);
        let mut links = links.filter(|link| Some(&link.name) == complaint.link.as_ref());
        links.next().cloned()
    };
    let loops = host.complaints.iter().flatten();
    let mut loops = loops.filter(|complaint| complaint.kind == ComplaintKind::DeadLoop);
    let (complaint, link, at) =
        loops.find_map(|complaint| Some((complaint, of(complaint)?, lately(&complaint.seen)?)))?;
    let (node, name) = (&member.node, &link.name);
    let summary =
        format!("what {name} of {node} encapsulates is routed into {name} again, and dropped");
    let mut draft = Draft::new(
        "virtual-device-recursion",
        of_node(member),
        Confidence::Certain,
        summary,
    );
    let count = complaint.seen.count;
    let said = format!("its kernel complained {count} times of a dead loop on {name}");
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Host, at, said));
    if let Some(drops) = link.tx_dropped
        && let Some(at) = drops.last
    {
        let dropped = format!("{name} dropped {} packets that were to leave", drops.count);
        draft
            .evidence
            .push(mesh.cite(member, FactKey::Host, at, dropped));
    }
    draft.fixes.push(fix(
        "who configures the pod network",
        format!("find the route that leads the far end of {name} into {name} itself: a pod network that covers node addresses, or a leaked route"),
        Some(format!("ip -d link show {name}; ip route get <far end>   # talosctl -n {node} get routes")),
    ));
    Some(draft.finish(None))
}

/// Datagrams of the overlay arrive at a node that counts wrong checksums, and a card elsewhere makes those.
fn checksums(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let host = member.host()?;
    if looks_at_no_checksum(host) {
        return None;
    }
    let lately = host.checksum_errors_lately.filter(|count| *count >= MANY)?;
    let last = host.checksum_errors.and_then(|errors| errors.last)?;
    if !mesh.recent(last, timing::FILTERED) {
        return None;
    }
    let key = member.key?;
    let bound = timing::size_fresh(mesh.members.len());
    let arrives = |other: &Member<'_>| {
        let sizes = other.sizes(&key, Layer::Overlay)?;
        let seen = sizes.full_arrived.or(sizes.seen_arriving)?;
        mesh.recent(seen, bound).then_some(seen)
    };
    let others = || {
        mesh.members
            .values()
            .filter(|other| other.node != member.node)
    };
    let (witness, seen_at) = others().find_map(|other| Some((other, arrives(other)?)))?;
    let makers: Vec<&Member<'_>> = others()
        .filter(|other| other.host().is_some_and(makes))
        .collect();
    let names: Vec<_> = makers.iter().map(|maker| &maker.node).collect();
    let first = names.first()?;
    let node = &member.node;
    let summary = format!(
        "datagrams arrive at {node} with wrong checksums, {lately} in the last minute, and are dropped: a card that makes the checksums of encapsulated packets may spoil them"
    );
    let mut draft = Draft::new(
        "checksums-wrong",
        of_node(member),
        Confidence::Likely,
        summary,
    );
    let seen = format!("its kernel counted {lately} wrong checksums in a minute");
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Host, last, seen));
    let passes = format!(
        "its own datagrams to the overlay's port of {node} arrive: neither the port nor their size is the trouble"
    );
    draft
        .evidence
        .push(mesh.cite(witness, FactKey::Sizes(key), seen_at, passes));
    for maker in &makers {
        let at = maker.last_report().unwrap_or(mesh.now);
        let text = "its card makes the checksums of what leaves (tx-checksum-ip-generic)";
        draft
            .evidence
            .push(mesh.cite(maker, FactKey::Host, at, text.to_owned()));
    }
    draft.fixes.push(fix(
        format!("who runs {}", text::list(&names)),
        "switch the work of the card off on one sender, and see whether the count stands still; then keep it off in the configuration, or update kernel or hypervisor",
        Some(format!("EthernetConfig document: features: {{ tx-checksum-ip-generic: false }}   # on {first}; elsewhere: ethtool -K eth0 tx-checksum-ip-generic off")),
    ));
    draft
        .could_also_be
        .push("a line or a device in between that spoils packets".to_owned());
    draft
        .could_also_be
        .push(format!("a stranger who sends spoiled packets to {node}"));
    draft.decided_by =
        Some("the count after the card's work was switched off on one sender".to_owned());
    Some(draft.finish(None))
}

/// What the kernel's own `WireGuard` has decrypted it takes for verified, in every layer of encapsulation: wrong checksums inside of the
/// tunnel are neither counted nor dropped there, so what such a node counts came by another way and says nothing of the overlay.
fn looks_at_no_checksum(host: &Host) -> bool {
    let is_tunnel = |link: &&HostLink| link.name == KUBESPAN;
    let tunnel = host.links.iter().find(is_tunnel);
    tunnel.is_some_and(|link| link.kind.as_deref() == Some(IN_KERNEL))
}

/// Whether a card of the node makes checksums. A node in a container has none: the end of its pair of links stands for it.
fn makes(host: &Host) -> bool {
    let up = || host.links.iter().filter(|link| link.up);
    let is_pair = |link: &HostLink| link.kind.as_deref() == Some("veth");
    let has_card = up().any(HostLink::is_hardware);
    let mut cards = up().filter(|link| link.is_hardware() || (!has_card && is_pair(link)));
    cards.any(|link| link.offload.is_some_and(|offload| offload.checksum))
}

fn of_node(member: &Member<'_>) -> Subject {
    Subject::Node {
        node: member.node.clone(),
    }
}
