//! Facts that Talos states.

use std::net::Ipv6Addr;

use evidence::{
    Candidate, CandidateWay, Condition, Fact, Stage, Talos, TalosNetwork, TalosPeer,
    TalosPeerState, TalosPeerStatus, TalosService, TalosTime, limits,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{endpoint, ip, key, link, maybe, moment};

fn words() -> impl Strategy<Value = String> {
    "[ -~]{0,20}"
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    let condition = (words(), words()).prop_map(|(name, reason)| Condition { name, reason });
    vec(condition, 0..=limits::CONDITIONS)
}

fn services() -> impl Strategy<Value = Vec<TalosService>> {
    let service =
        (words(), any::<(bool, Option<bool>)>()).prop_map(|(name, (running, healthy))| {
            TalosService {
                name,
                running,
                healthy,
            }
        });
    vec(service, 0..=limits::SERVICES)
}

fn time() -> impl Strategy<Value = Option<TalosTime>> {
    any::<Option<(bool, bool)>>()
        .prop_map(|time| time.map(|(synced, disabled)| TalosTime { synced, disabled }))
}

fn network() -> impl Strategy<Value = Option<TalosNetwork>> {
    any::<Option<[bool; 4]>>().prop_map(|network| {
        network.map(
            |[addresses, connectivity, hostname, etc_files]| TalosNetwork {
                addresses,
                connectivity,
                hostname,
                etc_files,
            },
        )
    })
}

pub(crate) fn node() -> impl Strategy<Value = Fact> {
    let names = (option::of(words()), option::of(words()));
    let stage = option::of(select(Stage::ALL.to_vec()));
    let lists = (conditions(), conditions(), services());
    let addresses = (vec(ip(), 0..4), vec(ip(), 0..4), vec(ip(), 0..4));
    let numbers = any::<(
        Option<bool>,
        Option<[u8; 8]>,
        Option<u32>,
        Option<u32>,
        Option<bool>,
        u32,
    )>();
    (
        moment(),
        names,
        stage,
        lists,
        addresses,
        numbers,
        time(),
        network(),
    )
        .prop_map(
            |(since, (version, hostname), stage, lists, addresses, numbers, time, network)| {
                let (unmet, diagnostics, services) = lists;
                let (addresses, discovered, node_ips) = addresses;
                let (ready, cluster, members, affiliates, kubeprism, left_out) = numbers;
                Fact::Talos(Box::new(Talos {
                    since,
                    version,
                    hostname,
                    stage,
                    ready,
                    unmet,
                    addresses,
                    node_ips,
                    discovered,
                    cluster,
                    members,
                    affiliates,
                    time,
                    network,
                    kubeprism,
                    services,
                    diagnostics,
                    left_out,
                }))
            },
        )
}

fn status() -> impl Strategy<Value = Option<TalosPeerStatus>> {
    let known = [
        TalosPeerState::Unknown,
        TalosPeerState::Up,
        TalosPeerState::Down,
    ];
    let ends = (option::of(endpoint()), option::of(endpoint()));
    let status = (select(known.to_vec()), ends, maybe()).prop_map(
        |(state, (endpoint, last_used), last_change)| TalosPeerStatus {
            state,
            endpoint,
            last_used,
            last_change,
        },
    );
    option::of(status)
}

pub(crate) fn peer() -> impl Strategy<Value = Fact> {
    let way = (link(), any::<bool>()).prop_map(|(via, on_link)| CandidateWay { via, on_link });
    let candidate = (endpoint(), option::of(way)).prop_map(|(to, way)| Candidate { to, way });
    let candidates = vec(candidate, 0..=limits::CANDIDATES);
    let address = option::of(any::<u128>().prop_map(Ipv6Addr::from));
    let allowed = vec("[0-9a-f:.]{1,20}/[0-9]{1,3}", 0..4);
    (
        (key(), moment(), words()),
        address,
        allowed,
        candidates,
        any::<u32>(),
        status(),
    )
        .prop_map(
            |((key, since, label), address, allowed_ips, candidates, left_out, status)| {
                Fact::TalosPeer(
                    key,
                    Box::new(TalosPeer {
                        since,
                        label,
                        address,
                        allowed_ips,
                        candidates,
                        left_out,
                        status,
                    }),
                )
            },
        )
}
