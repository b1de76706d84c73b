//! Findings about the way to the discovery service.
//!
//! Nodes that fail alike have one root: all of them the cluster, those behind one address their site, else each for itself.

mod words;

use std::{collections::BTreeMap, net::SocketAddr};

use evidence::{
    Citation, Confidence, FactKey, Finding, NodeRef, Subject,
    discovery::{DiscoveryAddress, DiscoveryEndpoint, FailureKind, Stage, StageFailure},
};

use self::words::About;
use super::Draft;
use crate::{
    discovery::{Way, broken, endpoints, serves, way},
    mesh::{Member, Mesh},
    text, timing,
};

/// What nodes can fail alike in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Trouble {
    code: &'static str,
    stage: Option<Stage>,
    kind: Option<FailureKind>,
}

/// A node with an endpoint that is in trouble for it.
type Hit<'m, 'a> = (&'m Member<'a>, &'a DiscoveryEndpoint);

pub(super) fn find(mesh: &Mesh<'_>) -> Vec<Finding> {
    let mut troubles: BTreeMap<(Trouble, String), Vec<Hit<'_, '_>>> = BTreeMap::new();
    let mut looking = 0;
    for member in mesh.members.values() {
        let mut looks = false;
        for endpoint in endpoints(mesh, member).filter(|_| mesh.trouble(member).is_none()) {
            looks = true;
            for trouble in trouble(mesh, member, endpoint) {
                let hits = troubles.entry((trouble, name(endpoint))).or_default();
                hits.push((member, endpoint));
            }
        }
        looking += usize::from(looks);
    }
    let found = troubles.into_iter();
    found
        .flat_map(|((trouble, _), hits)| together(mesh, trouble, &hits, looking))
        .collect()
}

fn trouble(mesh: &Mesh<'_>, member: &Member<'_>, endpoint: &DiscoveryEndpoint) -> Vec<Trouble> {
    let alone = |code| Trouble {
        code,
        stage: None,
        kind: None,
    };
    if rate_limited(mesh, endpoint).is_some() {
        return vec![alone("discovery-rate-limited")];
    }
    match way(endpoint) {
        Way::NoName => vec![alone("dns-failing")],
        Way::Shut(_, stage, failure) => vec![Trouble {
            code: shut(failure.kind),
            stage: Some(stage.stage),
            kind: Some(failure.kind),
        }],
        Way::Open if ipv6_broken(member, endpoint) => vec![alone("discovery-ipv6-broken")],
        Way::Open | Way::Unknown => Vec::new(),
    }
}

const fn shut(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Untrusted | FailureKind::WrongName | FailureKind::NoHttp2 => "tls-intercepted",
        _ => "discovery-unreachable",
    }
}

/// Each family is offered, IPv4 serves, and no IPv6 address does, though the node has one of its own.
fn ipv6_broken(member: &Member<'_>, endpoint: &DiscoveryEndpoint) -> bool {
    let (v6, v4): (Vec<_>, Vec<_>) = endpoint
        .addresses
        .iter()
        .partition(|address| address.address.is_ipv6());
    let own = member.identity().is_some_and(|identity| {
        let mut addresses = identity.addresses.iter();
        addresses.any(std::net::IpAddr::is_ipv6)
    });
    // A node without IPv6 leaves it at that, and so does every client on it.
    let wrong = |address: &&DiscoveryAddress| {
        !address.connects()
            && broken(address)
                .is_some_and(|(_, failure)| own || failure.kind != FailureKind::Unreachable)
    };
    v4.into_iter().any(|address| serves(endpoint, address))
        && !v6.is_empty()
        && v6.iter().all(wrong)
}

fn rate_limited<'a>(
    mesh: &Mesh<'_>,
    endpoint: &'a DiscoveryEndpoint,
) -> Option<(&'a DiscoveryAddress, &'a StageFailure)> {
    endpoint.addresses.iter().find_map(|address| {
        let calls = address.hello.iter().chain(&address.list);
        let limited = calls
            .filter(|call| mesh.recent(call.at, timing::DISCOVERY_FRESH))
            .filter_map(|call| call.failure.as_ref())
            .find(|failure| failure.kind == FailureKind::RateLimited)?;
        Some((address, limited))
    })
}

