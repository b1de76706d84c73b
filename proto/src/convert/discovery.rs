//! The fact about the discovery service.

mod affiliates;
mod names;
mod stages;

use std::net::SocketAddr;

use evidence::{
    Discovery, Moment,
    discovery::{DiscoveryAddress, DiscoveryCertificate, DiscoveryEndpoint},
    limits,
};

use super::{ConvertError, at_most, ip_from_wire, ip_to_wire, port_from_wire, short_text};
use crate::wire;

pub(super) fn to_wire(discovery: &Discovery) -> wire::Discovery {
    let Discovery {
        since,
        cluster,
        endpoints,
        registry_off,
    } = discovery;
    wire::Discovery {
        since_ms: since.as_millis(),
        cluster: cluster.map(u64::from_be_bytes),
        endpoints: endpoints.iter().map(endpoint_to_wire).collect(),
        registry_off: *registry_off,
    }
}

pub(super) fn from_wire(discovery: wire::Discovery) -> Result<Discovery, ConvertError> {
    let wire::Discovery {
        since_ms,
        cluster,
        endpoints,
        registry_off,
    } = discovery;
    let limit = limits::DISCOVERY_ENDPOINTS;
    at_most("discovery.endpoints", endpoints.len(), limit)?;
    Ok(Discovery {
        since: Moment::from_millis(since_ms),
        cluster: cluster.map(u64::to_be_bytes),
        registry_off,
        endpoints: each(endpoints, endpoint_from_wire)?,
    })
}

fn each<W, T>(
    list: Vec<W>,
    convert: impl Fn(W) -> Result<T, ConvertError>,
) -> Result<Vec<T>, ConvertError> {
    list.into_iter().map(convert).collect()
}

fn socket_to_wire(socket: &SocketAddr) -> wire::SocketAddress {
    wire::SocketAddress {
        address: ip_to_wire(socket.ip()),
        port: u32::from(socket.port()),
    }
}

fn socket_from_wire(
    field: &'static str,
    socket: &wire::SocketAddress,
) -> Result<SocketAddr, ConvertError> {
    let wire::SocketAddress { address, port } = socket;
    let port = port_from_wire(field, *port)?;
    Ok(SocketAddr::new(ip_from_wire(field, address)?, port))
}

fn endpoint_to_wire(endpoint: &DiscoveryEndpoint) -> wire::DiscoveryEndpoint {
    let DiscoveryEndpoint {
        host,
        port,
        tls,
        at,
        names,
        proxy,
        addresses,
        left_out,
        public,
        redirect,
        affiliates,
    } = endpoint;
    wire::DiscoveryEndpoint {
        host: host.clone(),
        port: u32::from(*port),
        tls: *tls,
        at_ms: at.as_millis(),
        names: names.as_ref().map(names::to_wire),
        proxy: proxy.clone(),
        addresses: addresses.iter().map(address_to_wire).collect(),
        left_out: *left_out,
        public_address: public.map_or_else(Vec::new, ip_to_wire),
        redirect: redirect.clone(),
        affiliates: affiliates.as_ref().map(affiliates::to_wire),
    }
}

fn endpoint_from_wire(
    endpoint: wire::DiscoveryEndpoint,
) -> Result<DiscoveryEndpoint, ConvertError> {
    let wire::DiscoveryEndpoint {
        host,
        port,
        tls,
        at_ms,
        names,
        proxy,
        addresses,
        left_out,
        public_address,
        redirect,
        affiliates,
    } = endpoint;
    let limit = limits::DISCOVERY_ADDRESSES;
    at_most("discovery.addresses", addresses.len(), limit)?;
    let public = match public_address.as_slice() {
        [] => None,
        bytes => Some(ip_from_wire("discovery.public_address", bytes)?),
    };
    Ok(DiscoveryEndpoint {
        host: short_text("discovery.host", host)?,
        port: port_from_wire("discovery.port", port)?,
        tls,
        at: Moment::from_millis(at_ms),
        names: names.map(names::from_wire).transpose()?,
        proxy: optional_text("discovery.proxy", proxy)?,
        addresses: each(addresses, address_from_wire)?,
        left_out,
        public,
        redirect: optional_text("discovery.redirect", redirect)?,
        affiliates: affiliates.map(affiliates::from_wire).transpose()?,
    })
}

fn optional_text(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, ConvertError> {
    text.map(|text| short_text(field, text)).transpose()
}

fn address_to_wire(address: &DiscoveryAddress) -> wire::DiscoveryAddress {
    let DiscoveryAddress {
        address,
        stages,
        failed,
        failed_since,
        hello,
        calls_failed,
        list,
        certificate,
    } = address;
    wire::DiscoveryAddress {
        address: ip_to_wire(*address),
        stages: stages.iter().map(stages::to_wire).collect(),
        failed: *failed,
        failed_since_ms: failed_since.map(Moment::as_millis),
        hello: hello.as_ref().map(stages::to_wire),
        calls_failed: *calls_failed,
        list: list.as_ref().map(stages::to_wire),
        certificate: certificate.as_ref().map(certificate_to_wire),
    }
}

fn address_from_wire(address: wire::DiscoveryAddress) -> Result<DiscoveryAddress, ConvertError> {
    let wire::DiscoveryAddress {
        address,
        stages,
        failed,
        failed_since_ms,
        hello,
        calls_failed,
        list,
        certificate,
    } = address;
    Ok(DiscoveryAddress {
        address: ip_from_wire("discovery.address", &address)?,
        stages: stages::in_order(stages)?,
        failed,
        failed_since: failed_since_ms.map(Moment::from_millis),
        hello: hello.map(stages::from_wire).transpose()?,
        calls_failed,
        list: list.map(stages::from_wire).transpose()?,
        certificate: certificate.map(certificate_from_wire).transpose()?,
    })
}

fn certificate_to_wire(certificate: &DiscoveryCertificate) -> wire::DiscoveryCertificate {
    let DiscoveryCertificate {
        issuer,
        names,
        fingerprint,
        not_before,
        not_after,
        seen_at,
        protocol,
    } = certificate;
    wire::DiscoveryCertificate {
        issuer: issuer.clone(),
        names: names.clone(),
        fingerprint: u64::from_be_bytes(*fingerprint),
        not_before: *not_before,
        not_after: *not_after,
        seen_at: *seen_at,
        protocol: protocol.clone(),
    }
}

fn certificate_from_wire(
    certificate: wire::DiscoveryCertificate,
) -> Result<DiscoveryCertificate, ConvertError> {
    let wire::DiscoveryCertificate {
        issuer,
        names,
        fingerprint,
        not_before,
        not_after,
        seen_at,
        protocol,
    } = certificate;
    let limit = limits::CERTIFICATE_NAMES;
    at_most("discovery.certificate.names", names.len(), limit)?;
    let name = |name| short_text("discovery.certificate.names", name);
    Ok(DiscoveryCertificate {
        issuer: short_text("discovery.certificate.issuer", issuer)?,
        names: each(names, name)?,
        fingerprint: fingerprint.to_be_bytes(),
        not_before,
        not_after,
        seen_at,
        protocol: optional_text("discovery.certificate.protocol", protocol)?,
    })
}
