//! What a Talos may say of itself and of its peers.

use std::net::SocketAddr;

use evidence::{
    Candidate, CandidateWay, Fact, Talos, TalosPeer, TalosPeerState, TalosPeerStatus, TalosTime,
};
use proptest::{collection::vec, option, prelude::*};

use super::{any_address, any_key, any_link, any_moment, any_prefix};

pub(super) fn any_talos() -> impl Strategy<Value = Fact> {
    let lists = (vec(any_address(), 0..2), vec(any_address(), 0..3));
    let time = option::weighted(0.2, any::<(bool, bool)>());
    (lists, time).prop_map(|((discovered, own), time)| {
        let own: Vec<_> = own.iter().map(SocketAddr::ip).collect();
        Fact::Talos(Box::new(Talos {
            time: time.map(|(synced, disabled)| TalosTime { synced, disabled }),
            node_ips: own.first().copied().into_iter().collect(),
            addresses: own,
            discovered: discovered.iter().map(SocketAddr::ip).collect(),
            ..Talos::default()
        }))
    })
}

pub(super) fn any_talos_peer() -> impl Strategy<Value = Fact> {
    let way = (any_link(), any::<bool>()).prop_map(|(via, on_link)| CandidateWay { via, on_link });
    let candidate = (any_address(), option::of(way)).prop_map(|(to, way)| Candidate { to, way });
    let status = (option::of(any_address()), option::of(any_moment())).prop_map(
        |(last_used, last_change)| TalosPeerStatus {
            state: TalosPeerState::Unknown,
            endpoint: last_used,
            last_used,
            last_change,
        },
    );
    let told = (vec(any_prefix(), 0..3), vec(candidate, 0..4));
    (any_key(), any_moment(), told, option::of(status)).prop_map(
        |(key, since, (allowed_ips, candidates), status)| {
            let peer = TalosPeer {
                since,
                label: String::new(),
                address: None,
                allowed_ips,
                candidates,
                left_out: 0,
                status,
            };
            Fact::TalosPeer(key, Box::new(peer))
        },
    )
}
