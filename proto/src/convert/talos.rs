//! Facts that Talos states.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use evidence::{
    Candidate, CandidateWay, Condition, Fact, Moment, PublicKey, Stage, Talos, TalosNetwork,
    TalosPeer, TalosPeerState, TalosPeerStatus, TalosService, TalosTime, limits,
};

use super::{
    ConvertError, at_most, ip_from_wire, ip_to_wire, key_from_wire, link_name, port_from_wire,
    short_text,
};
use crate::wire;

pub(super) fn to_wire(talos: &Talos) -> wire::Talos {
    let Talos {
        since,
        version,
        hostname,
        stage,
        ready,
        unmet,
        addresses,
        node_ips,
        discovered,
        cluster,
        members,
        affiliates,
        time,
        network,
        kubeprism,
        services,
        diagnostics,
        left_out,
    } = talos;
    let ips = |list: &[IpAddr]| list.iter().map(|ip| ip_to_wire(*ip)).collect();
    wire::Talos {
        since_ms: since.as_millis(),
        version: version.clone(),
        hostname: hostname.clone(),
        stage: stage.map(|stage| stage_to_wire(stage).into()),
        ready: *ready,
        unmet: unmet.iter().map(condition_to_wire).collect(),
        addresses: ips(addresses),
        node_ips: ips(node_ips),
        discovered: ips(discovered),
        cluster: cluster.map_or_else(Vec::new, |cluster| cluster.to_vec()),
        members: *members,
        affiliates: *affiliates,
        time: time.map(time_to_wire),
        network: network.map(network_to_wire),
        kubeprism: *kubeprism,
        services: services.iter().map(service_to_wire).collect(),
        diagnostics: diagnostics.iter().map(condition_to_wire).collect(),
        left_out: *left_out,
    }
}

pub(super) fn from_wire(talos: wire::Talos) -> Result<Talos, ConvertError> {
    let stage = talos.stage.map(|_| stage_from_wire(talos.stage()));
    let wire::Talos {
        since_ms,
        version,
        hostname,
        stage: _,
        ready,
        unmet,
        addresses,
        node_ips,
        discovered,
        cluster,
        members,
        affiliates,
        time,
        network,
        kubeprism,
        services,
        diagnostics,
        left_out,
    } = talos;
    at_most("talos.services", services.len(), limits::SERVICES)?;
    let text = |field, text: Option<String>| text.map(|text| short_text(field, text)).transpose();
    Ok(Talos {
        since: Moment::from_millis(since_ms),
        version: text("talos.version", version)?,
        hostname: text("talos.hostname", hostname)?,
        stage,
        ready,
        unmet: conditions("talos.unmet", unmet)?,
        addresses: ips("talos.addresses", &addresses)?,
        node_ips: ips("talos.node_ips", &node_ips)?,
        discovered: ips("talos.discovered", &discovered)?,
        cluster: fingerprint(&cluster)?,
        members,
        affiliates,
        time: time.map(time_from_wire),
        network: network.map(network_from_wire),
        kubeprism,
        services: services
            .into_iter()
            .map(service_from_wire)
            .collect::<Result<_, _>>()?,
        diagnostics: conditions("talos.diagnostics", diagnostics)?,
        left_out,
    })
}

fn ips(field: &'static str, list: &[Vec<u8>]) -> Result<Vec<IpAddr>, ConvertError> {
    at_most(field, list.len(), limits::ADDRESSES)?;
    list.iter().map(|ip| ip_from_wire(field, ip)).collect()
}

fn fingerprint(bytes: &[u8]) -> Result<Option<[u8; 8]>, ConvertError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let got = bytes.len();
    let bytes = <[u8; 8]>::try_from(bytes)
        .map_err(|_| ConvertError::new("talos.cluster", format!("8 bytes or none, got {got}")))?;
    Ok(Some(bytes))
}

const fn stage_to_wire(stage: Stage) -> wire::TalosStage {
    match stage {
        Stage::Unknown => wire::TalosStage::Unspecified,
        Stage::Booting => wire::TalosStage::Booting,
        Stage::Installing => wire::TalosStage::Installing,
        Stage::Maintenance => wire::TalosStage::Maintenance,
        Stage::Running => wire::TalosStage::Running,
        Stage::Rebooting => wire::TalosStage::Rebooting,
        Stage::ShuttingDown => wire::TalosStage::ShuttingDown,
        Stage::Resetting => wire::TalosStage::Resetting,
        Stage::Upgrading => wire::TalosStage::Upgrading,
    }
}