/// One finding for all, for a site, or for each.
fn together(
    mesh: &Mesh<'_>,
    trouble: Trouble,
    hits: &[Hit<'_, '_>],
    looking: usize,
) -> Vec<Finding> {
    let of = |member: &Member<'_>| Subject::Node {
        node: member.node.clone(),
    };
    if hits.len() > 1 && hits.len() == looking {
        return vec![finding(mesh, trouble, Subject::Cluster, hits)];
    }
    let mut sites: BTreeMap<Option<String>, Vec<Hit<'_, '_>>> = BTreeMap::new();
    for hit in hits {
        let site = hit.0.site.map(|site| site.to_string());
        sites.entry(site).or_default().push(*hit);
    }
    let whole = |site: &str, hits: &[Hit<'_, '_>]| {
        let behind = |member: &&Member<'_>| member.site.is_some_and(|own| own.to_string() == site);
        hits.len() > 1 && mesh.members.values().filter(behind).count() == hits.len()
    };
    let mut found = Vec::new();
    for (site, hits) in sites {
        if let Some(address) = site.filter(|site| whole(site, &hits)) {
            let nodes = hits.iter().map(|(member, _)| member.node.clone()).collect();
            let subject = Subject::Site { address, nodes };
            found.push(finding(mesh, trouble, subject, &hits));
        } else {
            let each = hits.iter();
            found.extend(each.map(|hit| finding(mesh, trouble, of(hit.0), &[*hit])));
        }
    }
    found
}

fn finding(mesh: &Mesh<'_>, trouble: Trouble, subject: Subject, hits: &[Hit<'_, '_>]) -> Finding {
    let nodes: Vec<&NodeRef> = hits.iter().map(|(member, _)| &member.node).collect();
    let who = text::list(&nodes);
    let mut draft = Draft::new(trouble.code, subject, Confidence::Certain, String::new());
    if let Some((_, endpoint)) = hits.first() {
        let about = About {
            who: &who,
            nodes: hits.len(),
            endpoint,
        };
        match trouble.code {
            "dns-failing" => about.dns(&mut draft),
            "discovery-ipv6-broken" => about.ipv6(&mut draft),
            "discovery-rate-limited" => about.rate(mesh, &mut draft),
            "tls-intercepted" => about.tls(mesh, &mut draft),
            _ => about.unreachable(&mut draft),
        }
    }
    for (member, endpoint) in hits {
        draft.evidence.extend(seen(mesh, member, endpoint));
    }
    draft.finish(None)
}

/// The name that was looked up: that of the proxy, where there is one.
fn asked_name(endpoint: &DiscoveryEndpoint) -> &str {
    let proxy = endpoint.proxy.as_ref();
    let host = proxy.and_then(|proxy| proxy.rsplit_once(':'));
    host.map_or(&endpoint.host, |(host, _)| host)
}

fn name(endpoint: &DiscoveryEndpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

fn seen(mesh: &Mesh<'_>, member: &Member<'_>, endpoint: &DiscoveryEndpoint) -> Vec<Citation> {
    let cite = |at, text| mesh.cite(member, FactKey::Discovery, at, text);
    let mut cited = Vec::new();
    if let Some(names) = &endpoint.names
        && !names.found()
    {
        let resolvers: Vec<_> = names.resolvers.iter().map(SocketAddr::ip).collect();
        let text = format!(
            "asked {} for {}, {} times in a row without an address: {}",
            text::list(&resolvers),
            asked_name(endpoint),
            names.failed,
            names.ipv4.text
        );
        cited.push(cite(endpoint.at, text));
    }
    for address in &endpoint.addresses {
        cited.push(match address.failure() {
            Some((stage, failure)) => cite(
                stage.at,
                format!(
                    "{}: {} failed after {}: {}",
                    address.address,
                    stage.stage.as_str(),
                    text::millis(stage.took_us),
                    failure.text
                ),
            ),
            None => cite(
                endpoint.at,
                format!("{}: all stages passed", address.address),
            ),
        });
    }
    cited
}
