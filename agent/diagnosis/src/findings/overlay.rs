//! Findings about the VXLAN devices of one node.

use evidence::{Confidence, FactKey, Finding, Subject, VxlanDevice};

use super::{Draft, fix};
use crate::{
    mesh::{Member, Mesh},
    overlay::{self, TooLarge},
    text,
};

pub(super) fn find(mesh: &Mesh<'_>) -> Vec<Finding> {
    let settled = |member: &&Member<'_>| {
        member
            .vxlan()
            .is_some_and(|vxlan| overlay::settled(mesh, vxlan))
    };
    let members = mesh.members.values().filter(settled);
    members
        .flat_map(|member| [taken_twice(mesh, member), too_large(mesh, member)])
        .flatten()
        .collect()
}

fn taken_twice(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let (first, down) = overlay::taken_twice(member)?;
    let node = &member.node;
    let (port, down_name, first_name) = (down.port, &down.name, &first.name);
    let summary = if first.up {
        format!(
            "{down_name} of {node} is down and cannot come up: {first_name} has UDP {port}, and only one of them can have it"
        )
    } else {
        format!(
            "{first_name} and {down_name} of {node} both want UDP {port}, and only one of them can have it"
        )
    };
    let mut draft = draft("vxlan-port-taken-twice", member, summary);
    cite(mesh, member, &mut draft, &[first, down]);
    draft.fixes.push(fix(
        "who runs the node",
        "delete the device that the overlay of before left behind, or restart the node",
        Some(format!(
            "ip link delete {first_name}   # or {down_name}; from a privileged pod, or: talosctl -n {node} reboot"
        )),
    ));
    Some(draft.finish(None))
}

fn too_large(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<Finding> {
    let devices = overlay::too_large(mesh, member);
    let fits = devices.iter().map(TooLarge::fits).min()?;
    let sums: Vec<String> = devices.iter().map(sum).collect();
    let summary = format!(
        "full-size frames of pods on {} do not fit into the tunnel: {}",
        member.node,
        text::list(&sums)
    );
    let mut draft = draft("vxlan-mtu-too-large", member, summary);
    let listed: Vec<&VxlanDevice> = devices.iter().map(|large| large.device).collect();
    cite(mesh, member, &mut draft, &listed);
    draft.fixes.push(fix(
        "who installs the CNI",
        format!("give the overlay an MTU of at most {fits}, and make the pods anew"),
        Some(format!(
            "flannel: \"Backend\": {{ \"Type\": \"vxlan\", \"MTU\": {fits} }}"
        )),
    ));
    Some(draft.finish(None))
}

/// The sum, written out.
fn sum(large: &TooLarge<'_>) -> String {
    let TooLarge {
        device,
        overhead,
        tunnel_mtu,
    } = large;
    format!(
        "{} takes {} bytes and VXLAN adds {overhead}: {} bytes, and the tunnel carries {tunnel_mtu}",
        device.name,
        device.mtu,
        device.mtu.saturating_add(*overhead)
    )
}

fn draft(code: &'static str, member: &Member<'_>, summary: String) -> Draft {
    let subject = Subject::Node {
        node: member.node.clone(),
    };
    Draft::new(code, subject, Confidence::Certain, summary)
}

fn cite(mesh: &Mesh<'_>, member: &Member<'_>, draft: &mut Draft, devices: &[&VxlanDevice]) {
    let read = member.last_report().unwrap_or(mesh.now);
    for device in devices {
        let state = if device.up { "up" } else { "down" };
        let kind = if device.external {
            "external".to_owned()
        } else {
            format!("id {}", device.id)
        };
        let text = format!(
            "its VXLAN device {} is {state}: UDP {}, {kind}, MTU {}",
            device.name, device.port, device.mtu
        );
        draft
            .evidence
            .push(mesh.cite(member, FactKey::Vxlan, read, text));
    }
}
