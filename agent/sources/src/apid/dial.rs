//! From a name to a channel, stage by stage.

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::AsyncBufReadExt as _,
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Uri};
use tower::service_fn;

use super::{ApidError, FIRST_BYTES, MAX_ADDRESSES, Refusal, Stage};
use crate::talosconfig::Endpoint;

/// Connects to the apid of one node, trying each of its addresses until one answers or `until` comes. The address that
/// answered is told with the channel.
pub async fn dial(
    endpoint: &Endpoint,
    tls: Arc<ClientConfig>,
    until: Instant,
) -> Result<(SocketAddr, Channel), ApidError> {
    let addresses = resolve(endpoint, until).await?;
    let mut last = ApidError::NoAddress {
        host: endpoint.host().to_owned(),
    };
    for address in addresses {
        let dialling = Dialling {
            endpoint,
            address,
            until,
        };
        // Boxed: TLS and HTTP/2 make it large.
        match Box::pin(dialling.dial(Arc::clone(&tls))).await {
            Ok(channel) => return Ok((address, channel)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn resolve(endpoint: &Endpoint, until: Instant) -> Result<Vec<SocketAddr>, ApidError> {
    let host = endpoint.host();
    let lookup = lookup_host((host, endpoint.port()));
    let found = timeout_at(until, lookup).await;
    let found = found.map_err(|_| ApidError::Late {
        stage: Stage::Resolve,
        at: host.to_owned(),
    })?;
    let found = found.map_err(|source| ApidError::Resolve {
        host: host.to_owned(),
        source,
    })?;
    Ok(found.take(MAX_ADDRESSES).collect())
}

struct Dialling<'a> {
    endpoint: &'a Endpoint,
    address: SocketAddr,
    until: Instant,
}

impl Dialling<'_> {
    async fn dial(&self, tls: Arc<ClientConfig>) -> Result<Channel, ApidError> {
        let address = self.address;
        let stream = self
            .within(Stage::Connect, TcpStream::connect(address))
            .await?;
        let stream = stream.map_err(|source| ApidError::Connect { address, source })?;
        // Questions are small and waited for.
        drop(stream.set_nodelay(true));
        let mut stream = self.within(Stage::Tls, self.secure(stream, tls)).await??;
        if let Ok(heard) = timeout(FIRST_BYTES, first_bytes(&mut stream)).await {
            heard.map_err(|error| ApidError::tls(address, &error))?;
        }
        Box::pin(self.within(Stage::Http, over(stream, address))).await?
    }

    async fn secure(
        &self,
        stream: TcpStream,
        tls: Arc<ClientConfig>,
    ) -> Result<TlsStream<TcpStream>, ApidError> {
        let host = self.endpoint.host();
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| ApidError::Tls {
            address: self.address,
            refusal: Refusal::NoName(host.to_owned()),
        })?;
        let connected = TlsConnector::from(tls).connect(name, stream).await;
        connected.map_err(|error| ApidError::tls(self.address, &error))
    }

    async fn within<F: Future>(&self, stage: Stage, work: F) -> Result<F::Output, ApidError> {
        let late = |_| ApidError::Late {
            stage,
            at: self.address.to_string(),
        };
        timeout_at(self.until, work).await.map_err(late)
    }
}

/// Waits for the server to speak, which HTTP/2 makes it do at once, and leaves what it says in the stream. In TLS 1.3 a client
/// is done before the server judges its certificate: only who listens first reads the alert that says why.
async fn first_bytes(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    match stream.fill_buf().await? {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// One channel over one stream: when the stream ends, the channel is dead.
async fn over(stream: TlsStream<TcpStream>, address: SocketAddr) -> Result<Channel, ApidError> {
    let mut stream = Some(stream);
    let connector = service_fn(move |_: Uri| {
        let next = stream
            .take()
            .ok_or_else(|| io::Error::other("the connection has ended"));
        async move { next.map(TokioIo::new) }
    });
    tonic::transport::Endpoint::from_static("http://apid.internal")
        .connect_with_connector(connector)
        .await
        .map_err(|source| ApidError::Http { address, source })
}
