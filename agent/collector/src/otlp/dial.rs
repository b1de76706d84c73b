//! The connection to a receiver: TCP along the routes of the machine, TLS if the endpoint is `https`, HTTP/2 on that.
//!
//! It is made anew whenever it has ended; trusted certificates are read for each, so that renewed ones count.

use std::{io, path::Path, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::spawn_blocking,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::settings::Otlp;

const HTTP2: &[u8] = b"h2";
/// Time for TCP, and for TLS on it.
const CONNECT: Duration = Duration::from_secs(5);
/// Time between two pings of a connection while a call is open, and for the answer.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What a receiver is told about who calls.
const AGENT: &str = concat!("mesh-collector/", env!("CARGO_PKG_VERSION"));

/// A connection, of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The channel; it dials with its first call. Fails if the endpoint makes no URI, which [`Otlp::asked`] has excluded.
pub(super) fn channel(otlp: &Otlp) -> Result<Channel, String> {
    let authority = otlp.endpoint.authority();
    // A connector of our own makes the TLS, so the channel is told of plain HTTP/2; the origin is what the receiver is told.
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .and_then(|endpoint| endpoint.user_agent(AGENT))
        .map_err(|error| error.to_string())?;
    let origin: Uri = otlp
        .endpoint()
        .parse()
        .map_err(|error: http::uri::InvalidUri| error.to_string())?;
    let endpoint = endpoint
        .origin(origin)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    let otlp = Arc::new(otlp.clone());
    let connector = service_fn(move |_: Uri| {
        let otlp = Arc::clone(&otlp);
        async move { connect(&otlp).await.map(TokioIo::new) }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

async fn connect(otlp: &Otlp) -> io::Result<Box<dyn Stream>> {
    let endpoint = &otlp.endpoint;
    let (host, port) = (endpoint.host.as_str(), endpoint.port);
    let stream = timeout(CONNECT, TcpStream::connect((host, port)));
    let stream = stream.await.map_err(|_| late("TCP"))??;
    stream.set_nodelay(true)?;
    if !endpoint.tls {
        return Ok(Box::new(stream));
    }
    let authorities = otlp.authorities.clone();
    let roots = spawn_blocking(move || roots(authorities.as_deref())).await;
    let roots = roots.map_err(io::Error::other)??;
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let stream = timeout(CONNECT, shaken).await.map_err(|_| late("TLS"))??;
    if stream.get_ref().1.alpn_protocol() != Some(HTTP2) {
        return Err(io::Error::other("TLS: the receiver does not speak HTTP/2"));
    }
    Ok(Box::new(stream))
}

fn late(stage: &str) -> io::Error {
    let text = format!("{stage}: no answer within {} s", CONNECT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

/// Whom to trust: a file's authorities, or the system's, as `SSL_CERT_FILE`, `SSL_CERT_DIR` and `/etc/ssl/certs` say.
fn roots(file: Option<&Path>) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = file {
        let wrong = |error| io::Error::other(format!("{}: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(wrong)? {
            let added = roots.add(certificate.map_err(wrong)?);
            added.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        }
    } else {
        let found = rustls_native_certs::load_native_certs().certs;
        let (_taken, _odd) = roots.add_parsable_certificates(found);
    }
    if roots.is_empty() {
        let place = file.map_or_else(
            || "the system's store (SSL_CERT_FILE, /etc/ssl/certs)".to_owned(),
            |path| path.display().to_string(),
        );
        return Err(io::Error::other(format!(
            "no certificate to trust in {place}"
        )));
    }
    Ok(roots)
}
