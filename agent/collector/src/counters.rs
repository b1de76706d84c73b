//! What the collector counts. Every refusal has a counter, so that nothing is dropped in silence.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use proto::transport::Unserved;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// How much it has counted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.add_all(1);
    }

    pub(crate) fn add_all(&self, number: usize) {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.0.fetch_add(number, Ordering::Relaxed);
    }
}

/// All counters of one collector.
#[derive(Debug, Default)]
pub struct Counters {
    /// Report streams that were taken in.
    pub streams_opened: Counter,
    /// Report messages that were taken in.
    pub messages: Counter,
    /// Judgements made.
    pub judgements: Counter,
    /// TLS handshakes that came to nothing, on all listeners.
    pub handshakes: Arc<Unserved>,
    /// Connections over a limit.
    pub connections_refused: Counter,
    /// Connections on which nothing was said after the handshake.
    pub connections_silent: Counter,
    /// Calls without a usable client certificate.
    pub callers_unknown: Counter,
    /// Calls that the caller's role does not allow.
    pub roles_refused: Counter,
    /// Reports in the name of another node.
    pub names_refused: Counter,
    /// Report streams that skipped or repeated a sequence.
    pub sequences_refused: Counter,
    /// Report messages that are malformed or over a limit on facts.
    pub messages_malformed: Counter,
    /// Facts and keys that a later version says, left out of reports that were taken in.
    pub facts_unknown: Counter,
    /// Report messages over the size limit.
    pub messages_oversized: Counter,
    /// Report streams with another key than the pinned one.
    pub keys_refused: Counter,
    /// Report streams of a second machine beside a live first one.
    pub machines_refused: Counter,
    /// Report streams of a node that the full view has no room for.
    pub nodes_refused: Counter,
    /// Report streams that a newer one of the same machine replaced.
    pub streams_replaced: Counter,
    /// Verdicts that are too large for one message.
    pub verdicts_oversized: Counter,
    /// Questions, and report streams that began, which waited for their turn.
    pub turns_waited: Counter,
    /// The same that would have waited too long.
    pub turns_refused: Counter,
    /// Report messages that were read later, as their stream was over the rate.
    pub messages_waited: Counter,
    /// Waits over the limit.
    pub waits_refused: Counter,
    /// Watches over the limit.
    pub watches_refused: Counter,
    /// HTTP requests.
    pub http_requests: Counter,
    /// HTTP connections over the limit.
    pub http_connections_refused: Counter,
    /// HTTP requests that are malformed, or ask for what this listener does not tell.
    pub http_requests_refused: Counter,
    /// Pages of pairs that were asked for while another one was made.
    pub pages_refused: Counter,
    /// Times that the store could not be opened, written or ended.
    pub store_failures: Counter,
    /// Changes that are in no store, as its disk is too slow or they are too long.
    pub store_dropped: Counter,
    /// Damaged stores that were set aside.
    pub store_damaged: Counter,
    /// Calls to a receiver of OpenTelemetry.
    pub otlp_requests: Counter,
    /// Of these, such that came to nothing.
    pub otlp_requests_failed: Counter,
    /// Points of metrics that the receiver did not take and never will.
    pub otlp_points_rejected: Counter,
    /// The same of changes.
    pub otlp_records_rejected: Counter,
    /// Changes that were never sent, as too many waited.
    pub otlp_records_dropped: Counter,
}

impl Counters {
    /// All counters by name, for the exporter.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let Self {
            streams_opened,
            messages,
            judgements,
            handshakes,
            connections_refused,
            connections_silent,
            callers_unknown,
            roles_refused,
            names_refused,
            sequences_refused,
            messages_malformed,
            facts_unknown,
            messages_oversized,
            keys_refused,
            machines_refused,
            nodes_refused,
            streams_replaced,
            verdicts_oversized,
            turns_waited,
            turns_refused,
            messages_waited,
            waits_refused,
            watches_refused,
            http_requests,
            http_connections_refused,
            http_requests_refused,
            pages_refused,
            store_failures,
            store_dropped,
            store_damaged,
            otlp_requests,
            otlp_requests_failed,
            otlp_points_rejected,
            otlp_records_rejected,
            otlp_records_dropped,
        } = self;
        let Unserved {
            failed,
            late,
            displaced,
            last,
        } = &**handshakes;
        let handshakes = [
            ("collector_handshakes_failed_total", failed),
            ("collector_handshakes_late_total", late),
            ("collector_handshakes_displaced_total", displaced),
            ("collector_handshakes_last_total", last),
        ];
        let handshakes = handshakes.map(|(name, count)| (name, count.load(Ordering::Relaxed)));
        [
            ("collector_streams_opened_total", streams_opened),
            ("collector_messages_total", messages),
            ("collector_judgements_total", judgements),
            ("collector_connections_refused_total", connections_refused),
            ("collector_connections_silent_total", connections_silent),
            ("collector_callers_unknown_total", callers_unknown),
            ("collector_roles_refused_total", roles_refused),
            ("collector_names_refused_total", names_refused),
            ("collector_sequences_refused_total", sequences_refused),
            ("collector_messages_malformed_total", messages_malformed),
            ("collector_facts_unknown_total", facts_unknown),
            ("collector_messages_oversized_total", messages_oversized),
            ("collector_keys_refused_total", keys_refused),
            ("collector_machines_refused_total", machines_refused),
            ("collector_nodes_refused_total", nodes_refused),
            ("collector_streams_replaced_total", streams_replaced),
            ("collector_verdicts_oversized_total", verdicts_oversized),
            ("collector_turns_waited_total", turns_waited),
            ("collector_turns_refused_total", turns_refused),
            ("collector_messages_waited_total", messages_waited),
            ("collector_waits_refused_total", waits_refused),
            ("collector_watches_refused_total", watches_refused),
            ("collector_http_requests_total", http_requests),
            (
                "collector_http_connections_refused_total",
                http_connections_refused,
            ),
            (
                "collector_http_requests_refused_total",
                http_requests_refused,
            ),
            ("collector_pages_refused_total", pages_refused),
            ("collector_store_failures_total", store_failures),
            ("collector_store_dropped_total", store_dropped),
            ("collector_store_damaged_total", store_damaged),
            ("collector_otlp_requests_total", otlp_requests),
            ("collector_otlp_requests_failed_total", otlp_requests_failed),
            ("collector_otlp_points_rejected_total", otlp_points_rejected),
            (
                "collector_otlp_records_rejected_total",
                otlp_records_rejected,
            ),
            ("collector_otlp_records_dropped_total", otlp_records_dropped),
        ]
        .into_iter()
        .map(|(name, counter)| (name, counter.get()))
        .chain(handshakes)
    }
}
