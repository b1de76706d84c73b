//! The fact about echoes to node addresses.

use evidence::{Fact, Moment, NodeAsked, NodeEcho, NodeHeard, PublicKey, Via, limits};

use super::{ConvertError, at_most, ip_from_wire, ip_to_wire, key_from_wire, link_name};
use crate::wire;

/// The name of the tunnel's link.
const TUNNEL: &str = "kubespan";

pub(super) fn to_wire(key: &PublicKey, echo: &NodeEcho) -> wire::NodeEcho {
    let NodeEcho { asked, heard } = echo;
    wire::NodeEcho {
        public_key: key.as_bytes().to_vec(),
        asked: asked.iter().map(asked_to_wire).collect(),
        heard: heard.iter().map(heard_to_wire).collect(),
    }
}

pub(super) fn from_wire(echo: wire::NodeEcho) -> Result<Fact, ConvertError> {
    let wire::NodeEcho {
        public_key,
        asked,
        heard,
    } = echo;
    let key = key_from_wire("node_echo.public_key", &public_key)?;
    at_most("node_echo.asked", asked.len(), limits::NODE_ADDRESSES)?;
    at_most("node_echo.heard", heard.len(), limits::NODE_ADDRESSES)?;
    let asked = asked.into_iter().map(asked_from_wire);
    let heard = heard.into_iter().map(heard_from_wire);
    Ok(Fact::NodeEcho(
        key,
        Box::new(NodeEcho {
            asked: asked.collect::<Result<_, _>>()?,
            heard: heard.collect::<Result<_, _>>()?,
        }),
    ))
}

fn asked_to_wire(asked: &NodeAsked) -> wire::NodeAsked {
    let NodeAsked {
        to,
        answered,
        last_answered,
        back,
        through,
        lost,
        lost_since,
        beside,
        mended,
    } = asked;
    wire::NodeAsked {
        to: ip_to_wire(*to),
        answered: *answered,
        last_answered_ms: last_answered.map(Moment::as_millis),
        back_via: back.as_ref().map(via_to_wire),
        through: *through,
        lost: *lost,
        lost_since_ms: lost_since.map(Moment::as_millis),
        beside_ms: beside.map(Moment::as_millis),
        mended_ms: mended.map(Moment::as_millis),
    }
}

fn asked_from_wire(asked: wire::NodeAsked) -> Result<NodeAsked, ConvertError> {
    let wire::NodeAsked {
        to,
        answered,
        last_answered_ms,
        back_via,
        through,
        lost,
        lost_since_ms,
        beside_ms,
        mended_ms,
    } = asked;
    Ok(NodeAsked {
        to: ip_from_wire("node_echo.to", &to)?,
        answered,
        last_answered: last_answered_ms.map(Moment::from_millis),
        back: via_from_wire("node_echo.back_via", back_via)?,
        through,
        lost,
        lost_since: lost_since_ms.map(Moment::from_millis),
        beside: beside_ms.map(Moment::from_millis),
        mended: mended_ms.map(Moment::from_millis),
    })
}

fn heard_to_wire(heard: &NodeHeard) -> wire::NodeHeard {
    let NodeHeard {
        at,
        heard,
        last,
        via,
        around,
        around_since,
    } = heard;
    wire::NodeHeard {
        at: ip_to_wire(*at),
        heard: *heard,
        last_ms: last.as_millis(),
        via: via.as_ref().map(via_to_wire),
        around: *around,
        around_since_ms: around_since.map(Moment::as_millis),
    }
}

fn heard_from_wire(heard: wire::NodeHeard) -> Result<NodeHeard, ConvertError> {
    let wire::NodeHeard {
        at,
        heard,
        last_ms,
        via,
        around,
        around_since_ms,
    } = heard;
    Ok(NodeHeard {
        at: ip_from_wire("node_echo.at", &at)?,
        heard,
        last: Moment::from_millis(last_ms),
        via: via_from_wire("node_echo.via", via)?,
        around,
        around_since: around_since_ms.map(Moment::from_millis),
    })
}

fn via_to_wire(via: &Via) -> String {
    match via {
        Via::Tunnel => TUNNEL.to_owned(),
        Via::Link(name) => name.clone(),
    }
}

fn via_from_wire(field: &'static str, name: Option<String>) -> Result<Option<Via>, ConvertError> {
    let name = name.map(|name| link_name(field, name)).transpose()?;
    Ok(name.map(|name| match name.as_str() {
        TUNNEL => Via::Tunnel,
        _ => Via::Link(name),
    }))
}
