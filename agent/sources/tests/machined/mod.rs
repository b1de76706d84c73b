//! A server that plays machined for the tests, and misbehaves as it is told.

use std::{
    net::Shutdown,
    os::unix::net::UnixStream as StdStream,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use hyper_util::rt::TokioIo;
use prost::Message as _;
use sources::talos::Kind;
use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::UnixListenerStream};
use tonic::{
    Request, Response, Status,
    metadata::MetadataMap,
    transport::{Channel, Endpoint, Server, Uri},
};
use tower::service_fn;
use upstream::cosi::{
    Event, EventType, GetRequest, GetResponse, ListRequest, ListResponse, Metadata, Resource, Spec,
    WatchRequest, WatchResponse,
    state_server::{State, StateServer},
};

/// What it has, and how it behaves.
pub(crate) struct Machined {
    resources: Vec<Resource>,
    /// What a watch tells after all that there is.
    pub(crate) then: Vec<WatchResponse>,
    /// How many questions are refused first.
    pub(crate) refusals: usize,
    /// Whether it never answers.
    pub(crate) hangs: bool,
}

/// A server that runs until it is dropped.
pub(crate) struct Served {
    pub(crate) socket: PathBuf,
    _folder: TempDir,
    task: JoinHandle<()>,
    connections: Connections,
}

/// A second handle on each connection, by which it can be ended.
type Connections = Arc<Mutex<Vec<StdStream>>>;

/// A resource as machined sends it.
pub(crate) fn resource<R: Kind>(id: &str, body: &R::Body) -> Resource {
    Resource {
        metadata: Some(Metadata {
            namespace: R::NAMESPACE.to_owned(),
            r#type: R::TYPE.to_owned(),
            id: id.to_owned(),
            version: "1".to_owned(),
            phase: "running".to_owned(),
            ..Metadata::default()
        }),
        spec: Some(Spec {
            proto_spec: body.encode_to_vec(),
            yaml_spec: "label: vps-1\n".to_owned(),
        }),
    }
}

impl Machined {
    pub(crate) fn with(resources: impl IntoIterator<Item = Resource>) -> Self {
        Self {
            resources: resources.into_iter().collect(),
            then: Vec::new(),
            refusals: 0,
            hangs: false,
        }
    }

    pub(crate) fn serve(self) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("machine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let connections = Connections::default();
        let refusals = AtomicUsize::new(self.refusals);
        let service = StateServer::new(Service {
            machined: Arc::new(self),
            refusals,
        });
        let server = Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming(listener, Arc::clone(&connections)));
        let task = tokio::spawn(async move { drop(server.await) });
        Served {
            socket,
            _folder: folder,
            task,
            connections,
        }
    }
}

impl Served {
    /// A channel that says nothing of who asks.
    pub(crate) async fn channel(&self) -> Channel {
        let socket = self.socket.clone();
        let connector = service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://machined")
            .connect_with_connector(connector)
            .await
            .unwrap()
    }

    /// Ends the server and its connections.
    pub(crate) async fn die(self) {
        self.task.abort();
        drop(self.task.await);
        for connection in self.connections.lock().unwrap().iter() {
            connection.shutdown(Shutdown::Both).unwrap();
        }
    }
}

fn incoming(
    listener: UnixListener,
    connections: Connections,
) -> impl Stream<Item = std::io::Result<UnixStream>> {
    UnixListenerStream::new(listener).map(move |accepted| {
        let stream = accepted?.into_std()?;
        connections.lock().unwrap().push(stream.try_clone()?);
        UnixStream::from_std(stream)
    })
}

struct Service {
    machined: Arc<Machined>,
    refusals: AtomicUsize,
}

impl Service {
    async fn admit(&self, metadata: &MetadataMap, kind: &str) -> Result<Vec<Resource>, Status> {
        if self.machined.hangs {
            std::future::pending::<()>().await;
        }
        // The real one lets an administrator ask for anything. This one refuses more than is needed.
        let needed = match kind {
            "DiscoveryConfigs.cluster.talos.dev" => "os:admin",
            _ => "os:reader",
        };
        if metadata.get_all("talos-role").iter().ne([needed]) {
            return Err(Status::permission_denied("not authorized"));
        }
        let left = |count: usize| count.checked_sub(1);
        let refused = self
            .refusals
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        if refused.is_ok() || kind.starts_with("RoutingRule") {
            return Err(Status::permission_denied("no access is permitted"));
        }
        let of_kind = |resource: &&Resource| {
            let metadata = resource.metadata.as_ref();
            metadata.is_some_and(|metadata| metadata.r#type == kind)
        };
        let resources = self.machined.resources.iter();
        Ok(resources.filter(of_kind).cloned().collect())
    }
}

type Messages<T> = std::pin::Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl State for Service {
    type ListStream = Messages<ListResponse>;
    type WatchStream = Messages<WatchResponse>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let asked = request.get_ref();
        let all = self.admit(request.metadata(), &asked.r#type).await?;
        let named = |resource: &Resource| {
            let metadata = resource.metadata.as_ref();
            metadata.is_some_and(|metadata| metadata.id == asked.id)
        };
        let resource = all.into_iter().find(named);
        let resource = resource.ok_or_else(|| Status::not_found("resource doesn't exist"))?;
        Ok(Response::new(GetResponse {
            resource: Some(resource),
        }))
    }

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let all = self
            .admit(request.metadata(), &request.get_ref().r#type)
            .await?;
        let messages = all.into_iter().map(|resource| {
            Ok(ListResponse {
                resource: Some(resource),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let asked = request.get_ref();
        assert_eq!(
            asked.api_version, 1,
            "or the end of the beginning is not told"
        );
        let all = self.admit(request.metadata(), &asked.r#type).await?;
        let event = |kind: EventType, resource| WatchResponse {
            event: vec![Event {
                resource,
                event_type: kind.into(),
                ..Event::default()
            }],
        };
        let mut messages = vec![WatchResponse::default()];
        let created = |resource| event(EventType::Created, Some(resource));
        messages.extend(all.into_iter().map(created));
        messages.push(event(EventType::Bootstrapped, None));
        messages.extend(self.machined.then.iter().cloned());
        let told = tokio_stream::iter(messages.into_iter().map(Ok));
        let rest = told.chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(rest)))
    }
}
