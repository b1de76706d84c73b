//! What is asked for, said and understood, without a receiver.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use evidence::{Change, Moment, NodeName, NodeRef, Phase, Rung, Transition};
use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{Metric, metric::Data, number_data_point},
};
use prost::Message as _;
use proto::limits::MESSAGE_BYTES;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{
    answers::Outcome,
    messages::Speaker,
    pace::Pace,
    queue::{BATCH, Queue, WAITING},
    settings::{Otlp, SettingsError},
};
use crate::{
    counters::Counters,
    metrics::{PAIR_SERIES, table, tests::collapsed},
};

const SECRET: &str = "Bearer c2VjcmV0";

/// What is made of an endpoint and of variables.
fn asked(
    endpoint: Option<&str>,
    variables: &[(&str, &str)],
) -> Result<Option<Otlp>, SettingsError> {
    Otlp::asked(endpoint, false, None, |name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn speaker() -> Speaker {
    Speaker::new("host", 21820, &[], 1_000)
}

fn text(attribute: &KeyValue) -> String {
    match attribute.value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_an_endpoint_nothing_is_exported() {
    assert!(asked(None, &[]).unwrap().is_none());
    assert!(asked(Some(""), &[]).unwrap().is_none());
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
    assert!(asked(None, &[endpoint]).unwrap().is_some());
    let off = ("OTEL_SDK_DISABLED", "true");
    assert!(asked(None, &[endpoint, off]).unwrap().is_none());
    assert!(asked(Some(endpoint.1), &[off]).unwrap().is_some());
}

#[test]
fn an_endpoint_is_a_scheme_a_host_and_a_port() {
    for (given, meant) in [
        ("http://127.0.0.1:4317", "http://127.0.0.1:4317"),
        ("http://localhost", "http://localhost:4317"),
        ("http://[::1]/", "http://[::1]:4317"),
        ("http://[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1"),
        ("https://otel.example:443", "https://otel.example:443"),
    ] {
        let otlp = asked(Some(given), &[]).unwrap().unwrap();
        assert_eq!(otlp.endpoint(), meant);
    }
    for wrong in [
        "127.0.0.1:4317",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:",
        "http://127.0.0.1/v1/metrics",
        "http://127.0.0.1?a=b",
        "https://user:pass@otel.example",
    ] {
        let error = asked(Some(wrong), &[]).unwrap_err();
        assert!(matches!(error, SettingsError::Endpoint(_)), "{wrong}");
        assert!(!error.to_string().contains("pass@"), "{error}");
    }
}

#[test]
fn plain_text_beyond_loopback_takes_a_word() {
    for endpoint in [
        "http://otel.example",
        "http://192.0.2.1:4317",
        "http://localhost.example",
    ] {
        let error = asked(Some(endpoint), &[]).unwrap_err();
        assert!(error.to_string().contains("--otlp-insecure"), "{error}");
        let word = [("OTEL_EXPORTER_OTLP_INSECURE", "true")];
        assert!(asked(Some(endpoint), &word).unwrap().is_some());
        let said = Otlp::asked(Some(endpoint), true, None, |_| None);
        assert!(said.unwrap().is_some());
    }
}

#[test]
fn a_setting_that_cannot_be_is_named_and_its_secret_is_not() {
    let at = Some("http://127.0.0.1:4317");
    for (variable, value, told) in [
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=b,c2VjcmV0",
            "HEADERS: item 2: no =",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a b=c2VjcmV0",
            "item 1: a key",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "grpc-a=c2VjcmV0",
            "item 1: a key",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a-bin=c2VjcmV0",
            "item 1: a key",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=c2VjcmV0%0A", "control"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=c2VjcmV0%FF", "UTF-8"),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "http/protobuf",
            "expected grpc",
        ),
        (
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "1",
            "expected 100ms to 2m, got \"1\"",
        ),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "expected 1s to 1h"),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x", "item 1: no key"),
    ] {
        let error = asked(at, &[(variable, value)]).unwrap_err().to_string();
        assert!(error.contains(told), "{variable}: {error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }
    let many: Vec<String> = (0..40).map(|n| format!("h{n}=x")).collect();
    let many = asked(at, &[("OTEL_EXPORTER_OTLP_HEADERS", &many.join(","))]);
    assert!(matches!(many, Err(SettingsError::Many(_, 32))), "{many:?}");
}

#[test]
fn the_value_of_a_header_is_shown_nowhere() {
    let given = [(
        "OTEL_EXPORTER_OTLP_HEADERS",
        "Authorization=Bearer%20c2VjcmV0, x-scope = a ",
    )];
    let otlp = asked(Some("http://localhost"), &given).unwrap().unwrap();
    let sent: Vec<_> = otlp
        .headers
        .0
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    assert_eq!(sent[0].0, "authorization");
    assert_eq!(sent[0].1.to_str().unwrap(), SECRET);
    assert_eq!(sent[1].1.to_str().unwrap(), "a");
    let shown = format!("{otlp:?}");
    assert!(shown.contains("authorization"), "{shown}");
    assert!(!shown.contains("c2VjcmV0"), "{shown}");
    let echoed = otlp
        .headers
        .conceal("no such token: Bearer c2VjcmV0, c2VjcmV0!");
    assert_eq!(echoed, "no such token: ***, ***!");
}

#[test]
fn the_operator_says_who_a_collector_is() {
    let given = [
        ("OTEL_SERVICE_NAME", "mesh-home"),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "service.name=other,k8s.cluster.name=home%2C1",
        ),
    ];
    let otlp = asked(Some("http://localhost"), &given).unwrap().unwrap();
    let speaker = Speaker::new("cp-1", 21820, &otlp.attributes, 0);
    let attributes: BTreeMap<_, _> = speaker.attributes.into_iter().collect();
    assert_eq!(attributes["service.name"], "mesh-home");
    assert_eq!(attributes["k8s.cluster.name"], "home,1");
    assert_eq!(attributes["service.instance.id"], "cp-1:21820");
    assert_eq!(attributes["host.name"], "cp-1");
}

/// Each point as a line of the text format.
fn lines(metrics: &[Metric]) -> Vec<String> {
    let mut lines = Vec::new();
    for metric in metrics {
        let points = match metric.data.as_ref().unwrap() {
            Data::Gauge(gauge) => &gauge.data_points,
            Data::Sum(sum) => &sum.data_points,
            other => panic!("{other:?}"),
        };
        for point in points {
            let labels: Vec<_> = point
                .attributes
                .iter()
                .map(|one| format!("{}={:?}", one.key, text(one)))
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
            lines.push(format!("{}{labels} {value}", metric.name));
        }
    }
    lines
}

#[test]
fn what_is_pushed_is_what_prometheus_reads() {
    let mut judged = collapsed(20);
    judged.verdict.pairs[0].rtt_us = Some(1_234_567);
    let counters = Counters::default();
    counters.messages.add_all(7);
    let make = || table(Some(&judged), &counters, Some(PAIR_SERIES));
    let text = make().text();
    let text: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let (request, points) = speaker().metrics(make(), 2_000);
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    assert_eq!(lines(metrics), text);
    assert_eq!(points, text.len());
    assert!(
        text.contains(&"mesh_rtt_worst_seconds 1.234567"),
        "{text:?}"
    );
    assert!(
        text.contains(&"mesh_collector_messages_total 7"),
        "{text:?}"
    );
}

#[test]
fn a_counter_is_a_sum_since_the_start_and_times_have_their_unit() {
    let (request, _) = speaker().metrics(table(None, &Counters::default(), None), 2_000);
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    for metric in metrics {
        let is_counter = metric.name.ends_with("_total");
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                assert!(is_counter && sum.is_monotonic, "{metric:?}");
                assert_eq!(sum.aggregation_temporality, 2, "{metric:?}");
                assert_eq!(sum.data_points[0].start_time_unix_nano, 1_000_000_000);
                assert_eq!(sum.data_points[0].time_unix_nano, 2_000_000_000);
            }
            _ => assert!(!is_counter, "{metric:?}"),
        }
    }
    let judged = collapsed(2);
    let (request, _) = speaker().metrics(table(Some(&judged), &Counters::default(), None), 0);
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    for metric in metrics {
        let in_seconds = metric.name.ends_with("_seconds");
        assert_eq!(metric.unit, if in_seconds { "s" } else { "" }, "{metric:?}");
    }
}

