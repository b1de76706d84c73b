//! Reports to one collector by the messages of `messages`.
//!
//! Nothing is queued while a collector is away: the next connection begins with a snapshot of the newest facts.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use evidence::{UplinkWay, limits::MOVED_LAYOUT};
use probe_io::clock;
use proto::{
    convert::peers_from_wire,
    limits,
    transport::{DialError, Reached, dial_collector, resolve},
    trust::{AgentProof, OwnError},
    wire::{ReportRequest, ReportResponse, report_client::ReportClient},
};
use rand::Rng as _;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::{debug, info, warn};

mod ways;

use crate::{
    messages::{Messages, knows_itself},
    readers::chain,
    supervisor::Published,
    uplinks::{Place, Uplinks},
};
pub(crate) use ways::ADDRESSES;
use ways::{Search, Try, Unreached};

/// Messages handed to HTTP/2 and not yet taken: one more than a turn makes.
const OUTGOING: usize = 2;
/// First and longest pause between two tries.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Pause after the collector has refused us for who we are: asking again soon changes nothing.
const REFUSED: Duration = Duration::from_secs(10);
/// A message that HTTP/2 does not take for so long means a dead connection.
const STUCK: Duration = Duration::from_secs(5);

/// Why a report stream ended.
#[derive(Debug)]
enum Ended {
    /// The files with the agent's certificates cannot be used any more.
    Own(OwnError),
    /// Where the collector is could not be learnt.
    Dial(DialError),
    Unreached(Unreached),
    Status(Status),
    Stuck,
}

/// Who is reported to.
#[derive(Clone, Debug)]
pub(crate) enum Collector {
    /// As `host:port`, as it was given.
    Given(String),
    /// On a control plane, at the newest of its addresses.
    Told {
        name: String,
        addresses: watch::Receiver<Vec<SocketAddr>>,
    },
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(target) => f.write_str(target),
            Self::Told { name, .. } => f.write_str(name),
        }
    }
}