const fn stage_from_wire(stage: wire::TalosStage) -> Stage {
    match stage {
        wire::TalosStage::Unspecified => Stage::Unknown,
        wire::TalosStage::Booting => Stage::Booting,
        wire::TalosStage::Installing => Stage::Installing,
        wire::TalosStage::Maintenance => Stage::Maintenance,
        wire::TalosStage::Running => Stage::Running,
        wire::TalosStage::Rebooting => Stage::Rebooting,
        wire::TalosStage::ShuttingDown => Stage::ShuttingDown,
        wire::TalosStage::Resetting => Stage::Resetting,
        wire::TalosStage::Upgrading => Stage::Upgrading,
    }
}

fn condition_to_wire(condition: &Condition) -> wire::TalosCondition {
    let Condition { name, reason } = condition;
    wire::TalosCondition {
        name: name.clone(),
        reason: reason.clone(),
    }
}

fn conditions(
    field: &'static str,
    list: Vec<wire::TalosCondition>,
) -> Result<Vec<Condition>, ConvertError> {
    at_most(field, list.len(), limits::CONDITIONS)?;
    let condition = |wire::TalosCondition { name, reason }| {
        Ok(Condition {
            name: short_text(field, name)?,
            reason: short_text(field, reason)?,
        })
    };
    list.into_iter().map(condition).collect()
}

const fn time_to_wire(TalosTime { synced, disabled }: TalosTime) -> wire::TalosTime {
    wire::TalosTime { synced, disabled }
}

const fn time_from_wire(wire::TalosTime { synced, disabled }: wire::TalosTime) -> TalosTime {
    TalosTime { synced, disabled }
}

const fn network_to_wire(network: TalosNetwork) -> wire::TalosNetwork {
    let TalosNetwork {
        addresses,
        connectivity,
        hostname,
        etc_files,
    } = network;
    wire::TalosNetwork {
        addresses,
        connectivity,
        hostname,
        etc_files,
    }
}

const fn network_from_wire(network: wire::TalosNetwork) -> TalosNetwork {
    let wire::TalosNetwork {
        addresses,
        connectivity,
        hostname,
        etc_files,
    } = network;
    TalosNetwork {
        addresses,
        connectivity,
        hostname,
        etc_files,
    }
}

fn service_to_wire(service: &TalosService) -> wire::TalosService {
    let TalosService {
        name,
        running,
        healthy,
    } = service;
    wire::TalosService {
        name: name.clone(),
        running: *running,
        healthy: *healthy,
    }
}

fn service_from_wire(service: wire::TalosService) -> Result<TalosService, ConvertError> {
    let wire::TalosService {
        name,
        running,
        healthy,
    } = service;
    Ok(TalosService {
        name: short_text("talos.service.name", name)?,
        running,
        healthy,
    })
}

pub(super) fn peer_to_wire(key: &PublicKey, peer: &TalosPeer) -> wire::TalosPeer {
    let TalosPeer {
        since,
        label,
        address,
        allowed_ips,
        candidates,
        left_out,
        status,
    } = peer;
    wire::TalosPeer {
        public_key: key.as_bytes().to_vec(),
        since_ms: since.as_millis(),
        label: label.clone(),
        address: address.map_or_else(Vec::new, |address| address.octets().to_vec()),
        allowed_ips: allowed_ips.clone(),
        candidates: candidates.iter().map(candidate_to_wire).collect(),
        left_out: *left_out,
        status: status.as_ref().map(status_to_wire),
    }
}

pub(super) fn peer_from_wire(peer: wire::TalosPeer) -> Result<Fact, ConvertError> {
    let wire::TalosPeer {
        public_key,
        since_ms,
        label,
        address,
        allowed_ips,
        candidates,
        left_out,
        status,
    } = peer;
    at_most(
        "talos_peer.allowed_ips",
        allowed_ips.len(),
        limits::ALLOWED_IPS,
    )?;
    at_most(
        "talos_peer.candidates",
        candidates.len(),
        limits::CANDIDATES,
    )?;
    let peer = TalosPeer {
        since: Moment::from_millis(since_ms),
        label: short_text("talos_peer.label", label)?,
        address: address_from_wire(&address)?,
        allowed_ips: allowed_ips
            .into_iter()
            .map(|text| short_text("talos_peer.allowed_ips", text))
            .collect::<Result<_, _>>()?,
        candidates: candidates
            .into_iter()
            .map(candidate_from_wire)
            .collect::<Result<_, _>>()?,
        left_out,
        status: status.map(|status| status_from_wire(&status)).transpose()?,
    };
    let key = key_from_wire("talos_peer.public_key", &public_key)?;
    Ok(Fact::TalosPeer(key, Box::new(peer)))
}

