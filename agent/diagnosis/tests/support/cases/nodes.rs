//! Trouble of a node or its agent.

use evidence::{Fact, FactKey, SourceId};

use super::{Case, NOT_READY, READY, case};
use crate::support::{Lab, ago, key};

fn too_few() -> Lab {
    let mut lab = Lab::healthy();
    lab.view.expectation.min_nodes = 5;
    lab
}

/// Its agent came so long ago, and has not told the key of its device.
fn keyless(since: i64) -> Lab {
    let lab = Lab::healthy().joined("vps-2", since);
    let mut lab = lab.without("vps-2", &FactKey::Source(SourceId::WireGuard));
    if let Some(Fact::Identity(mut identity)) =
        lab.node("vps-2").facts.get(&FactKey::Identity).cloned()
    {
        identity.public_key = None;
        lab.put("vps-2", Fact::Identity(identity));
    }
    lab
}

/// The reports of `home-cp` stop, and its agent goes on answering the others.
pub(crate) fn cut_off() -> Lab {
    let mut lab = Lab::healthy();
    lab.close("home-cp", 9000);
    lab
}

/// They stop, its agent answers nobody any more, and its `WireGuard` goes on.
pub(crate) fn mute() -> Lab {
    let mut lab = Lab::healthy().kill_agent("home-cp", 9000);
    for other in ["vps-1", "vps-2", "home-worker"] {
        lab.echo_sent(other, "home-cp", |echo| echo.refused = None);
        lab.peer(other, "home-cp", |peer| peer.rx_moved = Some(ago(500)));
    }
    lab
}

pub(crate) fn cases() -> Vec<Case> {
    [of_nodes(), of_agents_that_run()].concat()
}

fn of_nodes() -> Vec<Case> {
    let unnamed = format!("peer {}..", key("home-worker").short());
    let of_vps = format!("peer {}..", key("vps-2").short());
    vec![
        case(
            "an agent has just come and has not read its device: the key that nobody claims may be its own",
            keyless(500),
            &[],
            NOT_READY,
            &["agent-not-reporting", "peer-silent", "second-machine"],
        ),
        case(
            "an agent has not read its device for long: the key that nobody claims is missed",
            keyless(20_000),
            &[("agent-not-reporting", &of_vps)],
            NOT_READY,
            &["wireguard-unreadable"],
        ),
        case(
            "an agent is killed: its kernel refuses the echo through a tunnel that carries",
            Lab::healthy().kill_agent("vps-2", 7000),
            &[("agent-not-reporting", "vps-2")],
            NOT_READY,
            &["peer-silent", "reports-stale", "tunnel-silent"],
        ),
        case(
            "a node dies with its agent",
            Lab::healthy().kill_node("vps-2", 9000),
            &[("peer-silent", "vps-2")],
            NOT_READY,
            &["agent-not-reporting", "udp-51820-blocked-both-ways"],
        ),
        case(
            "reports stop while the stream is open and the tunnel carries",
            Lab::healthy().stale("home-cp", 6000),
            &[("reports-stale", "home-cp")],
            NOT_READY,
            &["agent-not-reporting", "peer-silent"],
        ),
        case(
            "a stream that ended a moment ago misses nobody",
            Lab::healthy().kill_agent("vps-2", 3000),
            &[],
            READY,
            &["agent-not-reporting"],
        ),
        case(
            "three of four report: who is missed is known only by its key",
            Lab::healthy().never_reported("home-worker"),
            &[("agent-not-reporting", unnamed.as_str())],
            NOT_READY,
            &["too-few-nodes", "peer-missing"],
        ),
        case(
            "a node reports that it cannot read its device",
            Lab::healthy().gap("vps-2", SourceId::WireGuard, "no interface kubespan"),
            &[("wireguard-unreadable", "vps-2")],
            NOT_READY,
            &["agent-not-reporting", "peer-missing"],
        ),
        case(
            "a node cannot read its links, which nothing rests on",
            Lab::healthy().gap("vps-2", SourceId::Links, "netlink: no permission"),
            &[],
            READY,
            &["wireguard-unreadable"],
        ),
        case(
            "a second machine comes under the name of a live one",
            Lab::healthy().second_machine("home-cp"),
            &[("second-machine", "home-cp")],
            READY,
            &["agent-not-reporting"],
        ),
        case(
            "a node restarted and reports under its own key and name",
            Lab::healthy().joined("home-cp", 20_000),
            &[],
            READY,
            &["second-machine"],
        ),
        case(
            "fewer nodes report than were declared",
            too_few(),
            &[("too-few-nodes", "cluster")],
            NOT_READY,
            &["agent-not-reporting"],
        ),
    ]
}

fn of_agents_that_run() -> Vec<Case> {
    vec![
        case(
            "an agent does not reach the collector and answers the others",
            cut_off(),
            &[("agent-not-reporting", "home-cp")],
            NOT_READY,
            &["peer-silent", "reports-stale", "tunnel-silent"],
        ),
        case(
            "an agent answers nobody while its WireGuard goes on",
            mute(),
            &[("agent-not-reporting", "home-cp")],
            NOT_READY,
            &["peer-silent", "reports-stale"],
        ),
    ]
}
