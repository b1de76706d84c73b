//! The two loops that push: metrics at an interval, changes soon after they were judged.

use std::{
    mem::{Discriminant, discriminant},
    sync::Arc,
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{
    logs::v1::logs_service_client::LogsServiceClient,
    metrics::v1::metrics_service_client::MetricsServiceClient,
};
use proto::limits;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tonic::{Code, Request, Response, Status, transport::Channel};
use tracing::{info, warn};

use super::{
    answers::Outcome,
    dial::channel,
    messages::Speaker,
    pace::Pace,
    queue::{Entry, Queue},
    settings::Otlp,
};
use crate::{
    clock,
    counters::{Counter, Counters},
    metrics,
    verdicts::Verdicts,
};

/// Changes that come together are told together: as long as this one waits for the next.
const GATHER: Duration = Duration::from_secs(1);
/// Time for the last attempt when the collector stops.
const LAST: Duration = Duration::from_secs(1);
/// An answer has a few numbers and a sentence.
const ANSWER_BYTES: usize = 64 * 1024;

/// What is exported.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) verdicts: Verdicts,
    pub(crate) queue: Queue,
    pub(crate) counters: Arc<Counters>,
    /// Of the listener: it tells collectors on one machine apart.
    pub(crate) port: u16,
}

/// Pushes until `stopped` has no sender any more, and then once more what is left.
pub(crate) async fn push(otlp: Otlp, source: Source, stopped: watch::Receiver<()>) {
    let channel = match channel(&otlp) {
        Ok(channel) => channel,
        Err(error) => {
            warn!(endpoint = %otlp.endpoint, error, "nothing is exported to OpenTelemetry");
            return;
        }
    };
    info!(
        endpoint = %otlp.endpoint,
        headers = ?otlp.headers,
        interval_s = otlp.interval.as_secs(),
        "exports to OpenTelemetry"
    );
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let speaker = Speaker::new(&host, source.port, &otlp.attributes, clock::wall_ms());
    let shared = Shared {
        otlp,
        channel,
        speaker,
        source,
    };
    tokio::join!(
        shared.push_metrics(stopped.clone()),
        shared.push_changes(stopped)
    );
}

struct Shared {
    otlp: Otlp,
    channel: Channel,
    speaker: Speaker,
    source: Source,
}

impl Shared {
    async fn push_metrics(&self, mut stopped: watch::Receiver<()>) {
        let rejected = &self.source.counters.otlp_points_rejected;
        let mut signal = Signal::new("metrics", rejected);
        let mut due = Instant::now();
        loop {
            tokio::select! {
                _ = stopped.changed() => break,
                () = sleep_until(due) => {}
            }
            let began = Instant::now();
            let (outcome, points) = tokio::select! {
                _ = stopped.changed() => break,
                done = self.send_metrics() => done,
            };
            due = match self.account(&mut signal, outcome, points) {
                // What failed is not sent again, but what is known then: the sums are cumulative, so nothing is lost by it.
                Some(pause) => Instant::now() + pause,
                None => began + self.otlp.interval,
            };
        }
        drop(timeout(LAST, self.send_metrics()).await);
    }

    async fn push_changes(&self, mut stopped: watch::Receiver<()>) {
        let queue = &self.source.queue;
        let rejected = &self.source.counters.otlp_records_rejected;
        let mut signal = Signal::new("changes", rejected);
        loop {
            let batch = queue.oldest();
            if batch.is_empty() {
                tokio::select! {
                    _ = stopped.changed() => return,
                    () = queue.added() => {}
                }
                tokio::select! {
                    _ = stopped.changed() => break,
                    () = sleep(GATHER) => continue,
                }
            }
            let outcome = tokio::select! {
                _ = stopped.changed() => break,
                outcome = self.send_changes(&batch) => outcome,
            };
            match self.account(&mut signal, outcome, batch.len()) {
                Some(pause) => tokio::select! {
                    _ = stopped.changed() => break,
                    () = sleep(pause) => {}
                },
                None => queue.done(&batch),
            }
        }
        let batch = queue.oldest();
        if !batch.is_empty() {
            drop(timeout(LAST, self.send_changes(&batch)).await);
        }
    }

