//! Every bound in time that a judgement rests on, with its reason.

use std::time::Duration;

/// Agents speak at least once a second; four seconds of silence are more than a hiccup of the path.
pub const REPORT_FRESH: Duration = Duration::from_secs(4);

/// Two missed signs of life are a pause: the node, or its way to the collector, was away. What was lost before the end of
/// a pause accuses no path.
pub const PAUSE: Duration = Duration::from_secs(2);

/// One lost packet accuses nobody, nor do two.
pub const LOST_IN_A_ROW: u32 = 3;

/// How many echo requests in a row must be lost to be more than chance, where so many short runs of losses were seen among the last
/// 300. With one more, for [`CONFIRMED`], chance takes hundreds of thousands of hours of a pair to look like silence: one way, 0.2 % four
/// times in a row, 1.7 % five, 3.3 % six, 5 % seven times; a request is sent each 2 s, and the runs count both ways.
pub const fn lost_in_a_row(short_losses: u32) -> u32 {
    match short_losses {
        0..=1 => LOST_IN_A_ROW,
        2..=10 => LOST_IN_A_ROW + 1,
        11..=20 => LOST_IN_A_ROW + 2,
        _ => LOST_IN_A_ROW + 3,
    }
}

/// From so many on a run of losses may become one that accuses: what passed before it is not held against others.
pub const LOSING: u32 = 2;

/// Moments of two nodes are compared on the collector's timeline, where each is late by its own report's way. Within
/// this much of each other their order proves nothing. Half the pace of the retries.
pub const SKEW: Duration = Duration::from_millis(500);

/// A datagram that the far side has not reported this long after it was sent has not arrived: far above any
/// one-way delay, plus one reporting interval.
pub const ARRIVES_WITHIN: Duration = Duration::from_millis(1200);

/// How long a cause must have shown to be named: so long that both ends have reported again, as for [`ARRIVES_WITHIN`].
pub const CONFIRMED: Duration = ARRIVES_WITHIN;

/// How long a cause that explained more a moment ago is told as it was, while ways recover one after the other: all are tried again
/// in a round of the echo, of one that was lost a second later, and reported within another.
pub fn narrows(nodes: usize) -> Duration {
    echo_round(nodes) + Duration::from_secs(2)
}

/// How long after its echo began to be lost a way may still be shown as open on the underlay, though it is not: it takes three losses
/// until inert datagrams leave, three of these, and their reports.
pub const UNDERLAY_TOLD: Duration = Duration::from_secs(8);

/// How long the far side must have listened into a loss before its silence counts: three requests, a second apart.
pub const LISTENED: Duration = Duration::from_secs(3);

/// How old a datagram seen on the underlay may be and still prove that the way is open now: two of the slowest inert
/// datagrams (10 s apart) or four of `WireGuard`'s handshake attempts (5 s apart), and their reports.
pub const UNDERLAY_FRESH: Duration = Duration::from_secs(25);

/// How long a node may be away of which Talos has said that it restarts, changes its version or ends: firmware of servers takes
/// minutes. Nobody is called to a planned absence before.
pub const AWAY_ON_PURPOSE: Duration = Duration::from_mins(10);

/// How old a handshake that was refused for its key may be: `WireGuard` tries again each 5 s, for 90 s after data.
pub const KEYS_FRESH: Duration = Duration::from_mins(1);

/// How far ahead of the collector a node's moments may run: a stream's first message that came late shifts all later
/// ones. What lies further ahead is not fresh, it is odd.
pub const AHEAD: Duration = Duration::from_secs(4);

/// Nobody is missed, and no tunnel is called never connected, before he had this long: an agent's start, its first
/// report, and two of `WireGuard`'s handshake attempts (5 s each).
pub const SETTLE: Duration = Duration::from_secs(15);

/// `WireGuard`'s `REJECT_AFTER_TIME`: an older session carries nothing.
pub const SESSION: Duration = Duration::from_mins(3);

/// How long steering must have been as it is to be called wrong. Talos makes its chains anew as a whole, and the peers of
/// a device, its routes and its chains are changed one after the other.
pub const STEERING_SETTLES: Duration = Duration::from_secs(3);

/// How long VXLAN devices must have been as they are to be called wrong: a CNI that has just come makes its device,
/// switches it on and gives it its MTU one after the other, and removes what it replaces.
pub const OVERLAY_SETTLES: Duration = Duration::from_secs(5);

/// How old an echo to a node address may be that came in past the tunnel: it is asked again each five seconds, and in a large mesh later.
pub const NODE_ECHO_AROUND: Duration = Duration::from_secs(30);

/// How old an echo to a node address may be and still prove something in a mesh of so many nodes: two rounds of them, each of an
/// address of either family, of two a second, and in a mesh that takes the echo more than ten seconds one in two seconds.
pub fn node_echo_fresh(nodes: usize) -> Duration {
    let addresses = seconds(nodes) * 2;
    let round = if echo_round(nodes) > Duration::from_secs(10) {
        addresses * 2
    } else {
        addresses / 2
    };
    round.max(Duration::from_secs(5)) * 2 + Duration::from_secs(10)
}