/// Reports for ever; aborted to stop.
pub(crate) async fn run(
    collector: Collector,
    proof: AgentProof,
    mut facts: watch::Receiver<Published>,
    uplinks: Uplinks,
) {
    let place = uplinks.begin(&collector.to_string(), clock::moment());
    // Without an identity a report is refused, and a refused one waits long before it asks again.
    if facts.wait_for(knows_itself).await.is_err() {
        return;
    }
    let mut pause = BACKOFF.0;
    let mut told = String::new();
    let mut moves = Moves::default();
    loop {
        let (ended, streamed) = match reach(&collector, &proof, &facts).await {
            Ok(reached) => {
                let begun = Instant::now();
                let ended = report(&collector, reached, &facts, (&place, &moves)).await;
                (ended, begun.elapsed())
            }
            Err(ended) => (ended, Duration::ZERO),
        };
        if moves.ended(&ended) {
            warn!(%collector, "what moved in facts was not understood: it is told whole ones from now on");
        }
        let reason = text(&ended);
        place.ended(&reason, clock::moment());
        if reason == told {
            debug!(%collector, %reason, "not reporting");
        } else {
            warn!(%collector, %reason, "not reporting; trying on");
            told = reason;
        }
        // A stream that lived for a while was a good one: begin with short pauses again.
        if streamed > BACKOFF.1 {
            pause = BACKOFF.0;
        }
        let rest = jittered(if refused(&ended) { REFUSED } else { pause });
        sleep(match &ended {
            Ended::Unreached(unreached) => unreached.rest(rest, BACKOFF.0),
            Ended::Own(_) | Ended::Dial(_) | Ended::Status(_) | Ended::Stuck => rest,
        })
        .await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Whether a collector is told of facts that merely went on by what moved in them.
#[derive(Debug, Default)]
struct Moves {
    /// On the present stream.
    taken: watch::Sender<bool>,
    /// It said that it takes them, and refused a message with them: one of the two sides is wrong, and whole facts are understood by both.
    refused: bool,
}

impl Moves {
    /// The collector has said in which layout it takes them.
    fn offered(&self, layout: Option<u32>) {
        let taken = layout == Some(MOVED_LAYOUT) && !self.refused;
        self.taken.send_replace(taken);
    }

    /// The stream has ended; says whether that is why none are told from now on.
    fn ended(&mut self, ended: &Ended) -> bool {
        let were_taken = self.taken.send_replace(false);
        let is_malformed =
            matches!(ended, Ended::Status(status) if status.code() == Code::InvalidArgument);
        self.refused |= were_taken && is_malformed;
        were_taken && is_malformed
    }
}

async fn report(
    collector: &Collector,
    (Reached { channel, address }, way): (Reached, UplinkWay),
    facts: &watch::Receiver<Published>,
    (place, moves): (&Place, &Moves),
) -> Ended {
    let mut client = ReportClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES);
    let mut messages = Messages::new(facts.clone()).with_moves(moves.taken.subscribe());
    let (outgoing, requests) = mpsc::channel(OUTGOING);
    if outgoing.send(messages.snapshot()).await.is_err() {
        return Ended::Stuck;
    }
    let responses = match client.stream(ReceiverStream::new(requests)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Ended::Status(status),
    };
    info!(%collector, %address, %way, "reporting");
    tokio::select! {
        ended = listen(responses, moves, || place.reports(address, way, clock::moment())) => ended,
        ended = send(messages, outgoing) => ended,
    }
}

async fn reach(
    collector: &Collector,
    proof: &AgentProof,
    facts: &watch::Receiver<Published>,
) -> Result<(Reached, UplinkWay), Ended> {
    let tls = proof.config().map_err(Ended::Own)?;
    let addresses = match collector {
        Collector::Given(target) => resolve(target).await.map_err(Ended::Dial)?,
        Collector::Told { addresses, .. } => addresses.borrow().clone(),
    };
    if addresses.is_empty() {
        return Err(Ended::Dial(DialError::NoAddress(collector.to_string())));
    }
    let mut search = Search::to(&addresses, &facts.borrow().1);
    let mut second = None;
    while let Some(next) = search.next() {
        let Try { to, way, .. } = next;
        if way != UplinkWay::Underlay {
            second.get_or_insert_with(Instant::now);
        }
        match dial_collector(to, next.mark(), Arc::clone(&tls)).await {
            Ok(reached) => return Ok((reached, way)),
            Err(error) => {
                debug!(address = %to, %way, reason = %chain(&error), "no collector at an address");
                search.failed(next, error);
            }
        }
    }
    let second = second.map_or(Duration::ZERO, |begun: Instant| begun.elapsed());
    Err(Ended::Unreached(search.given_up(second)))
}

/// Takes acknowledgements and the peer list until the stream ends. The first one says that the snapshot was `taken`.
async fn listen(
    mut responses: Streaming<ReportResponse>,
    moves: &Moves,
    taken: impl Fn(),
) -> Ended {
    let mut is_first = true;
    loop {
        match responses.message().await {
            Ok(Some(response)) => {
                if is_first {
                    moves.offered(response.moved_layout);
                    taken();
                    is_first = false;
                }
                note_peers(response);
            }
            Ok(None) => {
                return Ended::Status(Status::unavailable("the collector ended the stream"));
            }
            Err(status) => return Ended::Status(status),
        }
    }
}

async fn send(mut messages: Messages, outgoing: mpsc::Sender<ReportRequest>) -> Ended {
    while let Some(message) = messages.next().await {
        if !matches!(timeout(STUCK, outgoing.send(message)).await, Ok(Ok(()))) {
            break;
        }
    }
    Ended::Stuck
}

fn note_peers(response: ReportResponse) {
    let Some(list) = response.peers else { return };
    match peers_from_wire(list) {
        Ok(peers) => {
            let names: Vec<&str> = peers
                .iter()
                .filter(|peer| peer.reporting)
                .map(|peer| peer.name.as_str())
                .collect();
            info!(reporting = ?names, "the collector's peer list changed");
        }
        Err(error) => warn!(%error, "the collector sent a malformed peer list"),
    }
}

fn refused(ended: &Ended) -> bool {
    let code = match ended {
        Ended::Status(status) => status.code(),
        Ended::Own(_) | Ended::Dial(_) | Ended::Unreached(_) | Ended::Stuck => return false,
    };
    matches!(
        code,
        Code::PermissionDenied
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::Unauthenticated
    )
}

fn text(ended: &Ended) -> String {
    match ended {
        Ended::Own(error) => chain(error),
        Ended::Dial(error) => chain(error),
        Ended::Unreached(unreached) => unreached.to_string(),
        Ended::Status(status) => format!("{:?}: {}", status.code(), status.message()),
        Ended::Stuck => "the connection takes no more messages".to_owned(),
    }
}

/// Between three quarters and five quarters of `pause`, so that a hundred agents do not come back at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use evidence::{Fact, Facts, Identity, Moment, NodeName, Peer, PublicKey};
    use proto::{transport::incoming, trust::MeshKey};
    use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::timeout};

    use super::*;

    fn identity(name: &NodeName) -> Facts {
        let identity = Identity {
            name: name.clone(),
            public_key: None,
            kubespan_address: None,
            addresses: Vec::new(),
            boot_id: String::new(),
            instance: 1,
            version: String::new(),
        };
        std::iter::once(Fact::Identity(identity)).collect()
    }

    #[tokio::test]
    async fn each_address_is_tried_until_one_answers() {
        let name = NodeName::parse("vps-1").unwrap();
        let key = MeshKey::from_bytes([1; 32].into());
        let proof = AgentProof::derived(&key, &name, b"machine").unwrap();
        // Where nobody listens any more a connection is refused at once.
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = gone.local_addr().unwrap();
        drop(gone);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_sender, addresses) = watch::channel(vec![refused, listener.local_addr().unwrap()]);
        let collector = Collector::Told {
            name: "cp-1".to_owned(),
            addresses,
        };
        let (_published, facts) = watch::channel(Arc::new((Moment::ZERO, identity(&name))));
        let uplink = tokio::spawn(run(collector, proof, facts, Uplinks::default()));
        let dialled = timeout(Duration::from_secs(20), listener.accept()).await;
        assert!(dialled.is_ok(), "the second address was never tried");
        uplink.abort();
    }

    /// On loopback: what is the node's address is refused there, and `::1` has the part of the `KubeSpan` address.
    #[tokio::test]
    async fn a_given_collector_that_is_not_there_past_the_tunnel_is_reached_through_it() {
        let name = NodeName::parse("home-cp").unwrap();
        let key = MeshKey::from_bytes([1; 32].into());
        let proof = AgentProof::derived(&key, &name, b"machine").unwrap();
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let inside = listener.local_addr().unwrap();
        let given = SocketAddr::from(([127, 0, 0, 1], inside.port()));
        drop(TcpListener::bind(given).await.unwrap());
        let tls = Arc::new(key.server_config().unwrap());
        let mut served = incoming(listener, tls, Arc::default());
        let known = identity(&name);
        let facts = known.iter().cloned().map(|fact| match fact {
            Fact::Identity(own) => Fact::Identity(Identity {
                kubespan_address: Some("::2".parse().unwrap()),
                ..own
            }),
            other => other,
        });
        let peer = Peer {
            endpoint: None,
            allowed_ips: vec!["127.0.0.1/32".to_owned(), "::1/128".to_owned()],
            last_handshake: None,
            rx_bytes: 0,
            tx_bytes: 0,
            rx_moved: None,
            since: Moment::ZERO,
            keepalive: None,
            endpoint_changes: Vec::new(),
        };
        let facts = facts.chain([Fact::Peer(PublicKey::from_bytes([1; 32]), peer)]);
        let (_published, facts) = watch::channel(Arc::new((Moment::ZERO, facts.collect())));
        let serve = async {
            let mut stream = served.recv().await.unwrap().unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream
        };
        let given = Collector::Given(given.to_string());
        let both = async { tokio::join!(reach(&given, &proof, &facts), serve) };
        let (reached, _stream) = timeout(Duration::from_secs(20), both).await.unwrap();
        let (reached, way) = reached.unwrap();
        assert_eq!((reached.address, way), (inside, UplinkWay::Tunnel));
    }

    #[tokio::test]
    async fn nobody_is_dialled_before_the_node_knows_who_it_is() {
        let name = NodeName::parse("vps-1").unwrap();
        let key = MeshKey::from_bytes([1; 32].into());
        let proof = AgentProof::derived(&key, &name, b"machine").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = listener.local_addr().unwrap().to_string();
        let (published, facts) = watch::channel(Published::default());
        let collector = Collector::Given(collector);
        let uplink = tokio::spawn(run(collector, proof, facts, Uplinks::default()));

        let early = timeout(Duration::from_millis(300), listener.accept()).await;
        assert!(early.is_err(), "dialled without an identity");
        published.send_replace(Arc::new((Moment::ZERO, identity(&name))));
        let dialled = timeout(Duration::from_secs(5), listener.accept()).await;
        assert!(dialled.is_ok(), "never dialled");
        uplink.abort();
    }

    #[test]
    fn who_does_not_understand_moves_after_all_is_told_whole_facts_from_then_on() {
        let mut moves = Moves::default();
        let taken = |moves: &Moves| *moves.taken.borrow();
        for other in [None, Some(MOVED_LAYOUT + 1)] {
            moves.offered(other);
            assert!(!taken(&moves));
        }
        let malformed = || Ended::Status(Status::invalid_argument("field delta.moved: .."));
        assert!(!moves.ended(&malformed()), "none were told");
        moves.offered(Some(MOVED_LAYOUT));
        assert!(taken(&moves));
        assert!(!moves.ended(&Ended::Status(Status::unavailable("it stops"))));
        assert!(!taken(&moves), "the next stream begins with whole facts");
        moves.offered(Some(MOVED_LAYOUT));
        assert!(moves.ended(&malformed()));
        moves.offered(Some(MOVED_LAYOUT));
        assert!(!taken(&moves));
    }
}