    /// One attempt: what it came to, and how many points there were.
    async fn send_metrics(&self) -> (Outcome, usize) {
        let Source {
            verdicts, counters, ..
        } = &self.source;
        let judged = verdicts.current().ok();
        let table = metrics::table(judged.as_deref(), counters, Some(metrics::PAIR_SERIES));
        drop(judged);
        let (message, points) = self.speaker.metrics(table, clock::wall_ms());
        let mut client = MetricsServiceClient::new(self.channel.clone())
            .max_encoding_message_size(limits::MESSAGE_BYTES)
            .max_decoding_message_size(ANSWER_BYTES);
        let answer = self.within(client.export(self.request(message))).await;
        (Outcome::of_metrics(answer), points)
    }

    /// One attempt.
    async fn send_changes(&self, batch: &[Entry]) -> Outcome {
        let message = self.speaker.records(batch, clock::wall_ms());
        let mut client = LogsServiceClient::new(self.channel.clone())
            .max_encoding_message_size(limits::MESSAGE_BYTES)
            .max_decoding_message_size(ANSWER_BYTES);
        let answer = self.within(client.export(self.request(message))).await;
        Outcome::of_records(answer)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.otlp.timeout);
        for (key, value) in &self.otlp.headers.0 {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        request
    }

    async fn within<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        let bound = self.otlp.timeout;
        match timeout(bound, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!(
                "no answer within {}",
                humantime::format_duration(bound)
            ))),
        }
    }

    /// Counts what an attempt came to, and tells it if that is new. The pause before it is tried again, if it is to be.
    fn account(&self, signal: &mut Signal<'_>, outcome: Outcome, sent: usize) -> Option<Duration> {
        let counters = &self.source.counters;
        counters.otlp_requests.add();
        let (news, pause) = match outcome {
            Outcome::Taken { rejected, words } => {
                signal.pace.worked();
                // No more than were sent, whatever the receiver says.
                let rejected = usize::try_from(rejected).map_or(sent, |number| number.min(sent));
                signal.rejected.add_all(rejected);
                let news = if rejected > 0 || !words.is_empty() {
                    News::Partly(words)
                } else {
                    News::Well
                };
                (news, None)
            }
            Outcome::Later { code, after, words } => {
                counters.otlp_requests_failed.add();
                let pause = signal.pace.pause(after, rand::random());
                (News::Fails(code, words), Some(pause))
            }
            Outcome::Refused { code, words } => {
                counters.otlp_requests_failed.add();
                signal.pace.worked();
                signal.rejected.add_all(sent);
                (News::Refused(code, words), None)
            }
        };
        if signal.is_new(&news) {
            self.tell(signal.name, &news);
        }
        pause
    }

    fn tell(&self, signal: &str, news: &News) {
        let endpoint = &self.otlp.endpoint;
        let conceal = |words: &str| self.otlp.headers.conceal(words);
        match news {
            News::Well => info!(%endpoint, signal, "OpenTelemetry receiver takes what is exported"),
            News::Partly(words) => {
                let words = conceal(words);
                warn!(%endpoint, signal, ?words, "OpenTelemetry receiver takes a part of what is exported");
            }
            News::Fails(code, words) => {
                let words = conceal(words);
                warn!(%endpoint, signal, ?code, ?words, "export to OpenTelemetry fails and is tried again");
            }
            News::Refused(code, words) => {
                let words = conceal(words);
                warn!(%endpoint, signal, ?code, ?words, "OpenTelemetry receiver refuses what is exported");
            }
        }
    }
}

/// What there may be to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum News {
    Well,
    Partly(String),
    Fails(Code, String),
    Refused(Code, String),
}

/// How one of the two is doing.
struct Signal<'c> {
    name: &'static str,
    rejected: &'c Counter,
    pace: Pace,
    last: Option<(Discriminant<News>, Option<Code>)>,
}

impl<'c> Signal<'c> {
    fn new(name: &'static str, rejected: &'c Counter) -> Self {
        Self {
            name,
            rejected,
            pace: Pace::default(),
            last: None,
        }
    }

    /// Whether this differs in more than words from what was told last.
    fn is_new(&mut self, news: &News) -> bool {
        let code = match news {
            News::Fails(code, _) | News::Refused(code, _) => Some(*code),
            News::Well | News::Partly(_) => None,
        };
        let now = Some((discriminant(news), code));
        let is_new = self.last != now;
        self.last = now;
        is_new
    }
}
