//! Facts and their keys.

use std::net::IpAddr;

use evidence::{
    Arrival, Device, EchoHeard, EchoSent, EndpointChange, Fact, FactKey, Gap, Identity, Initiated,
    Moment, NodeName, Peer, PublicKey, Rtt, SourceId, SourceState, limits,
};

use super::{
    ConvertError, at_most, clock, data, discovery, endpoint_from_wire, endpoint_to_wire, health,
    host, inert, ip_from_wire, ip_to_wire, key_from_wire, known, node_echo, optional_endpoint,
    short_text, sizes,
    steering::{steered_from_wire, steered_to_wire, steering_from_wire, steering_to_wire},
    talos, vxlan,
};
use crate::wire::{self, fact::Fact as WireFact};

const KINDS: &str = "one of the known kinds of facts";
const SOURCES: &str = "one of the known sources";

pub(super) fn fact_to_wire(fact: &Fact) -> wire::Fact {
    let inner = match fact {
        Fact::Identity(identity) => WireFact::Identity(identity_to_wire(identity)),
        Fact::Source(id, state) => WireFact::Source(wire::Source {
            id: source_to_wire(*id).into(),
            read_at_ms: state.read_at.as_millis(),
            since_ms: state.since.as_millis(),
            gap: state.gap.as_ref().map(|gap| gap.reason.clone()),
        }),
        Fact::Device(device) => WireFact::Device(device_to_wire(device)),
        Fact::Peer(key, peer) => WireFact::Peer(peer_to_wire(key, peer)),
        Fact::EchoSent(key, echo) => WireFact::EchoSent(echo_sent_to_wire(key, echo)),
        Fact::EchoHeard(key, echo) => WireFact::EchoHeard(echo_heard_to_wire(key, echo)),
        Fact::Inert(key, inert) => WireFact::Inert(inert::to_wire(key, inert)),
        Fact::Initiated(key, list) => WireFact::Initiated(wire::Initiated {
            public_key: key.as_bytes().to_vec(),
            initiations: list.iter().map(initiation_to_wire).collect(),
        }),
        Fact::Arrivals(list) => WireFact::Arrivals(wire::Arrivals {
            arrivals: list.iter().map(arrival_to_wire).collect(),
        }),
        Fact::Sizes(key, layers) => WireFact::Sizes(sizes::to_wire(key, layers)),
        Fact::Steering(steering) => WireFact::Steering(steering_to_wire(steering)),
        Fact::Steered(key, steered) => WireFact::Steered(steered_to_wire(key, steered)),
        Fact::Health(state) => WireFact::Health(health::to_wire(state)),
        Fact::DataSeen(key, seen) => WireFact::DataSeen(data::to_wire(key, seen)),
        Fact::Vxlan(devices) => WireFact::Vxlan(vxlan::to_wire(devices)),
        Fact::Talos(talos) => WireFact::Talos(talos::to_wire(talos)),
        Fact::TalosPeer(key, peer) => WireFact::TalosPeer(talos::peer_to_wire(key, peer)),
        Fact::Discovery(seen) => WireFact::Discovery(discovery::to_wire(seen)),
        Fact::NodeEcho(key, echo) => WireFact::NodeEcho(node_echo::to_wire(key, echo)),
        Fact::Clock(state) => WireFact::Clock(clock::to_wire(state)),
        Fact::Ntp(ntp) => WireFact::Ntp(clock::ntp_to_wire(ntp)),
        Fact::Host(state) => WireFact::Host(host::to_wire(state)),
    };
    wire::Fact { fact: Some(inner) }
}

