//! Causes that lie in a host: a port that is taken, a filter for return ways, a machine or an address that is there twice.
//!
//! What they break is named by others already. So these come last, and fold what they explain under themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
};

use evidence::{
    Confidence, FactKey, Finding, Fingerprint, HostLink, NodeRef, PublicKey, SourceId, Subject,
};

use super::{Draft, fix};
use crate::{
    mesh::{Member, Mesh},
    text, timing,
};

/// `KubeSpan`'s port.
const PORT: u16 = 51_820;
const KUBESPAN: &str = "kubespan";
/// `rp_filter`: a packet must come by the link by which its answer would leave.
const STRICT: u8 = 1;

/// A cause, and which findings are its effects.
struct Cause {
    draft: Draft,
    codes: &'static [&'static str],
    /// Those that are its effects only between its nodes.
    between: &'static [&'static str],
    /// The nodes that its effects are told of.
    nodes: BTreeSet<NodeRef>,
}

/// Puts the causes before what was found, and what they explain under them.
pub(super) fn refine(mesh: &Mesh<'_>, mut found: Vec<Finding>) -> Vec<Finding> {
    let mut causes: Vec<Cause> = mesh
        .members
        .values()
        .filter_map(|member| port_taken(mesh, member))
        .collect();
    let filters = mesh.members.values();
    causes.extend(filters.filter_map(|member| strict_filter(mesh, member, &found)));
    causes.extend(overlaps(mesh));
    causes.extend(clones(mesh));
    let mut roots = Vec::new();
    for cause in causes {
        let code = cause.draft.code;
        for finding in found.iter_mut().filter(|finding| cause.explains(finding)) {
            finding.suppressed_by = Some(code.to_owned());
        }
        roots.push(cause.draft.finish(None));
    }
    roots.append(&mut found);
    repoint(&mut roots);
    // Stable: among roots, and among effects, the order is as it was.
    roots.sort_by_key(|finding| finding.suppressed_by.is_some());
    roots
}

impl Cause {
    fn explains(&self, finding: &Finding) -> bool {
        let code = finding.code.as_str();
        let within = |pair: &evidence::PairRef| {
            self.nodes.contains(&pair.from) && self.nodes.contains(&pair.to)
        };
        if finding.suppressed_by.is_none() && self.between.contains(&code) {
            return !finding.explains.is_empty() && finding.explains.iter().all(within);
        }
        finding.suppressed_by.is_none()
            && self.codes.contains(&code)
            && match &finding.subject {
                Subject::Node { node } => self.nodes.contains(node),
                _ => {
                    !finding.explains.is_empty()
                        && finding
                            .explains
                            .iter()
                            .all(|pair| self.nodes.contains(&pair.to))
                }
            }
    }
}

/// What lies under a finding that is no root any more lies under the root above it.
fn repoint(findings: &mut [Finding]) {
    let roots: BTreeSet<String> = findings
        .iter()
        .filter(|finding| finding.suppressed_by.is_none())
        .map(|finding| finding.code.clone())
        .collect();
    let above: BTreeMap<String, String> = findings
        .iter()
        .filter_map(|finding| Some((finding.code.clone(), finding.suppressed_by.clone()?)))
        .filter(|(_, above)| roots.contains(above))
        .collect();
    for finding in findings {
        let lost = finding
            .suppressed_by
            .as_ref()
            .filter(|code| !roots.contains(*code));
        if let Some(root) = lost.and_then(|code| above.get(code)) {
            finding.suppressed_by = Some(root.clone());
        }
    }
}

