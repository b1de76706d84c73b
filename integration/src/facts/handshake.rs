//! Sizes of handshake messages, what the counters make of them, and when `latest handshake` moves.

use std::{thread, time::Duration};

use crate::{
    facts::{
        Fact,
        pair::{FAR, NEAR, Pair, Reading},
        tap::{Packet, Tap},
    },
    lab::LabError,
};

/// How long a handshake may take, its first repetition included.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
/// How long an unanswered initiator is watched: a few repetitions.
const UNANSWERED: Duration = Duration::from_secs(17);
/// How long a responder without data is watched.
const WITHOUT_DATA: Duration = Duration::from_secs(4);
/// Drops what carries data; the first byte of a message is its type.
const DROP_DATA: &str = "udp dport 51820 @th,64,8 4 drop";
const DROP_ALL: &str = "udp dport 51820 drop";

pub(super) fn measure(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    let mut facts = first_handshake(pair)?;
    facts.extend(unanswered(pair)?);
    facts.extend(without_data(pair)?);
    Ok(facts)
}

fn first_handshake(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    pair.forget()?;
    let tap = Tap::start(&pair.lab, NEAR)?;
    pair.keep_alive(NEAR)?;
    let has_handshake = |reading: &Reading| reading.handshake > 0;
    pair.read_until("a handshake", NEAR, HANDSHAKE_LIMIT, has_handshake)?;
    let far = pair.read_until("a handshake", FAR, HANDSHAKE_LIMIT, has_handshake)?;
    let near = pair.read(NEAR)?;
    let packets = tap.stop()?;
    let how = "both peers removed and added again, keepalive set on the initiator; tap at the initiator, then `wg show dump`";
    Ok(vec![
        Fact::new("messages of a first handshake", sequence(&packets), how),
        Fact::new("counters of the initiator afterwards", counters(&near), how),
        Fact::new("counters of the responder afterwards", counters(&far), how),
    ])
}

fn unanswered(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    pair.forget()?;
    pair.forbid(DROP_ALL)?;
    let tap = Tap::start(&pair.lab, NEAR)?;
    pair.keep_alive(NEAR)?;
    thread::sleep(UNANSWERED);
    let near = pair.read(NEAR)?;
    let packets = tap.stop()?;
    pair.lift()?;
    let how = format!(
        "the same, while the internet drops UDP 51820 both ways for {} s",
        UNANSWERED.as_secs()
    );
    let seen = format!("{} sent, pauses {}", packets.len(), pauses(&packets));
    Ok(vec![
        Fact::new("initiations without an answer", seen, &how),
        Fact::new(
            "counters of an initiator without an answer",
            counters(&near),
            &how,
        ),
    ])
}

fn without_data(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    pair.forget()?;
    pair.forbid(DROP_DATA)?;
    pair.keep_alive(NEAR)?;
    let moved = |reading: &Reading| reading.handshake > 0;
    pair.read_until("a handshake", NEAR, HANDSHAKE_LIMIT, moved)?;
    thread::sleep(WITHOUT_DATA);
    let before = pair.read(FAR)?;
    pair.lift()?;
    let answered = pair.ping("-c 1 -W 5")?;
    let after = pair.read(FAR)?;
    let how = format!(
        "data dropped in the internet, handshakes pass; the initiator showed a handshake; the responder was read {} s later, \
         and again after one echo request without the drop",
        WITHOUT_DATA.as_secs()
    );
    let shown = |reading: &Reading| if moved(reading) { "moved" } else { "not moved" };
    let seen = format!(
        "{} ({}) without data, {} after {answered} answered echo request",
        shown(&before),
        counters(&before),
        shown(&after)
    );
    Ok(vec![Fact::new(
        "latest handshake of the responder",
        seen,
        &how,
    )])
}

/// In words: who sent which type with how many bytes.
fn sequence(packets: &[Packet]) -> String {
    let dialler = packets.first().map(|packet| packet.from);
    let words = packets.iter().map(|packet| {
        let from = if Some(packet.from) == dialler {
            "initiator"
        } else {
            "responder"
        };
        let length = packet.length.unwrap_or(0);
        format!("{} {length} from the {from}", name(packet.kind))
    });
    words.collect::<Vec<_>>().join(", ")
}

fn name(kind: Option<u8>) -> &'static str {
    match kind {
        Some(1) => "initiation",
        Some(2) => "response",
        Some(3) => "cookie reply",
        Some(4) => "data",
        _ => "something",
    }
}

pub(super) fn counters(reading: &Reading) -> String {
    format!("rx {} tx {}", reading.rx, reading.tx)
}

/// Seconds between packets.
pub(super) fn pauses(packets: &[Packet]) -> String {
    let pairs = packets.iter().zip(packets.iter().skip(1));
    let pauses = pairs.map(|(one, next)| seconds(next.at_ms - one.at_ms));
    let pauses: Vec<_> = pauses.collect();
    if pauses.is_empty() {
        return "none".to_owned();
    }
    format!("{} s", pauses.join(", "))
}

pub(super) fn seconds(millis: u64) -> String {
    format!("{}.{}", millis / 1000, millis % 1000 / 100)
}
