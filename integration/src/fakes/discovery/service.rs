//! What the fake answers.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{net::TcpStream, sync::mpsc, time::sleep};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, transport::server::Connected};
use upstream::discovery::{
    Affiliate, HelloRequest, HelloResponse, ListRequest, ListResponse, RedirectMessage,
    WatchRequest, WatchResponse, cluster_server::Cluster,
};

use super::{Asked, Plan, Published, sealing::Seal};
use crate::fakes::{Mood, MoodFile};

/// How long an entry lives that nobody refreshes.
const TTL: Duration = Duration::from_mins(30);
/// How long the limiter makes a client wait before it refuses.
const LIMITER_WAITS: Duration = Duration::from_millis(500);
/// More than the service holds for one cluster.
const HUGE: usize = 10_000;

pub(super) struct Service {
    cluster_id: String,
    mood: MoodFile,
    asked: Asked,
    begun: Instant,
    members: Vec<Affiliate>,
    stale: Affiliate,
    stranger: Affiliate,
}

impl Service {
    pub(super) fn new(plan: &Plan, mood: MoodFile, asked: Asked) -> anyhow::Result<Self> {
        let seal = Seal::of(&plan.secret.0)?;
        let id = |name: &str| format!("id-of-{name}");
        let members = plan.affiliates.iter();
        let members = members.map(|node| seal.affiliate(&id(&node.name), node));
        let replaced = Published {
            name: "replaced".to_owned(),
            public_key: STANDARD.encode(rand::random::<[u8; 32]>()),
            address: plan
                .affiliates
                .first()
                .map_or_else(|| IpAddr::from([192, 0, 2, 1]), |node| node.address),
            endpoint: None,
        };
        let foreign = Seal::drawn_by_lot();
        Ok(Self {
            cluster_id: plan.cluster_id.clone(),
            mood,
            asked,
            begun: Instant::now(),
            members: members.collect::<Result<_, _>>()?,
            stale: seal.affiliate(&id("replaced"), &replaced)?,
            stranger: foreign.affiliate(&id("stranger"), &replaced)?,
        })
    }

    fn list(&self, cluster_id: &str, mood: &Mood) -> Vec<Affiliate> {
        if cluster_id != self.cluster_id {
            return Vec::new();
        }
        // The nodes refresh theirs; who is gone does not.
        let ahead = mood.value("clock").and_then(|value| value.parse().ok());
        let now = self.begun.elapsed() + Duration::from_secs(ahead.unwrap_or_default());
        let mut list = self.members.clone();
        if mood.has("stale") && now < TTL {
            list.push(self.stale.clone());
        }
        if mood.has("stranger") {
            list.push(self.stranger.clone());
        }
        if mood.has("huge") {
            list = vec![self.babbler(2048); HUGE];
        }
        if mood.has("babble") {
            list.extend((0..64).map(|length| self.babbler(length)));
        }
        list
    }

    fn babbler(&self, length: usize) -> Affiliate {
        let noise = self.stranger.data.iter().cycle().take(length);
        Affiliate {
            id: "\u{1b}[2J".repeat(60),
            data: noise.copied().collect(),
            endpoints: vec![vec![0xff; length % 33]],
        }
    }

    async fn limited(&self, call: &'static str) -> Result<Mood, Status> {
        self.asked.note(call);
        let mood = self.mood.read();
        if mood.has("limit") {
            sleep(LIMITER_WAITS).await;
            let text = "rate limit exceeds request timeout";
            return Err(Status::resource_exhausted(text));
        }
        Ok(mood)
    }
}

type Info = <TlsStream<TcpStream> as Connected>::ConnectInfo;

fn caller<T>(request: &Request<T>) -> Option<SocketAddr> {
    let info = request.extensions().get::<Info>()?;
    info.get_ref().remote_addr()
}

#[tonic::async_trait]
impl Cluster for Service {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloResponse>, Status> {
        let mood = self.limited("Hello").await?;
        let client = caller(&request).map(|from| match from.ip().to_canonical() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        });
        if request.get_ref().cluster_id == self.cluster_id {
            return Err(Status::failed_precondition(
                "a look must not greet with the real cluster",
            ));
        }
        Ok(Response::new(HelloResponse {
            redirect: mood.value("redirect").map(|endpoint| RedirectMessage {
                endpoint: endpoint.to_owned(),
            }),
            client_ip: client.unwrap_or_default(),
        }))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        let mood = self.limited("List").await?;
        let affiliates = self.list(&request.get_ref().cluster_id, &mood);
        Ok(Response::new(ListResponse { affiliates }))
    }

    /// A snapshot, and nothing more.
    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mood = self.limited("Watch").await?;
        let affiliates = self.list(&request.get_ref().cluster_id, &mood);
        let (sender, stream) = mpsc::channel(1);
        let snapshot = WatchResponse {
            affiliates,
            deleted: false,
        };
        drop(sender.send(Ok(snapshot)).await);
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