/// How long an address may take from one node to another, as a virtual IP does, until every device knows.
pub const ADDRESS_MOVES: Duration = Duration::from_secs(30);

/// How long a new address of a node may take until every device knows: its affiliate is renewed at once, and pushed to all.
pub const ADDRESS_TOLD: Duration = Duration::from_secs(15);

/// How long the trouble of an observer is told as the cause of what is undecided: the time that ears get which opened
/// during a loss.
pub const TROUBLE: Duration = Duration::from_secs(10);

/// How long Talos gets to tell an agent where it dials a peer that has just been made known, and the agent to ask the ways
/// there: it asks for the node's own addresses every ten seconds.
pub const CANDIDATES_TOLD: Duration = Duration::from_secs(15);

/// How long after a reverse path filter last dropped something it counts as one that drops: full-size packets come each 5 s,
/// and the counter is read as often.
pub const FILTERED: Duration = Duration::from_secs(30);

/// How long a device must have been missing for its port to be called taken by another: the host is read twice in that time.
pub const PORT_SETTLES: Duration = Duration::from_secs(10);

/// How far two clocks may be apart without a word: etcd complains of a second, and Talos lets 0.4 s be for minutes.
pub const SKEW_WARN: Duration = Duration::from_millis(500);

/// From here on nothing that needs certificates may be started: a certificate that was just made is not valid yet elsewhere.
pub const SKEW_FAIL: Duration = Duration::from_secs(5);

/// How old a node's word on its own clock may be: six times its pace.
pub const OWN_CLOCK_FRESH: Duration = Duration::from_mins(1);

/// How old what an echo told of another clock may be: the recent window of the echo in a large mesh.
pub const CLOCK_FRESH: Duration = Duration::from_mins(20);

/// How old a time server's word may be: three questions, 64 s apart, and the name's resolution.
pub const NTP_FRESH: Duration = Duration::from_secs(210);
/// How old a look at the discovery service may be: a pause of a minute, and the two or three that a look can take where
/// nothing answers.
pub const DISCOVERY_FRESH: Duration = Duration::from_mins(4);

/// How long a change between good and failed is remembered. A reconciler that runs each 30 s shows ten times.
pub const FLAP_WINDOW: Duration = Duration::from_mins(5);

/// Least time that a pair which flapped must be good to count so: more than a failure takes to be seen again.
pub const STEADY_LEAST: Duration = Duration::from_secs(10);

/// Most time that it must be: a gate has to open in the end.
pub const STEADY_MOST: Duration = Duration::from_mins(2);

/// Loss in the recent window that is worth a warning, in percent.
pub const LOSS_WARN_PERCENT: u32 = 10;

/// Requests that a window must have before its loss says anything.
pub const LOSS_MIN_WINDOW: u32 = 10;

/// Time that a search for the longest packet takes: two rounds of sizes, each sent twice, and their reports.
pub const SIZE_SEARCH: Duration = Duration::from_secs(5);

/// How long after a way has become good again what fails near it is not held against anybody: every way is tried once more in a
/// round of full-size packets, and reported.
pub fn tried_again(nodes: usize) -> Duration {
    size_round(nodes) + Duration::from_secs(2)
}

/// How old a full-size packet may be and still prove something in a mesh of so many nodes: two rounds of them (each 5 s,
/// or what eight a second on two layers give), three losses, and their reports.
pub fn size_fresh(nodes: usize) -> Duration {
    size_round(nodes) * 2 + Duration::from_secs(5)
}

fn size_round(nodes: usize) -> Duration {
    let ways = u32::try_from(nodes).unwrap_or(u32::MAX).saturating_mul(2);
    Duration::from_secs(5).max(Duration::from_secs(1) * ways / 8)
}

/// Slowest pace of the echo that still counts as ten-second freshness, and how many requests a second a node sends, without those to
/// node addresses.
const ECHO_FRESH: Duration = Duration::from_secs(10);
const ECHO_PER_SECOND: u32 = 32;

/// How old an echo may be and still prove something in a mesh of so many nodes: two rounds of the echo and a retry.
pub fn echo_fresh(nodes: usize) -> Duration {
    ECHO_FRESH.max(seconds(nodes) / ECHO_PER_SECOND * 2 + Duration::from_secs(2))
}

fn echo_round(nodes: usize) -> Duration {
    Duration::from_secs(2).max(seconds(nodes) / ECHO_PER_SECOND)
}

fn seconds(count: usize) -> Duration {
    Duration::from_secs(1) * u32::try_from(count).unwrap_or(u32::MAX)
}

/// How long a cause that no waiting cures must have stood before a wait ends for it. A machine that is just being made
/// anew has a new key, or is there twice, for as long as its agent and discovery need to tell.
pub const STANDS: Duration = Duration::from_secs(30);