fn address_from_wire(bytes: &[u8]) -> Result<Option<Ipv6Addr>, ConvertError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match ip_from_wire("talos_peer.address", bytes)? {
        IpAddr::V6(address) => Ok(Some(address)),
        IpAddr::V4(_) => Err(ConvertError::new("talos_peer.address", "an IPv6 address")),
    }
}

fn candidate_to_wire(candidate: &Candidate) -> wire::TalosCandidate {
    let Candidate { to, way } = candidate;
    wire::TalosCandidate {
        address: ip_to_wire(to.ip()),
        port: u32::from(to.port()),
        way: way
            .as_ref()
            .map(|CandidateWay { via, on_link }| wire::TalosCandidateWay {
                via: via.clone(),
                on_link: *on_link,
            }),
    }
}

fn candidate_from_wire(candidate: wire::TalosCandidate) -> Result<Candidate, ConvertError> {
    const FIELD: &str = "talos_peer.candidate";
    let wire::TalosCandidate { address, port, way } = candidate;
    let way = way.map(|wire::TalosCandidateWay { via, on_link }| {
        let via = via.map(|via| link_name("talos_peer.candidate.via", via));
        via.transpose().map(|via| CandidateWay { via, on_link })
    });
    Ok(Candidate {
        to: SocketAddr::new(ip_from_wire(FIELD, &address)?, port_from_wire(FIELD, port)?),
        way: way.transpose()?,
    })
}

fn status_to_wire(status: &TalosPeerStatus) -> wire::TalosPeerStatus {
    let TalosPeerStatus {
        state,
        endpoint,
        last_used,
        last_change,
    } = status;
    wire::TalosPeerStatus {
        state: state_to_wire(*state).into(),
        endpoint: endpoint.map(endpoint_to_wire),
        last_used: last_used.map(endpoint_to_wire),
        last_change_ms: last_change.map(Moment::as_millis),
    }
}

fn status_from_wire(status: &wire::TalosPeerStatus) -> Result<TalosPeerStatus, ConvertError> {
    let wire::TalosPeerStatus {
        state: _,
        endpoint,
        last_used,
        last_change_ms,
    } = status;
    let end = |field, end: &Option<wire::TalosEndpoint>| {
        end.as_ref()
            .map(|end| endpoint_from_wire(field, end))
            .transpose()
    };
    Ok(TalosPeerStatus {
        state: state_from_wire(status.state()),
        endpoint: end("talos_peer.status.endpoint", endpoint)?,
        last_used: end("talos_peer.status.last_used", last_used)?,
        last_change: last_change_ms.map(Moment::from_millis),
    })
}

fn endpoint_to_wire(endpoint: SocketAddr) -> wire::TalosEndpoint {
    wire::TalosEndpoint {
        address: ip_to_wire(endpoint.ip()),
        port: u32::from(endpoint.port()),
    }
}

fn endpoint_from_wire(
    field: &'static str,
    endpoint: &wire::TalosEndpoint,
) -> Result<SocketAddr, ConvertError> {
    let wire::TalosEndpoint { address, port } = endpoint;
    let port = port_from_wire(field, *port)?;
    Ok(SocketAddr::new(ip_from_wire(field, address)?, port))
}

const fn state_to_wire(state: TalosPeerState) -> wire::TalosPeerState {
    match state {
        TalosPeerState::Unknown => wire::TalosPeerState::Unspecified,
        TalosPeerState::Up => wire::TalosPeerState::Up,
        TalosPeerState::Down => wire::TalosPeerState::Down,
    }
}

const fn state_from_wire(state: wire::TalosPeerState) -> TalosPeerState {
    match state {
        wire::TalosPeerState::Unspecified => TalosPeerState::Unknown,
        wire::TalosPeerState::Up => TalosPeerState::Up,
        wire::TalosPeerState::Down => TalosPeerState::Down,
    }
}