pub(super) fn fact_from_wire(fact: wire::Fact) -> Result<Fact, ConvertError> {
    let inner = fact
        .fact
        .ok_or_else(|| ConvertError::later("fact", KINDS))?;
    Ok(match inner {
        WireFact::Identity(identity) => Fact::Identity(identity_from_wire(identity)?),
        WireFact::Source(source) => source_from_wire(source)?,
        WireFact::Device(device) => Fact::Device(device_from_wire(&device)?),
        WireFact::Peer(peer) => peer_from_wire(peer)?,
        WireFact::EchoSent(echo) => echo_sent_from_wire(&echo)?,
        WireFact::EchoHeard(echo) => echo_heard_from_wire(&echo)?,
        WireFact::Inert(inert) => inert::from_wire(&inert)?,
        WireFact::Initiated(initiated) => initiated_from_wire(&initiated)?,
        WireFact::Arrivals(arrivals) => arrivals_from_wire(&arrivals)?,
        WireFact::Sizes(sizes) => sizes::from_wire(&sizes)?,
        WireFact::Steering(steering) => steering_from_wire(&steering)?,
        WireFact::Steered(steered) => steered_from_wire(steered)?,
        WireFact::Health(state) => Fact::Health(health::from_wire(state)),
        WireFact::DataSeen(seen) => data::from_wire(&seen)?,
        WireFact::Vxlan(devices) => vxlan::from_wire(devices)?,
        WireFact::Talos(talos) => Fact::Talos(Box::new(talos::from_wire(talos)?)),
        WireFact::TalosPeer(peer) => talos::peer_from_wire(peer)?,
        WireFact::Discovery(seen) => Fact::Discovery(discovery::from_wire(seen)?),
        WireFact::NodeEcho(echo) => node_echo::from_wire(echo)?,
        WireFact::Clock(state) => clock::from_wire(&state)?,
        WireFact::Ntp(ntp) => clock::ntp_from_wire(ntp)?,
        WireFact::Host(state) => host::from_wire(state)?,
    })
}

pub(super) fn fact_key_to_wire(key: &FactKey) -> wire::FactKey {
    use wire::FactKind as Kind;
    let (kind, public_key, source) = match key {
        FactKey::Identity => (Kind::Identity, None, None),
        FactKey::Source(id) => (Kind::Source, None, Some(*id)),
        FactKey::Device => (Kind::Device, None, None),
        FactKey::Peer(key) => (Kind::Peer, Some(key), None),
        FactKey::EchoSent(key) => (Kind::EchoSent, Some(key), None),
        FactKey::EchoHeard(key) => (Kind::EchoHeard, Some(key), None),
        FactKey::Inert(key) => (Kind::Inert, Some(key), None),
        FactKey::Initiated(key) => (Kind::Initiated, Some(key), None),
        FactKey::Arrivals => (Kind::Arrivals, None, None),
        FactKey::Sizes(key) => (Kind::Sizes, Some(key), None),
        FactKey::Steering => (Kind::Steering, None, None),
        FactKey::Steered(key) => (Kind::Steered, Some(key), None),
        FactKey::Health => (Kind::Health, None, None),
        FactKey::DataSeen(key) => (Kind::DataSeen, Some(key), None),
        FactKey::Vxlan => (Kind::Vxlan, None, None),
        FactKey::Talos => (Kind::Talos, None, None),
        FactKey::TalosPeer(key) => (Kind::TalosPeer, Some(key), None),
        FactKey::Discovery => (Kind::Discovery, None, None),
        FactKey::NodeEcho(key) => (Kind::NodeEcho, Some(key), None),
        FactKey::Clock => (Kind::Clock, None, None),
        FactKey::Ntp => (Kind::Ntp, None, None),
        FactKey::Host => (Kind::Host, None, None),
    };
    wire::FactKey {
        kind: kind.into(),
        public_key: public_key.map_or_else(Vec::new, |key| key.as_bytes().to_vec()),
        source: source
            .map_or(wire::SourceId::Unspecified, source_to_wire)
            .into(),
    }
}

pub(super) fn fact_key_from_wire(key: &wire::FactKey) -> Result<FactKey, ConvertError> {
    use wire::FactKind as Kind;
    let public_key = || key_from_wire("fact_key.public_key", &key.public_key);
    Ok(match known("fact_key.kind", KINDS, key.kind)? {
        Kind::Unspecified => {
            return Err(ConvertError::new("fact_key.kind", KINDS));
        }
        Kind::Identity => FactKey::Identity,
        Kind::Source => FactKey::Source(source_id_from_wire("fact_key.source", key.source)?),
        Kind::Device => FactKey::Device,
        Kind::Peer => FactKey::Peer(public_key()?),
        Kind::EchoSent => FactKey::EchoSent(public_key()?),
        Kind::EchoHeard => FactKey::EchoHeard(public_key()?),
        Kind::Inert => FactKey::Inert(public_key()?),
        Kind::Initiated => FactKey::Initiated(public_key()?),
        Kind::Arrivals => FactKey::Arrivals,
        Kind::Sizes => FactKey::Sizes(public_key()?),
        Kind::Steering => FactKey::Steering,
        Kind::Steered => FactKey::Steered(public_key()?),
        Kind::Health => FactKey::Health,
        Kind::DataSeen => FactKey::DataSeen(public_key()?),
        Kind::Vxlan => FactKey::Vxlan,
        Kind::Talos => FactKey::Talos,
        Kind::TalosPeer => FactKey::TalosPeer(public_key()?),
        Kind::Discovery => FactKey::Discovery,
        Kind::NodeEcho => FactKey::NodeEcho(public_key()?),
        Kind::Clock => FactKey::Clock,
        Kind::Ntp => FactKey::Ntp,
        Kind::Host => FactKey::Host,
    })
}

