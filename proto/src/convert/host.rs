//! The fact about the host.

use evidence::{
    Complaint, ComplaintKind, Fact, Fingerprint, HardwareAddress, Host, HostLink, Offload, Ports,
    ReversePath, Udp, limits,
};

use super::{
    ConvertError, at_most,
    health::{drops_from_wire, drops_to_wire},
    link_name, short_text,
};
use crate::wire;

pub(super) fn to_wire(host: &Host) -> wire::Host {
    let Host {
        machine_id,
        system_uuid,
        links,
        left_out,
        reverse_path,
        ports,
        udp,
        checksum_errors,
        checksum_errors_lately,
        address_changes,
        route_changes,
        complaints,
    } = host;
    wire::Host {
        machine_id: fingerprint_to_wire(*machine_id),
        system_uuid: fingerprint_to_wire(*system_uuid),
        links: links.iter().map(link_to_wire).collect(),
        left_out: *left_out,
        reverse_path: reverse_path.map(reverse_path_to_wire),
        ports: ports.as_ref().map(ports_to_wire),
        udp: udp.map(udp_to_wire),
        checksum_errors: checksum_errors.map(drops_to_wire),
        checksum_errors_lately: *checksum_errors_lately,
        address_changes: Some(drops_to_wire(*address_changes)),
        route_changes: Some(drops_to_wire(*route_changes)),
        complaints: complaints.as_deref().map(complaints_to_wire),
    }
}

pub(super) fn from_wire(host: wire::Host) -> Result<Fact, ConvertError> {
    let wire::Host {
        machine_id,
        system_uuid,
        links,
        left_out,
        reverse_path,
        ports,
        udp,
        checksum_errors,
        checksum_errors_lately,
        address_changes,
        route_changes,
        complaints,
    } = host;
    at_most("host.links", links.len(), limits::HOST_LINKS)?;
    let links: Result<_, _> = links.into_iter().map(link_from_wire).collect();
    Ok(Fact::Host(Box::new(Host {
        machine_id: fingerprint_from_wire("host.machine_id", &machine_id)?,
        system_uuid: fingerprint_from_wire("host.system_uuid", &system_uuid)?,
        links: links?,
        left_out,
        reverse_path: reverse_path.map(reverse_path_from_wire).transpose()?,
        ports: ports.map(ports_from_wire).transpose()?,
        udp: udp.map(udp_from_wire),
        checksum_errors: checksum_errors.map(drops_from_wire),
        checksum_errors_lately,
        address_changes: address_changes.map(drops_from_wire).unwrap_or_default(),
        route_changes: route_changes.map(drops_from_wire).unwrap_or_default(),
        complaints: complaints.map(complaints_from_wire).transpose()?,
    })))
}

fn link_to_wire(link: &HostLink) -> wire::HostLink {
    let HostLink {
        name,
        kind,
        address,
        up,
        mtu,
        rp_filter,
        offload,
        rx_dropped,
        tx_dropped,
        rx_errors,
        tx_errors,
    } = link;
    wire::HostLink {
        name: name.clone(),
        kind: kind.clone(),
        address: address.map_or_else(Vec::new, |address| address.0.to_vec()),
        up: *up,
        mtu: *mtu,
        rp_filter: rp_filter.map(u32::from),
        offload: offload.map(offload_to_wire),
        rx_dropped: rx_dropped.map(drops_to_wire),
        tx_dropped: tx_dropped.map(drops_to_wire),
        rx_errors: rx_errors.map(drops_to_wire),
        tx_errors: tx_errors.map(drops_to_wire),
    }
}

fn link_from_wire(link: wire::HostLink) -> Result<HostLink, ConvertError> {
    let wire::HostLink {
        name,
        kind,
        address,
        up,
        mtu,
        rp_filter,
        offload,
        rx_dropped,
        tx_dropped,
        rx_errors,
        tx_errors,
    } = link;
    let kind = kind.map(|kind| short_text("host.link.kind", kind));
    let filter = rp_filter.map(|mode| filter_mode("host.link.rp_filter", mode));
    Ok(HostLink {
        name: link_name("host.link.name", name)?,
        kind: kind.transpose()?,
        address: bytes("host.link.address", &address)?.map(HardwareAddress),
        up,
        mtu,
        rp_filter: filter.transpose()?,
        offload: offload.map(offload_from_wire),
        rx_dropped: rx_dropped.map(drops_from_wire),
        tx_dropped: tx_dropped.map(drops_from_wire),
        rx_errors: rx_errors.map(drops_from_wire),
        tx_errors: tx_errors.map(drops_from_wire),
    })
}

const fn offload_to_wire(offload: Offload) -> wire::Offload {
    let Offload {
        checksum,
        tunnel_segmentation,
        tunnel_checksum,
    } = offload;
    wire::Offload {
        checksum,
        tunnel_segmentation,
        tunnel_checksum,
    }
}

const fn offload_from_wire(offload: wire::Offload) -> Offload {
    let wire::Offload {
        checksum,
        tunnel_segmentation,
        tunnel_checksum,
    } = offload;
    Offload {
        checksum,
        tunnel_segmentation,
        tunnel_checksum,
    }
}

