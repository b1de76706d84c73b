//! What merely moved in facts, on the wire.

use evidence::{Delta, Moment, Moved, MovedFact, MovedKind, ShortKey, SourceId, limits};
use proptest::prelude::*;
use proto::{
    convert::{Incoming, delta_to_wire, incoming},
    wire,
};

use crate::sample;

#[test]
fn moves_whose_lists_do_not_fit_together_are_refused_by_the_list_that_does_not() {
    type Spoil = fn(&mut wire::Moved);
    let moved = |spoil: Spoil| {
        let mut moved = wire::Moved {
            sources: vec![wire::SourceId::Echo.into()],
            later_ms: vec![200],
            keys: vec![7],
            kinds: vec![wire::FactKind::EchoHeard.into()],
            numbers: vec![2],
            by: vec![1, 200],
        };
        spoil(&mut moved);
        sample::delta(wire::Delta {
            moved: Some(moved),
            ..wire::Delta::default()
        })
    };
    assert!(moved(|_| ()).is_ok());
    let spoils: [(Spoil, &str); 6] = [
        (
            |moved| moved.later_ms.clear(),
            "field delta.moved.later_ms: expected 1 entries, got 0",
        ),
        (
            |moved| moved.kinds.clear(),
            "field delta.moved.kinds: expected 1 entries, got 0",
        ),
        (
            |moved| moved.numbers.push(0),
            "field delta.moved.numbers: expected 1 entries, got 2",
        ),
        (
            |moved| moved.by.push(0),
            "field delta.moved.by: expected 2 entries, got 3",
        ),
        (
            |moved| moved.numbers = vec![17],
            "field delta.moved.numbers: expected at most 16 of one fact, got 17",
        ),
        (
            |moved| moved.kinds = vec![wire::FactKind::Inert.into()],
            "field delta.moved.kinds: expected a kind of fact that is told by moves, got 7",
        ),
    ];
    for (spoil, expected) in spoils {
        assert_eq!(moved(spoil).unwrap_err().to_string(), expected);
    }
}

proptest! {
    #[test]
    fn moves_come_off_the_wire_as_they_went_on(
        sources in prop::collection::vec(any::<i64>(), 0..SourceId::ALL.len()),
        of_peers in prop::collection::vec((any::<u32>(), 0..MovedKind::ALL.len(), prop::collection::vec(any::<i64>(), 0..limits::MOVED_NUMBERS)), 0..20),
    ) {
        let sources = SourceId::ALL.into_iter().zip(sources).collect();
        let mut moved = Moved { sources, ..Moved::default() };
        for (key, kind, numbers) in of_peers {
            moved.of_peers.push(MovedFact {
                key: ShortKey(key),
                kind: MovedKind::ALL[kind],
                numbers: u8::try_from(numbers.len()).unwrap(),
            });
            moved.by.extend(numbers);
        }
        let delta = Delta { moved, routine: true, ..Delta::default() };
        let request = delta_to_wire(2, Moment::ZERO, &delta);
        let taken = incoming(request.body).map(|taken| taken.said);
        prop_assert_eq!(taken, Ok(Incoming::Delta(delta)));
    }
}
