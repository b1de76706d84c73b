//! The rule and the routes by which Talos steers marked traffic into `KubeSpan`.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteMetric, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

use super::{
    error::LinksError,
    read::{Dump, bounded, dump},
    snapshot::{KUBESPAN, Snapshot},
};
use crate::netlink::Filter;

/// The routing table with the default routes into `KubeSpan`.
pub const TABLE: u8 = 180;

/// The mark that Talos' nftables rules put on packets for `KubeSpan`.
pub const FORCE_MARK: u32 = 0x40;

/// The bits of the mark that the rule looks at.
pub const FORCE_MASK: u32 = 0x60;

/// Whether marked traffic is steered into `KubeSpan`, by family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steering {
    /// For IPv4.
    pub ipv4: FamilySteering,
    /// For IPv6.
    pub ipv6: FamilySteering,
    /// Rules and routes that could not be decoded: a "no" beside a count above 0 is not certain.
    pub undecoded: u64,
}

impl Steering {
    /// Whether both families are steered.
    pub const fn is_complete(&self) -> bool {
        self.ipv4.is_complete() && self.ipv6.is_complete()
    }
}

/// One family's half of [`Steering`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilySteering {
    /// The priority of the rule `fwmark 0x40/0x60 lookup 180`; none if there is no such rule.
    pub rule_priority: Option<u32>,
    /// Whether table 180 has a default route through the link `kubespan`.
    pub default_route: bool,
    /// The MTU on that route; none if the route has none of its own.
    pub route_mtu: Option<u32>,
}

impl FamilySteering {
    /// Whether both the rule and the route are there.
    pub const fn is_complete(&self) -> bool {
        self.rule_priority.is_some() && self.default_route
    }
}

/// Reads rules and table 180. `snapshot` tells the index of the link `kubespan`; without it no route counts.
pub async fn read_steering(snapshot: &Snapshot) -> Result<Steering, LinksError> {
    let kubespan = snapshot.link(KUBESPAN).map(|link| link.index);
    bounded("rules and routes", async {
        let (ipv4, undecoded4) = family(AddressFamily::Inet, kubespan).await?;
        let (ipv6, undecoded6) = family(AddressFamily::Inet6, kubespan).await?;
        Ok(Steering {
            ipv4,
            ipv6,
            undecoded: undecoded4 + undecoded6,
        })
    })
    .await
}

/// Judges dumps that are already there.
pub(crate) fn decode(
    rules: &mut [u8],
    routes: &mut [u8],
    kubespan: Option<u32>,
) -> Result<FamilySteering, LinksError> {
    let (rules, routes) = (Dump::of("rules", rules)?, Dump::of("routes", routes)?);
    Ok(judge(&rules.messages, &routes.messages, kubespan))
}

async fn family(
    family: AddressFamily,
    kubespan: Option<u32>,
) -> Result<(FamilySteering, u64), LinksError> {
    let mut request = RuleMessage::default();
    request.header.family = family;
    let request = RouteNetlinkMessage::GetRule(request);
    let rules = dump("rules", Filter::Nothing, &request).await?;
    let routes = routes(family).await?;
    let undecoded = rules.undecoded + routes.undecoded;
    Ok((
        judge(&rules.messages, &routes.messages, kubespan),
        undecoded,
    ))
}

/// Only table 180 is asked for: the other tables of a big node are long. A table that does not exist is an error to
/// the kernel and an empty table to us.
async fn routes(family: AddressFamily) -> Result<Dump, LinksError> {
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    request.header.table = TABLE;
    let request = RouteNetlinkMessage::GetRoute(request);
    match dump("routes", Filter::ByRequest, &request).await {
        Err(LinksError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Dump::default())
        }
        result => result,
    }
}

fn judge(
    rules: &[RouteNetlinkMessage],
    routes: &[RouteNetlinkMessage],
    kubespan: Option<u32>,
) -> FamilySteering {
    let rule_priority = rules.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewRule(rule) => steering_priority(rule),
        _ => None,
    });
    let route = routes.iter().find_map(|message| match message {
        RouteNetlinkMessage::NewRoute(route) if is_default_to(route, kubespan) => Some(route),
        _ => None,
    });
    FamilySteering {
        rule_priority,
        default_route: route.is_some(),
        route_mtu: route.and_then(mtu),
    }
}

/// The priority of a rule if it is the one that Talos makes.
fn steering_priority(rule: &RuleMessage) -> Option<u32> {
    let mut fwmark = 0;
    let mut bits = u32::MAX;
    let mut table = u32::from(rule.header.table);
    let mut priority = 0;
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::FwMark(value) => fwmark = *value,
            RuleAttribute::FwMask(value) => bits = *value,
            RuleAttribute::Table(value) => table = *value,
            RuleAttribute::Priority(value) => priority = *value,
            _ => {}
        }
    }
    let steers = rule.header.action == RuleAction::ToTable
        && (fwmark, bits, table) == (FORCE_MARK, FORCE_MASK, u32::from(TABLE));
    steers.then_some(priority)
}

fn is_default_to(route: &RouteMessage, link: Option<u32>) -> bool {
    let header = &route.header;
    let through = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        });
    header.kind == RouteType::Unicast
        && header.table == TABLE
        && header.destination_prefix_length == 0
        && through.is_some()
        && through == link
}

fn mtu(route: &RouteMessage) -> Option<u32> {
    let metrics = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => Some(metrics),
            _ => None,
        })?;
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(fwmark: u32, bits: u32, table: u8) -> RouteNetlinkMessage {
        let mut rule = RuleMessage::default();
        rule.header.action = RuleAction::ToTable;
        rule.header.table = table;
        rule.attributes = vec![
            RuleAttribute::FwMark(fwmark),
            RuleAttribute::FwMask(bits),
            RuleAttribute::Priority(32500),
        ];
        RouteNetlinkMessage::NewRule(rule)
    }

    fn default_route(link: u32) -> RouteNetlinkMessage {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.header.table = TABLE;
        route.attributes = vec![
            RouteAttribute::Oif(link),
            RouteAttribute::Metrics(vec![RouteMetric::Mtu(1420)]),
        ];
        RouteNetlinkMessage::NewRoute(route)
    }

    #[test]
    fn the_rule_and_the_default_route_through_kubespan_are_recognised() {
        let steering = judge(&[rule(0x40, 0x60, 180)], &[default_route(9)], Some(9));
        assert_eq!(steering.rule_priority, Some(32500));
        assert_eq!(steering.route_mtu, Some(1420));
        assert!(steering.is_complete());
    }

    #[test]
    fn a_rule_with_another_mark_mask_or_table_does_not_steer() {
        for other in [
            rule(0x20, 0x60, 180),
            rule(0x40, 0xff, 180),
            rule(0x40, 0x60, 254),
        ] {
            assert_eq!(judge(&[other], &[], None).rule_priority, None);
        }
    }

    #[test]
    fn a_default_route_through_another_link_or_to_a_subnet_does_not_count() {
        let mut subnet = default_route(9);
        if let RouteNetlinkMessage::NewRoute(route) = &mut subnet {
            route.header.destination_prefix_length = 8;
        }
        for (route, kubespan) in [
            (default_route(2), Some(9)),
            (default_route(9), None),
            (subnet, Some(9)),
        ] {
            assert!(!judge(&[], &[route], kubespan).default_route);
        }
    }
}
