//! By what traffic for the peers' addresses enters the tunnel.

use evidence::{
    Fact, FactKey, Facts, Moment, PublicKey, Steered, SteeredPrefix, SteeringChains, SteeringFamily,
};

use super::{
    Said,
    own::{MAX_LISTED, unknown},
};

pub(super) fn steering(facts: &Facts, _now: Moment) -> Vec<Said> {
    let mut said = Vec::new();
    if let Some(Fact::Steering(steering)) = facts.get(&FactKey::Steering) {
        said.push(Said::new("IPv4", family(steering.ipv4)));
        said.push(Said::new("IPv6", family(steering.ipv6)));
        said.push(Said::new(
            "nftables chains",
            steering.chains.map_or_else(unknown, chains),
        ));
    }
    let peers = facts.iter().filter_map(|fact| match fact {
        Fact::Steered(key, steered) => Some((key, steered)),
        _ => None,
    });
    said.extend(
        peers
            .take(MAX_LISTED)
            .map(|(key, steered)| peer(key, steered)),
    );
    said
}

fn family(family: SteeringFamily) -> String {
    let rule = family
        .rule_priority
        .map_or_else(|| "no rule".to_owned(), |rule| format!("rule {rule}"));
    let route = if family.default_route {
        "table 180 has a default route"
    } else {
        "table 180 has no default route"
    };
    let doubt = if family.undecoded {
        "; some rules or routes were not understood"
    } else {
        ""
    };
    format!("{rule}, {route}{doubt}")
}

fn chains(chains: SteeringChains) -> String {
    let word = |is_there: bool| if is_there { "there" } else { "missing" };
    let (outgoing, prerouting) = (word(chains.outgoing), word(chains.prerouting));
    format!("kubespan_outgoing {outgoing}, kubespan_prerouting {prerouting}")
}

fn peer(key: &PublicKey, steered: &Steered) -> Said {
    let mut parts: Vec<_> = steered.prefixes.iter().map(prefix).collect();
    if steered.left_out > 0 {
        parts.push(format!("{} more", steered.left_out));
    }
    if let Some(way) = &steered.endpoint {
        let via = way.via.as_deref().unwrap_or("no link");
        let mtu = way
            .mtu
            .map_or_else(String::new, |mtu| format!(" (MTU {mtu})"));
        parts.push(format!("endpoint {} by {via}{mtu}", way.to));
    }
    Said::new(format!("peer {}", key.short()), parts.join("; "))
}

fn prefix(prefix: &SteeredPrefix) -> String {
    let marked = match (prefix.outgoing, prefix.prerouting) {
        (Some(true), Some(true)) => "marked",
        (Some(false), Some(false)) => "not marked",
        (Some(true), Some(false)) => "marked for this node, not for forwarded packets",
        (Some(false), Some(true)) => "marked for forwarded packets, not for this node",
        _ => "mark not known",
    };
    let via = prefix.marked_via.as_deref().unwrap_or("no link");
    format!("{} {marked}, marked packets leave by {via}", prefix.prefix)
}
