//! The two calls that are made, and how their failures are told apart.

use std::{net::IpAddr, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evidence::discovery::{FailureKind, StageFailure};
use tonic::{Code, Request, Status, transport::Channel};
use upstream::discovery::{Affiliate, HelloRequest, ListRequest, cluster_client::ClusterClient};

use super::{Endpoint, open, stages::failure, text::tame};

/// How long a call may take: the deadline of Talos' own client, which the service is told and delays us by.
pub(super) const WITHIN: Duration = Duration::from_secs(10);
/// Longest answer: 1024 affiliates (the service's limit), each with an id of 256 bytes, 2048 of data and 64 endpoints of 34.
const MAX_ANSWER: usize = 1024 * (256 + 2048 + 64 * 34 + 32);
/// What our software is called in the service's own counters.
const CLIENT: &str = concat!("mesh-agent/", env!("CARGO_PKG_VERSION"));

/// What the service says to anybody.
#[derive(Debug)]
pub(super) struct Greeting {
    /// Where it sees us.
    pub(super) public: Option<IpAddr>,
    /// Where it sends us.
    pub(super) redirect: Option<String>,
}

/// `Hello` for a cluster that does not exist, so that nothing of the real one is touched or told.
pub(super) async fn hello(channel: Channel) -> Result<Greeting, StageFailure> {
    let request = HelloRequest {
        cluster_id: STANDARD.encode(rand::random::<[u8; 32]>()),
        client_version: CLIENT.to_owned(),
    };
    let mut client = ClusterClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let answer = client.hello(timed(request)).await;
    let answer = answer.map_err(|status| refused(&status))?.into_inner();
    let redirect = answer.redirect.map(|redirect| redirect.endpoint);
    Ok(Greeting {
        public: open::address(&answer.client_ip),
        redirect: redirect.map(|endpoint| match endpoint.parse::<Endpoint>() {
            Ok(endpoint) => endpoint.authority(),
            Err(_) => tame(&endpoint),
        }),
    })
}

/// `List` of the real cluster.
pub(super) async fn list(
    channel: Channel,
    cluster_id: &str,
) -> Result<Vec<Affiliate>, StageFailure> {
    let request = ListRequest {
        cluster_id: cluster_id.to_owned(),
    };
    let mut client = ClusterClient::new(channel).max_decoding_message_size(MAX_ANSWER);
    let answer = client.list(timed(request)).await;
    let answer = answer.map_err(|status| refused(&status))?;
    Ok(answer.into_inner().affiliates)
}

fn timed<T>(request: T) -> Request<T> {
    let mut request = Request::new(request);
    request.set_timeout(WITHIN);
    request
}

fn refused(status: &Status) -> StageFailure {
    let broken = std::error::Error::source(status).is_some();
    let kind = match status.code() {
        Code::ResourceExhausted => FailureKind::RateLimited,
        Code::DeadlineExceeded | Code::Cancelled => FailureKind::Silent,
        Code::OutOfRange | Code::Internal => FailureKind::Garbage,
        Code::Unavailable | Code::Unknown if broken => FailureKind::Reset,
        _ => FailureKind::Status,
    };
    failure(kind, &format!("{}: {}", status.code(), status.message()))
}
