//! A receiver of OpenTelemetry that a test can look into.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::{
            ExportLogsServiceRequest, ExportLogsServiceResponse,
            logs_service_server::{LogsService, LogsServiceServer},
        },
        metrics::v1::{
            ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::{metric::Data, number_data_point},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::fixture::soon;

/// What is answered to the calls that come; after the last one, all are taken.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Refuse(Status),
    /// Never.
    Hang,
    Partly(i64),
}

/// What a receiver got, and how it answers.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) metrics: Vec<(Instant, ExportMetricsServiceRequest)>,
    pub(super) records: Vec<LogRecord>,
    /// Of the last call.
    pub(super) tokens: Vec<String>,
    /// Calls with records, whatever was answered.
    pub(super) record_calls: Vec<Instant>,
    pub(super) for_metrics: VecDeque<Answer>,
    pub(super) for_records: VecDeque<Answer>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Receiver(Arc<Mutex<Desk>>);

impl Receiver {
    pub(super) fn desk<T>(&self, look: impl FnOnce(&mut Desk) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something holds.
    pub(super) async fn until<T>(&self, mut holds: impl FnMut(&mut Desk) -> Option<T>) -> T {
        soon(async {
            loop {
                if let Some(found) = self.desk(&mut holds) {
                    return found;
                }
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

#[tonic::async_trait]
impl MetricsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let token = request.metadata().get("authorization").cloned();
        let answer = self.desk(|desk| {
            desk.tokens = token
                .iter()
                .map(|token| token.to_str().unwrap().to_owned())
                .collect();
            let answer = desk.for_metrics.pop_front();
            if !matches!(answer, Some(Answer::Refuse(_) | Answer::Hang)) {
                desk.metrics.push((Instant::now(), request.into_inner()));
            }
            answer
        });
        let mut response = ExportMetricsServiceResponse::default();
        match answer {
            Some(Answer::Refuse(status)) => return Err(status),
            Some(Answer::Hang) => sleep(Duration::from_mins(10)).await,
            Some(Answer::Partly(rejected_data_points)) => {
                response.partial_success = Some(ExportMetricsPartialSuccess {
                    rejected_data_points,
                    error_message: "too many labels".to_owned(),
                });
            }
            None => {}
        }
        Ok(Response::new(response))
    }
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let answer = self.desk(|desk| {
            desk.record_calls.push(Instant::now());
            let answer = desk.for_records.pop_front();
            if answer.is_none() {
                let all = request.into_inner().resource_logs.into_iter();
                let scopes = all.flat_map(|resource| resource.scope_logs);
                desk.records
                    .extend(scopes.flat_map(|scope| scope.log_records));
            }
            answer
        });
        match answer {
            Some(Answer::Refuse(status)) => return Err(status),
            Some(Answer::Hang) => sleep(Duration::from_mins(10)).await,
            _ => {}
        }
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

/// A receiver that serves, until it is ended.
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    stop: oneshot::Sender<()>,
    pub(super) task: JoinHandle<()>,
}

impl Serving {
    pub(super) async fn at(address: SocketAddr, receiver: &Receiver) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = Server::builder()
            .add_service(MetricsServiceServer::new(receiver.clone()))
            .add_service(LogsServiceServer::new(receiver.clone()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
                drop(stopped.await);
            });
        let task = tokio::spawn(async move { server.await.unwrap() });
        Self {
            address,
            stop,
            task,
        }
    }

    pub(super) async fn start(receiver: &Receiver) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), receiver).await
    }

    pub(super) async fn end(self) {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap();
    }
}

pub(super) fn text(attribute: &KeyValue) -> &str {
    match attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    }
}

pub(super) fn body(record: &LogRecord) -> String {
    match record.body.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// Each point by its name and labels, as Prometheus writes them.
pub(super) fn points(request: &ExportMetricsServiceRequest) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let scopes = request
        .resource_metrics
        .iter()
        .flat_map(|one| &one.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        let points = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => &sum.data_points,
            other => panic!("{other:?}"),
        };
        for point in points {
            let labels: Vec<_> = point
                .attributes
                .iter()
                .map(|one| format!("{}=\"{}\"", one.key, text(one)))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let value = match point.value.unwrap() {
                number_data_point::Value::AsInt(int) => int.to_string(),
                number_data_point::Value::AsDouble(double) => format!("{double:.6}"),
            };
            let twice = found.insert(format!("{}{labels}", metric.name), value);
            assert_eq!(twice, None, "{}", metric.name);
        }
    }
    found
}
