//! The fact about data messages.

use evidence::{DataMessages, DataSeen, Fact, Moment, PublicKey};

use super::{ConvertError, key_from_wire};
use crate::wire;

pub(super) fn to_wire(key: &PublicKey, seen: &DataSeen) -> wire::DataSeen {
    let DataSeen {
        since,
        until,
        from_peer,
        to_peer,
        missed,
    } = *seen;
    wire::DataSeen {
        public_key: key.as_bytes().to_vec(),
        since_ms: since.as_millis(),
        until_ms: until.as_millis(),
        from_peer: Some(messages_to_wire(from_peer)),
        to_peer: Some(messages_to_wire(to_peer)),
        missed,
    }
}

pub(super) fn from_wire(seen: &wire::DataSeen) -> Result<Fact, ConvertError> {
    let wire::DataSeen {
        public_key,
        since_ms,
        until_ms,
        from_peer,
        to_peer,
        missed,
    } = seen;
    Ok(Fact::DataSeen(
        key_from_wire("data_seen.public_key", public_key)?,
        DataSeen {
            since: Moment::from_millis(*since_ms),
            until: Moment::from_millis(*until_ms),
            from_peer: messages_from_wire("data_seen.from_peer", from_peer.as_ref())?,
            to_peer: messages_from_wire("data_seen.to_peer", to_peer.as_ref())?,
            missed: *missed,
        },
    ))
}

fn messages_to_wire(messages: DataMessages) -> wire::DataMessages {
    let DataMessages {
        data,
        keepalives,
        last,
    } = messages;
    wire::DataMessages {
        data,
        keepalives,
        last_ms: last.map(Moment::as_millis),
    }
}

/// Counts that are absent were not made: that is not the same as none.
fn messages_from_wire(
    field: &'static str,
    messages: Option<&wire::DataMessages>,
) -> Result<DataMessages, ConvertError> {
    let wire::DataMessages {
        data,
        keepalives,
        last_ms,
    } = *messages.ok_or_else(|| ConvertError::new(field, "counts of messages"))?;
    Ok(DataMessages {
        data,
        keepalives,
        last: last_ms.map(Moment::from_millis),
    })
}
