//! Asking the Talos of one node, directly: what it is, and what it says of its peers.

use std::{collections::BTreeMap, error::Error, net::IpAddr, sync::Arc, time::Duration};

use evidence::PublicKey;
use rustls::ClientConfig;
use sources::{
    apid::{self, ApidError, dial},
    talos::{
        Affiliate, ClusterIdentity, Hostname, Listing, Member, PeerSpec, PeerStatus, Talos,
        TalosError,
    },
    talosconfig::Endpoint,
};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tonic::transport::Channel;

use crate::adhoc::talos::{Answer, Said, SaidPeer, Silence, Stage};

/// Addresses of one member that are tried at once.
const MAX_ADDRESSES: usize = 8;
/// The byte of an address of Talos' own making that says what it is for; here `KubeSpan`.
const KUBESPAN_PURPOSE: (u8, u8) = (0xfd, 2);

/// One node to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it was typed, or its name in the cluster.
    pub name: String,
    /// Where it may be; the first that is it and answers counts.
    pub endpoints: Vec<Endpoint>,
    /// Which node must answer, where that is known.
    pub node_id: Option<String>,
}

impl Target {
    /// A node that was named by where it is.
    pub fn typed(endpoint: &Endpoint) -> Self {
        Self {
            name: endpoint.to_string(),
            endpoints: vec![endpoint.clone()],
            node_id: None,
        }
    }

    /// A member of the cluster, at any of its addresses outside of the tunnel.
    fn member(name: String, member: Member) -> Self {
        let outside = member
            .addresses
            .into_iter()
            .filter(|address| !is_kubespan(*address));
        Self {
            name,
            endpoints: outside.take(MAX_ADDRESSES).map(Endpoint::of).collect(),
            node_id: Some(member.node_id).filter(|id| !id.is_empty()),
        }
    }
}

/// False alarms are possible for unique local addresses of others; they only cost a way to a node that has one more.
fn is_kubespan(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => {
            let bytes = address.octets();
            (bytes[0], bytes[7]) == KUBESPAN_PURPOSE
        }
    }
}

/// The members of the cluster, as one endpoint tells them.
pub async fn members(
    endpoint: &Endpoint,
    tls: Arc<ClientConfig>,
    within: Duration,
) -> Result<Vec<Target>, Silence> {
    let until = Instant::now() + within;
    let (_, channel) = Box::pin(dial(endpoint, tls, until))
        .await
        .map_err(|error| undialled(&error))?;
    let talos = Talos::new(channel);
    let listed = in_time(until, talos.list::<Member>()).await?;
    let members = listed.resources.into_iter();
    Ok(members
        .map(|member| Target::member(member.id, member.spec))
        .collect())
}

/// Asks one node; every address of it at once, for as long as one node may take.
pub async fn ask(target: Target, tls: Arc<ClientConfig>, within: Duration) -> Answer {
    let until = Instant::now() + within;
    let said = first(&target, &tls, until).await;
    Answer {
        asked: target.name,
        said,
    }
}

/// The first address at which the node itself answers; else what was heard of the one that got furthest.
async fn first(target: &Target, tls: &Arc<ClientConfig>, until: Instant) -> Result<Said, Silence> {
    let mut asking = JoinSet::new();
    for endpoint in &target.endpoints {
        let (endpoint, tls) = (endpoint.clone(), Arc::clone(tls));
        let expected = target.node_id.clone();
        asking.spawn(Box::pin(async move {
            Box::pin(one(&endpoint, tls, until, expected)).await
        }));
    }
    let mut furthest = None;
    while let Some(ended) = asking.join_next().await {
        match ended {
            Ok(Ok(said)) => return Ok(said),
            Ok(Err(silence)) => furthest = Some(further(furthest, silence)),
            // A task that is not cancelled ends by a panic only, which its thread has reported.
            Err(_) => {}
        }
    }
    Err(furthest.unwrap_or_else(|| Silence {
        stage: Stage::Dns,
        why: "it has no address outside of the tunnel".to_owned(),
        refused: false,
    }))
}

/// An address that answered something says more than one that did not.
fn further(furthest: Option<Silence>, silence: Silence) -> Silence {
    let rank = |silence: &Silence| match silence.stage {
        Stage::Dns => 0,
        Stage::Timeout => 1,
        Stage::Tcp => 2,
        Stage::Identity => 3,
        Stage::Tls | Stage::Http => 4,
        Stage::Answer | Stage::Authorisation => 5,
    };
    furthest
        .filter(|furthest| rank(furthest) >= rank(&silence))
        .unwrap_or(silence)
}

async fn one(
    endpoint: &Endpoint,
    tls: Arc<ClientConfig>,
    until: Instant,
    expected: Option<String>,
) -> Result<Said, Silence> {
    let dialled = Box::pin(dial(endpoint, tls, until)).await;
    let (_, channel) = dialled.map_err(|error| undialled(&error))?;
    let talos = Talos::new(channel);
    let node_id = in_time(until, talos.get::<ClusterIdentity>("local")).await?;
    let node_id = node_id.map(|identity| identity.node_id).unwrap_or_default();
    if expected.is_some_and(|expected| expected != node_id) {
        return Err(Silence {
            stage: Stage::Identity,
            why: format!("another node of the cluster answers at {endpoint}"),
            refused: false,
        });
    }
    Box::pin(read(&talos, node_id, until)).await
}