/// Somebody else has a socket on the tunnel's port, and `kubespan` is not up with it.
fn port_taken(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Cause> {
    let host = member.host()?;
    let ports = host.ports.as_ref()?;
    let source = member.source(SourceId::WireGuard)?;
    // A device that cannot be read may be up all the same, and the sockets its own. The links tell without any right.
    let is_up = |link: &HostLink| link.name == KUBESPAN && link.up;
    let up = host.links.iter().any(is_up);
    let read = member.device().filter(|_| source.gap.is_none());
    let elsewhere = read.is_some_and(|device| device.listen_port.is_some_and(|port| port != PORT));
    if ports.tunnel_sockets == 0 || host.links.is_empty() || (up && !elsewhere) {
        return None;
    }
    // A device that comes up has its socket first, and the two are not read at one moment.
    let steady = member
        .steady_since()
        .max(source.gap.as_ref().map(|_| source.since));
    if steady.is_some_and(|since| mesh.now.since(since) < timing::PORT_SETTLES) {
        return None;
    }
    let node = &member.node;
    let others = &ports.other_wireguard;
    let by = if others.is_empty() {
        "another program".to_owned()
    } else {
        format!("another program, perhaps WireGuard {}", text::list(others))
    };
    let summary = format!("UDP {PORT} of {node} is taken by {by}: kubespan cannot come up with it");
    let mut draft = Draft::new("port-51820-taken", of(node), Confidence::Certain, summary);
    let read_at = member
        .source(SourceId::Host)
        .map_or(mesh.now, |state| state.read_at);
    let text = format!(
        "sockets bound to UDP {PORT}: {}, none of them kubespan's",
        ports.tunnel_sockets
    );
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Host, read_at, text));
    if let Some(gap) = &source.gap {
        let fact = FactKey::Source(SourceId::WireGuard);
        draft
            .evidence
            .push(mesh.cite(member, fact, source.read_at, gap.reason.clone()));
    }
    draft.fixes.push(fix(
        "who runs the node",
        format!("give the other user of UDP {PORT} another port: KubeSpan's cannot be changed"),
        Some(format!(
            "talosctl -n {node} netstat -u -p; talosctl -n {node} get links"
        )),
    ));
    Some(Cause {
        draft,
        codes: &["wireguard-unreadable"],
        between: &[],
        nodes: BTreeSet::from([node.clone()]),
    })
}

/// Packets arrive at a node and are dropped behind its interface, while its strict filter for return ways drops some.
fn strict_filter(mesh: &Mesh<'_>, member: &Member<'_>, found: &[Finding]) -> Option<Cause> {
    let host = member.host()?;
    let filter = host.reverse_path?;
    let link = host.links.iter().find(|link| link.name == KUBESPAN);
    let mode = link
        .and_then(|link: &HostLink| link.rp_filter)
        .unwrap_or(0)
        .max(filter.all);
    let dropped = filter.dropped?;
    let last = dropped
        .last
        .filter(|at| mesh.recent(*at, timing::FILTERED))?;
    if mode != STRICT || filter.src_valid_mark {
        return None;
    }
    let node = &member.node;
    let summary = format!(
        "{node} drops what comes out of the tunnel: its rp_filter is strict on kubespan and looks at no mark, so it expects node \
         addresses on another link"
    );
    let mut draft = Draft::new(
        "reverse-path-filter",
        of(node),
        Confidence::Certain,
        summary,
    );
    let text = format!(
        "rp_filter is {mode} on kubespan, src_valid_mark is 0, and the filter has dropped {} packets since the agent started",
        dropped.count
    );
    draft
        .evidence
        .push(mesh.cite(member, FactKey::Host, last, text));
    draft.fixes.push(fix(
        "who runs the node",
        "let the filter be loose, or let it look at marks",
        Some("machine.sysctls: net.ipv4.conf.all.rp_filter: \"2\"   # or net.ipv4.conf.all.src_valid_mark: \"1\"".to_owned()),
    ));
    let mut cause = Cause {
        draft,
        codes: &["overlay-port-blocked"],
        between: &[],
        nodes: BTreeSet::from([node.clone()]),
    };
    let effects: Vec<&Finding> = found
        .iter()
        .filter(|finding| cause.explains(finding))
        .collect();
    let explained = effects.iter().flat_map(|effect| &effect.explains);
    cause.draft.explains = explained
        .map(|pair| (pair.from.clone(), pair.to.clone()))
        .collect();
    // A strict filter alone drops strangers' packets on many a healthy node.
    (!effects.is_empty()).then_some(cause)
}

