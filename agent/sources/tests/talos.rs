//! The reader of Talos against a server that plays machined, on a socket of its own.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod machined;

use std::{path::Path, time::Duration};

use evidence::{Stage, TalosPeerState};
use machined::{Machined, resource};
use sources::{
    Gap,
    talos::{
        Affiliate, Change, DiscoveryConfig, LinkStatus, MachineStatus, PeerSpec, PeerStatus,
        RESOURCES, RoutingRule, TalosError, TimeServers, Version, connect,
    },
};
use tokio::time::timeout;
use tonic::Code;
use upstream::{
    cosi::{Event, EventType, WatchResponse},
    talos,
};

const KEY: &str = "Oak2fBEWngBhwslBxDVgnRNHXs88OAp4kjroSX0uqUE=";
/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(5);

fn spec() -> talos::KubeSpanPeerSpec {
    let endpoint = |last| talos::NetIpPort {
        ip: vec![198, 51, 100, last],
        port: 51_820,
    };
    talos::KubeSpanPeerSpec {
        address: Some(talos::NetIp { ip: vec![0xfd; 16] }),
        allowed_ips: vec![talos::NetIpPrefix {
            ip: vec![10, 0, 0, 1],
            prefix_length: 32,
        }],
        endpoints: vec![endpoint(1), endpoint(2)],
        label: "vps-1".to_owned(),
    }
}

