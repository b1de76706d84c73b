//! The paths. A test compares them with `docs/gates.md`.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::{Path, Query as Fields, State},
    middleware::from_fn_with_state,
    response::{IntoResponse as _, Response},
    routing::get,
};
use diagnosis::{Expectation, cure::Cure};
use evidence::{
    Phase,
    document::{
        FindingItem, FindingsDocument, GateDocument, GatesDocument, Question, VerdictDocument,
    },
};
use http::{StatusCode, header};
use tokio::runtime::Handle;
use tonic_health::pb::health_server::HealthServer;

use super::{
    documents::{error, json, refusal},
    limits, page,
    query::Query,
};
use crate::{
    answer::{Answers, Asked, Waited},
    apart,
    counters::Counters,
    health::Healths,
    judge::Recent,
    metrics,
    pairs::Pairs,
    rates::{self, Rates},
    reflection,
};

/// What `promtool` and every Prometheus takes.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether more is told than whether levels are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    Told,
    Hidden,
}

/// What the paths answer from.
#[derive(Clone, Debug)]
pub(crate) struct Surface {
    pub(crate) answers: Answers,
    pub(crate) expectation: Expectation,
    pub(crate) recent: Recent,
    pub(crate) pairs: Pairs,
    /// Where answers are made that take long.
    pub(crate) documents: Handle,
    pub(crate) rates: Rates,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Clone, Debug)]
struct Shared {
    surface: Surface,
    details: Details,
}

/// The paths of one listener.
pub(crate) fn router(surface: Surface, details: Details) -> Router {
    let health = HealthServer::new(Healths {
        answers: surface.answers.clone(),
        graph: surface.expectation.graph.clone(),
    });
    let rates = &surface.rates;
    let documents = Router::new()
        .route("/", get(page))
        .route("/mesh", get(mesh))
        .route("/findings", get(findings))
        .route("/metrics", get(metrics))
        .route_layer(from_fn_with_state(surface.documents.clone(), apart::path))
        .route_layer(from_fn_with_state(rates.documents.clone(), rates::path));
    let questions = Router::new()
        .route("/gate/{level}", get(ready))
        .route("/gate/{level}/may-start", get(may_start))
        .route("/gates", get(gates))
        .route_service("/grpc.health.v1.Health/{call}", health)
        .route_layer(from_fn_with_state(rates.questions.clone(), rates::path));
    // Who asks whether to restart the collector waits behind nobody.
    let router = Router::new()
        .merge(documents)
        .merge(questions)
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_asked_so);
    reflection::mount(router).with_state(Arc::new(Shared { surface, details }))
}

type Asking = State<Arc<Shared>>;
type AnyFields = Fields<BTreeMap<String, String>>;

async fn page(State(shared): Asking, fields: AnyFields) -> Response {
    shared.surface.counters.http_requests.add();
    page::answer(&shared.surface, shared.details, &fields).await
}

async fn ready(state: Asking, level: Path<String>, fields: AnyFields) -> Response {
    gate(state, level, fields, Question::Ready).await
}

async fn may_start(state: Asking, level: Path<String>, fields: AnyFields) -> Response {
    gate(state, level, fields, Question::MayStart).await
}

