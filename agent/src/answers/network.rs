//! Over the network: TLS with the derived certificates, for readers and agents.

use std::{io, net::SocketAddr, sync::Arc};

use proto::{limits, transport};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};

use super::{Answers, Refused, bound, failed, spawn_connection};

/// What proves this node to whoever asks; there is none before the mesh key is known.
pub(crate) type Credentials = Arc<ServerConfig>;

/// Answers there until it cannot; says why.
pub(super) async fn serve(
    address: SocketAddr,
    answers: &Answers,
    credentials: &mut watch::Receiver<Option<Credentials>>,
) -> Box<Refused> {
    let known = credentials.wait_for(Option::is_some).await;
    let Some(tls) = known.ok().and_then(|known| known.clone()) else {
        // The agent is ending.
        return std::future::pending().await;
    };
    let listener = match transport::listen(address) {
        Ok((listener, marked)) => {
            bound(
                &address,
                if marked {
                    "readers can ask here, past the tunnel"
                } else {
                    "readers can ask here; the underlay mark could not be set (needs CAP_NET_ADMIN)"
                },
            );
            listener
        }
        Err(error) => return Box::new(error),
    };
    let places = Arc::new(Semaphore::new(limits::AGENT_CONNECTIONS));
    let mut connections = transport::incoming_few(listener, tls, limits::AGENT_HANDSHAKES);
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match connections.recv().await {
            Some(Ok(stream)) => {
                spawn_connection(Box::new(stream), answers.clone(), place);
            }
            Some(Err(_)) => {}
            None => break,
        }
    }
    failed("go on", io::ErrorKind::Other.into())
}
