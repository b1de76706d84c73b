//! Why a connection ended without a word.
//!
//! In TLS 1.3 a client is done before the server judges its certificate. A refusal then ends a connection that looked
//! fine, HTTP/2 loses its reason, and the first request just fails. Here a second connection stays silent after the
//! handshake and listens, so that the server's alert cannot get lost.

use std::sync::Arc;

use proto::trust::COLLECTOR_NAME;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::TlsConnector;

/// The alert with which the server at `target` ends a connection that says nothing; `None` if it does not. Waits for a
/// server that likes us until it says something itself, which HTTP/2 makes it do at once.
pub(crate) async fn alert(target: &str, tls: Arc<ClientConfig>) -> Option<rustls::Error> {
    let name = ServerName::try_from(COLLECTOR_NAME).ok()?;
    let stream = TcpStream::connect(target).await.ok()?;
    let mut stream = TlsConnector::from(tls).connect(name, stream).await.ok()?;
    let error = stream.read_u8().await.err()?;
    let inner = error.into_inner()?.downcast::<rustls::Error>().ok()?;
    matches!(*inner, rustls::Error::AlertReceived(_)).then_some(*inner)
}
