//! The facts about inert datagrams.

use evidence::{Fact, Inert, InertReplies, Moment, PublicKey, limits};

use super::{
    ConvertError, at_most, endpoint_from_wire, endpoint_to_wire, key_from_wire, optional_endpoint,
};
use crate::wire;

pub(super) fn to_wire(key: &PublicKey, inert: &Inert) -> wire::Inert {
    let Inert {
        sent,
        last_sent,
        sent_times,
        to,
        heard,
        last_heard,
        heard_from,
        replies,
        unsolicited_sent,
        unsolicited_heard,
    } = inert;
    wire::Inert {
        public_key: key.as_bytes().to_vec(),
        sent: *sent,
        last_sent_ms: last_sent.map(Moment::as_millis),
        sent_times_ms: sent_times.iter().map(|at| at.as_millis()).collect(),
        to: to.map(endpoint_to_wire),
        heard: *heard,
        last_heard_ms: last_heard.map(Moment::as_millis),
        heard_from: heard_from.map(endpoint_to_wire),
        replies: replies.map(replies_to_wire),
        unsolicited_sent_ms: unsolicited_sent.map(Moment::as_millis),
        unsolicited_heard_ms: unsolicited_heard.map(Moment::as_millis),
    }
}

pub(super) fn from_wire(inert: &wire::Inert) -> Result<Fact, ConvertError> {
    let wire::Inert {
        public_key,
        sent,
        last_sent_ms,
        sent_times_ms,
        to,
        heard,
        last_heard_ms,
        heard_from,
        replies,
        unsolicited_sent_ms,
        unsolicited_heard_ms,
    } = inert;
    let times = sent_times_ms.iter().copied();
    at_most("inert.sent_times_ms", times.len(), limits::INERT_TIMES)?;
    Ok(Fact::Inert(
        key_from_wire("inert.public_key", public_key)?,
        Box::new(Inert {
            sent: *sent,
            last_sent: last_sent_ms.map(Moment::from_millis),
            sent_times: times.map(Moment::from_millis).collect(),
            to: optional_endpoint("inert.to", to.as_ref())?,
            heard: *heard,
            last_heard: last_heard_ms.map(Moment::from_millis),
            heard_from: optional_endpoint("inert.heard_from", heard_from.as_ref())?,
            replies: replies.as_ref().map(replies_from_wire).transpose()?,
            unsolicited_sent: unsolicited_sent_ms.map(Moment::from_millis),
            unsolicited_heard: unsolicited_heard_ms.map(Moment::from_millis),
        }),
    ))
}

fn replies_to_wire(replies: InertReplies) -> wire::InertReplies {
    let InertReplies {
        count,
        last,
        sent_at,
        rtt_us,
        mapped,
        hop_limit_there,
        hop_limit_back,
        there_us,
    } = replies;
    wire::InertReplies {
        count,
        last_ms: last.as_millis(),
        sent_ms: sent_at.as_millis(),
        rtt_us,
        mapped: Some(endpoint_to_wire(mapped)),
        hop_limit_there: hop_limit_there.into(),
        hop_limit_back: hop_limit_back.into(),
        there_us,
    }
}

fn replies_from_wire(replies: &wire::InertReplies) -> Result<InertReplies, ConvertError> {
    let wire::InertReplies {
        count,
        last_ms,
        sent_ms,
        rtt_us,
        mapped,
        hop_limit_there,
        hop_limit_back,
        there_us,
    } = replies;
    let mapped = mapped
        .as_ref()
        .ok_or_else(|| ConvertError::new("inert_replies.mapped", "an address and a port"))?;
    Ok(InertReplies {
        count: *count,
        last: Moment::from_millis(*last_ms),
        sent_at: Moment::from_millis(*sent_ms),
        rtt_us: *rtt_us,
        mapped: endpoint_from_wire("inert_replies.mapped", mapped)?,
        hop_limit_there: hop_limit("inert_replies.hop_limit_there", *hop_limit_there)?,
        hop_limit_back: hop_limit("inert_replies.hop_limit_back", *hop_limit_back)?,
        there_us: *there_us,
    })
}

fn hop_limit(field: &'static str, value: u32) -> Result<u8, ConvertError> {
    u8::try_from(value)
        .map_err(|_| ConvertError::new(field, format!("a hop limit of 8 bits, got {value}")))
}
