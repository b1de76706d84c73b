//! Observers that are in trouble themselves.

use evidence::{Conntrack, Drops, Fact, Health};

use super::{Case, READY, UNKNOWN, case, underlay::blocked_inbound_at_worker};
use crate::support::{Lab, ago};

const OVERLOADED: &str = "observer-overloaded";
const BLOCKED: &str = "udp-51820-blocked-inbound";
const NODE: &str = "home-worker";

pub(crate) fn cases() -> Vec<Case> {
    let undecided = &[(OVERLOADED, NODE)];
    vec![
        case(
            "who slept has heard nothing, and that accuses no path",
            stalled(blocked_inbound_at_worker(), NODE, 1000),
            undecided,
            UNKNOWN,
            &[BLOCKED, "tunnel-silent", "reports-stale"],
        ),
        case(
            "a tap that drops packets has not seen that none came",
            with(blocked_inbound_at_worker(), NODE, |health| {
                health.tap = Some(lately());
            }),
            undecided,
            UNKNOWN,
            &[BLOCKED],
        ),
        case(
            "nor has an echo whose socket was full",
            with(blocked_inbound_at_worker(), NODE, |health| {
                health.echo = Some(lately());
            }),
            undecided,
            UNKNOWN,
            &[BLOCKED],
        ),
        case(
            "a full table of connections drops what is new",
            with(blocked_inbound_at_worker(), NODE, |health| {
                health.conntrack = Some(table(96));
            }),
            undecided,
            UNKNOWN,
            &[BLOCKED],
        ),
        case(
            "trouble that is over for long excuses nothing",
            stalled(blocked_inbound_at_worker(), NODE, 60_000),
            &[(BLOCKED, NODE)],
            super::NOT_READY,
            &[OVERLOADED],
        ),
        case(
            "the trouble of a node that sees all it should is nobody's business",
            stalled(Lab::healthy(), NODE, 500),
            &[],
            READY,
            &[OVERLOADED],
        ),
        case(
            "a table of connections that is merely well used",
            with(Lab::healthy(), NODE, |health| {
                health.conntrack = Some(table(94));
            }),
            &[],
            READY,
            &[OVERLOADED],
        ),
    ]
}

/// The node woke from a stall so long ago.
pub(crate) fn stalled(lab: Lab, node: &str, since: i64) -> Lab {
    with(lab, node, |health| health.stalled = Some(ago(since)))
}

fn with(mut lab: Lab, node: &str, edit: impl FnOnce(&mut Health)) -> Lab {
    let mut health = Health::default();
    edit(&mut health);
    lab.put(node, Fact::Health(health));
    lab
}

fn lately() -> Drops {
    Drops {
        count: 40,
        last: Some(ago(900)),
    }
}

fn table(percent: u32) -> Conntrack {
    Conntrack {
        at: ago(500),
        count: percent * 1000,
        max: 100_000,
    }
}
