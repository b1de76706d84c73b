//! Which of several addresses Kubernetes takes for a node.

use std::net::IpAddr;

use evidence::{Confidence, FactKey, Finding, Subject, Talos};

use super::{Draft, fix};
use crate::{
    mesh::{Member, Mesh},
    timing,
};

/// Why the address that a node took is not the one that it should have.
enum Odd {
    /// It is of an overlay network of another kind, or of a provider (100.64/10).
    Shared,
    /// Other nodes are known by addresses of a network in which this one has an address as well.
    Elsewhere(IpAddr),
}

pub(super) fn find(mesh: &Mesh<'_>) -> Vec<Finding> {
    let members = mesh.members.values();
    let fresh = members.filter(|member| member.fresh().is_some());
    fresh.filter_map(|member| judge(mesh, member)).collect()
}

fn judge(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let talos = settled(mesh, member)?;
    let (taken, other, why) = talos
        .node_ips
        .iter()
        .find_map(|taken| odd(mesh, member, talos, *taken))?;
    let node = &member.node;
    let summary = format!(
        "Kubernetes knows {node} by {taken}, though it has {other} as well: which of several addresses it takes is left to chance"
    );
    let subject = Subject::Node { node: node.clone() };
    let mut draft = Draft::new("node-ip-ambiguous", subject, Confidence::Likely, summary);
    let has: Vec<_> = talos.addresses.iter().collect();
    let range = match why {
        Odd::Shared => {
            "; 100.64.0.0/10 belongs to providers and to overlay networks such as Tailscale"
        }
        Odd::Elsewhere(_) => "",
    };
    let said = format!(
        "Talos gives the kubelet {taken}, of the addresses {}{range}",
        crate::text::list(&has)
    );
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Talos, talos.since, said));
    if let Odd::Elsewhere(there) = why {
        let knows = |talos: &Talos| talos.node_ips.contains(&there);
        let mut members = mesh.members.values();
        let holder = members.find(|other| other.talos().is_some_and(knows))?;
        let at = holder.talos().map_or(mesh.now, |talos| talos.since);
        let text = format!("Kubernetes knows it by {there}, in the network of {other}");
        draft
            .evidence
            .push(mesh.cite(holder, FactKey::Talos, at, text));
    }
    draft.fixes.push(fix(
        "who configures the nodes",
        "say which network the node's address is of; on a control plane the same for etcd. Changing it under a running CNI needs care",
        Some(format!(
            "machine.kubelet.nodeIP.validSubnets: [{}], cluster.etcd.advertisedSubnets",
            network(other)
        )),
    ));
    draft
        .could_also_be
        .push(format!("{taken} is meant, and pinned"));
    Some(draft.finish(None))
}

/// What Talos says, once it has been so for a while: addresses come one after the other, and the kubelet is told last.
fn settled<'a>(mesh: &Mesh<'_>, member: &Member<'a>) -> Option<&'a Talos> {
    let talos = member.talos()?;
    (mesh.now.since(talos.since) >= timing::SETTLE).then_some(talos)
}

/// The address that was taken, the one that was not, and why it should have been.
fn odd(
    mesh: &Mesh<'_>,
    member: &Member<'_>,
    talos: &Talos,
    taken: IpAddr,
) -> Option<(IpAddr, IpAddr, Odd)> {
    let others = || {
        let all = mesh.members.values();
        let all = all.filter(|other| other.node != member.node);
        let all = all.filter_map(|other| settled(mesh, other));
        all.flat_map(|talos| talos.node_ips.iter().copied())
    };
    let own = talos.addresses.iter().copied();
    let own = own.filter(|own| *own != taken && own.is_ipv4() == taken.is_ipv4());
    if is_shared(taken) {
        let other = own.clone().find(|other| !is_shared(*other))?;
        return Some((taken, other, Odd::Shared));
    }
    if others().any(|there| network(there) == network(taken)) {
        return None;
    }
    let mut own = own;
    own.find_map(|own| {
        let there = others().find(|there| network(*there) == network(own))?;
        Some((taken, own, Odd::Elsewhere(there)))
    })
}

/// The network that an address is of, as far as that shows: Talos tells no prefix here, and hardly a site has less than this.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn is_shared(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            first == 100 && (64..128).contains(&second)
        }
        IpAddr::V6(_) => false,
    }
}
