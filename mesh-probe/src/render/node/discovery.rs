//! The discovery service as one node sees it.

use evidence::{
    Discovery, Moment,
    discovery::{
        Affiliate, Affiliates, DiscoveryAddress, DiscoveryCertificate, DiscoveryEndpoint,
        DiscoveryNames, DiscoveryStage, NameAnswer,
    },
};

use crate::render::text::{count, human, human_us};

/// What is shown of it at `now`, a line each; what belongs to the line above is indented.
pub fn lines(discovery: &Discovery, now: Moment) -> Vec<String> {
    let endpoints = discovery.endpoints.iter();
    endpoints.flat_map(|seen| endpoint(seen, now)).collect()
}

fn endpoint(endpoint: &DiscoveryEndpoint, now: Moment) -> Vec<String> {
    let scheme = if endpoint.tls { "https" } else { "http" };
    let through = endpoint.proxy.as_ref();
    let through = through.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"));
    let mut lines = vec![format!(
        "{scheme}://{}:{}{through}, looked at {} ago",
        endpoint.host,
        endpoint.port,
        human(now.since(endpoint.at))
    )];
    lines.extend(endpoint.names.iter().flat_map(names));
    lines.extend(
        endpoint
            .addresses
            .iter()
            .flat_map(|seen| address(seen, now)),
    );
    if endpoint.left_out > 0 {
        lines.push(format!("  {} more are not tried", endpoint.left_out));
    }
    let public = endpoint
        .public
        .map(|public| format!("  sees this node as {public}"));
    lines.extend(public);
    let redirect = endpoint.redirect.as_ref();
    lines.extend(redirect.map(|to| format!("  sends its clients to {to}")));
    let listed = endpoint.affiliates.iter();
    lines.extend(listed.flat_map(|listed| affiliates(listed, now)));
    lines
}

fn names(names: &DiscoveryNames) -> [String; 1] {
    let resolvers: Vec<String> = names
        .resolvers
        .iter()
        .map(|resolver| resolver.ip().to_string())
        .collect();
    let answer = |answer: &NameAnswer| {
        let outcome = answer.outcome.as_str();
        format!("{outcome} in {}", human_us(answer.took_us))
    };
    [format!(
        "  resolvers {}: A {}, AAAA {}",
        resolvers.join(", "),
        answer(&names.ipv4),
        answer(&names.ipv6)
    )]
}

fn address(address: &DiscoveryAddress, now: Moment) -> Vec<String> {
    let calls = address.hello.iter().chain(&address.list);
    let stages: Vec<String> = address.stages.iter().chain(calls).map(stage).collect();
    let mut line = format!("  {}: {}", address.address, stages.join(", "));
    if let Some(since) = address.failed_since {
        line = format!(
            "{line}; failed {} times in a row, since {}",
            address.failed,
            human(now.since(since))
        );
    }
    let shown = address.certificate.iter().map(certificate);
    std::iter::once(line).chain(shown).collect()
}

fn stage(stage: &DiscoveryStage) -> String {
    let name = stage.stage.as_str();
    match &stage.failure {
        None => format!("{name} {}", human_us(stage.took_us)),
        Some(failure) => format!(
            "{name} failed after {}: {}",
            human_us(stage.took_us),
            failure.text
        ),
    }
}

fn certificate(certificate: &DiscoveryCertificate) -> String {
    let protocol = certificate.protocol.as_ref();
    let protocol = protocol.map_or_else(String::new, |name| format!(", {name}"));
    format!(
        "    certificate for {} by {}{protocol}",
        certificate.names.join(", "),
        certificate.issuer
    )
}

