//! Facts that a node tells of itself once.

use evidence::{
    Conntrack, DataMessages, DataSeen, Drops, Fact, Health, Lag, NodeAsked, NodeEcho, NodeHeard,
    Via, Vxlan, VxlanDevice, limits,
};
use proptest::prelude::*;

use super::{ip, key, maybe, moment};

pub(crate) fn vxlan() -> impl Strategy<Value = Fact> {
    let ends = || prop::option::of(ip());
    let numbers = any::<(u32, u16, u32)>();
    let device = (
        "[a-z0-9.-]{1,15}",
        numbers,
        any::<(bool, bool)>(),
        ends(),
        ends(),
    )
        .prop_map(
            |(name, (id, port, mtu), (external, up), local, remote)| VxlanDevice {
                name,
                id,
                port,
                external,
                local,
                remote,
                mtu,
                up,
            },
        );
    let devices = prop::collection::vec(device, 0..=limits::VXLAN_DEVICES);
    (moment(), devices, any::<u32>()).prop_map(|(since, devices, left_out)| {
        Fact::Vxlan(Vxlan {
            since,
            devices,
            left_out,
        })
    })
}

pub(crate) fn health() -> impl Strategy<Value = Fact> {
    let drops = || {
        prop::option::of((any::<u64>(), maybe()).prop_map(|(count, last)| Drops { count, last }))
    };
    let lag = any::<Option<(u32, u32)>>()
        .prop_map(|lag| lag.map(|(mean_us, max_us)| Lag { mean_us, max_us }));
    let conntrack = (moment(), any::<u32>(), any::<u32>()).prop_map(|(at, count, max)| Conntrack {
        at,
        count,
        max,
    });
    let all_drops = (drops(), drops(), drops(), drops());
    (lag, maybe(), all_drops, prop::option::of(conntrack)).prop_map(
        |(lag, stalled, (tap, echo, backlog, squeezed), conntrack)| {
            Fact::Health(Health {
                lag,
                stalled,
                tap,
                echo,
                backlog,
                squeezed,
                conntrack,
            })
        },
    )
}

pub(crate) fn data_seen() -> impl Strategy<Value = Fact> {
    let messages = || {
        (any::<(u32, u32)>(), maybe()).prop_map(|((data, keepalives), last)| DataMessages {
            data,
            keepalives,
            last,
        })
    };
    let ways = (messages(), messages());
    (key(), [moment(), moment()], ways, any::<u32>()).prop_map(
        |(key, [since, until], (from_peer, to_peer), missed)| {
            Fact::DataSeen(
                key,
                DataSeen {
                    since,
                    until,
                    from_peer,
                    to_peer,
                    missed,
                },
            )
        },
    )
}

fn via() -> impl Strategy<Value = Option<Via>> {
    prop_oneof![
        Just(None),
        Just(Some(Via::Tunnel)),
        "eth[0-9]{1,13}".prop_map(|name| Some(Via::Link(name))),
    ]
}

fn asked() -> impl Strategy<Value = NodeAsked> {
    let counts = (any::<u64>(), any::<Option<bool>>(), any::<u32>());
    (ip(), counts, [maybe(), maybe(), maybe(), maybe()], via()).prop_map(
        |(to, (answered, through, lost), [last_answered, lost_since, beside, mended], back)| {
            NodeAsked {
                to,
                answered,
                last_answered,
                back,
                through,
                lost,
                lost_since,
                beside,
                mended,
            }
        },
    )
}

fn heard() -> impl Strategy<Value = NodeHeard> {
    (ip(), any::<(u64, u32)>(), moment(), maybe(), via()).prop_map(
        |(at, (heard, around), last, around_since, via)| NodeHeard {
            at,
            heard,
            last,
            via,
            around,
            around_since,
        },
    )
}

pub(crate) fn node_echo() -> impl Strategy<Value = Fact> {
    let most = limits::NODE_ADDRESSES;
    let asked = prop::collection::vec(asked(), 0..=most);
    let heard = prop::collection::vec(heard(), 0..=most);
    (key(), asked, heard)
        .prop_map(|(key, asked, heard)| Fact::NodeEcho(key, Box::new(NodeEcho { asked, heard })))
}
