//! Facts about the discovery service.

use evidence::{
    Discovery, Fact,
    discovery::{
        Affiliate, Affiliates, DiscoveryAddress, DiscoveryCertificate, DiscoveryEndpoint,
        DiscoveryNames, DiscoveryStage, FailureKind, NameAnswer, NameOutcome, Rivals, Stage,
        StageFailure,
    },
    limits,
};
use proptest::prelude::*;

use super::{endpoint as socket, ip, key, maybe, moment};

const OUTCOMES: [NameOutcome; 8] = [
    NameOutcome::Found,
    NameOutcome::Empty,
    NameOutcome::NoSuchName,
    NameOutcome::ServerFailure,
    NameOutcome::Refused,
    NameOutcome::Silent,
    NameOutcome::NoResolver,
    NameOutcome::Other,
];

const KINDS: [FailureKind; 12] = [
    FailureKind::Refused,
    FailureKind::Unreachable,
    FailureKind::Silent,
    FailureKind::Reset,
    FailureKind::Untrusted,
    FailureKind::WrongName,
    FailureKind::OutOfDate,
    FailureKind::NoHttp2,
    FailureKind::Garbage,
    FailureKind::RateLimited,
    FailureKind::Status,
    FailureKind::Other,
];

pub(crate) fn discovery() -> impl Strategy<Value = Fact> {
    let endpoints = prop::collection::vec(endpoint(), 0..=limits::DISCOVERY_ENDPOINTS);
    let own = any::<(Option<[u8; 8]>, bool)>();
    (moment(), own, endpoints).prop_map(|(since, (cluster, registry_off), endpoints)| {
        Fact::Discovery(Discovery {
            since,
            cluster,
            registry_off,
            endpoints,
        })
    })
}

fn text() -> impl Strategy<Value = String> {
    "[ -~]{0,20}"
}

fn endpoint() -> impl Strategy<Value = DiscoveryEndpoint> {
    let numbers = any::<(u16, bool, u32)>();
    let texts = (
        text(),
        prop::option::of(text()),
        prop::option::of(text()),
        prop::option::of(ip()),
    );
    let addresses = prop::collection::vec(address(), 0..3);
    let rest = (prop::option::of(names()), prop::option::of(affiliates()));
    (numbers, moment(), texts, addresses, rest).prop_map(
        |((port, tls, left_out), at, (host, proxy, redirect, public), addresses, rest)| {
            let (names, affiliates) = rest;
            DiscoveryEndpoint {
                host,
                port,
                tls,
                at,
                names,
                proxy,
                addresses,
                left_out,
                public,
                redirect,
                affiliates,
            }
        },
    )
}

fn names() -> impl Strategy<Value = DiscoveryNames> {
    let answer = || {
        let outcome = prop::sample::select(OUTCOMES.to_vec());
        (outcome, any::<u32>(), text()).prop_map(|(outcome, took_us, text)| NameAnswer {
            outcome,
            took_us,
            text,
        })
    };
    let resolvers = prop::collection::vec(socket(), 0..=limits::RESOLVERS);
    (resolvers, answer(), answer(), any::<u32>(), maybe()).prop_map(
        |(resolvers, ipv4, ipv6, failed, failed_since)| DiscoveryNames {
            resolvers,
            ipv4,
            ipv6,
            failed,
            failed_since,
        },
    )
}

fn failure() -> impl Strategy<Value = StageFailure> {
    let kind = prop::sample::select(KINDS.to_vec());
    (kind, text()).prop_map(|(kind, text)| StageFailure { kind, text })
}

fn stage(stage: Stage) -> impl Strategy<Value = DiscoveryStage> {
    let failure = prop::option::of(failure());
    (moment(), any::<u32>(), failure).prop_map(move |(at, took_us, failure)| DiscoveryStage {
        stage,
        at,
        took_us,
        failure,
    })
}

/// As many stages as there are, the last of which may have failed.
fn stages() -> impl Strategy<Value = Vec<DiscoveryStage>> {
    let all = Stage::ALL.map(stage);
    (all, 0..Stage::ALL.len()).prop_map(|(stages, count)| {
        let mut stages: Vec<_> = stages.into_iter().take(count).collect();
        for stage in stages.iter_mut().rev().skip(1) {
            stage.failure = None;
        }
        stages
    })
}

fn address() -> impl Strategy<Value = DiscoveryAddress> {
    let calls = (
        prop::option::of(stage(Stage::Hello)),
        prop::option::of(stage(Stage::List)),
    );
    let failed = (any::<u32>(), maybe(), any::<u32>());
    (
        ip(),
        stages(),
        failed,
        calls,
        prop::option::of(certificate()),
    )
        .prop_map(
            |(
                address,
                stages,
                (failed, failed_since, calls_failed),
                (hello, list),
                certificate,
            )| {
                DiscoveryAddress {
                    address,
                    stages,
                    failed,
                    failed_since,
                    hello,
                    calls_failed,
                    list,
                    certificate,
                }
            },
        )
}

fn certificate() -> impl Strategy<Value = DiscoveryCertificate> {
    let names = prop::collection::vec(text(), 0..=limits::CERTIFICATE_NAMES);
    let numbers = any::<([u8; 8], i64, i64, i64)>();
    (text(), names, numbers, prop::option::of(text())).prop_map(
        |(issuer, names, (fingerprint, not_before, not_after, seen_at), protocol)| {
            DiscoveryCertificate {
                issuer,
                names,
                fingerprint,
                not_before,
                not_after,
                seen_at,
                protocol,
            }
        },
    )
}

fn affiliate() -> impl Strategy<Value = Affiliate> {
    let endpoints = prop::collection::vec(socket(), 0..=limits::AFFILIATE_ENDPOINTS);
    (text(), key(), moment(), endpoints).prop_map(|(name, key, since, endpoints)| Affiliate {
        name,
        key,
        since,
        endpoints,
    })
}

fn affiliates() -> impl Strategy<Value = Affiliates> {
    let few = 0..=limits::AFFILIATES;
    let rivals = (ip(), affiliate(), affiliate()).prop_map(|(address, one, other)| Rivals {
        address,
        one,
        other,
    });
    let lists = (
        prop::collection::vec(text(), few.clone()),
        prop::collection::vec(affiliate(), few.clone()),
        prop::collection::vec(rivals, few.clone()),
        prop::collection::vec(key(), few),
    );
    let numbers = any::<(u32, u32, u32, [u8; 8], Option<u32>, Option<bool>)>();
    (moment(), numbers, lists).prop_map(
        |(at, (count, most_endpoints, garbled, digest, decrypted, own), lists)| {
            let (sealed, unknown, rivals, unlisted) = lists;
            Affiliates {
                at,
                count,
                most_endpoints,
                garbled,
                digest,
                decrypted,
                sealed,
                own,
                unknown,
                rivals,
                unlisted,
            }
        },
    )
}
