//! The kernel's dumps of rules and of table 180.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAttribute, RouteMessage, RouteMetric, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use sources::{
    decode::steering_dump,
    links::{FORCE_MARK, FORCE_MASK, TABLE},
};

use super::netlink::{dump, message};
use crate::{
    Target,
    script::{Script, halves},
};

pub(crate) const TARGET: Target = Target {
    name: "steering",
    run,
    seeds,
};

const KUBESPAN: u32 = 3;

fn run(bytes: &[u8]) {
    let Some((rules, routes)) = Script::new(bytes).halves() else {
        return;
    };
    let read = |link| steering_dump(&mut rules.to_vec(), &mut routes.to_vec(), link);
    let (Ok(with), Ok(without)) = (read(Some(KUBESPAN)), read(None)) else {
        return;
    };
    assert!(
        !without.default_route,
        "a route through a link that is not there"
    );
    assert_eq!(with.rule_priority, without.rule_priority);
    assert!(with.route_mtu.is_none() || with.default_route, "{with:?}");
}

fn rule(mark: u32, table: u8) -> RouteNetlinkMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet;
    rule.header.action = RuleAction::ToTable;
    rule.header.table = table;
    rule.attributes = vec![
        RuleAttribute::FwMark(mark),
        RuleAttribute::FwMask(FORCE_MASK),
        RuleAttribute::Priority(32500),
        RuleAttribute::Table(table.into()),
    ];
    RouteNetlinkMessage::NewRule(rule)
}

fn route(link: u32, length: u8) -> RouteNetlinkMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.kind = RouteType::Unicast;
    route.header.table = TABLE;
    route.header.destination_prefix_length = length;
    route.attributes = vec![
        RouteAttribute::Oif(link),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1420)]),
    ];
    RouteNetlinkMessage::NewRoute(route)
}

fn seeds() -> Vec<Vec<u8>> {
    let rules = dump(&[rule(FORCE_MARK, TABLE), rule(1, 254)]);
    vec![
        halves(
            &rules,
            &dump(&[route(KUBESPAN, 0), route(2, 0), route(KUBESPAN, 8)]),
        ),
        halves(&dump(&[]), &dump(&[route(KUBESPAN, 0)])),
        halves(
            &message(32, &[2, 0, 0, 0, 180, 0, 0, 1, 0, 0, 0, 0]),
            &message(24, &[0; 12]),
        ),
        halves(&message(2, &(-2_i32).to_ne_bytes()), &[]),
    ]
}