/// One address of two nodes, advertised into the mesh: every device can give it to one of them only.
fn overlaps(mesh: &Mesh<'_>) -> Vec<Cause> {
    let mut owners: BTreeMap<IpAddr, Vec<&Member<'_>>> = BTreeMap::new();
    for member in mesh.members.values().filter(|member| settled(mesh, member)) {
        let addresses = member
            .identity()
            .into_iter()
            .flat_map(|identity| &identity.addresses);
        for address in addresses.collect::<BTreeSet<_>>() {
            owners.entry(*address).or_default().push(member);
        }
    }
    owners
        .into_iter()
        .filter(|(_, owners)| owners.len() >= 2)
        .filter_map(|(address, owners)| overlap(mesh, address, &owners))
        .collect()
}

/// Its addresses have been as they are for long enough: a virtual address that moves is at two nodes for a moment.
fn settled(mesh: &Mesh<'_>, member: &Member<'_>) -> bool {
    let changed = member.host().map(|host| host.address_changes.last);
    member.fresh().is_some()
        && changed.is_some_and(|last| last.is_none_or(|at| !mesh.recent(at, timing::ADDRESS_MOVES)))
}

fn overlap(mesh: &Mesh<'_>, address: IpAddr, owners: &[&Member<'_>]) -> Option<Cause> {
    let keys: Vec<_> = owners.iter().filter_map(|owner| owner.key).collect();
    let holds = |other: &&Member<'_>| {
        other
            .holder_of_host(address)
            .is_some_and(|holder| keys.contains(&holder))
    };
    let witness = mesh.members.values().find(holds)?;
    let holder = witness.holder_of_host(address)?;
    let (first, second) = (owners.first()?, owners.get(1)?);
    let nodes: Vec<&NodeRef> = owners.iter().map(|owner| &owner.node).collect();
    let subject = Subject::Pair {
        a: first.node.clone(),
        b: second.node.clone(),
    };
    let summary = format!(
        "{} have the same address {address}, and KubeSpan can carry it to one of them only",
        text::list(&nodes)
    );
    let mut draft = Draft::new("address-overlap", subject, Confidence::Certain, summary);
    for owner in owners {
        let at = owner.last_report().unwrap_or(mesh.now);
        let text = format!("{address} is one of its own addresses");
        draft
            .evidence
            .push(mesh.cite(owner, FactKey::Identity, at, text));
    }
    let at = witness.last_report().unwrap_or(mesh.now);
    let text = format!("its device gives {address} to the key {}", holder.short());
    draft
        .evidence
        .push(mesh.cite(witness, FactKey::Peer(holder), at, text));
    draft.fixes.push(fix(
        "who runs the sites",
        format!("renumber one of the networks, or leave {address} out of what KubeSpan advertises and set the node IP explicitly"),
        Some("machine.network.kubespan.filters.excludeAdvertisedNetworks, machine.kubelet.nodeIP.validSubnets".to_owned()),
    ));
    Some(Cause {
        draft,
        codes: &["allowed-ip-missing", "nft-set-lacks-peer"],
        // A kernel takes nothing that comes from an address of its own.
        between: &["overlay-port-blocked", "overlay-mtu-too-small"],
        nodes: nodes.into_iter().cloned().collect(),
    })
}

/// Two nodes that are or were one machine: the same key, the same address made of the hardware's, or the same firmware id.
fn clones(mesh: &Mesh<'_>) -> Vec<Cause> {
    let speaking: Vec<&Member<'_>> = mesh
        .members
        .values()
        .filter(|member| member.fresh().is_some())
        .collect();
    let mut seen: BTreeMap<Trait, &Member<'_>> = BTreeMap::new();
    let mut found: BTreeMap<(&NodeRef, &NodeRef), Cause> = BTreeMap::new();
    for member in speaking {
        for one in traits(member) {
            let Some(other) = seen.get(&one) else {
                seen.insert(one, member);
                continue;
            };
            if !one.of_machine || another_boot(other, member) {
                let pair = (&other.node, &member.node);
                found
                    .entry(pair)
                    .or_insert_with(|| clone(mesh, other, member));
            }
        }
    }
    found.into_values().collect()
}

