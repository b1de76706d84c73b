//! Fake apids on loopback: an authority of their own, and a COSI state server behind mutual TLS.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use proto::transport::{incoming, listen};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, transport::Server};
use upstream::cosi::{
    GetRequest, GetResponse, ListRequest, ListResponse, Metadata, Resource, Spec, WatchRequest,
    WatchResponse,
    state_server::{State, StateServer},
};

/// A cluster's authority, which both apids and their clients have their certificates from.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// From when a server's certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Valid {
    Always,
    Later,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "talos");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A server for an address, which asks for a certificate of the same authority.
    pub(crate) fn server(&self, address: SocketAddr, valid: Valid) -> ServerConfig {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress(address.ip())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if valid == Valid::Later {
            params.not_before = date_time_ymd(2100, 1, 1);
            params.not_after = date_time_ymd(2101, 1, 1);
        }
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// Writes a talosconfig for a reader of this cluster.
    pub(crate) fn talosconfig(&self, path: &Path, endpoints: &[SocketAddr]) {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "os:reader");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = key
            .serialize_pem()
            .replace("PRIVATE KEY", "ED25519 PRIVATE KEY");
        let [ca, crt, key] =
            [self.pem.clone(), certificate.pem(), key].map(|pem| STANDARD.encode(pem));
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|endpoint| format!("'{endpoint}'"))
            .collect();
        let endpoints = endpoints.join(", ");
        let text = format!(
            "context: lab\ncontexts:\n  lab:\n    endpoints: [{endpoints}]\n    ca: {ca}\n    crt: {crt}\n    key: {key}\n"
        );
        std::fs::write(path, text).unwrap();
    }
}

/// What a fake apid says, and what it was asked for.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    pub(crate) resources: Vec<Resource>,
    pub(crate) asked: Arc<Mutex<BTreeSet<String>>>,
    /// Who may not ask gets this.
    pub(crate) denies: bool,
    /// Takes questions and answers none.
    pub(crate) hangs: bool,
}

impl Fake {
    pub(crate) fn add(&mut self, kind: &str, id: &str, body: &impl Message, changed: i64) {
        let metadata = Metadata {
            r#type: kind.to_owned(),
            id: id.to_owned(),
            updated: Some(prost_types::Timestamp {
                seconds: changed,
                nanos: 0,
            }),
            ..Metadata::default()
        };
        let spec = Spec {
            proto_spec: body.encode_to_vec(),
            yaml_spec: String::new(),
        };
        self.resources.push(Resource {
            metadata: Some(metadata),
            spec: Some(spec),
        });
    }

    /// The types that were asked for.
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn of(&self, kind: &str) -> Result<Vec<Resource>, Status> {
        self.asked.lock().unwrap().insert(kind.to_owned());
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if self.denies {
            return Err(Status::permission_denied("not authorized"));
        }
        let found = self.resources.iter().filter(|resource| {
            let metadata = resource.metadata.as_ref();
            metadata.is_some_and(|metadata| metadata.r#type == kind)
        });
        Ok(found.cloned().collect())
    }
}

/// Serves until the runtime of the test ends.
pub(crate) fn serve(fake: Fake, address: SocketAddr, tls: ServerConfig) {
    let (listener, _) = listen(address).unwrap();
    let connections = ReceiverStream::new(incoming(listener, Arc::new(tls), Arc::default()));
    let served = Server::builder().add_service(StateServer::new(fake));
    tokio::spawn(served.serve_with_incoming(connections));
}

#[tonic::async_trait]
impl State for Fake {
    type ListStream = Pin<Box<dyn Stream<Item = Result<ListResponse, Status>> + Send>>;
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let request = request.into_inner();
        let found = self
            .of(&request.r#type)
            .await?
            .into_iter()
            .find(|resource| {
                let metadata = resource.metadata.as_ref();
                metadata.is_some_and(|metadata| metadata.id == request.id)
            });
        let resource = found.ok_or_else(|| Status::not_found("resource doesn't exist"))?;
        Ok(Response::new(GetResponse {
            resource: Some(resource),
        }))
    }

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let found = self.of(&request.into_inner().r#type).await?;
        let answers = found.into_iter().map(|resource| {
            Ok(ListResponse {
                resource: Some(resource),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("nobody watches from a workstation"))
    }
}