/// Receivers take messages of four megabytes, too.
#[test]
fn the_metrics_of_the_largest_mesh_fit_into_one_message() {
    let long = |n| format!("node-{n:0>58}");
    let mut judged = collapsed(32);
    let node = judged.verdict.nodes[0].clone();
    judged.verdict.nodes = (0..1024)
        .map(|n| evidence::NodeState {
            node: NodeRef::named(&NodeName::parse(&long(n)).unwrap()),
            ..node.clone()
        })
        .collect();
    let (request, points) = speaker().metrics(
        table(Some(&judged), &Counters::default(), Some(PAIR_SERIES)),
        i64::MAX / 1_000_000,
    );
    assert!(points > 3 * 1024, "{points}");
    let bytes = request.encoded_len();
    assert!(bytes < MESSAGE_BYTES / 4, "{bytes}");
}

fn closed(number: usize) -> Transition {
    Transition {
        at: Moment::ZERO,
        change: Change::Closed {
            code: number.to_string(),
            subject: "cluster".to_owned(),
        },
        earlier: None,
    }
}

#[test]
fn the_newest_changes_are_kept_and_the_others_are_counted() {
    let counters = Arc::new(Counters::default());
    let queue = Queue::new(Arc::clone(&counters));
    let pair = Transition {
        change: Change::Pair {
            from: NodeRef::named(&NodeName::parse("a").unwrap()),
            to: NodeRef::named(&NodeName::parse("b").unwrap()),
            good: true,
            rung: Rung::Underlay,
        },
        ..closed(0)
    };
    queue.changed(&[pair]);
    assert!(queue.oldest().is_empty());
    let all: Vec<_> = (0..WAITING + 5).map(closed).collect();
    queue.changed(&all[..3]);
    let batch = queue.oldest();
    assert_eq!(batch.len(), 3);
    queue.changed(&all[3..]);
    assert_eq!(counters.otlp_records_dropped.get(), 5);
    // What was dropped while it was on its way is not taken for another one.
    queue.done(&batch);
    let oldest = queue.oldest();
    assert_eq!(oldest.len(), BATCH);
    assert_eq!(oldest[0].change, all[5].change);
    let mut sent = 0;
    while let batch @ [_, ..] = queue.oldest().as_slice() {
        sent += batch.len();
        queue.done(batch);
    }
    assert_eq!(sent, WAITING);
}