/// Under which key a fact stands whose value may be of a later version. Whoever gives a kind of fact an enumeration decides here.
pub(super) fn later_key(fact: &wire::Fact) -> Option<FactKey> {
    match fact.fact.as_ref()? {
        WireFact::Discovery(_) => Some(FactKey::Discovery),
        WireFact::Ntp(_) => Some(FactKey::Ntp),
        // A source of a later version was never known; layers, states and complaints of one are left out of their fact.
        // The others have no enumeration.
        WireFact::Source(_)
        | WireFact::Sizes(_)
        | WireFact::Talos(_)
        | WireFact::TalosPeer(_)
        | WireFact::Host(_)
        | WireFact::Identity(_)
        | WireFact::Device(_)
        | WireFact::Peer(_)
        | WireFact::EchoSent(_)
        | WireFact::EchoHeard(_)
        | WireFact::Inert(_)
        | WireFact::Initiated(_)
        | WireFact::Arrivals(_)
        | WireFact::Steering(_)
        | WireFact::Steered(_)
        | WireFact::Health(_)
        | WireFact::DataSeen(_)
        | WireFact::NodeEcho(_)
        | WireFact::Vxlan(_)
        | WireFact::Clock(_) => None,
    }
}

fn millis(moment: Option<Moment>) -> Option<i64> {
    moment.map(Moment::as_millis)
}

fn moment(millis: Option<i64>) -> Option<Moment> {
    millis.map(Moment::from_millis)
}

pub(super) fn source_to_wire(id: SourceId) -> wire::SourceId {
    match id {
        SourceId::WireGuard => wire::SourceId::Wireguard,
        SourceId::Links => wire::SourceId::Links,
        SourceId::Tap => wire::SourceId::Tap,
        SourceId::Echo => wire::SourceId::Echo,
        SourceId::Inert => wire::SourceId::Inert,
        SourceId::Overlay => wire::SourceId::Overlay,
        SourceId::NodeEcho => wire::SourceId::NodeEcho,
        SourceId::Routes => wire::SourceId::Routes,
        SourceId::Nftables => wire::SourceId::Nftables,
        SourceId::Talos => wire::SourceId::Talos,
        SourceId::Discovery => wire::SourceId::Discovery,
        SourceId::Clock => wire::SourceId::Clock,
        SourceId::Ntp => wire::SourceId::Ntp,
        SourceId::Host => wire::SourceId::Host,
    }
}

pub(super) fn source_id_from_wire(field: &'static str, id: i32) -> Result<SourceId, ConvertError> {
    Ok(match known(field, SOURCES, id)? {
        wire::SourceId::Unspecified => {
            return Err(ConvertError::new(field, SOURCES));
        }
        wire::SourceId::Wireguard => SourceId::WireGuard,
        wire::SourceId::Links => SourceId::Links,
        wire::SourceId::Tap => SourceId::Tap,
        wire::SourceId::Echo => SourceId::Echo,
        wire::SourceId::Inert => SourceId::Inert,
        wire::SourceId::Overlay => SourceId::Overlay,
        wire::SourceId::NodeEcho => SourceId::NodeEcho,
        wire::SourceId::Routes => SourceId::Routes,
        wire::SourceId::Nftables => SourceId::Nftables,
        wire::SourceId::Talos => SourceId::Talos,
        wire::SourceId::Discovery => SourceId::Discovery,
        wire::SourceId::Clock => SourceId::Clock,
        wire::SourceId::Ntp => SourceId::Ntp,
        wire::SourceId::Host => SourceId::Host,
    })
}

