//! Facts about sizes.

use std::net::IpAddr;

use evidence::{Bracket, Fact, Layer, Sizes, TooBig};
use proptest::prelude::*;

use super::{key, moment};

pub(crate) fn sizes() -> impl Strategy<Value = Fact> {
    let maybe = || proptest::option::of(moment());
    let bracket = (moment(), any::<Option<u16>>(), any::<u16>())
        .prop_map(|(at, passed, failed)| Bracket { at, passed, failed });
    let too_big = (moment(), any::<Option<IpAddr>>(), any::<u32>())
        .prop_map(|(at, reporter, mtu)| TooBig { at, reporter, mtu });
    let one = (
        (any::<IpAddr>(), any::<u16>(), any::<u32>()),
        [maybe(), maybe(), maybe(), maybe(), maybe()],
        proptest::option::of(bracket),
        proptest::option::of(too_big),
    )
        .prop_map(|((to, full, lost), moments, bracket, too_big)| {
            let [
                full_arrived,
                seen_arriving,
                lost_since,
                mended,
                in_fragments,
            ] = moments;
            Sizes {
                layer: Layer::Tunnel,
                to,
                full,
                full_arrived,
                seen_arriving,
                lost,
                lost_since,
                mended,
                bracket,
                too_big,
                in_fragments,
            }
        })
        .boxed();
    let all = [one.clone(), one.clone(), one].prop_map(|sizes| {
        let on = |(layer, sizes): (Layer, Sizes)| Sizes { layer, ..sizes };
        Layer::ALL.into_iter().zip(sizes).map(on).collect()
    });
    (key(), all).prop_map(|(key, layers)| Fact::Sizes(key, layers))
}