#[test]
fn a_change_is_a_record_with_a_name_of_its_kind() {
    let queue = Queue::new(Arc::default());
    let shut = Change::Gate {
        level: "mesh".to_owned(),
        ready: (Phase::Ready, Phase::NotReady),
        may_start: (Phase::Ready, Phase::Ready),
        reason: Some("1 of 2 nodes".to_owned()),
    };
    let opened = Change::Opened {
        code: "agent-missing".to_owned(),
        subject: "vps-1".to_owned(),
        summary: "silent for 5 s".to_owned(),
    };
    let of = |change| Transition {
        change,
        ..closed(0)
    };
    queue.changed(&[of(shut), of(opened), closed(3)]);
    let request = speaker().records(&queue.oldest(), 5);
    let records = &request.resource_logs[0].scope_logs[0].log_records;
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let body = record.body.as_ref().and_then(|body| body.value.clone());
            let Some(Value::StringValue(body)) = body else {
                panic!("{record:?}")
            };
            (
                record.event_name.as_str(),
                record.severity_text.as_str(),
                body,
            )
        })
        .collect();
    let want = [
        (
            "mesh.gate.changed",
            "WARN",
            "level mesh: ready ready -> not-ready, may start ready: 1 of 2 nodes",
        ),
        (
            "mesh.finding.opened",
            "WARN",
            "agent-missing: silent for 5 s",
        ),
        ("mesh.finding.closed", "INFO", "3 is over: cluster"),
    ];
    assert_eq!(
        told,
        want.map(|(name, severity, body)| (name, severity, body.to_owned()))
    );
    let attributes: BTreeMap<_, _> = records[0]
        .attributes
        .iter()
        .map(|one| (one.key.as_str(), text(one)))
        .collect();
    assert_eq!(attributes["mesh.ready"], "not-ready");
    assert_eq!(attributes["mesh.ready.before"], "ready");
    assert_eq!(attributes["mesh.reason"], "1 of 2 nodes");
    assert!(records[0].time_unix_nano > 0);
}

#[test]
fn each_answer_means_what_the_specification_says() {
    let of = |status| Outcome::of_records(Err(status));
    for code in (1..=16).map(Code::from_i32) {
        let again = matches!(
            code,
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
        );
        let words = "no".to_owned();
        let want = if again {
            Outcome::Later {
                code,
                after: None,
                words,
            }
        } else {
            Outcome::Refused { code, words }
        };
        assert_eq!(of(Status::new(code, "no")), want);
    }
    let delay = Duration::from_secs(7);
    let details = ErrorDetails::with_retry_info(Some(delay));
    let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
    let want = Outcome::Later {
        code: Code::ResourceExhausted,
        after: Some(delay),
        words: "full".to_owned(),
    };
    assert_eq!(of(status), want);
    for (rejected, counted) in [(3, 3), (0, 0), (-5, 0)] {
        let answer = ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: rejected,
                error_message: "x".repeat(5000),
            }),
        };
        let want = Outcome::Taken {
            rejected: counted,
            words: "x".repeat(256),
        };
        assert_eq!(Outcome::of_records(Ok(answer)), want);
    }
}

#[test]
fn pauses_grow_to_a_bound_and_are_never_shorter_than_asked_for() {
    let mut pace = Pace::default();
    let whole: Vec<_> = (0..8).map(|_| pace.pause(None, 1.0).as_secs()).collect();
    assert_eq!(whole, [1, 2, 4, 8, 16, 30, 30, 30]);
    pace.worked();
    assert_eq!(pace.pause(None, 0.0), Duration::from_millis(500));
    let asked = Duration::from_mins(2);
    assert_eq!(pace.pause(Some(asked), 1.0), asked);
    let forever = Duration::from_hours(1000);
    assert_eq!(pace.pause(Some(forever), 1.0), Duration::from_mins(15));
}
