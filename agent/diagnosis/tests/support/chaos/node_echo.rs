//! Absurd facts about echoes to node addresses.

use evidence::{Fact, NodeAsked, NodeEcho, NodeHeard, Via};
use proptest::{collection::vec, option, prelude::*};

use super::{any_address, any_key, any_link, any_moment};

pub(super) fn any_node_echo() -> impl Strategy<Value = Fact> {
    let via = || {
        any_link().prop_map(|link| match link.as_deref() {
            Some("kubespan") => Some(Via::Tunnel),
            _ => link.map(Via::Link),
        })
    };
    let when = || option::of(any_moment());
    let ip = || any_address().prop_map(|address| address.ip());
    let lost = || prop_oneof![Just(0), 1..3_u32, 3..30_u32, Just(u32::MAX)];
    let asked = (
        ip(),
        lost(),
        any::<Option<bool>>(),
        via(),
        (when(), when(), when(), when()),
    )
        .prop_map(
            |(to, lost, through, back, (last_answered, lost_since, beside, mended))| NodeAsked {
                to,
                answered: 1,
                last_answered,
                back,
                through,
                lost,
                lost_since,
                beside,
                mended,
            },
        );
    let heard = (ip(), lost(), any_moment(), via(), when()).prop_map(
        |(at, around, last, via, around_since)| NodeHeard {
            at,
            heard: 1,
            last,
            via,
            around,
            around_since,
        },
    );
    (any_key(), vec(asked, 0..3), vec(heard, 0..3))
        .prop_map(|(key, asked, heard)| Fact::NodeEcho(key, Box::new(NodeEcho { asked, heard })))
}
