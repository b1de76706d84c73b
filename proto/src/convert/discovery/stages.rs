//! Stages of a connection to the discovery service, and why one failed.

use evidence::{
    Moment,
    discovery::{DiscoveryStage, FailureKind, Stage, StageFailure},
};

use crate::{
    convert::{ConvertError, known, short_text},
    wire::{self, DiscoveryStageId as Id, StageFailureKind as Kind},
};

pub(super) fn to_wire(stage: &DiscoveryStage) -> wire::DiscoveryStage {
    let DiscoveryStage {
        stage,
        at,
        took_us,
        failure,
    } = stage;
    wire::DiscoveryStage {
        stage: id_to_wire(*stage).into(),
        at_ms: at.as_millis(),
        took_us: *took_us,
        failure: failure
            .as_ref()
            .map(|StageFailure { kind, text }| wire::StageFailure {
                kind: kind_to_wire(*kind).into(),
                text: text.clone(),
            }),
    }
}

const STAGES: &str = "one of the known stages";

pub(super) fn from_wire(stage: wire::DiscoveryStage) -> Result<DiscoveryStage, ConvertError> {
    let id = id_from_wire(known("discovery.stage", STAGES, stage.stage)?)?;
    let wire::DiscoveryStage {
        stage: _,
        at_ms,
        took_us,
        failure,
    } = stage;
    Ok(DiscoveryStage {
        stage: id,
        at: Moment::from_millis(at_ms),
        took_us,
        failure: failure.map(failure_from_wire).transpose()?,
    })
}

/// The stages of one connection: each at most once, in their order, and none after one that failed.
pub(super) fn in_order(
    stages: Vec<wire::DiscoveryStage>,
) -> Result<Vec<DiscoveryStage>, ConvertError> {
    let stages: Vec<_> = stages
        .into_iter()
        .map(from_wire)
        .collect::<Result<_, _>>()?;
    let ordered = |pair: &[DiscoveryStage]| match pair {
        [earlier, later] => earlier.stage < later.stage && earlier.failure.is_none(),
        _ => true,
    };
    if !stages.windows(2).all(ordered) {
        let expected = "stages in their order, each once, none after one that failed";
        return Err(ConvertError::new("discovery.stages", expected));
    }
    Ok(stages)
}

fn failure_from_wire(failure: wire::StageFailure) -> Result<StageFailure, ConvertError> {
    let kind = kind_from_wire(failure.kind());
    let wire::StageFailure { kind: _, text } = failure;
    Ok(StageFailure {
        kind,
        text: short_text("discovery.failure.text", text)?,
    })
}

const fn id_to_wire(stage: Stage) -> Id {
    match stage {
        Stage::Tcp => Id::Tcp,
        Stage::Proxy => Id::Proxy,
        Stage::Tls => Id::Tls,
        Stage::Http2 => Id::Http2,
        Stage::Hello => Id::Hello,
        Stage::List => Id::List,
    }
}

fn id_from_wire(id: Id) -> Result<Stage, ConvertError> {
    Ok(match id {
        Id::Unspecified => {
            return Err(ConvertError::new("discovery.stage", STAGES));
        }
        Id::Tcp => Stage::Tcp,
        Id::Proxy => Stage::Proxy,
        Id::Tls => Stage::Tls,
        Id::Http2 => Stage::Http2,
        Id::Hello => Stage::Hello,
        Id::List => Stage::List,
    })
}

const fn kind_to_wire(kind: FailureKind) -> Kind {
    match kind {
        FailureKind::Refused => Kind::Refused,
        FailureKind::Unreachable => Kind::Unreachable,
        FailureKind::Silent => Kind::Silent,
        FailureKind::Reset => Kind::Reset,
        FailureKind::Untrusted => Kind::Untrusted,
        FailureKind::WrongName => Kind::WrongName,
        FailureKind::OutOfDate => Kind::OutOfDate,
        FailureKind::NoHttp2 => Kind::NoHttp2,
        FailureKind::Garbage => Kind::Garbage,
        FailureKind::RateLimited => Kind::RateLimited,
        FailureKind::Status => Kind::Status,
        FailureKind::Other => Kind::Other,
    }
}

/// That it is a failure is said by its being there: of a kind of a later version no more is known than that.
const fn kind_from_wire(kind: Kind) -> FailureKind {
    match kind {
        Kind::Refused => FailureKind::Refused,
        Kind::Unreachable => FailureKind::Unreachable,
        Kind::Silent => FailureKind::Silent,
        Kind::Reset => FailureKind::Reset,
        Kind::Untrusted => FailureKind::Untrusted,
        Kind::WrongName => FailureKind::WrongName,
        Kind::OutOfDate => FailureKind::OutOfDate,
        Kind::NoHttp2 => FailureKind::NoHttp2,
        Kind::Garbage => FailureKind::Garbage,
        Kind::RateLimited => FailureKind::RateLimited,
        Kind::Status => FailureKind::Status,
        Kind::Unspecified | Kind::Other => FailureKind::Other,
    }
}
