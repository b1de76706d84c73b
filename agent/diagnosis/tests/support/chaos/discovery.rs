//! Any word on the discovery service.

use std::net::SocketAddr;

use evidence::{
    Discovery, Fact,
    discovery::{
        Affiliate, Affiliates, DiscoveryAddress, DiscoveryEndpoint, DiscoveryNames, DiscoveryStage,
        FailureKind, NameAnswer, NameOutcome, Rivals, Stage, StageFailure,
    },
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{any_address, any_key, any_moment};

pub(super) fn any_discovery() -> impl Strategy<Value = Fact> {
    let cluster = option::of((0..3_u8).prop_map(|byte| [byte; 8]));
    let endpoints = vec(any_endpoint(), 0..3);
    (any_moment(), cluster, any::<bool>(), endpoints).prop_map(
        |(since, cluster, registry_off, endpoints)| {
            Fact::Discovery(Discovery {
                since,
                cluster,
                registry_off,
                endpoints,
            })
        },
    )
}

fn any_endpoint() -> impl Strategy<Value = DiscoveryEndpoint> {
    let rest = (option::of(any_names()), option::of(any_affiliates()));
    let public = option::of(any_address().prop_map(|address| address.ip()));
    (any_moment(), vec(any_service(), 0..3), public, rest).prop_map(
        |(at, addresses, public, (names, affiliates))| DiscoveryEndpoint {
            host: "discovery.test".to_owned(),
            port: 443,
            tls: true,
            at,
            names,
            proxy: None,
            addresses,
            left_out: 0,
            public,
            redirect: None,
            affiliates,
        },
    )
}

fn any_names() -> impl Strategy<Value = DiscoveryNames> {
    let answer = || {
        let outcome = select(vec![
            NameOutcome::Found,
            NameOutcome::Empty,
            NameOutcome::Silent,
            NameOutcome::Other,
        ]);
        outcome.prop_map(|outcome| NameAnswer {
            outcome,
            took_us: u32::MAX,
            text: String::new(),
        })
    };
    (answer(), answer(), 0..4_u32, option::of(any_moment())).prop_map(
        |(ipv4, ipv6, failed, failed_since)| DiscoveryNames {
            resolvers: vec![SocketAddr::from(([192, 0, 2, 53], 53))],
            ipv4,
            ipv6,
            failed,
            failed_since,
        },
    )
}

fn any_stage(stage: Stage) -> impl Strategy<Value = DiscoveryStage> {
    let kind = select(vec![
        FailureKind::Silent,
        FailureKind::Unreachable,
        FailureKind::Untrusted,
        FailureKind::OutOfDate,
        FailureKind::RateLimited,
        FailureKind::Other,
    ]);
    let failure = option::weighted(0.3, kind);
    (any_moment(), failure).prop_map(move |(at, failure)| DiscoveryStage {
        stage,
        at,
        took_us: 1,
        failure: failure.map(|kind| StageFailure {
            kind,
            text: "no".to_owned(),
        }),
    })
}

fn any_service() -> impl Strategy<Value = DiscoveryAddress> {
    let stages = [Stage::Tcp, Stage::Tls, Stage::Http2].map(any_stage);
    let calls = (
        option::of(any_stage(Stage::Hello)),
        option::of(any_stage(Stage::List)),
    );
    let failed = (0..4_u32, option::of(any_moment()), 0..4_u32);
    (any_address(), stages, failed, calls).prop_map(
        |(address, stages, (failed, failed_since, calls_failed), (hello, list))| {
            let mut whole = true;
            let stages = stages.into_iter().take_while(|stage| {
                let tried = whole;
                whole &= stage.failure.is_none();
                tried
            });
            DiscoveryAddress {
                address: address.ip(),
                stages: stages.collect(),
                failed,
                failed_since,
                hello,
                calls_failed,
                list,
                certificate: None,
            }
        },
    )
}

fn any_affiliate() -> impl Strategy<Value = Affiliate> {
    (any_key(), any_moment()).prop_map(|(key, since)| Affiliate {
        name: "somebody".to_owned(),
        key,
        since,
        endpoints: Vec::new(),
    })
}

fn any_affiliates() -> impl Strategy<Value = Affiliates> {
    let rivals = (any_address(), any_affiliate(), any_affiliate());
    let rivals = rivals.prop_map(|(address, one, other)| Rivals {
        address: address.ip(),
        one,
        other,
    });
    let sealed = vec(Just("id".to_owned()), 0..3);
    let numbers = (0..6_u32, option::of(0..6_u32));
    (any_moment(), numbers, sealed, vec(rivals, 0..3)).prop_map(
        |(at, (count, decrypted), sealed, rivals)| Affiliates {
            at,
            count,
            most_endpoints: 0,
            garbled: 0,
            digest: [0; 8],
            decrypted,
            sealed,
            own: None,
            unknown: Vec::new(),
            rivals,
            unlisted: Vec::new(),
        },
    )
}