fn source_from_wire(source: wire::Source) -> Result<Fact, ConvertError> {
    let id = source_id_from_wire("source.id", source.id)?;
    let wire::Source {
        id: _,
        read_at_ms,
        gap,
        since_ms,
    } = source;
    let gap = gap
        .map(|reason| short_text("source.gap", reason).map(|reason| Gap { reason }))
        .transpose()?;
    Ok(Fact::Source(
        id,
        SourceState {
            read_at: Moment::from_millis(read_at_ms),
            since: Moment::from_millis(since_ms),
            gap,
        },
    ))
}

fn identity_to_wire(identity: &Identity) -> wire::Identity {
    let Identity {
        name,
        public_key,
        kubespan_address,
        addresses,
        boot_id,
        instance,
        version,
    } = identity;
    wire::Identity {
        name: name.to_string(),
        public_key: public_key.map_or_else(Vec::new, |key| key.as_bytes().to_vec()),
        kubespan_address: kubespan_address
            .map_or_else(Vec::new, |address| address.octets().to_vec()),
        addresses: addresses
            .iter()
            .map(|address| ip_to_wire(*address))
            .collect(),
        boot_id: boot_id.clone(),
        instance: *instance,
        version: version.clone(),
    }
}

fn identity_from_wire(identity: wire::Identity) -> Result<Identity, ConvertError> {
    let wire::Identity {
        name,
        public_key,
        kubespan_address,
        addresses,
        boot_id,
        instance,
        version,
    } = identity;
    at_most("identity.addresses", addresses.len(), limits::ADDRESSES)?;
    let public_key = match public_key.as_slice() {
        [] => None,
        bytes => Some(key_from_wire("identity.public_key", bytes)?),
    };
    let kubespan_address = match kubespan_address.as_slice() {
        [] => None,
        bytes => match ip_from_wire("identity.kubespan_address", bytes)? {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => {
                return Err(ConvertError::new(
                    "identity.kubespan_address",
                    "an IPv6 address",
                ));
            }
        },
    };
    Ok(Identity {
        name: NodeName::parse(&name)
            .map_err(|error| ConvertError::new("identity.name", error.to_string()))?,
        public_key,
        kubespan_address,
        addresses: addresses
            .iter()
            .map(|bytes| ip_from_wire("identity.addresses", bytes))
            .collect::<Result<_, _>>()?,
        boot_id: short_text("identity.boot_id", boot_id)?,
        instance,
        version: short_text("identity.version", version)?,
    })
}

fn device_to_wire(device: &Device) -> wire::Device {
    let Device {
        listen_port,
        fwmark,
        mtu,
        up,
    } = device;
    wire::Device {
        listen_port: listen_port.map(u32::from),
        fwmark: *fwmark,
        mtu: *mtu,
        up: *up,
    }
}

fn device_from_wire(device: &wire::Device) -> Result<Device, ConvertError> {
    let wire::Device {
        listen_port,
        fwmark,
        mtu,
        up,
    } = *device;
    let listen_port = listen_port
        .map(|port| {
            u16::try_from(port)
                .map_err(|_| ConvertError::new("device.listen_port", "a port of 16 bits"))
        })
        .transpose()?;
    Ok(Device {
        listen_port,
        fwmark,
        mtu,
        up,
    })
}

fn peer_to_wire(key: &PublicKey, peer: &Peer) -> wire::Peer {
    let Peer {
        endpoint,
        allowed_ips,
        last_handshake,
        rx_bytes,
        tx_bytes,
        rx_moved,
        since,
        keepalive,
        endpoint_changes,
    } = peer;
    let change = |EndpointChange { at, from, to }: &EndpointChange| wire::EndpointChange {
        at_ms: at.as_millis(),
        from: Some(endpoint_to_wire(*from)),
        to: Some(endpoint_to_wire(*to)),
    };
    wire::Peer {
        public_key: key.as_bytes().to_vec(),
        endpoint: endpoint.map(endpoint_to_wire),
        allowed_ips: allowed_ips.clone(),
        last_handshake_ms: millis(*last_handshake),
        rx_bytes: *rx_bytes,
        tx_bytes: *tx_bytes,
        rx_moved_ms: millis(*rx_moved),
        since_ms: since.as_millis(),
        keepalive_seconds: keepalive.map(u32::from),
        endpoint_changes: endpoint_changes.iter().map(change).collect(),
    }
}

