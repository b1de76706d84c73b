//! TLS, with a note of what the far end showed, trusted or not.
//!
//! Trusted is whom the node trusts, as for Talos' own client: the certificates in `/etc/ssl/certs` with those that an operator has
//! added, or in `SSL_CERT_FILE`. A list that came with this program would call a company's own authority a forger.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest;
use evidence::{
    discovery::{DiscoveryCertificate, FailureKind, StageFailure},
    limits,
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs as provider},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{
    stages::failure,
    text::{chain, tame},
};

const HTTP2: &[u8] = b"h2";
/// Offered as well, so that a far end without HTTP/2 says so instead of hanging up.
const HTTP1: &[u8] = b"http/1.1";

/// Whom a certificate must come from.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

/// What became of a handshake.
pub(super) struct Shaken<S> {
    pub(super) stream: Result<TlsStream<S>, StageFailure>,
    pub(super) certificate: Option<DiscoveryCertificate>,
}

impl Roots {
    /// Those of the node; unreadable ones are left out.
    pub fn of_node() -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs().certs;
        let (_taken, _odd) = roots.add_parsable_certificates(found);
        Self(Arc::new(roots))
    }

    /// Given ones, in DER.
    pub fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = RootCertStore::empty();
        let (_taken, _odd) = roots.add_parsable_certificates(certificates);
        Self(Arc::new(roots))
    }
}

/// Shakes hands as a client of `host`.
pub(super) async fn shake<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    host: &str,
    roots: &Roots,
) -> Shaken<S> {
    let shown = Arc::new(Mutex::new(None));
    let stream = match prepare(host, roots, &shown) {
        Ok((config, name)) => {
            let shaken = TlsConnector::from(config).connect(name, stream).await;
            shaken.map_err(|error| why(&error))
        }
        Err(failure) => Err(failure),
    };
    let mut certificate = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    let stream = stream.and_then(|stream| spoken(stream, certificate.as_mut()));
    Shaken {
        stream,
        certificate,
    }
}

type Shown = Arc<Mutex<Option<DiscoveryCertificate>>>;

fn prepare(
    host: &str,
    roots: &Roots,
    shown: &Shown,
) -> Result<(Arc<ClientConfig>, ServerName<'static>), StageFailure> {
    let other = |error: &dyn std::error::Error| failure(FailureKind::Other, &chain(error));
    if roots.0.is_empty() {
        let text = "this node trusts no authority: mount its /etc/ssl/certs into the agent";
        return Err(failure(FailureKind::Other, text));
    }
    let provider: Arc<CryptoProvider> = Arc::new(provider::default_provider());
    let judge =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.0), Arc::clone(&provider))
            .build()
            .map_err(|error| other(&error))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| other(&error))?;
    let recorder = Recorder {
        judge,
        shown: Arc::clone(shown),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| other(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(recorder))
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok((Arc::new(config), name))
}

/// Without HTTP/2 nothing of gRPC works, though all else may be well.
fn spoken<S>(
    stream: TlsStream<S>,
    certificate: Option<&mut DiscoveryCertificate>,
) -> Result<TlsStream<S>, StageFailure> {
    let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    let text = protocol.as_deref().map(String::from_utf8_lossy);
    if let Some(certificate) = certificate {
        certificate.protocol = text.as_deref().map(tame);
    }
    if protocol.as_deref() == Some(HTTP2) {
        return Ok(stream);
    }
    let spoken = text.map_or_else(|| "no protocol".to_owned(), |text| tame(&text));
    let text = format!("TLS ends at something that agrees on {spoken}, not on h2");
    Err(failure(FailureKind::NoHttp2, &text))
}

fn why(error: &io::Error) -> StageFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let kind = match inner {
        Some(Error::InvalidCertificate(error)) => certificate(error),
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => FailureKind::NoHttp2,
        Some(
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_)
            | Error::PeerIncompatible(_)
            | Error::PeerSentOversizedRecord
            | Error::DecryptError,
        ) => FailureKind::Garbage,
        Some(_) => FailureKind::Other,
        None => FailureKind::Reset,
    };
    failure(kind, &chain(error))
}

const fn certificate(error: &CertificateError) -> FailureKind {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => FailureKind::OutOfDate,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            FailureKind::WrongName
        }
        _ => FailureKind::Untrusted,
    }
}

/// Judges as the node would, and notes what was shown.
#[derive(Debug)]
struct Recorder {
    judge: Arc<WebPkiServerVerifier>,
    shown: Shown,
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = described(end_entity);
        drop(shown);
        self.judge
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }
}

fn described(der: &CertificateDer<'_>) -> Option<DiscoveryCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let whole = digest::digest(&digest::SHA256, der);
    let validity = certificate.validity();
    Some(DiscoveryCertificate {
        issuer: tame(&certificate.issuer().to_string()),
        names: names(&certificate),
        fingerprint: whole.as_ref().first_chunk().copied()?,
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        seen_at: wall(),
        protocol: None,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names
        .into_iter()
        .flat_map(|names| &names.value.general_names);
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(tame(name)),
        GeneralName::IPAddress(bytes) => super::open::address(bytes).map(|ip| ip.to_string()),
        _ => None,
    };
    names
        .filter_map(text)
        .take(limits::CERTIFICATE_NAMES)
        .collect()
}

/// The node's wall clock, right or wrong.
fn wall() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
