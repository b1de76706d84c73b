//! Looks at a discovery service that is well, and at one that misbehaves, over loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evidence::{
    Discovery, Moment, PublicKey,
    discovery::{DiscoveryAddress, FailureKind, Stage},
    limits,
};
use integration::{
    fakes::{
        authority::Authority,
        discovery::{Asked, Plan, Published, serve_on},
        names,
    },
    lab::plan::Secret,
};
use sources::{
    discovery::{Key, Known, Looker, Proxies, Roots, Settings, Surroundings},
    dns::{NameError, Resolver},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
};
use zeroize::Zeroizing;

const SECRET: [u8; 32] = [5; 32];
const CLUSTER: &str = "the-cluster";

/// A fake service, and what is needed to look at it.
struct Fake {
    folder: TempDir,
    address: SocketAddr,
    authority: Arc<Authority>,
    asked: Asked,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Fake {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Plan {
            listen: vec![address],
            host: address.ip().to_string(),
            mood: folder.path().join("mood"),
            authority: folder.path().join("ca.pem"),
            cluster_id: CLUSTER.to_owned(),
            secret: Secret(STANDARD.encode(SECRET)),
            affiliates: (1..=3).map(published).collect(),
        };
        let authority = Arc::new(Authority::new("Lab CA").unwrap());
        let asked = Asked::default();
        let (signs, calls) = (Arc::clone(&authority), asked.clone());
        let serving = async move { serve_on(vec![listener], &plan, &signs, calls).await };
        Self {
            folder,
            address,
            authority,
            asked,
            task: tokio::spawn(serving),
        }
    }

    fn mood(&self, words: &str) {
        fs::write(self.folder.path().join("mood"), words).unwrap();
    }

    fn looker(&self, clock: fn() -> Moment) -> Looker {
        let endpoint = format!("https://{}/", self.address);
        Looker::new(Settings {
            endpoints: vec![endpoint.parse().unwrap()],
            cluster_id: Some(CLUSTER.parse().unwrap()),
            proxies: Proxies::new("", ""),
            roots: Some(Roots::of(vec![self.authority.der()])),
            clock,
        })
    }

