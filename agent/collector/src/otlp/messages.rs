//! What is said: the table of metrics, and changes, as OTLP has them.
//!
//! Metrics keep the names that they have for Prometheus, units and `_total` in them, as OpenTelemetry's rules for
//! Prometheus want it; a receiver that writes for Prometheus again adds no second suffix. A counter is a cumulative sum since the start of the collector.

use evidence::{Change, Phase};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    metrics::v1::{
        AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        metric::Data, number_data_point,
    },
    resource::v1::Resource,
};

use super::queue::Entry;
use crate::metrics::{Family, Kind, Number, Sample, Table};

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Who speaks, and since when.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    pub(super) attributes: Vec<(String, String)>,
    /// The wall clock's milliseconds at the start of the collector.
    pub(super) started_ms: i64,
}

impl Speaker {
    /// `host` and `port` tell the collectors of a mesh apart; what the operator says goes before it.
    pub(super) fn new(host: &str, port: u16, said: &[(String, String)], started_ms: i64) -> Self {
        let own = [
            ("service.name", NAME.to_owned()),
            ("service.version", VERSION.to_owned()),
            ("service.instance.id", format!("{host}:{port}")),
            ("host.name", host.to_owned()),
        ];
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let is_new = |(key, _): &(String, String)| said.iter().all(|(other, _)| other != key);
        let mut attributes: Vec<_> = own.filter(is_new).collect();
        attributes.extend(said.iter().cloned());
        Self {
            attributes,
            started_ms,
        }
    }

    /// All metrics, as they are at the wall clock's `now_ms`; how many points these are.
    pub(super) fn metrics(
        &self,
        table: Table,
        now_ms: i64,
    ) -> (ExportMetricsServiceRequest, usize) {
        let points = table.0.iter().map(|family| family.samples.len()).sum();
        let metrics = table
            .0
            .into_iter()
            .filter(|family| !family.samples.is_empty());
        let metrics = metrics.map(|family| self.metric(family, now_ms)).collect();
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope()),
                    metrics,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        };
        (request, points)
    }

    /// Changes, oldest first.
    pub(super) fn records(&self, changes: &[Entry], now_ms: i64) -> ExportLogsServiceRequest {
        let records = changes.iter().filter_map(|entry| record(entry, now_ms));
        ExportLogsServiceRequest {
            resource_logs: vec![ResourceLogs {
                resource: Some(self.resource()),
                scope_logs: vec![ScopeLogs {
                    scope: Some(scope()),
                    log_records: records.collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        }
    }

    fn resource(&self) -> Resource {
        let attributes = self.attributes.iter();
        Resource {
            attributes: attributes
                .map(|(key, value)| attribute(key, value))
                .collect(),
            ..Resource::default()
        }
    }

    fn metric(&self, family: Family, now_ms: i64) -> Metric {
        let Family {
            name,
            kind,
            about,
            samples,
        } = family;
        let in_seconds = samples
            .iter()
            .any(|sample| matches!(sample.number, Number::Micros(_)));
        let data_points = samples
            .iter()
            .map(|sample| self.point(sample, kind, now_ms))
            .collect();
        Metric {
            name,
            description: about.to_owned(),
            unit: if in_seconds { "s" } else { "" }.to_owned(),
            metadata: Vec::new(),
            data: Some(match kind {
                Kind::Gauge => Data::Gauge(Gauge { data_points }),
                Kind::Counter => Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: AggregationTemporality::Cumulative.into(),
                    is_monotonic: true,
                }),
            }),
        }
    }

    fn point(&self, sample: &Sample, kind: Kind, now_ms: i64) -> NumberDataPoint {
        let labels = sample.labels.iter();
        NumberDataPoint {
            attributes: labels.map(|(key, value)| attribute(key, value)).collect(),
            start_time_unix_nano: match kind {
                Kind::Counter => nanos(self.started_ms),
                Kind::Gauge => 0,
            },
            time_unix_nano: nanos(now_ms),
            value: Some(match sample.number {
                Number::Count(count) => {
                    number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX))
                }
                Number::Micros(micros) => number_data_point::Value::AsDouble(seconds(micros)),
            }),
            ..NumberDataPoint::default()
        }
    }
}

/// None for a pair, which no record tells.
fn record(entry: &Entry, now_ms: i64) -> Option<LogRecord> {
    let (event, severity, body, attributes) = match &entry.change {
        Change::Gate {
            level,
            ready,
            may_start,
            reason,
        } => {
            let mut attributes = vec![
                attribute("mesh.level", level),
                attribute("mesh.ready", ready.1.as_str()),
                attribute("mesh.ready.before", ready.0.as_str()),
                attribute("mesh.may_start", may_start.1.as_str()),
                attribute("mesh.may_start.before", may_start.0.as_str()),
            ];
            let mut body = format!(
                "level {level}: {}, {}",
                arrow("ready", *ready),
                arrow("may start", *may_start)
            );
            if let Some(reason) = reason {
                attributes.push(attribute("mesh.reason", reason));
                body.push_str(": ");
                body.push_str(reason);
            }
            let severity = match ready {
                (Phase::Ready, Phase::NotReady | Phase::Unknown) => SeverityNumber::Warn,
                _ => SeverityNumber::Info,
            };
            ("mesh.gate.changed", severity, body, attributes)
        }
        Change::Opened {
            code,
            subject,
            summary,
        } => (
            "mesh.finding.opened",
            SeverityNumber::Warn,
            format!("{code}: {summary}"),
            vec![
                attribute("mesh.finding.code", code),
                attribute("mesh.finding.subject", subject),
            ],
        ),
        Change::Closed { code, subject } => (
            "mesh.finding.closed",
            SeverityNumber::Info,
            format!("{code} is over: {subject}"),
            vec![
                attribute("mesh.finding.code", code),
                attribute("mesh.finding.subject", subject),
            ],
        ),
        Change::Pair { .. } => return None,
    };
    Some(LogRecord {
        time_unix_nano: nanos(entry.wall_ms),
        observed_time_unix_nano: nanos(now_ms),
        severity_number: severity.into(),
        severity_text: match severity {
            SeverityNumber::Warn => "WARN",
            _ => "INFO",
        }
        .to_owned(),
        body: Some(text(&body)),
        attributes,
        event_name: event.to_owned(),
        ..LogRecord::default()
    })
}

fn arrow(what: &str, (before, now): (Phase, Phase)) -> String {
    if before == now {
        return format!("{what} {}", now.as_str());
    }
    format!("{what} {} -> {}", before.as_str(), now.as_str())
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(text(value)),
        ..KeyValue::default()
    }
}

fn text(text: &str) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text.to_owned())),
    }
}

/// Exact up to four billion seconds.
fn seconds(micros: u64) -> f64 {
    let whole = u32::try_from(micros / 1_000_000).unwrap_or(u32::MAX);
    let rest = u32::try_from(micros % 1_000_000).unwrap_or(0);
    f64::from(whole) + f64::from(rest) / 1e6
}

/// 0, which OTLP reads as unknown, for a clock that is before 1970.
fn nanos(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0).saturating_mul(1_000_000)
}