fn complaints_to_wire(complaints: &[Complaint]) -> wire::Complaints {
    let one = |Complaint { kind, link, seen }: &Complaint| wire::Complaint {
        kind: match kind {
            ComplaintKind::DeadLoop => wire::ComplaintKind::DeadLoop,
            ComplaintKind::OverlayChecksum => wire::ComplaintKind::OverlayChecksum,
        }
        .into(),
        link: link.clone(),
        seen: Some(drops_to_wire(*seen)),
    };
    wire::Complaints {
        complaints: complaints.iter().map(one).collect(),
    }
}

fn complaints_from_wire(wire: wire::Complaints) -> Result<Vec<Complaint>, ConvertError> {
    let wire::Complaints { complaints } = wire;
    at_most("host.complaints", complaints.len(), limits::COMPLAINTS)?;
    let one = |complaint: wire::Complaint| {
        let kind = match complaint.kind() {
            wire::ComplaintKind::DeadLoop => ComplaintKind::DeadLoop,
            wire::ComplaintKind::OverlayChecksum => ComplaintKind::OverlayChecksum,
            // A kind that a later version recognises is no reason to refuse a report.
            wire::ComplaintKind::Unspecified => return Ok(None),
        };
        let link = complaint
            .link
            .map(|link| link_name("host.complaints.link", link));
        Ok(Some(Complaint {
            kind,
            link: link.transpose()?,
            seen: complaint.seen.map(drops_from_wire).unwrap_or_default(),
        }))
    };
    complaints
        .into_iter()
        .filter_map(|complaint| one(complaint).transpose())
        .collect()
}

fn reverse_path_to_wire(filter: ReversePath) -> wire::ReversePath {
    let ReversePath {
        all,
        src_valid_mark,
        dropped,
    } = filter;
    wire::ReversePath {
        all: all.into(),
        src_valid_mark,
        dropped: dropped.map(drops_to_wire),
    }
}

fn reverse_path_from_wire(filter: wire::ReversePath) -> Result<ReversePath, ConvertError> {
    let wire::ReversePath {
        all,
        src_valid_mark,
        dropped,
    } = filter;
    Ok(ReversePath {
        all: filter_mode("host.reverse_path.all", all)?,
        src_valid_mark,
        dropped: dropped.map(drops_from_wire),
    })
}

fn ports_to_wire(ports: &Ports) -> wire::Ports {
    let Ports {
        tunnel_sockets,
        overlay_sockets,
        other_wireguard,
    } = ports;
    wire::Ports {
        tunnel_sockets: *tunnel_sockets,
        overlay_sockets: *overlay_sockets,
        other_wireguard: other_wireguard.clone(),
    }
}

fn ports_from_wire(ports: wire::Ports) -> Result<Ports, ConvertError> {
    let wire::Ports {
        tunnel_sockets,
        overlay_sockets,
        other_wireguard,
    } = ports;
    let field = "host.ports.other_wireguard";
    at_most(field, other_wireguard.len(), limits::HOST_LINKS)?;
    let names: Result<_, _> = other_wireguard
        .into_iter()
        .map(|name| link_name(field, name))
        .collect();
    Ok(Ports {
        tunnel_sockets,
        overlay_sockets,
        other_wireguard: names?,
    })
}

fn udp_to_wire(udp: Udp) -> wire::Udp {
    let Udp {
        no_room,
        not_sent,
        pages,
        pages_max,
    } = udp;
    wire::Udp {
        no_room: Some(drops_to_wire(no_room)),
        not_sent: Some(drops_to_wire(not_sent)),
        pages,
        pages_max,
    }
}

fn udp_from_wire(udp: wire::Udp) -> Udp {
    let wire::Udp {
        no_room,
        not_sent,
        pages,
        pages_max,
    } = udp;
    Udp {
        no_room: no_room.map(drops_from_wire).unwrap_or_default(),
        not_sent: not_sent.map(drops_from_wire).unwrap_or_default(),
        pages,
        pages_max,
    }
}

fn fingerprint_to_wire(fingerprint: Option<Fingerprint>) -> Vec<u8> {
    fingerprint.map_or_else(Vec::new, |fingerprint| fingerprint.0.to_vec())
}

fn fingerprint_from_wire(
    field: &'static str,
    fingerprint: &[u8],
) -> Result<Option<Fingerprint>, ConvertError> {
    Ok(bytes(field, fingerprint)?.map(Fingerprint))
}

fn bytes<const N: usize>(
    field: &'static str,
    bytes: &[u8],
) -> Result<Option<[u8; N]>, ConvertError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let got = bytes.len();
    let exactly = bytes.try_into();
    exactly
        .map(Some)
        .map_err(|_| ConvertError::new(field, format!("{N} bytes or none, got {got}")))
}

fn filter_mode(field: &'static str, mode: u32) -> Result<u8, ConvertError> {
    u8::try_from(mode).map_err(|_| ConvertError::new(field, "8 bits"))
}
