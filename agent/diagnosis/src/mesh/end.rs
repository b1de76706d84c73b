//! What a node says of itself that the judgement of each of its pairs rests on.

use evidence::{Identity, Moment, NodeRef, PublicKey, SourceId, Steering};

use super::{Member, Speaks};

/// That, kept. It is compared, not followed: what is left out here must be traced (see `trace`), or what rests on it outlives it.
#[derive(Debug)]
pub(crate) struct End {
    node: NodeRef,
    key: Option<PublicKey>,
    speaks: Speaks,
    since: Option<Moment>,
    steady_since: Option<Moment>,
    identity: Option<Identity>,
    sources: [Option<(Moment, bool)>; SourceId::ALL.len()],
    steering: Option<Steering>,
    addresses_changed: Option<Moment>,
}

impl End {
    /// Whether it is of the same node under the same key.
    pub(crate) fn is_who(&self, member: &Member<'_>) -> bool {
        self.node == member.node && self.key == member.key
    }

    /// Whether the node still says the same.
    pub(crate) fn is_of(&self, member: &Member<'_>) -> bool {
        self.speaks == member.speaks
            && self.since == member.view.map(|view| view.since)
            && self.steady_since == member.own.steady_since
            && self.identity.as_ref() == member.own.identity
            && self.sources == member.sources()
            && self.steering.as_ref() == member.own.steering
            && self.addresses_changed == member.addresses_changed()
    }
}

impl Member<'_> {
    pub(crate) fn end(&self) -> End {
        End {
            node: self.node.clone(),
            key: self.key,
            speaks: self.speaks,
            since: self.view.map(|view| view.since),
            steady_since: self.own.steady_since,
            identity: self.own.identity.cloned(),
            sources: self.sources(),
            steering: self.own.steering.cloned(),
            addresses_changed: self.addresses_changed(),
        }
    }

    /// Since when each source is as it is, and whether it can be read. When it was read last changes with each report.
    fn sources(&self) -> [Option<(Moment, bool)>; SourceId::ALL.len()] {
        self.own
            .sources
            .map(|state| state.map(|state| (state.since, state.gap.is_none())))
    }

    pub(crate) fn addresses_changed(&self) -> Option<Moment> {
        self.host()?.address_changes.last
    }
}
