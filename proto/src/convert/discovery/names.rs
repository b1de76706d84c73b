//! What resolvers said of a name.

use evidence::{
    Moment,
    discovery::{DiscoveryNames, NameAnswer, NameOutcome},
    limits,
};

use super::{socket_from_wire, socket_to_wire};
use crate::{
    convert::{ConvertError, at_most, known, short_text},
    wire::{self, NameOutcome as Outcome},
};

pub(super) fn to_wire(names: &DiscoveryNames) -> wire::DiscoveryNames {
    let DiscoveryNames {
        resolvers,
        ipv4,
        ipv6,
        failed,
        failed_since,
    } = names;
    wire::DiscoveryNames {
        resolvers: resolvers.iter().map(socket_to_wire).collect(),
        ipv4: Some(answer_to_wire(ipv4)),
        ipv6: Some(answer_to_wire(ipv6)),
        failed: *failed,
        failed_since_ms: failed_since.map(Moment::as_millis),
    }
}

pub(super) fn from_wire(names: wire::DiscoveryNames) -> Result<DiscoveryNames, ConvertError> {
    let wire::DiscoveryNames {
        resolvers,
        ipv4,
        ipv6,
        failed,
        failed_since_ms,
    } = names;
    at_most("discovery.resolvers", resolvers.len(), limits::RESOLVERS)?;
    let resolver = |resolver| socket_from_wire("discovery.resolvers", &resolver);
    Ok(DiscoveryNames {
        resolvers: super::each(resolvers, resolver)?,
        ipv4: answer_from_wire(ipv4)?,
        ipv6: answer_from_wire(ipv6)?,
        failed,
        failed_since: failed_since_ms.map(Moment::from_millis),
    })
}

fn answer_to_wire(answer: &NameAnswer) -> wire::NameAnswer {
    let NameAnswer {
        outcome,
        took_us,
        text,
    } = answer;
    wire::NameAnswer {
        outcome: outcome_to_wire(*outcome).into(),
        took_us: *took_us,
        text: text.clone(),
    }
}

const OUTCOMES: &str = "one of the known outcomes";

fn answer_from_wire(answer: Option<wire::NameAnswer>) -> Result<NameAnswer, ConvertError> {
    let missing = || ConvertError::new("discovery.names", "an answer for each family");
    let answer = answer.ok_or_else(missing)?;
    let outcome = outcome_from_wire(known("discovery.names.outcome", OUTCOMES, answer.outcome)?)?;
    let wire::NameAnswer {
        outcome: _,
        took_us,
        text,
    } = answer;
    Ok(NameAnswer {
        outcome,
        took_us,
        text: short_text("discovery.names.text", text)?,
    })
}

const fn outcome_to_wire(outcome: NameOutcome) -> Outcome {
    match outcome {
        NameOutcome::Found => Outcome::Found,
        NameOutcome::Empty => Outcome::Empty,
        NameOutcome::NoSuchName => Outcome::NoSuchName,
        NameOutcome::ServerFailure => Outcome::ServerFailure,
        NameOutcome::Refused => Outcome::Refused,
        NameOutcome::Silent => Outcome::Silent,
        NameOutcome::NoResolver => Outcome::NoResolver,
        NameOutcome::Other => Outcome::Other,
    }
}

fn outcome_from_wire(outcome: Outcome) -> Result<NameOutcome, ConvertError> {
    Ok(match outcome {
        Outcome::Unspecified => {
            return Err(ConvertError::new("discovery.names.outcome", OUTCOMES));
        }
        Outcome::Found => NameOutcome::Found,
        Outcome::Empty => NameOutcome::Empty,
        Outcome::NoSuchName => NameOutcome::NoSuchName,
        Outcome::ServerFailure => NameOutcome::ServerFailure,
        Outcome::Refused => NameOutcome::Refused,
        Outcome::Silent => NameOutcome::Silent,
        Outcome::NoResolver => NameOutcome::NoResolver,
        Outcome::Other => NameOutcome::Other,
    })
}