async fn gate(
    State(shared): Asking,
    Path(level): Path<String>,
    Fields(fields): AnyFields,
    question: Question,
) -> Response {
    shared.surface.counters.http_requests.add();
    let query = match Query::parse(&fields) {
        Ok(query) => query,
        Err(message) => {
            shared.surface.counters.http_requests_refused.add();
            return error(StatusCode::BAD_REQUEST, &message);
        }
    };
    let asked = Asked {
        level,
        question,
        sit_out: !query.fail_fast,
        stable: query.stable,
    };
    match shared.surface.answers.wait(&asked, query.wait).await {
        Ok(Waited {
            mut gate,
            timed_out,
        }) => {
            if shared.details == Details::Hidden {
                // They name nodes and what is wrong with them.
                gate.reasons.clear();
            }
            let yes = question.answer(&gate) == Phase::Ready && !timed_out;
            let status = if yes {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            // Who asked once, and for no break, has not waited in vain.
            let timed_out = timed_out && !(query.wait.is_zero() && query.stable.is_zero());
            json(status, &GateDocument::new(&gate, question, timed_out))
        }
        Err(status) => refusal(&status),
    }
}

async fn gates(State(shared): Asking) -> Response {
    shared.surface.counters.http_requests.add();
    match shared.surface.answers.verdicts.current() {
        Ok(judged) => {
            let mut gates = judged.verdict.gates.clone();
            if shared.details == Details::Hidden {
                for gate in &mut gates {
                    gate.reasons.clear();
                }
            }
            json(StatusCode::OK, &GatesDocument::new(&gates))
        }
        Err(status) => refusal(&status),
    }
}

async fn mesh(State(shared): Asking) -> Response {
    if let Some(refused) = hidden(&shared) {
        return refused;
    }
    match shared.surface.answers.verdicts.current() {
        Ok(judged) => json(StatusCode::OK, &VerdictDocument::status(&judged.verdict)),
        Err(status) => refusal(&status),
    }
}

async fn findings(State(shared): Asking) -> Response {
    if let Some(refused) = hidden(&shared) {
        return refused;
    }
    match shared.surface.answers.verdicts.current() {
        Ok(judged) => {
            let items = judged.verdict.findings.iter().map(|finding| {
                let (cure, why) = diagnosis::cure::cure(&finding.code);
                FindingItem {
                    finding,
                    terminal: cure == Cure::Change,
                    terminal_reason: why,
                }
            });
            json(StatusCode::OK, &FindingsDocument::new(items.collect()))
        }
        Err(status) => refusal(&status),
    }
}

/// Aggregates are told to everybody who may ask here; nodes by name only with details.
async fn metrics(State(shared): Asking) -> Response {
    shared.surface.counters.http_requests.add();
    let Surface {
        answers, counters, ..
    } = &shared.surface;
    let judged = answers.verdicts.current().ok();
    let most = match shared.details {
        Details::Told => Some(metrics::PAIR_SERIES),
        Details::Hidden => None,
    };
    let text = metrics::table(judged.as_deref(), counters, most).text();
    ([(header::CONTENT_TYPE, METRICS)], text).into_response()
}

/// Whether a restart would help: the judge is alive.
async fn livez(State(shared): Asking) -> Response {
    let alive = shared
        .surface
        .answers
        .verdicts
        .is_judged_within(limits::HUNG);
    yes_or_no(alive, "the judge hangs")
}

/// Whether this collector can answer at all; not whether the mesh is well.
async fn readyz(State(shared): Asking) -> Response {
    let fresh = shared.surface.answers.verdicts.current().is_ok();
    yes_or_no(fresh, "there is no judgement that is young enough")
}

async fn nowhere(State(shared): Asking) -> Response {
    shared.surface.counters.http_requests_refused.add();
    let known = "/, /gate/LEVEL, /gate/LEVEL/may-start, /gates, /mesh, /findings, /metrics, /livez, /readyz";
    error(
        StatusCode::NOT_FOUND,
        &format!("no such path; known paths: {known}"),
    )
}

async fn not_asked_so(State(shared): Asking) -> Response {
    shared.surface.counters.http_requests_refused.add();
    error(StatusCode::METHOD_NOT_ALLOWED, "expected GET or HEAD")
}

fn hidden(shared: &Shared) -> Option<Response> {
    shared.surface.counters.http_requests.add();
    if shared.details == Details::Told {
        return None;
    }
    shared.surface.counters.http_requests_refused.add();
    Some(error(
        StatusCode::FORBIDDEN,
        "details are told to readers only: ask over TLS with a reader's certificate (--https), or by mesh-probe",
    ))
}

fn yes_or_no(yes: bool, otherwise: &str) -> Response {
    if yes {
        return (StatusCode::OK, "ok\n").into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{otherwise}\n")).into_response()
}