async fn read(talos: &Talos<Channel>, node_id: String, until: Instant) -> Result<Said, Silence> {
    let (affiliates, specs, statuses, hostname) = tokio::join!(
        in_time(until, talos.list::<Affiliate>()),
        in_time(until, talos.list::<PeerSpec>()),
        in_time(until, talos.list::<PeerStatus>()),
        in_time(until, talos.get::<Hostname>("hostname")),
    );
    let hostname = hostname?.map(|hostname| hostname.hostname);
    Ok(said(node_id, hostname, affiliates?, specs?, statuses?))
}

fn said(
    node_id: String,
    hostname: Option<String>,
    affiliates: Listing<Affiliate>,
    specs: Listing<PeerSpec>,
    statuses: Listing<PeerStatus>,
) -> Said {
    let affiliates: Vec<_> = affiliates
        .resources
        .into_iter()
        .map(|found| found.spec)
        .collect();
    let own = affiliates
        .iter()
        .find(|affiliate| affiliate.node_id == node_id);
    let nodename = own.map(|own| own.nodename.clone());
    let name = [nodename, hostname, Some(node_id.clone())];
    let name = name.into_iter().flatten().find(|name| !name.is_empty());
    let kubespan = own.and_then(|own| own.kubespan.as_ref());
    Said {
        name: name.unwrap_or_default(),
        node_id,
        key: kubespan.map(|kubespan| kubespan.public_key),
        address: kubespan.and_then(|kubespan| kubespan.address),
        addresses: own.map(|own| own.addresses.clone()).unwrap_or_default(),
        peers: peers(&affiliates, specs, statuses),
    }
}

/// By key: a peer is wanted (spec), has a state (status), or both. A key that cannot be read is none.
fn peers(
    affiliates: &[Affiliate],
    specs: Listing<PeerSpec>,
    statuses: Listing<PeerStatus>,
) -> Vec<SaidPeer> {
    let mut peers: BTreeMap<PublicKey, SaidPeer> = BTreeMap::new();
    for found in specs.resources {
        if let Ok(key) = found.id.parse() {
            peers.insert(key, wanted(key, found.spec));
        }
    }
    let now = statuses.changed;
    for found in statuses.resources {
        if let Ok(key) = found.id.parse() {
            let known = peers.remove(&key);
            peers.insert(key, with_state(key, known, found.spec, now));
        }
    }
    for affiliate in affiliates {
        let kubespan = affiliate.kubespan.as_ref();
        if let Some(peer) = kubespan.and_then(|kubespan| peers.get_mut(&kubespan.public_key)) {
            peer.addresses.extend(&affiliate.addresses);
        }
    }
    peers.into_values().collect()
}

fn wanted(key: PublicKey, spec: PeerSpec) -> SaidPeer {
    SaidPeer {
        key,
        name: spec.label,
        address: spec.address,
        addresses: spec
            .endpoints
            .iter()
            .map(std::net::SocketAddr::ip)
            .collect(),
        state: None,
        endpoint: None,
        handshake_age_s: None,
        received: 0,
        sent: 0,
    }
}

/// Ages are those at the node's last change of any status: both moments are by its own clock.
fn with_state(
    key: PublicKey,
    known: Option<SaidPeer>,
    status: PeerStatus,
    now: Option<Duration>,
) -> SaidPeer {
    let age = now.zip(status.last_handshake);
    let age = age.map(|(now, at)| now.saturating_sub(at).as_secs());
    SaidPeer {
        key,
        name: status.label,
        address: known.as_ref().and_then(|known| known.address),
        addresses: known.map(|known| known.addresses).unwrap_or_default(),
        state: Some(status.state),
        endpoint: status.endpoint,
        handshake_age_s: age,
        received: status.receive_bytes,
        sent: status.transmit_bytes,
    }
}

async fn in_time<T>(
    until: Instant,
    answer: impl Future<Output = Result<T, TalosError>>,
) -> Result<T, Silence> {
    match timeout_at(until, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(unanswered(&error)),
        Err(_) => Err(Silence {
            stage: Stage::Timeout,
            why: "it took the connection and did not answer in time".to_owned(),
            refused: false,
        }),
    }
}

fn undialled(error: &ApidError) -> Silence {
    let stage = match error {
        ApidError::Late { .. } => Stage::Timeout,
        error => match error.stage() {
            apid::Stage::Resolve => Stage::Dns,
            apid::Stage::Connect => Stage::Tcp,
            apid::Stage::Tls => Stage::Tls,
            apid::Stage::Http => Stage::Http,
        },
    };
    Silence {
        stage,
        why: chain(error),
        refused: error.is_refusal(),
    }
}

fn unanswered(error: &TalosError) -> Silence {
    let refused = error.is_unsupported();
    let stage = match error {
        _ if refused => Stage::Authorisation,
        TalosError::Timeout { .. } => Stage::Timeout,
        _ => Stage::Answer,
    };
    Silence {
        stage,
        why: chain(error),
        refused,
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn Error) -> String {
    let mut said = error.to_string();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    for cause in causes {
        said.push_str(": ");
        said.push_str(&cause.to_string());
    }
    said
}
