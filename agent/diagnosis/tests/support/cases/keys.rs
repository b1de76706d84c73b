//! Handshakes that arrive and are refused.

use evidence::Phase;

use super::{Case, MESH_ONLY, NOT_READY, READY, SINCE, case};
use crate::support::{Comes, Lab, NODES, ago};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "a node has another preshared key than the rest",
            other_preshared_key("vps-2"),
            &[("wireguard-psk-mismatch", "vps-2")],
            [Phase::Ready, Phase::NotReady, Phase::NotReady],
            &[
                "udp-51820-dropped-by-host",
                "tunnel-silent",
                "wireguard-wrong-key",
            ],
        ),
        case(
            "one node was given another preshared key for one peer, and only that node has dialled",
            Lab::healthy()
                .lose_both_ways("vps-1", "vps-2", SINCE)
                .inert_heard("vps-1", "vps-2")
                .inert_heard("vps-2", "vps-1")
                .initiate("vps-1", "vps-2", 7000, Comes::BackToTheInterface)
                .initiate("vps-1", "vps-2", 2000, Comes::BackToTheInterface)
                .shook_hands("vps-1", "vps-2", 60_000),
            &[("wireguard-psk-mismatch", "vps-1 <-> vps-2")],
            MESH_ONLY,
            &["udp-51820-dropped-by-host", "tunnel-silent"],
        ),
        case(
            "the same, when one of the two has not lost enough yet: what passed before the loss proves no way back",
            other_preshared_key_just_now("vps-1", "vps-2"),
            &[("tunnel-silent", "vps-1 -> vps-2")],
            MESH_ONLY,
            &["udp-51820-dropped-by-host"],
        ),
        case(
            "the same, when the keys have just been made equal and only one end has told of it",
            equal_preshared_keys_just_now("vps-1", "vps-2"),
            &[("tunnel-silent", "vps-1 -> vps-2")],
            MESH_ONLY,
            &["udp-51820-dropped-by-host"],
        ),
        case(
            "the same, when the other end tells that its echo was answered: then data passes both ways",
            answered_again("vps-1", "vps-2"),
            &[],
            READY,
            &["udp-51820-dropped-by-host", "tunnel-silent"],
        ),
        case(
            "the firewall of a host drops what comes of one node, and sessions have run out",
            Lab::healthy()
                .lose_both_ways("vps-1", "vps-2", 200_000)
                .inert_heard("vps-1", "vps-2")
                .inert_heard("vps-2", "vps-1")
                .initiate("vps-2", "vps-1", 9000, Comes::BackToTheInterface)
                .initiate("vps-2", "vps-1", 4000, Comes::BackToTheInterface)
                .initiate("vps-1", "vps-2", 6000, Comes::ToTheFarInterface)
                .shook_hands("vps-1", "vps-2", 210_000),
            &[("udp-51820-dropped-by-host", "vps-2")],
            [Phase::Ready, Phase::NotReady, Phase::NotReady],
            &["wireguard-psk-mismatch"],
        ),
        case(
            "a node dials another with a key that nobody has",
            Lab::healthy().dial_with_a_stale_key("vps-1", "vps-2"),
            &[("wireguard-wrong-key", "vps-1 -> vps-2")],
            NOT_READY,
            &["peer-missing", "agent-not-reporting", "one-way-loss"],
        ),
    ]
}

/// Handshakes of both sides are answered, and no answer is taken.
fn other_preshared_key(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others.fold(Lab::healthy(), |lab, other| {
        lab.lose_both_ways(other, node, 200_000)
            .inert_heard(other, node)
            .inert_heard(node, other)
            .initiate(node, other, 8000, Comes::BackToTheInterface)
            .initiate(other, node, 9000, Comes::BackToTheInterface)
            .shook_hands(other, node, 210_000)
    })
}

/// The first handshake is refused, and only the other end has lost three echoes so far.
fn other_preshared_key_just_now(a: &str, b: &str) -> Lab {
    let mut lab = Lab::healthy()
        .lose_both_ways(a, b, SINCE)
        .inert_heard(a, b)
        .inert_heard(b, a)
        .initiate(b, a, SINCE - 1000, Comes::BackToTheInterface)
        .shook_hands(a, b, 60_000);
    lab.echo_sent(b, a, |echo| {
        echo.consecutive_lost = 2;
        echo.last_answered = Some(ago(SINCE + 200));
    });
    lab
}

/// B's initiations were refused, then the two completed one, and A heard an echo of B in the new session. B has not reported since.
fn equal_preshared_keys_just_now(a: &str, b: &str) -> Lab {
    let mut lab = Lab::healthy()
        .lose_both_ways(a, b, 11_000)
        .inert_heard(a, b)
        .inert_heard(b, a)
        .initiate(b, a, 9000, Comes::BackToTheInterface)
        .initiate(b, a, 4000, Comes::BackToTheInterface)
        .shook_hands(b, a, 60_000);
    lab.peer(a, b, |peer| peer.last_handshake = Some(ago(400)));
    lab.echo_heard(a, b, |heard| heard.last_heard = Some(ago(300)));
    lab
}

/// Then B reports, and A has not sent an echo since.
fn answered_again(a: &str, b: &str) -> Lab {
    let mut lab = equal_preshared_keys_just_now(a, b);
    lab.peer(b, a, |peer| peer.last_handshake = Some(ago(400)));
    lab.echo_sent(b, a, |echo| {
        echo.consecutive_lost = 0;
        echo.loss_since = None;
        echo.last_answered = Some(ago(299));
    });
    lab
}