fn affiliates(list: &Affiliates, now: Moment) -> Vec<String> {
    let opened = list.decrypted.map_or_else(
        || "not decrypted without the key".to_owned(),
        |decrypted| format!("{decrypted} decrypted"),
    );
    let all = count(
        usize::try_from(list.count).unwrap_or(usize::MAX),
        "affiliate",
    );
    let own = match list.own {
        Some(false) => "; this node is not among them",
        _ => "",
    };
    let mut lines = vec![format!(
        "  {all}, {opened}, {} ago{own}",
        human(now.since(list.at))
    )];
    let sealed = list.sealed.iter();
    lines.extend(sealed.map(|id| format!("    sealed with another key: {id}")));
    let unknown = list.unknown.iter();
    lines.extend(unknown.map(|one| format!("    not a peer of this node: {}", affiliate(one))));
    let unlisted = list.unlisted.iter();
    lines.extend(unlisted.map(|key| format!("    a peer that is not listed: {}", key.short())));
    lines.extend(list.rivals.iter().map(|rivals| {
        let (one, other) = (affiliate(&rivals.one), affiliate(&rivals.other));
        format!("    both claim {}: {one}, {other}", rivals.address)
    }));
    lines
}

fn affiliate(affiliate: &Affiliate) -> String {
    format!("{} ({})", affiliate.name, affiliate.key.short())
}

#[cfg(test)]
mod tests {
    use evidence::{
        PublicKey,
        discovery::{FailureKind, NameOutcome, Stage, StageFailure},
    };

    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    fn stage(stage: Stage, failure: Option<&str>) -> DiscoveryStage {
        DiscoveryStage {
            stage,
            at: at(90),
            took_us: 1500,
            failure: failure.map(|text| StageFailure {
                kind: FailureKind::Reset,
                text: text.to_owned(),
            }),
        }
    }

    fn seen() -> DiscoveryEndpoint {
        let answer = |outcome| NameAnswer {
            outcome,
            took_us: 12_000,
            text: String::new(),
        };
        DiscoveryEndpoint {
            host: "discovery.test".to_owned(),
            port: 443,
            tls: true,
            at: at(90),
            names: Some(DiscoveryNames {
                resolvers: vec![([192, 0, 2, 53], 53).into()],
                ipv4: answer(NameOutcome::Found),
                ipv6: answer(NameOutcome::Empty),
                failed: 0,
                failed_since: None,
            }),
            proxy: None,
            addresses: vec![DiscoveryAddress {
                address: [192, 0, 2, 80].into(),
                stages: vec![stage(Stage::Tcp, None), stage(Stage::Tls, Some("hung up"))],
                failed: 2,
                failed_since: Some(at(70)),
                hello: None,
                calls_failed: 0,
                list: None,
                certificate: None,
            }],
            left_out: 0,
            public: Some([198, 51, 100, 2].into()),
            redirect: None,
            affiliates: Some(Affiliates {
                at: at(40),
                count: 3,
                most_endpoints: 1,
                garbled: 0,
                digest: [0; 8],
                decrypted: Some(2),
                sealed: vec!["somebody".to_owned()],
                own: Some(false),
                unknown: Vec::new(),
                rivals: Vec::new(),
                unlisted: vec![PublicKey::from_bytes([1; 32])],
            }),
        }
    }

    #[test]
    fn each_stage_and_each_oddity_has_its_line() {
        let discovery = Discovery {
            registry_off: false,
            since: at(0),
            cluster: None,
            endpoints: vec![seen()],
        };
        let expected = [
            "https://discovery.test:443, looked at 10 s ago",
            "  resolvers 192.0.2.53: A found in 12 ms, AAAA no address in 12 ms",
            "  192.0.2.80: TCP 1.5 ms, TLS failed after 1.5 ms: hung up; failed 2 times in a row, since 30 s",
            "  sees this node as 198.51.100.2",
            "  3 affiliates, 2 decrypted, 1 m 0 s ago; this node is not among them",
            "    sealed with another key: somebody",
            "    a peer that is not listed: AQEBAQEB",
        ];
        assert_eq!(lines(&discovery, at(100)), expected);
    }
}
