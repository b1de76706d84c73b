//! Facts about steering.

use std::net::SocketAddr;

use evidence::{
    EndpointWay, Fact, Moment, PublicKey, Steered, SteeredPrefix, Steering, SteeringChains,
    SteeringFamily, limits,
};

use super::{
    ConvertError, at_most, ip_from_wire, ip_to_wire, key_from_wire, link_name, port_from_wire,
    short_text,
};
use crate::wire;

pub(super) fn steering_to_wire(steering: &Steering) -> wire::Steering {
    let Steering {
        since,
        ipv4,
        ipv6,
        chains,
    } = steering;
    wire::Steering {
        since_ms: since.as_millis(),
        ipv4: Some(family_to_wire(ipv4)),
        ipv6: Some(family_to_wire(ipv6)),
        chains: chains.map(
            |SteeringChains {
                 outgoing,
                 prerouting,
             }| wire::SteeringChains {
                outgoing,
                prerouting,
            },
        ),
    }
}

pub(super) fn steering_from_wire(steering: &wire::Steering) -> Result<Fact, ConvertError> {
    let wire::Steering {
        since_ms,
        ipv4,
        ipv6,
        chains,
    } = steering;
    Ok(Fact::Steering(Steering {
        since: Moment::from_millis(*since_ms),
        ipv4: family_from_wire("steering.ipv4", ipv4.as_ref())?,
        ipv6: family_from_wire("steering.ipv6", ipv6.as_ref())?,
        chains: chains.map(
            |wire::SteeringChains {
                 outgoing,
                 prerouting,
             }| SteeringChains {
                outgoing,
                prerouting,
            },
        ),
    }))
}

fn family_to_wire(family: &SteeringFamily) -> wire::SteeringFamily {
    let SteeringFamily {
        rule_priority,
        default_route,
        undecoded,
    } = *family;
    wire::SteeringFamily {
        rule_priority,
        default_route,
        undecoded,
    }
}

fn family_from_wire(
    field: &'static str,
    family: Option<&wire::SteeringFamily>,
) -> Result<SteeringFamily, ConvertError> {
    let wire::SteeringFamily {
        rule_priority,
        default_route,
        undecoded,
    } = *family.ok_or_else(|| ConvertError::new(field, "the rule and the route of a family"))?;
    Ok(SteeringFamily {
        rule_priority,
        default_route,
        undecoded,
    })
}

pub(super) fn steered_to_wire(key: &PublicKey, steered: &Steered) -> wire::Steered {
    let Steered {
        since,
        prefixes,
        left_out,
        endpoint,
    } = steered;
    wire::Steered {
        public_key: key.as_bytes().to_vec(),
        since_ms: since.as_millis(),
        prefixes: prefixes.iter().map(prefix_to_wire).collect(),
        left_out: *left_out,
        endpoint: endpoint.as_ref().map(
            |EndpointWay {
                 to,
                 via,
                 mtu,
                 looped,
             }| wire::EndpointWay {
                address: ip_to_wire(to.ip()),
                port: u32::from(to.port()),
                via: via.clone(),
                mtu: *mtu,
                looped_ms: looped.map(Moment::as_millis),
            },
        ),
    }
}

pub(super) fn steered_from_wire(steered: wire::Steered) -> Result<Fact, ConvertError> {
    let wire::Steered {
        public_key,
        since_ms,
        prefixes,
        left_out,
        endpoint,
    } = steered;
    at_most("steered.prefixes", prefixes.len(), limits::STEERED)?;
    let key = key_from_wire("steered.public_key", &public_key)?;
    Ok(Fact::Steered(
        key,
        Steered {
            since: Moment::from_millis(since_ms),
            prefixes: prefixes
                .into_iter()
                .map(prefix_from_wire)
                .collect::<Result<_, _>>()?,
            left_out,
            endpoint: endpoint.map(endpoint_from_wire).transpose()?,
        },
    ))
}

fn prefix_to_wire(prefix: &SteeredPrefix) -> wire::SteeredPrefix {
    let SteeredPrefix {
        prefix,
        outgoing,
        prerouting,
        marked_via,
        source,
    } = prefix;
    wire::SteeredPrefix {
        prefix: prefix.clone(),
        outgoing: *outgoing,
        prerouting: *prerouting,
        marked_via: marked_via.clone(),
        source: source.map_or_else(Vec::new, ip_to_wire),
    }
}

fn prefix_from_wire(prefix: wire::SteeredPrefix) -> Result<SteeredPrefix, ConvertError> {
    let wire::SteeredPrefix {
        prefix,
        outgoing,
        prerouting,
        marked_via,
        source,
    } = prefix;
    let source = match source.as_slice() {
        [] => None,
        bytes => Some(ip_from_wire("steered.source", bytes)?),
    };
    Ok(SteeredPrefix {
        prefix: short_text("steered.prefix", prefix)?,
        outgoing,
        prerouting,
        marked_via: marked_via
            .map(|name| link_name("steered.marked_via", name))
            .transpose()?,
        source,
    })
}

fn endpoint_from_wire(endpoint: wire::EndpointWay) -> Result<EndpointWay, ConvertError> {
    let wire::EndpointWay {
        address,
        port,
        via,
        looped_ms,
        mtu,
    } = endpoint;
    let ip = ip_from_wire("steered.endpoint", &address)?;
    let port = port_from_wire("steered.endpoint", port)?;
    Ok(EndpointWay {
        to: SocketAddr::new(ip, port),
        via: via
            .map(|name| link_name("steered.endpoint.via", name))
            .transpose()?,
        mtu,
        looped: looped_ms.map(Moment::from_millis),
    })
}
