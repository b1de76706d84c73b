//! No trouble, or none that anybody could tell.

use evidence::{Fact, Phase, SourceId, Stage, Talos};

use super::{Case, NOT_READY, READY, SINCE, UNKNOWN, case, underlay::blocked_inbound_at_worker};
use crate::support::{Comes, Lab, NODES, ago, key};

/// Talos there says that the machine is about to do this.
fn leaving(node: &str, stage: Stage) -> Lab {
    let mut lab = Lab::healthy();
    let talos = Talos {
        stage: Some(stage),
        ..Talos::default()
    };
    lab.put(node, Fact::Talos(Box::new(talos)));
    lab
}

/// Nobody but the first two nodes has come.
fn just_started() -> Lab {
    let mut lab = Lab::healthy()
        .never_reported("home-cp")
        .never_reported("home-worker");
    lab.view.started = ago(3000);
    lab.joined("vps-1", 2000).joined("vps-2", 2000)
}

/// An agent came back during a loss that is over: what it did not hear, it could not hear.
fn agent_came_back() -> Lab {
    let others = ["vps-1", "home-cp", "home-worker"];
    let lab = others.into_iter().fold(Lab::healthy(), |lab, other| {
        let mut lab = lab.lose_both_ways("vps-2", other, 12_000);
        let nothing = evidence::EchoSent::default();
        lab.put("vps-2", Fact::EchoSent(key(other), nothing));
        lab.inert_unheard(other, "vps-2")
            .initiate(other, "vps-2", 11_000, Comes::Nowhere)
            .initiate(other, "vps-2", 6000, Comes::Nowhere)
    });
    lab.joined("vps-2", 1000)
}

pub(crate) fn cases() -> Vec<Case> {
    [chance(), away()].concat()
}

fn chance() -> Vec<Case> {
    vec![
        case(
            "one lost echo accuses nobody",
            Lab::healthy().lose_only("vps-1", "home-worker", 1),
            &[],
            READY,
            &["tunnel-silent", "one-way-loss"],
        ),
        case(
            "nor do two",
            Lab::healthy()
                .lose_only("vps-1", "home-worker", 2)
                .lose_only("home-worker", "vps-1", 2),
            &[],
            READY,
            &["tunnel-silent"],
        ),
        case(
            "nor do five where chance has lost one in ten all along",
            lossy("vps-1", "home-worker", 5),
            &[],
            READY,
            &["tunnel-silent", "one-way-loss"],
        ),
        case(
            "but six do",
            lossy("vps-1", "home-worker", 6),
            &[("tunnel-silent", "vps-1 -> home-worker")],
            [Phase::Unknown, Phase::Unknown, Phase::NotReady],
            &["one-way-loss"],
        ),
    ]
}

fn away() -> Vec<Case> {
    vec![
        case(
            "all is well",
            Lab::healthy(),
            &[],
            READY,
            &["udp-51820-blocked-inbound"],
        ),
        case(
            "a node that was taken out of the mesh is not missed",
            Lab::healthy().take_out("home-worker"),
            &[],
            READY,
            &["agent-not-reporting", "peer-missing"],
        ),
        case(
            "a node whose Talos said that it restarts is not missed, and nobody is blamed for what it does not answer",
            leaving("vps-2", Stage::Rebooting).kill_node("vps-2", 60_000),
            &[],
            NOT_READY,
            &[
                "peer-silent",
                "agent-not-reporting",
                "udp-51820-blocked-both-ways",
            ],
        ),
        case(
            "a node that restarts for longer than any node takes is missed",
            leaving("vps-2", Stage::Rebooting).kill_node("vps-2", 601_000),
            &[("peer-silent", "vps-2")],
            NOT_READY,
            &["agent-not-reporting"],
        ),
        case(
            "what Talos says of a node that speaks excuses nothing",
            leaving("vps-2", Stage::Rebooting).lose("vps-1", "vps-2", SINCE),
            &[("tunnel-silent", "vps-1 -> vps-2")],
            [Phase::Unknown, Phase::Unknown, Phase::NotReady],
            &["udp-51820-dropped-by-host"],
        ),
        case(
            "a node that has just restarted has not met another again yet: two first handshakes were lost by chance",
            not_met_again("vps-2", "vps-1"),
            &[],
            [Phase::Unknown; 3],
            &["tunnel-silent", "peer-never-connected"],
        ),
        case(
            "the collector has just started and misses nobody yet",
            just_started(),
            &[],
            UNKNOWN,
            &["agent-not-reporting", "too-few-nodes"],
        ),
        case(
            "an agent that came back is not told what it missed while it was away",
            agent_came_back(),
            &[],
            UNKNOWN,
            &["udp-51820-blocked-inbound", "tunnel-silent", "peer-silent"],
        ),
        case(
            "an agent stays, its tap and its ears were shut while datagrams and echoes were lost",
            blocked_inbound_at_worker()
                .opened("home-worker", SourceId::Tap, 1000)
                .opened("home-worker", SourceId::Echo, 1000),
            &[],
            UNKNOWN,
            &["udp-51820-blocked-inbound"],
        ),
        case(
            "nobody speaks any more: nothing can be told",
            everybody(Lab::healthy(), |lab, node| lab.stale(node, 6000)),
            &[
                ("too-few-nodes", "cluster"),
                ("reports-stale", "vps-1"),
                ("reports-stale", "vps-2"),
                ("reports-stale", "home-cp"),
                ("reports-stale", "home-worker"),
            ],
            UNKNOWN,
            &["peer-silent"],
        ),
    ]
}

fn everybody(lab: Lab, edit: fn(Lab, &str) -> Lab) -> Lab {
    NODES.iter().fold(lab, |lab, node| edit(lab, node))
}

/// Nothing of `from` arrives at `to` for so many requests, on a way that lost one in ten now and then.
fn lossy(from: &str, to: &str, requests: u32) -> Lab {
    let mut lab = Lab::healthy().lose(from, to, i64::from(requests) * 1000);
    for (from, to) in [(from, to), (to, from)] {
        lab.echo_sent(from, to, |echo| echo.short_losses = 29);
    }
    lab
}

/// `node` is back for ten seconds, and its device knows nothing of the session that the other still has.
fn not_met_again(node: &str, other: &str) -> Lab {
    let mut lab = Lab::healthy()
        .joined(node, 10_000)
        .lose_both_ways(node, other, 9000);
    lab.peer(node, other, |peer| peer.last_handshake = None);
    lab
}