    async fn look(&self) -> Discovery {
        let mut looker = self.looker(|| Moment::from_millis(1));
        looker.look(&surroundings(SECRET)).await
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn public(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn published(number: u8) -> Published {
    let address = IpAddr::from([10, 0, 0, number]);
    Published {
        name: format!("node-{number}"),
        public_key: public(number).to_string(),
        address,
        endpoint: Some(SocketAddr::new(address, 51_820)),
    }
}

fn surroundings(secret: [u8; 32]) -> Surroundings {
    Surroundings {
        key: Key::new(&Zeroizing::new(secret)).map(Arc::new),
        known: Known {
            own: Some(public(1)),
            peers: Some([public(2)].into()),
        },
    }
}

fn address(seen: &Discovery) -> &DiscoveryAddress {
    &seen.endpoints[0].addresses[0]
}

fn failure(seen: &Discovery) -> (Stage, FailureKind) {
    let failure = address(seen).failure();
    let (stage, failure) = failure.unwrap_or_else(|| panic!("{seen:?}"));
    (stage.stage, failure.kind)
}

#[tokio::test]
async fn a_service_that_is_well_is_seen_whole() {
    let fake = Fake::start().await;
    let seen = fake.look().await;
    let stages: Vec<Stage> = address(&seen)
        .stages
        .iter()
        .map(|done| done.stage)
        .collect();
    assert_eq!(stages, [Stage::Tcp, Stage::Tls, Stage::Http2]);
    assert_eq!(address(&seen).failure(), None, "{seen:?}");
    let certificate = address(&seen).certificate.as_ref().unwrap();
    assert_eq!(certificate.issuer, "CN=Lab CA");
    assert_eq!(certificate.names, ["127.0.0.1"]);
    assert_eq!(certificate.protocol.as_deref(), Some("h2"));
    let endpoint = &seen.endpoints[0];
    assert_eq!(endpoint.public, Some(Ipv4Addr::LOCALHOST.into()));
    let list = endpoint.affiliates.as_ref().unwrap();
    assert_eq!(
        (list.count, list.decrypted, list.own),
        (3, Some(3), Some(true))
    );
    assert_eq!((list.garbled, list.sealed.len()), (0, 0));
    assert_eq!(list.unknown.len(), 1);
    assert_eq!(list.unknown[0].name, "node-3");
    assert_eq!(list.unknown[0].endpoints[0].to_string(), "10.0.0.3:51820");
}

#[tokio::test]
async fn each_way_to_misbehave_is_told_by_its_stage_and_kind() {
    let fake = Fake::start().await;
    let cases = [
        ("reset", Stage::Tls, FailureKind::Reset),
        ("garbage", Stage::Tls, FailureKind::Garbage),
        ("untrusted", Stage::Tls, FailureKind::Untrusted),
        ("http1", Stage::Tls, FailureKind::NoHttp2),
        ("flood", Stage::Http2, FailureKind::Garbage),
        ("hang", Stage::Tls, FailureKind::Silent),
        ("limit", Stage::Hello, FailureKind::RateLimited),
        ("huge", Stage::List, FailureKind::Garbage),
    ];
    for (mood, stage, kind) in cases {
        fake.mood(mood);
        let begun = Instant::now();
        let seen = fake.look().await;
        assert_eq!(failure(&seen), (stage, kind), "{mood}: {seen:?}");
        assert!(begun.elapsed() < Duration::from_secs(12), "{mood}");
        let text = format!("{seen:?}");
        assert!(text.len() < 8192, "{mood}: {} bytes", text.len());
    }
    fake.mood("");
    assert_eq!(address(&fake.look().await).failure(), None);
}

#[tokio::test]
async fn who_opens_tls_is_named_by_the_certificate() {
    let fake = Fake::start().await;
    fake.mood("untrusted");
    let seen = fake.look().await;
    let certificate = address(&seen).certificate.as_ref().unwrap();
    assert_eq!(certificate.issuer, "CN=Example Inspection CA");
}

#[tokio::test]
async fn noise_among_affiliates_costs_nothing_but_itself() {
    let fake = Fake::start().await;
    fake.mood("babble");
    let seen = fake.look().await;
    let list = seen.endpoints[0].affiliates.as_ref().unwrap();
    assert_eq!((list.count, list.decrypted), (67, Some(4)));
    assert_eq!(list.sealed.len(), limits::AFFILIATES);
    let escapes = list.sealed.iter().filter(|id| id.contains('\u{1b}'));
    assert_eq!(escapes.count(), 0, "{:?}", list.sealed);
}

#[tokio::test]
async fn a_stranger_and_a_replaced_machine_are_seen_and_time_takes_the_latter() {
    let fake = Fake::start().await;
    fake.mood("stale stranger");
    let seen = fake.look().await;
    let list = seen.endpoints[0].affiliates.as_ref().unwrap();
    assert_eq!((list.count, list.decrypted), (5, Some(4)));
    assert_eq!(list.sealed, ["id-of-stranger"]);
    assert_eq!(list.rivals.len(), 1);
    assert_eq!(list.rivals[0].address, IpAddr::from([10, 0, 0, 1]));
    fake.mood("stale clock=1801");
    let seen = fake.look().await;
    let list = seen.endpoints[0].affiliates.as_ref().unwrap();
    assert_eq!((list.count, list.rivals.len()), (3, 0));
}

#[tokio::test]
async fn another_secret_opens_nothing() {
    let fake = Fake::start().await;
    let mut looker = fake.looker(|| Moment::from_millis(1));
    let seen = looker.look(&surroundings([6; 32])).await;
    let list = seen.endpoints[0].affiliates.as_ref().unwrap();
    assert_eq!((list.count, list.decrypted), (3, Some(0)));
}

#[tokio::test]
async fn a_redirect_is_told_and_followed() {
    let (fake, other) = (Fake::start().await, Fake::start().await);
    fake.mood(&format!("redirect={}", other.address));
    let mut looker = fake.looker(|| Moment::from_millis(1));
    let seen = looker.look(&surroundings(SECRET)).await;
    assert_eq!(seen.endpoints[0].redirect, Some(other.address.to_string()));
    assert!(seen.endpoints[0].affiliates.is_none());
    let seen = looker.look(&surroundings(SECRET)).await;
    assert_eq!(seen.endpoints[1].port, other.address.port());
}

static CLOCK: AtomicI64 = AtomicI64::new(0);

fn clock() -> Moment {
    Moment::from_millis(CLOCK.load(Ordering::Relaxed))
}

#[tokio::test]
async fn whatever_fails_the_service_is_asked_once_a_minute_at_most() {
    let fake = Fake::start().await;
    let mut looker = fake.looker(clock);
    for round in 0..40 {
        fake.mood(["", "limit", "reset", "stale"][round % 4]);
        looker.look(&surroundings(SECRET)).await;
        CLOCK.fetch_add(15_000, Ordering::Relaxed);
    }
    let (hello, list) = (fake.asked.count("Hello"), fake.asked.count("List"));
    assert!(
        (5..=10).contains(&hello),
        "{hello} times Hello in ten minutes"
    );
    assert!((1..=10).contains(&list), "{list} times List in ten minutes");
    assert_eq!(fake.asked.count("Watch"), 0);
}

#[tokio::test]
async fn failures_in_a_row_are_counted_from_the_first_and_forgotten_with_a_success() {
    let fake = Fake::start().await;
    let mut looker = fake.looker(|| Moment::from_millis(1));
    fake.mood("reset");
    looker.look(&surroundings(SECRET)).await;
    let seen = looker.look(&surroundings(SECRET)).await;
    assert_eq!(address(&seen).failed, 2);
    assert!(address(&seen).failed_since.is_some());
    assert!(looker.pause() < Duration::from_secs(30));
    fake.mood("");
    let seen = looker.look(&surroundings(SECRET)).await;
    assert_eq!(
        (address(&seen).failed, address(&seen).failed_since),
        (0, None)
    );
    assert!(looker.pause() >= Duration::from_mins(1));
}

#[tokio::test]
async fn a_port_that_nobody_has_refuses() {
    let fake = Fake::start().await;
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let mut looker = Looker::new(Settings {
        endpoints: vec![format!("https://{address}").parse().unwrap()],
        cluster_id: None,
        proxies: Proxies::new("", ""),
        roots: Some(Roots::of(vec![fake.authority.der()])),
        clock: || Moment::from_millis(1),
    });
    let seen = looker.look(&Surroundings::default()).await;
    assert_eq!(failure(&seen), (Stage::Tcp, FailureKind::Refused));
}

/// A proxy for one connection: reads the request, says yes, and passes bytes on.
async fn proxy(listener: TcpListener, to: SocketAddr) -> String {
    let (mut near, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(near.read_u8().await.unwrap());
    }
    let mut far = TcpStream::connect(to).await.unwrap();
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    // The client hangs up when it has seen enough.
    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn a_proxy_is_gone_through_and_told_without_its_password() {
    let fake = Fake::start().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let own = listener.local_addr().unwrap();
    let passing = tokio::spawn(proxy(listener, fake.address));
    let mut looker = Looker::new(Settings {
        endpoints: vec![format!("https://{}", fake.address).parse().unwrap()],
        cluster_id: None,
        proxies: Proxies::new(&format!("http://me:secret@{own}"), ""),
        roots: Some(Roots::of(vec![fake.authority.der()])),
        clock: || Moment::from_millis(1),
    });
    let seen = looker.look(&Surroundings::default()).await;
    let stages: Vec<Stage> = address(&seen)
        .stages
        .iter()
        .map(|done| done.stage)
        .collect();
    assert_eq!(stages, [Stage::Tcp, Stage::Proxy, Stage::Tls, Stage::Http2]);
    assert_eq!(address(&seen).failure(), None, "{seen:?}");
    assert_eq!(seen.endpoints[0].proxy, Some(own.to_string()));
    assert!(!format!("{seen:?}").contains("secret"));
    let request = passing.await.unwrap();
    assert!(
        request.starts_with(&format!("CONNECT {} ", fake.address)),
        "{request}"
    );
}

#[tokio::test]
async fn the_fake_resolver_answers_by_family_and_with_each_code() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let listen = socket.local_addr().unwrap();
    let plan = names::Plan {
        listen,
        mood: folder.path().join("mood"),
        names: vec![(
            "discovery.test".to_owned(),
            vec![
                "192.0.2.80".parse().unwrap(),
                "2001:db8::80".parse().unwrap(),
            ],
        )],
    };
    let mood = plan.mood.clone();
    let task = tokio::spawn(async move { names::answer_all(Arc::new(socket), &plan).await });
    let resolver = Resolver::with_resolvers(&[listen]).unwrap();
    let addresses = resolver.addresses("discovery.test").await;
    assert_eq!(addresses.all().len(), 2, "{addresses:?}");
    let cases = [
        ("nxdomain", NameError::NoSuchName),
        ("servfail", NameError::ServFail),
        ("refused", NameError::Refused),
        ("only-ipv6", NameError::NoAddress),
        ("silence", NameError::Timeout),
    ];
    for (word, expected) in cases {
        fs::write(&mood, word).unwrap();
        let addresses = resolver.addresses("discovery.test").await;
        assert_eq!(addresses.v4, Err(expected), "{word}");
    }
    fs::write(&mood, "lie").unwrap();
    let addresses = resolver.addresses("discovery.test").await;
    assert_eq!(addresses.all(), [IpAddr::from([192, 0, 2, 66])]);
    task.abort();
}
