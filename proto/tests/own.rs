//! Certificates of an operator's own authority: who gets in, and what is said of files that cannot be used.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "support/authority.rs"]
mod authority;

use std::{error::Error as _, fs, path::Path, sync::Arc, time::Duration};

use evidence::NodeName;
use pem::Pem;
use proto::{
    transport::{DialError, Mark, dial, incoming, listen},
    trust::{Caller, CallerError, Callers, MeshKey, OwnError, OwnFiles, Role},
};
use rustls::ClientConfig;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use authority::Authority;

const BOUND: Duration = Duration::from_secs(20);
const COLLECTOR: &str = "spiffe://example.org/mesh/collector";
const AGENT: &str = "spiffe://example.org/mesh/agent/vps-1";
const READER: &str = "spiffe://example.org/mesh/reader";

fn node(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// Connects to a collector with those files; whom it takes the client for.
async fn meet(
    collector: &OwnFiles,
    client: ClientConfig,
) -> Result<Result<Caller, CallerError>, DialError> {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (tls, domain) = collector.server_config().unwrap();
    let mut connections = incoming(listener, Arc::new(tls), Arc::default());
    let accepted = tokio::spawn(async move {
        let mut stream = connections.recv().await?.ok()?;
        stream.write_all(b"hello").await.ok()?;
        let certificate = stream.get_ref().1.peer_certificates()?.first()?.clone();
        Some((Callers::Own { domain }.caller(&certificate), stream))
    });
    let dialled = Box::pin(dial(&target, Mark::None, Arc::new(client)));
    timeout(BOUND, dialled).await.unwrap()?;
    let (caller, _stream) = timeout(BOUND, accepted).await.unwrap().unwrap().unwrap();
    Ok(caller)
}

/// All that a failed connection says.
fn told(error: &DialError) -> String {
    let cause = error.source().map(ToString::to_string);
    format!("{error}: {}", cause.unwrap_or_default())
}

#[tokio::test]
async fn who_calls_is_known_by_the_spiffe_id_and_a_renewed_key_is_the_same_caller() {
    let authority = Authority::new();
    let collector = authority.issue(COLLECTOR);
    let agent = || authority.issue(AGENT).agent_config(&node("vps-1")).unwrap();
    let first = meet(&collector, agent()).await.unwrap().unwrap();
    assert_eq!(
        (first.role, &first.node, first.mesh.as_str()),
        (Role::Agent, &Some(node("vps-1")), "example.org")
    );
    // The authority issues another key under the same name.
    assert_eq!(meet(&collector, agent()).await.unwrap().unwrap(), first);
    let other = authority.issue("spiffe://example.org/mesh/agent/vps-2");
    let other = other.agent_config(&node("vps-2")).unwrap();
    assert_ne!(
        meet(&collector, other).await.unwrap().unwrap().key,
        first.key
    );
    let reader = authority.issue(READER).reader_config().unwrap();
    let reader = meet(&collector, reader).await.unwrap().unwrap();
    assert_eq!((reader.role, reader.node), (Role::Reader, None));
}

#[tokio::test]
async fn strangers_are_refused_on_both_sides_and_it_is_said_why() {
    let authority = Authority::new();
    let collector = authority.issue(COLLECTOR);
    let reader = || authority.issue(READER).reader_config().unwrap();
    // Another authority, on either side; the mesh key counts for nothing.
    let stranger = Authority::new();
    let refused = meet(&stranger.issue(COLLECTOR), reader())
        .await
        .unwrap_err();
    assert!(
        told(&refused).contains("invalid peer certificate"),
        "{}",
        told(&refused)
    );
    let mut foreign = stranger.issue(READER);
    foreign.authorities.clone_from(&collector.authorities);
    let foreign = foreign.reader_config().unwrap();
    assert!(matches!(
        meet(&collector, foreign).await,
        Err(DialError::Tls { .. })
    ));
    let derived = MeshKey::from_bytes([7; 32].into()).reader_config().unwrap();
    assert!(matches!(
        meet(&collector, derived).await,
        Err(DialError::Tls { .. })
    ));
    // The same authority serves another mesh.
    let elsewhere = authority.issue("spiffe://elsewhere.org/mesh/collector");
    let refused = told(&meet(&elsewhere, reader()).await.unwrap_err());
    assert!(
        refused.contains(r#"the trust domain "elsewhere.org", expected "example.org""#),
        "{refused}"
    );
    let elsewhere = authority.issue("spiffe://elsewhere.org/mesh/reader");
    let mut tls = elsewhere.reader_config().unwrap();
    // A client that does not care whom it talks to.
    tls.dangerous()
        .set_certificate_verifier(Arc::new(anybody::Anybody));
    let caller = meet(&collector, tls).await.unwrap();
    assert_eq!(
        caller.unwrap_err().to_string(),
        r#"client certificate has the trust domain "elsewhere.org", expected "example.org""#
    );
}

#[tokio::test]
async fn no_agent_can_play_the_collector() {
    let authority = Authority::new();
    let mut files = authority.issue(AGENT);
    let error = files.server_config().unwrap_err().to_string();
    assert!(
        error.ends_with("has the role agent, expected collector"),
        "{error}"
    );
    // Somebody who changes the program: the client looks for itself.
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let (mut tls, _) = authority.issue(COLLECTOR).server_config().unwrap();
    files = authority.issue(AGENT);
    tls.cert_resolver = Arc::new(anybody::certified(&files));
    let _connections = incoming(listener, Arc::new(tls), Arc::default());
    let reader = Arc::new(authority.issue(READER).reader_config().unwrap());
    let dialled = Box::pin(dial(&target, Mark::None, reader));
    let refused = timeout(BOUND, dialled).await.unwrap().unwrap_err();
    assert!(
        told(&refused).contains("the role agent, expected collector"),
        "{}",
        told(&refused)
    );
}

#[tokio::test]
async fn certificates_end_unlike_derived_ones() {
    let authority = Authority::new();
    let reader = authority.issue(READER).reader_config().unwrap();
    let ended = authority.issue_until(COLLECTOR, 2001);
    let refused = told(&meet(&ended, reader).await.unwrap_err());
    assert!(refused.contains("expired"), "{refused}");
    let ended = authority.issue_until(READER, 2001).reader_config().unwrap();
    let refused = meet(&authority.issue(COLLECTOR), ended).await.unwrap_err();
    assert!(matches!(refused, DialError::Tls { .. }), "{refused}");
}

#[test]
fn a_certificate_for_another_node_or_role_is_refused_at_once() {
    let authority = Authority::new();
    let files = authority.issue(AGENT);
    let error = files.agent_config(&node("vps-2")).unwrap_err();
    assert!(matches!(error, OwnError::Node { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("is for the node vps-1, and this is vps-2"),
        "{error}"
    );
    // An agent may read; a reader may not report.
    assert!(files.reader_config().is_ok());
    let error = authority.issue(READER).agent_config(&node("vps-1"));
    let error = error.unwrap_err().to_string();
    assert!(
        error.ends_with("has the role reader, expected agent"),
        "{error}"
    );
}

#[test]
fn a_key_in_the_form_of_sec1_is_read() {
    let authority = Authority::new();
    let mut files = authority.issue(READER);
    let pkcs8 = pem::parse(fs::read(&files.key).unwrap()).unwrap();
    let bytes = pkcs8.contents();
    // The octets of SEC 1 are inside of those of PKCS#8: a sequence that begins with the version 1 and a key of 32 bytes.
    let begins = |part: &[u8]| part[0] == 0x30 && part[2..] == [2, 1, 1, 4, 32];
    let start = bytes.windows(7).position(begins).unwrap();
    let length = usize::from(bytes[start + 1]) + 2;
    let inner = Pem::new("EC PRIVATE KEY", &bytes[start..start + length]);
    files.key = authority.write("sec1.key", &pem::encode(&inner));
    files.reader_config().unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_is_wrong_and_was_expected() {
    let authority = Authority::new();
    let good = authority.issue(READER);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let (certificate, key) = (read(&good.certificate), read(&good.key));
    let broken = pem::encode(&Pem::new("CERTIFICATE", b"no certificate"));
    let other = Authority::new();
    let encrypted = pem::encode(&Pem::new("ENCRYPTED PRIVATE KEY", b"x"));
    let nameless = other.issue("https://example.org/reader");
    let path = |name: &str, text: &str| authority.write(name, text);
    let with = |change: &dyn Fn(&mut OwnFiles)| {
        let mut files = good.clone();
        change(&mut files);
        let error = files.reader_config().unwrap_err();
        let shown = format!("{error} {error:?}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!shown.contains(&secret[..16]), "{shown}");
        error.to_string()
    };
    for (error, says) in [
        (
            with(&|f| f.certificate = "/nonexistent".into()),
            "failed to read /nonexistent",
        ),
        (
            with(&|f| f.certificate = path("a", "")),
            "/a: no PEM: expected PEM with CERTIFICATE",
        ),
        (
            with(&|f| f.certificate = path("b", &key)),
            "/b: block 1 is \"PRIVATE KEY\": expected PEM",
        ),
        (
            with(&|f| f.certificate = path("c", &(certificate.clone() + &broken))),
            "/c: block 2 is not valid X.509",
        ),
        (
            with(&|f| f.certificate = path("d", &certificate.repeat(33))),
            "/d: block 33 is \"CERTIFICATE\": expected PEM with CERTIFICATE blocks, 32 at most",
        ),
        (
            with(&|f| f.certificate = path("e", &" ".repeat(300_000))),
            "/e is larger than the 262144 bytes",
        ),
        (
            with(&|f| f.certificate.clone_from(&nameless.certificate)),
            "has 0 SPIFFE IDs: expected one URI spiffe://DOMAIN/mesh/ROLE",
        ),
        (
            with(&|f| f.key = path("f", &certificate)),
            "/f: no private key: expected PEM with one PRIVATE KEY",
        ),
        (
            with(&|f| f.key = path("g", &encrypted)),
            "/g: block 1 is \"ENCRYPTED PRIVATE KEY\"",
        ),
        (
            with(&|f| f.key = path("h", &(key.clone() + &key))),
            "/h: block 2 is a second key",
        ),
        (
            with(&|f| f.key = other.issue(READER).key),
            "is not that of the certificate in ",
        ),
        (
            with(&|f| f.authorities = path("i", &key)),
            "/i: block 1 is \"PRIVATE KEY\"",
        ),
    ] {
        assert!(error.contains(says), "{error}\nexpected: {says}");
    }
}

/// Who does not keep to the rules.
mod anybody {
    use proto::trust::OwnFiles;
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::aws_lc_rs::default_provider,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
        sign::{CertifiedKey, SingleCertAndKey},
    };

    pub(super) fn certified(files: &OwnFiles) -> SingleCertAndKey {
        let read = |path| {
            pem::parse(std::fs::read(path).unwrap())
                .unwrap()
                .into_contents()
        };
        let certificate = CertificateDer::from(read(&files.certificate));
        let key = PrivatePkcs8KeyDer::from(read(&files.key));
        let provider = default_provider();
        CertifiedKey::from_der(vec![certificate], key.into(), &provider)
            .unwrap()
            .into()
    }

    #[derive(Debug)]
    pub(super) struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            let algorithms = default_provider().signature_verification_algorithms;
            algorithms.supported_schemes()
        }
    }
}