fn peer_from_wire(peer: wire::Peer) -> Result<Fact, ConvertError> {
    let wire::Peer {
        public_key,
        endpoint,
        allowed_ips,
        last_handshake_ms,
        rx_bytes,
        tx_bytes,
        rx_moved_ms,
        since_ms,
        keepalive_seconds,
        endpoint_changes,
    } = peer;
    at_most(
        "peer.endpoint_changes",
        endpoint_changes.len(),
        limits::ENDPOINT_CHANGES,
    )?;
    at_most("peer.allowed_ips", allowed_ips.len(), limits::ALLOWED_IPS)?;
    let keepalive = keepalive_seconds
        .map(|seconds| {
            u16::try_from(seconds)
                .map_err(|_| ConvertError::new("peer.keepalive_seconds", "16 bits"))
        })
        .transpose()?;
    Ok(Fact::Peer(
        key_from_wire("peer.public_key", &public_key)?,
        Peer {
            endpoint: optional_endpoint("peer.endpoint", endpoint.as_ref())?,
            allowed_ips: allowed_ips
                .into_iter()
                .map(|text| short_text("peer.allowed_ips", text))
                .collect::<Result<_, _>>()?,
            last_handshake: moment(last_handshake_ms),
            rx_bytes,
            tx_bytes,
            rx_moved: moment(rx_moved_ms),
            since: Moment::from_millis(since_ms),
            keepalive,
            endpoint_changes: endpoint_changes
                .iter()
                .map(endpoint_change_from_wire)
                .collect::<Result<_, _>>()?,
        },
    ))
}

fn endpoint_change_from_wire(
    change: &wire::EndpointChange,
) -> Result<EndpointChange, ConvertError> {
    let wire::EndpointChange { at_ms, from, to } = change;
    let field = "peer.endpoint_changes";
    let endpoint = |endpoint: &Option<wire::Endpoint>| {
        optional_endpoint(field, endpoint.as_ref())?
            .ok_or_else(|| ConvertError::new(field, "both endpoints"))
    };
    Ok(EndpointChange {
        at: Moment::from_millis(*at_ms),
        from: endpoint(from)?,
        to: endpoint(to)?,
    })
}

fn echo_sent_to_wire(key: &PublicKey, echo: &EchoSent) -> wire::EchoSent {
    let EchoSent {
        sent,
        answered,
        consecutive_lost,
        loss_since,
        last_sent,
        last_answered,
        rtt,
        window,
        window_lost,
        short_losses,
        refused,
        clock,
    } = echo;
    wire::EchoSent {
        public_key: key.as_bytes().to_vec(),
        sent: *sent,
        answered: *answered,
        consecutive_lost: *consecutive_lost,
        loss_since_ms: millis(*loss_since),
        last_sent_ms: millis(*last_sent),
        last_answered_ms: millis(*last_answered),
        rtt: rtt.map(
            |Rtt {
                 last_us,
                 min_us,
                 mean_us,
                 max_us,
             }| wire::Rtt {
                last_us,
                min_us,
                mean_us,
                max_us,
            },
        ),
        window: *window,
        window_lost: *window_lost,
        short_losses: *short_losses,
        refused_ms: millis(*refused),
        clock: clock.map(clock::reading_to_wire),
    }
}

fn echo_sent_from_wire(echo: &wire::EchoSent) -> Result<Fact, ConvertError> {
    let wire::EchoSent {
        public_key,
        sent,
        answered,
        consecutive_lost,
        loss_since_ms,
        last_sent_ms,
        last_answered_ms,
        rtt,
        window,
        window_lost,
        short_losses,
        refused_ms,
        clock,
    } = echo;
    Ok(Fact::EchoSent(
        key_from_wire("echo_sent.public_key", public_key)?,
        EchoSent {
            sent: *sent,
            answered: *answered,
            consecutive_lost: *consecutive_lost,
            loss_since: moment(*loss_since_ms),
            last_sent: moment(*last_sent_ms),
            last_answered: moment(*last_answered_ms),
            rtt: rtt.map(
                |wire::Rtt {
                     last_us,
                     min_us,
                     mean_us,
                     max_us,
                 }| Rtt {
                    last_us,
                    min_us,
                    mean_us,
                    max_us,
                },
            ),
            window: *window,
            window_lost: *window_lost,
            short_losses: *short_losses,
            refused: moment(*refused_ms),
            clock: clock.map(clock::reading_from_wire),
        },
    ))
}

