//! grpc.health.v1: one service per level, so that `grpc_health_probe -service=mesh` and the probes of Kubernetes need to know
//! nothing of us. SERVING means ready, and nothing else does.
//!
//! The service is our own, over the messages of `tonic-health`: its own service must be told each change, so it would answer
//! from another moment than the other surfaces, and it refuses to watch a service that it does not know, which the
//! protocol answers with `SERVICE_UNKNOWN`.

use evidence::{Phase, document::Question};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_server::Health,
};

use diagnosis::{graph::Graph, levels::Check};

use crate::{
    answer::{Answers, answer},
    verdicts::Judged,
};

/// Before the name of a level: whether it may start, instead of whether it is ready.
const MAY_START: &str = "may-start/";
/// Longest name of a service that is looked up.
const NAME: usize = 128;

#[derive(Clone, Debug)]
pub(crate) struct Healths {
    pub(crate) answers: Answers,
    pub(crate) graph: Graph,
}

#[tonic::async_trait]
impl Health for Healths {
    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let HealthCheckRequest { service } = request.into_inner();
        let judged = self.answers.verdicts.current()?;
        match status(&self.graph, &judged, &service) {
            ServingStatus::ServiceUnknown => Err(unknown(&service)),
            status => Ok(Response::new(response(status))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let HealthCheckRequest { mut service } = request.into_inner();
        if service.len() > NAME {
            // No level has such a name, whatever comes: it need not be kept.
            MAY_START.clone_into(&mut service);
        }
        let graph = self.graph.clone();
        let mut last = None;
        let statuses = self.answers.verdicts.clone().watch(move |judged| {
            let status = status(&graph, judged, &service);
            if last == Some(status) {
                return Ok(None);
            }
            last = Some(status);
            Ok(Some(response(status)))
        });
        Ok(Response::new(statuses))
    }
}

/// "" is the mesh as a whole: every level that has a check is ready.
fn status(graph: &Graph, judged: &Judged, service: &str) -> ServingStatus {
    let (level, question) = match service.strip_prefix(MAY_START) {
        Some(level) => (level, Question::MayStart),
        None => (service, Question::Ready),
    };
    if service.is_empty() {
        let measured = graph
            .levels()
            .iter()
            .filter(|level| level.check != Check::None);
        let ready = measured.map(|level| {
            let gate = judged.verdict.gate(&level.name);
            gate.is_some_and(|gate| gate.phase == Phase::Ready)
        });
        let ready: Vec<bool> = ready.collect();
        // Where nothing is measured, nothing is known to be ready.
        return serving(!ready.is_empty() && !ready.contains(&false));
    }
    answer(judged, level, question).map_or(ServingStatus::ServiceUnknown, |gate| {
        serving(question.answer(&gate) == Phase::Ready)
    })
}

const fn serving(ready: bool) -> ServingStatus {
    if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

fn unknown(service: &str) -> Status {
    let echoed: String = service.chars().take(NAME).collect();
    Status::not_found(format!("no level {echoed:?}"))
}
