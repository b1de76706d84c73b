//! What merely moved in facts: columns of numbers, so that a fact costs little more than its numbers do.

use evidence::{Moved, MovedFact, MovedKind, ShortKey, limits};

use super::{
    ConvertError, at_most,
    facts::{source_id_from_wire, source_to_wire},
    unless_later,
};
use crate::wire::{self, FactKind};

pub(super) fn moved_to_wire(moved: &Moved) -> Option<wire::Moved> {
    if moved.is_empty() {
        return None;
    }
    let Moved {
        sources,
        of_peers,
        by,
    } = moved;
    let sources = sources.iter();
    let (ids, later_ms) = sources
        .map(|(id, later)| (i32::from(source_to_wire(*id)), *later))
        .unzip();
    let each = of_peers.iter();
    Some(wire::Moved {
        sources: ids,
        later_ms,
        keys: each.clone().map(|fact| fact.key.0).collect(),
        kinds: each
            .clone()
            .map(|fact| kind_to_wire(fact.kind).into())
            .collect(),
        numbers: each.map(|fact| fact.numbers.into()).collect(),
        by: by.clone(),
    })
}

/// What is told, and how many sources are left out because a later version has them. All else is known to whoever said that he takes this
/// layout.
pub(super) fn moved_from_wire(moved: Option<wire::Moved>) -> Result<(Moved, usize), ConvertError> {
    let Some(wire::Moved {
        sources,
        later_ms,
        keys,
        kinds,
        numbers,
        by,
    }) = moved
    else {
        return Ok((Moved::default(), 0));
    };
    at_most("delta.moved.sources", sources.len(), limits::MOVED_SOURCES)?;
    as_many("delta.moved.later_ms", later_ms.len(), sources.len())?;
    at_most("delta.moved.keys", keys.len(), limits::FACTS)?;
    as_many("delta.moved.kinds", kinds.len(), keys.len())?;
    as_many("delta.moved.numbers", numbers.len(), keys.len())?;
    let mut all = 0;
    let mut of_peers = Vec::with_capacity(keys.len());
    for ((key, kind), numbers) in keys.into_iter().zip(kinds).zip(numbers) {
        let of_one = u8::try_from(numbers).ok();
        let of_one = of_one.filter(|numbers| usize::from(*numbers) <= limits::MOVED_NUMBERS);
        let numbers = of_one.ok_or_else(|| {
            let limit = limits::MOVED_NUMBERS;
            ConvertError::new(
                "delta.moved.numbers",
                format!("at most {limit} of one fact, got {numbers}"),
            )
        })?;
        all += usize::from(numbers);
        of_peers.push(MovedFact {
            key: ShortKey(key),
            kind: kind_from_wire(kind)?,
            numbers,
        });
    }
    as_many("delta.moved.by", by.len(), all)?;
    let told = sources.len();
    let mut known = Vec::with_capacity(told);
    for (id, later) in sources.into_iter().zip(later_ms) {
        let id = unless_later(source_id_from_wire("delta.moved.sources", id))?;
        known.extend(id.map(|id| (id, later)));
    }
    let left_out = told - known.len();
    let moved = Moved {
        sources: known,
        of_peers,
        by,
    };
    Ok((moved, left_out))
}

fn as_many(field: &'static str, got: usize, expected: usize) -> Result<(), ConvertError> {
    if got == expected {
        return Ok(());
    }
    Err(ConvertError::new(
        field,
        format!("{expected} entries, got {got}"),
    ))
}

const fn kind_to_wire(kind: MovedKind) -> FactKind {
    match kind {
        MovedKind::Peer => FactKind::Peer,
        MovedKind::EchoSent => FactKind::EchoSent,
        MovedKind::EchoHeard => FactKind::EchoHeard,
        MovedKind::Sizes => FactKind::Sizes,
        MovedKind::NodeEcho => FactKind::NodeEcho,
    }
}

fn kind_from_wire(kind: i32) -> Result<MovedKind, ConvertError> {
    Ok(match FactKind::try_from(kind) {
        Ok(FactKind::Peer) => MovedKind::Peer,
        Ok(FactKind::EchoSent) => MovedKind::EchoSent,
        Ok(FactKind::EchoHeard) => MovedKind::EchoHeard,
        Ok(FactKind::Sizes) => MovedKind::Sizes,
        Ok(FactKind::NodeEcho) => MovedKind::NodeEcho,
        _ => {
            return Err(ConvertError::new(
                "delta.moved.kinds",
                format!("a kind of fact that is told by moves, got {kind}"),
            ));
        }
    })
}