fn echo_heard_to_wire(key: &PublicKey, echo: &EchoHeard) -> wire::EchoHeard {
    let EchoHeard {
        heard,
        last_heard,
        window,
        window_missing,
    } = echo;
    wire::EchoHeard {
        public_key: key.as_bytes().to_vec(),
        heard: *heard,
        last_heard_ms: millis(*last_heard),
        window: *window,
        window_missing: *window_missing,
    }
}

fn echo_heard_from_wire(echo: &wire::EchoHeard) -> Result<Fact, ConvertError> {
    let wire::EchoHeard {
        public_key,
        heard,
        last_heard_ms,
        window,
        window_missing,
    } = echo;
    Ok(Fact::EchoHeard(
        key_from_wire("echo_heard.public_key", public_key)?,
        EchoHeard {
            heard: *heard,
            last_heard: moment(*last_heard_ms),
            window: *window,
            window_missing: *window_missing,
        },
    ))
}

fn initiation_to_wire(initiated: &Initiated) -> wire::Initiation {
    let Initiated {
        sender_index,
        sent_at,
        to,
        response_at,
    } = initiated;
    wire::Initiation {
        sender_index: *sender_index,
        sent_ms: sent_at.as_millis(),
        to: Some(endpoint_to_wire(*to)),
        response_ms: millis(*response_at),
    }
}

fn initiated_from_wire(initiated: &wire::Initiated) -> Result<Fact, ConvertError> {
    let wire::Initiated {
        public_key,
        initiations,
    } = initiated;
    at_most(
        "initiated.initiations",
        initiations.len(),
        limits::INITIATED,
    )?;
    let key = key_from_wire("initiated.public_key", public_key)?;
    Ok(Fact::Initiated(
        key,
        initiations
            .iter()
            .map(initiation_from_wire)
            .collect::<Result<_, _>>()?,
    ))
}

fn initiation_from_wire(initiation: &wire::Initiation) -> Result<Initiated, ConvertError> {
    let wire::Initiation {
        sender_index,
        sent_ms,
        to,
        response_ms,
    } = initiation;
    let to = to
        .as_ref()
        .ok_or_else(|| ConvertError::new("initiation.to", "an endpoint"))?;
    Ok(Initiated {
        sender_index: *sender_index,
        sent_at: Moment::from_millis(*sent_ms),
        to: endpoint_from_wire("initiation.to", to)?,
        response_at: moment(*response_ms),
    })
}

fn arrival_to_wire(arrival: &Arrival) -> wire::Arrival {
    let Arrival {
        sender_index,
        at,
        from,
        for_us,
        answered_at,
    } = arrival;
    wire::Arrival {
        sender_index: *sender_index,
        arrived_ms: at.as_millis(),
        from: Some(endpoint_to_wire(*from)),
        for_us: *for_us,
        answered_ms: millis(*answered_at),
    }
}

fn arrivals_from_wire(arrivals: &wire::Arrivals) -> Result<Fact, ConvertError> {
    let wire::Arrivals { arrivals } = arrivals;
    at_most("arrivals.arrivals", arrivals.len(), limits::ARRIVALS)?;
    Ok(Fact::Arrivals(
        arrivals
            .iter()
            .map(arrival_from_wire)
            .collect::<Result<_, _>>()?,
    ))
}

fn arrival_from_wire(arrival: &wire::Arrival) -> Result<Arrival, ConvertError> {
    let wire::Arrival {
        sender_index,
        arrived_ms,
        from,
        for_us,
        answered_ms,
    } = arrival;
    let from = from
        .as_ref()
        .ok_or_else(|| ConvertError::new("arrival.from", "an endpoint"))?;
    Ok(Arrival {
        sender_index: *sender_index,
        at: Moment::from_millis(*arrived_ms),
        from: endpoint_from_wire("arrival.from", from)?,
        for_us: *for_us,
        answered_at: moment(*answered_ms),
    })
}
