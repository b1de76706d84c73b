//! What an agent says of itself.

use ::evidence::{AgentStatus, Moment, NodeName, Uplink, UplinkState, UplinkWay, limits};

use super::{ConvertError, at_most, endpoint_to_wire, optional_endpoint, short_text};
use crate::wire::{self, uplink::State};

/// The status of an agent for the wire.
pub fn agent_status_to_wire(status: &AgentStatus) -> wire::AgentStatus {
    let AgentStatus {
        node,
        version,
        now,
        started,
        waits_for,
        uplinks,
    } = status;
    wire::AgentStatus {
        node: node.to_string(),
        version: version.clone(),
        now_ms: now.as_millis(),
        started_ms: started.as_millis(),
        waits_for: waits_for.clone(),
        uplinks: uplinks.iter().map(uplink_to_wire).collect(),
    }
}

fn uplink_to_wire(uplink: &Uplink) -> wire::Uplink {
    let Uplink {
        collector,
        since,
        state,
    } = uplink;
    let state = match state {
        UplinkState::Reporting { to, way } => {
            let way = match way {
                UplinkWay::Underlay => wire::UplinkWay::Underlay,
                UplinkWay::Routes => wire::UplinkWay::Routes,
                UplinkWay::Tunnel => wire::UplinkWay::Tunnel,
            };
            State::Reporting(wire::Reporting {
                to: Some(endpoint_to_wire(*to)),
                way: way.into(),
            })
        }
        UplinkState::NotReporting { reason } => State::NotReporting(reason.clone()),
    };
    wire::Uplink {
        collector: collector.clone(),
        since_ms: since.as_millis(),
        state: Some(state),
    }
}

/// The status of an agent, checked.
pub fn agent_status_from_wire(status: wire::AgentStatus) -> Result<AgentStatus, ConvertError> {
    let wire::AgentStatus {
        node,
        version,
        now_ms,
        started_ms,
        waits_for,
        uplinks,
    } = status;
    at_most("uplinks", uplinks.len(), limits::UPLINKS)?;
    Ok(AgentStatus {
        node: NodeName::parse(&node)
            .map_err(|error| ConvertError::new("node", error.to_string()))?,
        version: short_text("version", version)?,
        now: Moment::from_millis(now_ms),
        started: Moment::from_millis(started_ms),
        waits_for: waits_for
            .map(|text| short_text("waits_for", text))
            .transpose()?,
        uplinks: uplinks
            .into_iter()
            .map(uplink_from_wire)
            .collect::<Result<_, _>>()?,
    })
}

fn uplink_from_wire(uplink: wire::Uplink) -> Result<Uplink, ConvertError> {
    let wire::Uplink {
        collector,
        since_ms,
        state,
    } = uplink;
    let state = match state {
        Some(State::Reporting(wire::Reporting { to, way })) => {
            const TO: &str = "uplink.reporting.to";
            let to = optional_endpoint(TO, to.as_ref())?
                .ok_or_else(|| ConvertError::new(TO, "an address and a port"))?;
            let way = match wire::UplinkWay::try_from(way) {
                Ok(wire::UplinkWay::Underlay) => UplinkWay::Underlay,
                Ok(wire::UplinkWay::Routes) => UplinkWay::Routes,
                Ok(wire::UplinkWay::Tunnel) => UplinkWay::Tunnel,
                Ok(wire::UplinkWay::Unspecified) | Err(_) => {
                    return Err(ConvertError::new(
                        "uplink.reporting.way",
                        format!("1, 2 or 3, got {way}"),
                    ));
                }
            };
            UplinkState::Reporting { to, way }
        }
        Some(State::NotReporting(reason)) => UplinkState::NotReporting {
            reason: short_text("uplink.not_reporting", reason)?,
        },
        None => {
            return Err(ConvertError::new(
                "uplink.state",
                "reporting or not_reporting",
            ));
        }
    };
    Ok(Uplink {
        collector: short_text("uplink.collector", collector)?,
        since: Moment::from_millis(since_ms),
        state,
    })
}
