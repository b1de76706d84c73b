//! From what the machines know to the nouns of [`evidence`].

use std::net::SocketAddr;

use evidence::{
    Arrival, Device, EchoHeard, EchoSent, Inert, InertReplies, Initiated, Moment, PublicKey, Rtt,
    limits,
};
use probe_core::{HeardStats, echo, inert, sightings::Sightings};
use sources::links::{KUBESPAN, Snapshot};

use crate::{clock, readers::DeviceReading};

pub(crate) fn device(reading: &DeviceReading, links: Option<&Snapshot>) -> Device {
    let link = links.and_then(|links| links.link(KUBESPAN));
    Device {
        listen_port: Some(reading.device.listen_port),
        fwmark: Some(reading.device.fwmark),
        mtu: link.map(|link| link.mtu),
        up: link.map(|link| link.up),
    }
}

pub(crate) fn echo_sent(stats: &echo::EchoStats) -> EchoSent {
    EchoSent {
        sent: stats.sent,
        answered: stats.answered,
        consecutive_lost: stats.consecutive_lost,
        loss_since: stats.loss_since,
        last_sent: stats.last_sent,
        last_answered: stats.last_answered,
        rtt: stats.round_trip.map(|rtt| Rtt {
            last_us: micros(rtt.last_micros),
            min_us: micros(rtt.min_micros),
            mean_us: micros(rtt.mean_micros),
            max_us: micros(rtt.max_micros),
        }),
        window: stats.window.expected,
        window_lost: stats.window.missing,
        short_losses: stats.short_losses,
        refused: stats.refused,
        clock: stats
            .clock
            .map(|told| clock::reading(told.at, told.wall, told.error_micros)),
    }
}

pub(crate) fn echo_heard(stats: &HeardStats) -> EchoHeard {
    EchoHeard {
        heard: stats.heard,
        last_heard: stats.last_heard,
        window: stats.window.expected,
        window_missing: stats.window.missing,
    }
}

/// The inert datagrams exchanged with one peer; `None` if there never were any.
pub(crate) fn inert(
    sent: Option<inert::InertStats>,
    sent_times: &[Moment],
    unsolicited_sent: Option<Moment>,
    heard: Option<&inert::InertHeard>,
) -> Option<Inert> {
    if sent.is_none() && heard.is_none() {
        return None;
    }
    let heard_from: Option<SocketAddr> = heard.and_then(|heard| heard.heard_from);
    Some(Inert {
        sent: sent.map_or(0, |stats| stats.sent),
        last_sent: sent.and_then(|stats| stats.last_sent),
        sent_times: sent_times.to_vec(),
        to: sent.and_then(|stats| stats.to),
        heard: heard.map_or(0, |heard| heard.stats.heard),
        last_heard: heard.and_then(|heard| heard.stats.last_heard),
        heard_from,
        replies: sent.and_then(|stats| stats.answered).map(replies),
        unsolicited_sent,
        unsolicited_heard: heard.and_then(|heard| heard.last_unsolicited),
    })
}

fn replies(answered: inert::Answered) -> InertReplies {
    InertReplies {
        count: answered.count,
        last: answered.at,
        sent_at: answered.sent_at,
        rtt_us: micros(answered.round_trip_micros),
        mapped: answered.mapped,
        hop_limit_there: answered.hop_limit_there,
        hop_limit_back: answered.hop_limit_back,
        there_us: answered.there_micros,
    }
}

pub(crate) fn initiated(sightings: &Sightings, peer: &PublicKey) -> Vec<Initiated> {
    let all = sightings.initiated(peer).map(|seen| Initiated {
        sender_index: seen.sender_index,
        sent_at: seen.sent_at,
        to: seen.to,
        response_at: seen.response_at,
    });
    newest(all.collect(), limits::INITIATED)
}

pub(crate) fn arrivals(sightings: &Sightings) -> Vec<Arrival> {
    let all = sightings.arrivals().map(|seen| Arrival {
        sender_index: seen.sender_index,
        at: seen.at,
        from: seen.from,
        for_us: seen.for_us,
        answered_at: seen.answered_at,
    });
    newest(all.collect(), limits::ARRIVALS)
}

fn newest<T>(mut list: Vec<T>, limit: usize) -> Vec<T> {
    let surplus = list.len().saturating_sub(limit);
    list.drain(..surplus);
    list
}

fn micros(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