#[tokio::test]
async fn what_talos_says_comes_out_checked_and_typed() {
    let machine = talos::MachineStatus {
        stage: talos::MachineStage::Running.into(),
        status: Some(talos::MachineStatusStatus {
            ready: false,
            unmet_conditions: vec![talos::UnmetCondition {
                name: "services".to_owned(),
                reason: "kubelet\nis not healthy".to_owned(),
            }],
        }),
    };
    let machined = Machined::with([
        resource::<MachineStatus>("machine", &machine),
        resource::<PeerSpec>(KEY, &spec()),
    ])
    .serve();
    let talos = connect(&machined.socket).await.unwrap();

    let status = talos
        .get::<MachineStatus>("machine")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((status.stage, status.ready), (Stage::Running, false));
    assert_eq!(status.unmet[0].reason, "kubelet is not healthy");
    let peers = talos.list::<PeerSpec>().await.unwrap();
    assert_eq!((peers.resources.len(), peers.refused), (1, 0));
    assert_eq!(peers.resources[0].id, KEY);
    let spec = &peers.resources[0].spec;
    assert_eq!(spec.endpoints[1].to_string(), "198.51.100.2:51820");
    assert_eq!(spec.allowed_ips[0].to_string(), "10.0.0.1/32");
    assert_eq!(talos.get::<Version>("version").await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_answered_to_a_caller_without_the_role_of_a_reader() {
    let machined = Machined::with([resource::<PeerSpec>(KEY, &spec())]).serve();
    let reader = connect(&machined.socket).await.unwrap();
    assert!(reader.list::<PeerSpec>().await.is_ok());
    let nobody = sources::talos::Talos::new(machined.channel().await);
    let error = nobody.list::<PeerSpec>().await.unwrap_err();
    assert!(error.to_string().contains("not authorized"), "{error}");
}

#[tokio::test]
async fn one_resource_of_garbage_costs_itself_alone() {
    let mut garbage = resource::<PeerSpec>("garbage", &spec());
    garbage.spec.as_mut().unwrap().proto_spec = vec![0xff; 7];
    let mut wrong = spec();
    wrong.allowed_ips[0].prefix_length = 33;
    let machined = Machined::with([
        garbage,
        resource::<PeerSpec>("wrong", &wrong),
        resource::<PeerSpec>(KEY, &spec()),
    ])
    .serve();
    let talos = connect(&machined.socket).await.unwrap();
    let peers = talos.list::<PeerSpec>().await.unwrap();
    assert_eq!((peers.resources.len(), peers.refused), (1, 2));
    let error = talos.get::<PeerSpec>("wrong").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "decode KubeSpanPeerSpecs.kubespan.talos.dev"
    );
}

/// Field 60 is of no version yet, and 1 is one that this reader leaves out.
#[tokio::test]
async fn fields_of_a_later_version_are_skipped() {
    let mut later = resource::<PeerSpec>(KEY, &spec());
    let body = &mut later.spec.as_mut().unwrap().proto_spec;
    body.extend([0xe2, 0x03, 0x02, b'h', b'i']);
    let machined = Machined::with([later]).serve();
    let talos = connect(&machined.socket).await.unwrap();
    let peers = talos.list::<PeerSpec>().await.unwrap();
    assert_eq!(peers.resources[0].spec.label, "vps-1");
}

#[tokio::test]
async fn a_preshared_key_in_a_link_is_dropped() {
    const PRESHARED: &[u8] = b"c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlYyE=";
    let mut body = Vec::new();
    // wireguard (29) { public_key (2), peers (5) { public_key (1), preshared_key (2) } }
    let mut peer = vec![0x0a, 44];
    peer.extend(KEY.as_bytes());
    peer.extend([0x12, 44]);
    peer.extend(PRESHARED);
    let mut device = vec![0x12, 44];
    device.extend(KEY.as_bytes());
    device.extend([0x2a, u8::try_from(peer.len()).unwrap()]);
    device.extend(peer);
    body.extend([0xea, 0x01, 0x8c, 0x01]);
    assert_eq!(device.len(), 0x8c);
    body.extend(device);
    let mut link = resource::<LinkStatus>("kubespan", &talos::LinkStatus::default());
    link.spec.as_mut().unwrap().proto_spec = body;
    let machined = Machined::with([link]).serve();
    let talos = connect(&machined.socket).await.unwrap();
    let link = talos.get::<LinkStatus>("kubespan").await.unwrap().unwrap();
    let shown = format!("{link:?}");
    assert_eq!(link.wireguard.unwrap().peers.len(), 1);
    assert!(!shown.contains("c2VjcmV0"), "{shown}");
}

#[tokio::test]
async fn what_is_kept_from_readers_is_asked_for_alone_as_administrator_and_its_key_is_dropped() {
    const KEY: &[u8; 32] = b"secret secret secret secret sec!";
    let body = talos::DiscoveryConfig {
        registry_service_enabled: true,
        service_endpoint: "discovery.talos.dev:443".to_owned(),
        ..talos::DiscoveryConfig::default()
    };
    let mut config = resource::<DiscoveryConfig>("cluster", &body);
    let bytes = &mut config.spec.as_mut().unwrap().proto_spec;
    // service_encryption_key (6)
    bytes.extend([0x32, 32]);
    bytes.extend(KEY);
    let servers = talos::TimeServerStatus {
        ntp_servers: vec!["time.cloudflare.com".to_owned()],
    };
    let servers = resource::<TimeServers>("timeservers", &servers);
    // It refuses administrators everything but this, and readers this.
    let machined = Machined::with([config, servers]).serve();
    let talos = connect(&machined.socket).await.unwrap();
    let config = talos.get::<DiscoveryConfig>("cluster").await;
    let config = config.unwrap().unwrap();
    assert!(config.service && !config.kubernetes);
    assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    let servers = talos.get::<TimeServers>("timeservers").await;
    assert_eq!(servers.unwrap().unwrap().servers, ["time.cloudflare.com"]);
}

#[tokio::test]
async fn an_unknown_type_is_refused_and_means_unsupported() {
    let machined = Machined::with([resource::<PeerSpec>(KEY, &spec())]).serve();
    let talos = connect(&machined.socket).await.unwrap();
    let error = talos.list::<RoutingRule>().await.unwrap_err();
    assert!(error.is_unsupported(), "{error}");
    assert!(talos.list::<PeerSpec>().await.is_ok());
}

#[tokio::test]
async fn more_than_a_node_can_have_is_an_error() {
    let many = (0..=RESOURCES).map(|number| resource::<PeerSpec>(&number.to_string(), &spec()));
    let machined = Machined::with(many).serve();
    let talos = connect(&machined.socket).await.unwrap();
    let error = talos.list::<PeerSpec>().await.unwrap_err();
    assert!(
        matches!(
            error,
            TalosError::TooMany {
                limit: RESOURCES,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_watch_tells_what_there_is_then_what_changes_then_that_it_was_too_slow() {
    let mut machined = Machined::with([resource::<PeerStatus>(
        KEY,
        &talos::KubeSpanPeerStatus::default(),
    )]);
    let up = talos::KubeSpanPeerStatus {
        state: talos::KubeSpanPeerState::Up.into(),
        ..talos::KubeSpanPeerStatus::default()
    };
    let event = |kind: EventType, resource, error: Option<&str>| WatchResponse {
        event: vec![Event {
            resource,
            event_type: kind.into(),
            error: error.map(ToOwned::to_owned),
            ..Event::default()
        }],
    };
    let mut tombstone = resource::<PeerStatus>(KEY, &up);
    tombstone.spec = None;
    machined.then = vec![
        event(EventType::Noop, None, None),
        event(
            EventType::Updated,
            Some(resource::<PeerStatus>(KEY, &up)),
            None,
        ),
        event(EventType::Destroyed, Some(tombstone), None),
        event(EventType::Errored, None, Some("buffer overrun\u{1b}[2J")),
    ];
    let machined = machined.serve();
    let talos = connect(&machined.socket).await.unwrap();
    let mut watch = talos.watch::<PeerStatus>().await.unwrap();
    let mut told = Vec::new();
    let error = loop {
        match timeout(SOON, watch.next()).await.unwrap() {
            Ok(changes) => told.extend(changes),
            Err(error) => break error,
        }
    };
    let states: Vec<_> = told
        .iter()
        .map(|change| match change {
            Change::Present(peer) if peer.spec.state == TalosPeerState::Up => "up",
            Change::Present(_) => "there",
            Change::Gone(id) if id == KEY => "gone",
            Change::Gone(_) => "another is gone",
            Change::Complete => "complete",
            Change::Refused(..) => "refused",
        })
        .collect();
    assert_eq!(states, ["there", "complete", "up", "gone"]);
    assert!(error.is_relist());
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[tokio::test]
async fn a_refusal_can_be_over_on_the_next_try() {
    let mut machined = Machined::with([resource::<PeerSpec>(KEY, &spec())]);
    machined.refusals = 1;
    let machined = machined.serve();
    let talos = connect(&machined.socket).await.unwrap();
    let error = talos.list::<PeerSpec>().await.unwrap_err();
    assert!(
        matches!(
            error,
            TalosError::Call {
                code: Code::PermissionDenied,
                ..
            }
        ),
        "{error}"
    );
    let gap = Gap::from(&error).reason;
    assert!(gap.contains("extension service"), "{gap}");
    assert!(talos.list::<PeerSpec>().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_machined_that_does_not_answer_is_given_up() {
    let mut machined = Machined::with([]);
    machined.hangs = true;
    let machined = machined.serve();
    let talos = connect(&machined.socket).await.unwrap();
    let error = talos.list::<Affiliate>().await.unwrap_err();
    assert!(matches!(error, TalosError::Timeout { .. }), "{error}");
    let error = talos.watch::<Affiliate>().await.unwrap_err();
    assert!(matches!(error, TalosError::Timeout { .. }), "{error}");
}

#[tokio::test]
async fn without_a_socket_there_is_a_gap_that_says_so() {
    let error = connect(Path::new("/nowhere/machine.sock"))
        .await
        .unwrap_err();
    let gap = Gap::from(&error).to_string();
    assert!(
        gap.starts_with("talos: connect to /nowhere/machine.sock: No such file"),
        "{gap}"
    );
}

#[tokio::test]
async fn a_machined_that_died_is_an_error_and_not_a_wait() {
    let machined = Machined::with([resource::<PeerSpec>(KEY, &spec())]).serve();
    let talos = connect(&machined.socket).await.unwrap();
    let mut watch = talos.watch::<PeerSpec>().await.unwrap();
    machined.die().await;
    let ended = async {
        loop {
            if let Err(error) = watch.next().await {
                break error;
            }
        }
    };
    timeout(SOON, ended).await.unwrap();
    timeout(SOON, talos.list::<PeerSpec>())
        .await
        .unwrap()
        .unwrap_err();
}