/// Something that only one machine has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trait {
    what: What,
    /// Whether containers on one machine, which share its boot id, have it in common.
    of_machine: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Key(PublicKey),
    Address(Ipv6Addr),
    Uuid(Fingerprint),
}

fn traits(member: &Member<'_>) -> impl Iterator<Item = Trait> {
    let identity = member.identity();
    let own = |what| Trait {
        what,
        of_machine: false,
    };
    let key = identity.and_then(|identity| identity.public_key);
    let address = identity.and_then(|identity| identity.kubespan_address);
    let uuid = member.host().and_then(|host| host.system_uuid);
    let of_machine = |what| Trait {
        what,
        of_machine: true,
    };
    [
        key.map(|key| own(What::Key(key))),
        address.map(|address| own(What::Address(address))),
        uuid.map(|uuid| of_machine(What::Uuid(uuid))),
    ]
    .into_iter()
    .flatten()
}

fn another_boot(a: &Member<'_>, b: &Member<'_>) -> bool {
    let boot = |member: &Member<'_>| {
        let identity = member.identity()?;
        Some(identity.boot_id.clone()).filter(|id| !id.is_empty())
    };
    matches!((boot(a), boot(b)), (Some(a), Some(b)) if a != b)
}

fn clone(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Cause {
    let same = |one: bool, what: &'static str| one.then_some(what);
    let (of_a, of_b) = (a.identity(), b.identity());
    let equal = |get: fn(&evidence::Identity) -> Option<String>| {
        let both = of_a.and_then(get).zip(of_b.and_then(get));
        both.is_some_and(|(a, b)| a == b)
    };
    let key = equal(|identity| identity.public_key.map(|key| key.to_string()));
    let address = equal(|identity| identity.kubespan_address.map(|address| address.to_string()));
    let hosts = a.host().zip(b.host());
    let alike = |get: fn(&evidence::Host) -> Option<Fingerprint>| {
        hosts.is_some_and(|(a, b)| get(a).is_some() && get(a) == get(b))
    };
    let shared: Vec<&str> = [
        same(key, "the WireGuard key"),
        same(address, "the KubeSpan address"),
        same(alike(|host| host.system_uuid), "the system UUID"),
        same(alike(|host| host.machine_id), "the machine id"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let what = match (key, address) {
        (true, true) => "the disk and the hardware address were cloned",
        (true, false) => "the disk was cloned after its first boot",
        (false, true) => "the hardware address was cloned",
        (false, false) => "the virtual machine was cloned, or the vendor gives all the same UUID",
    };
    let subject = Subject::Pair {
        a: (&a.node).min(&b.node).clone(),
        b: (&a.node).max(&b.node).clone(),
    };
    let summary = format!(
        "{} and {} share {}: {what}",
        a.node,
        b.node,
        text::list(&shared)
    );
    let confidence = if key || address {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let mut draft = Draft::new("machine-cloned", subject, confidence, summary);
    for member in [a, b] {
        let at = member.last_report().unwrap_or(mesh.now);
        let boot = member
            .identity()
            .map_or("", |identity| identity.boot_id.as_str());
        let text = format!("has {}, with the boot id {boot}", text::list(&shared));
        draft
            .evidence
            .push(mesh.cite(member, FactKey::Identity, at, text));
    }
    draft.fixes.push(fix(
        "who runs the machines",
        "reset the STATE partition of the clone, and give it a UUID and a hardware address of its own",
        Some("talosctl reset --system-labels-to-wipe STATE --reboot   # on the clone".to_owned()),
    ));
    Cause {
        draft,
        codes: &["allowed-ip-missing", "nft-set-lacks-peer"],
        between: &[],
        nodes: BTreeSet::from([a.node.clone(), b.node.clone()]),
    }
}

fn of(node: &NodeRef) -> Subject {
    Subject::Node { node: node.clone() }
}
