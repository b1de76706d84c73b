use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use evidence::{Fact, Facts, Identity};
use proto::{
    convert::{Incoming, agent_status_from_wire, incoming},
    limits,
    transport::{DialError, Mark, dial_agent, dial_socket},
    trust::{MeshKey, agent_server_config},
    wire::{AgentStatusRequest, AgentWatchRequest, agent_client::AgentClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Code, transport::Channel};

use super::*;

/// Bound on every wait.
const BOUND: Duration = Duration::from_secs(20);

struct Agent {
    published: watch::Sender<Published>,
    waits: watch::Sender<Option<&'static str>>,
    credentials: watch::Sender<Option<Credentials>>,
    uplinks: Uplinks,
    folder: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn node() -> NodeName {
    NodeName::parse("vps-1").unwrap()
}

fn key(byte: u8) -> MeshKey {
    MeshKey::from_bytes([byte; 32].into())
}

fn facts() -> Facts {
    let identity = Identity {
        name: node(),
        public_key: None,
        kubespan_address: None,
        addresses: Vec::new(),
        boot_id: String::new(),
        instance: 1,
        version: String::new(),
    };
    std::iter::once(Fact::Identity(identity)).collect()
}

/// A port that is free now; who binds it next may be somebody else, and then the test fails by its bound.
async fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

impl Agent {
    fn start(listen: Option<SocketAddr>, health: Option<SocketAddr>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = Some(folder.path().join("own/agent.sock"));
        Self::answering(
            folder,
            AnswersConfig {
                socket,
                listen,
                health,
            },
        )
    }

    fn answering(folder: tempfile::TempDir, config: AnswersConfig) -> Self {
        let (published, facts) = watch::channel(Published::default());
        let (waits, waits_for) = watch::channel(Some("the mesh key"));
        let (credentials, known) = watch::channel(None);
        let uplinks = Uplinks::default();
        let own = Own {
            node: node(),
            started: clock::moment(),
            waits_for,
            facts,
            uplinks: uplinks.clone(),
        };
        let task = tokio::spawn(serve(config, Answers::new(own), known));
        Self {
            published,
            waits,
            credentials,
            uplinks,
            folder,
            task,
        }
    }

    /// As the supervisor does once it has the key.
    fn begin(&self) {
        let tls = agent_server_config(&key(1), &node(), b"mac").unwrap();
        self.credentials.send_replace(Some(Arc::new(tls)));
        self.waits.send_replace(None);
        self.publish();
    }

    fn publish(&self) {
        self.published
            .send_replace(Arc::new((clock::moment(), facts())));
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("own/agent.sock")
    }
}

/// Tries until it is there.
async fn soon<T, E: fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let tried = async {
        loop {
            match attempt().await {
                Ok(done) => return done,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(BOUND, tried).await.expect("within the bound")
}

async fn local(path: &Path) -> AgentClient<Channel> {
    AgentClient::new(soon(async || dial_socket(path).await).await)
}

#[tokio::test]
async fn an_agent_that_has_no_key_yet_says_so_and_shows_nothing() {
    let agent = Agent::start(None, None);
    agent.uplinks.begin("vps-2:21820", clock::moment());
    let kept = agent.uplinks.begin("vps-1:21820", clock::moment());
    let mut client = local(&agent.path()).await;
    let status = client.status(AgentStatusRequest {}).await.unwrap();
    let status = agent_status_from_wire(status.into_inner()).unwrap();
    assert_eq!(status.waits_for.as_deref(), Some("the mesh key"));
    let collectors: Vec<_> = status.uplinks.iter().map(|one| &one.collector).collect();
    assert_eq!(collectors, ["vps-1:21820"]);
    let refused = client.watch(AgentWatchRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("the mesh key"), "{refused}");
    drop(kept);
}

#[tokio::test]
async fn whoever_watches_is_told_what_a_collector_would_be() {
    let agent = Agent::start(None, None);
    agent.begin();
    let mut client = local(&agent.path()).await;
    let mut watched = client
        .watch(AgentWatchRequest {})
        .await
        .unwrap()
        .into_inner();
    let first = watched.message().await.unwrap().unwrap();
    assert_eq!(first.sequence, 1);
    assert_eq!(
        incoming(first.body).map(|taken| taken.said),
        Ok(Incoming::Snapshot(facts()))
    );
    // A sign of life, though nothing has changed.
    let second = timeout(BOUND, watched.message()).await.unwrap();
    let second = second.unwrap().unwrap();
    assert_eq!(second.sequence, 2);
    assert!(
        matches!(incoming(second.body).map(|taken| taken.said), Ok(Incoming::Delta(delta)) if delta.is_empty())
    );
}

#[tokio::test]
async fn no_more_watch_than_the_limit_allows_and_one_that_ends_makes_room() {
    let agent = Agent::start(None, None);
    agent.begin();
    let mut watched = Vec::new();
    let mut client = local(&agent.path()).await;
    for number in 0..limits::AGENT_WATCHES {
        if number % 4 == 0 {
            client = local(&agent.path()).await;
        }
        watched.push(client.watch(AgentWatchRequest {}).await.unwrap());
    }
    let mut late = local(&agent.path()).await;
    let refused = late.watch(AgentWatchRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    watched.pop();
    soon(async || late.watch(AgentWatchRequest {}).await).await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone() {
    let agent = Agent::start(None, None);
    local(&agent.path()).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&agent.path()), 0o600);
    assert_eq!(mode(agent.path().parent().unwrap()), 0o700);
}

#[tokio::test]
async fn the_socket_of_an_agent_that_is_gone_is_replaced_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    drop(UnixListener::bind(&path).unwrap());
    let config = AnswersConfig {
        socket: Some(path.clone()),
        ..AnswersConfig::default()
    };
    let agent = Agent::answering(folder, config);
    let mut client = local(&path).await;
    assert!(client.status(AgentStatusRequest {}).await.is_ok());
    let second = socket::bind(&path).await.err().unwrap();
    assert!(chain(&*second).contains("another agent answers there"));
    agent.task.abort();
    soon(async || if path.exists() { Err(()) } else { Ok(()) }).await;
    fs::write(&path, "a file").unwrap();
    let error = socket::bind(&path).await.err().unwrap();
    assert!(chain(&*error).contains("no socket"), "{}", chain(&*error));
    assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
}

#[tokio::test]
async fn over_the_network_readers_are_told_the_node_of_the_certificate_and_strangers_nothing() {
    let address = free().await;
    let agent = Agent::start(Some(address), None);
    agent.begin();
    let target = address.to_string();
    let tls = Arc::new(key(1).reader_of_agents_config().unwrap());
    let reached = soon(async || dial_agent(&target, Mark::None, Arc::clone(&tls)).await).await;
    assert_eq!(reached.who.node, Some(node()));
    let mut client = AgentClient::new(reached.channel);
    let status = client.status(AgentStatusRequest {}).await.unwrap();
    assert_eq!(status.into_inner().node, "vps-1");
    let tls = Arc::new(key(2).reader_of_agents_config().unwrap());
    let stranger = dial_agent(&target, Mark::None, tls).await.unwrap_err();
    assert!(matches!(stranger, DialError::Tls { .. }), "{stranger:?}");
}

async fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = soon(async || TcpStream::connect(address).await).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = timeout(BOUND, stream.read_to_string(&mut text)).await;
    // Who is refused half-way may meet a reset; what was said before that counts.
    drop(read.expect("an answer or an end within the bound"));
    text
}

fn path(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn health_tells_alive_from_ready_and_nothing_of_the_node() {
    let address = free().await;
    let agent = Agent::start(None, Some(address));
    let said = async |request: String| {
        let text = get(address, &request).await;
        assert!(!text.contains("vps-1"), "{text}");
        text.split(' ').nth(1).map(str::to_owned)
    };
    // An agent that waits for its key lives: a new start would not bring the key.
    assert_eq!(said(path("/livez")).await.as_deref(), Some("200"));
    assert_eq!(said(path("/readyz")).await.as_deref(), Some("503"));
    agent.begin();
    assert_eq!(said(path("/livez")).await.as_deref(), Some("200"));
    assert_eq!(said(path("/readyz")).await.as_deref(), Some("200"));
    assert_eq!(said(path("/")).await.as_deref(), Some("404"));
    let posted = "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned();
    assert_eq!(said(posted).await.as_deref(), Some("405"));
    let long = format!(
        "GET /livez HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    assert_ne!(said(long).await.as_deref(), Some("200"));
}

#[test]
fn an_observer_that_no_longer_goes_round_is_neither_alive_nor_ready() {
    let (published, facts) = watch::channel(Published::default());
    let (_waits, waits_for) = watch::channel(None);
    let own = Own {
        node: node(),
        started: Moment::ZERO,
        waits_for,
        facts,
        uplinks: Uplinks::default(),
    };
    let seen = Moment::from_millis(60_000);
    published.send_replace(Arc::new((seen, self::facts())));
    let later = |seconds| seen.plus(Duration::from_secs(seconds));
    assert!(own.is_alive(seen) && own.is_ready(seen));
    assert!(own.is_alive(later(10)) && !own.is_ready(later(10)));
    assert!(!own.is_alive(later(40)) && !own.is_ready(later(40)));
}
