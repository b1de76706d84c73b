//! What a message may say at its place in the stream. Pure.

use evidence::{Delta, Fact, FactKey, Facts, Moment, NodeName};
use proto::{
    convert::{Incoming, Taken, incoming},
    wire::ReportRequest,
};

use crate::{refusal::Refusal, state::identity};

/// From the agent's timeline to the collector's. One for the whole stream: another for each message would make facts
/// that nobody touched seem to move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offset(i64);

/// The sequence of the snapshot.
pub(crate) const FIRST: u64 = 1;

/// The first message of a stream, taken in.
#[derive(Debug)]
pub(crate) struct First {
    /// On the collector's timeline.
    pub(crate) facts: Facts,
    pub(crate) offset: Offset,
    /// How many facts a later version says.
    pub(crate) left_out: usize,
}

/// The first message of a stream, received at `at`.
pub(crate) fn snapshot(
    node: &NodeName,
    request: ReportRequest,
    at: Moment,
) -> Result<First, Refusal> {
    let ReportRequest {
        sequence,
        now_ms,
        body,
    } = request;
    in_sequence(FIRST, sequence)?;
    let Taken { said, left_out } = incoming(body)?;
    let Incoming::Snapshot(facts) = said else {
        return Err(Refusal::field("body", "a snapshot first, got a delta"));
    };
    let identity = identity(&facts)
        .ok_or_else(|| Refusal::field("snapshot.facts", "the identity of the node among them"))?;
    same_name(node, &identity.name)?;
    let offset = Offset(at.as_millis().saturating_sub(now_ms));
    Ok(First {
        facts: facts.shifted(offset.0),
        offset,
        left_out,
    })
}

/// A later message of a stream, and how much of it a later version says.
pub(crate) fn delta(
    node: &NodeName,
    request: ReportRequest,
    expected: u64,
    offset: Offset,
) -> Result<(Delta, usize), Refusal> {
    // The present on the agent's timeline was used once, for the offset.
    let ReportRequest {
        sequence,
        now_ms: _,
        body,
    } = request;
    in_sequence(expected, sequence)?;
    let Taken { said, left_out } = incoming(body)?;
    let Incoming::Delta(mut delta) = said else {
        return Err(Refusal::field("body", "a delta after the first message"));
    };
    let mut identities = delta.upserts.iter().filter_map(|fact| match fact {
        Fact::Identity(identity) => Some(&identity.name),
        _ => None,
    });
    identities.try_for_each(|name| same_name(node, name))?;
    if delta.removed.contains(&FactKey::Identity) {
        return Err(Refusal::field("delta.removed", "the identity to stay"));
    }
    for fact in &mut delta.upserts {
        fact.shift(offset.0);
    }
    Ok((delta, left_out))
}

fn in_sequence(expected: u64, got: u64) -> Result<(), Refusal> {
    if got == expected {
        return Ok(());
    }
    Err(Refusal::Sequence { expected, got })
}

fn same_name(certificate: &NodeName, claimed: &NodeName) -> Result<(), Refusal> {
    if certificate == claimed {
        return Ok(());
    }
    Err(Refusal::Name {
        certificate: certificate.clone(),
        claimed: claimed.clone(),
    })
}

#[cfg(test)]
mod tests {
    use evidence::{Identity, SourceId, SourceState};
    use proto::convert::{delta_to_wire, snapshot_to_wire};

    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn who(text: &str) -> Fact {
        Fact::Identity(Identity {
            name: name(text),
            public_key: None,
            kubespan_address: None,
            addresses: Vec::new(),
            boot_id: "b".to_owned(),
            instance: 1,
            version: "0.1.0".to_owned(),
        })
    }

    fn read(at: i64) -> Fact {
        let read_at = Moment::from_millis(at);
        Fact::Source(
            SourceId::Links,
            SourceState {
                read_at,
                since: read_at,
                gap: None,
            },
        )
    }

    fn first(facts: impl IntoIterator<Item = Fact>, now: i64) -> ReportRequest {
        snapshot_to_wire(1, Moment::from_millis(now), &facts.into_iter().collect())
    }

    fn later(delta: &Delta) -> ReportRequest {
        delta_to_wire(2, Moment::from_millis(9_999_999), delta)
    }

    #[test]
    fn all_facts_of_a_stream_move_by_the_offset_of_its_first_message() {
        let at = Moment::from_millis(500);
        let First { facts, offset, .. } = snapshot(
            &name("vps-1"),
            first([who("vps-1"), read(9_900)], 10_000),
            at,
        )
        .unwrap();
        assert_eq!(
            facts.get(&FactKey::Source(SourceId::Links)),
            Some(&read(400))
        );
        let more = Delta {
            upserts: vec![read(12_000)],
            removed: vec![FactKey::Device],
            ..Delta::default()
        };
        let (shifted, _) = delta(&name("vps-1"), later(&more), 2, offset).unwrap();
        assert_eq!(shifted.upserts, vec![read(2_500)]);
        assert_eq!(shifted.removed, more.removed);
    }

    #[test]
    fn a_clock_at_the_end_of_time_is_no_panic() {
        let request = first([who("vps-1"), read(i64::MAX)], i64::MIN);
        let First { facts, .. } =
            snapshot(&name("vps-1"), request, Moment::from_millis(7)).unwrap();
        assert_eq!(
            facts.get(&FactKey::Source(SourceId::Links)),
            Some(&read(i64::MAX))
        );
    }

    #[test]
    fn a_snapshot_in_another_name_is_refused_with_both_names() {
        let error = snapshot(&name("vps-1"), first([who("vps-2")], 0), Moment::ZERO).unwrap_err();
        assert_eq!(
            error.to_string(),
            "certificate is for vps-1, the report claims vps-2"
        );
    }

    #[test]
    fn a_snapshot_without_an_identity_is_malformed() {
        let error = snapshot(&name("vps-1"), first([read(0)], 0), Moment::ZERO).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field snapshot.facts: expected the identity of the node among them"
        );
    }

    #[test]
    fn a_delta_can_neither_rename_the_node_nor_take_its_identity_away() {
        let rename = Delta {
            upserts: vec![who("vps-2"), who("vps-1")],
            ..Delta::default()
        };
        let anonymous = Delta {
            removed: vec![FactKey::Identity],
            ..Delta::default()
        };
        let node = name("vps-1");
        assert!(matches!(
            delta(&node, later(&rename), 2, Offset(0)),
            Err(Refusal::Name { .. })
        ));
        let error = delta(&node, later(&anonymous), 2, Offset(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "field delta.removed: expected the identity to stay"
        );
    }

    #[test]
    fn the_snapshot_comes_first_and_only_once() {
        let node = name("vps-1");
        let mut early = later(&Delta::default());
        early.sequence = 1;
        assert!(matches!(
            snapshot(&node, early, Moment::ZERO),
            Err(Refusal::Malformed(_))
        ));
        let mut again = first([who("vps-1")], 0);
        again.sequence = 2;
        assert!(matches!(
            delta(&node, again, 2, Offset(0)),
            Err(Refusal::Malformed(_))
        ));
    }
}
