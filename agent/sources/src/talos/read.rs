//! Asking for resources, one or all of a type.

use std::{future::Future, time::Duration};

use prost::Message as _;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
    metadata::{AsciiMetadataValue, MetadataMap},
};
use upstream::cosi::{self, GetRequest, ListRequest, state_client::StateClient};
use zeroize::Zeroize as _;

use super::{
    CALL_TIMEOUT, Kind, MESSAGE_BYTES, Malformed, RESOURCES, TEXT, TalosError, address::wall,
};

/// The metadata key by which a caller on the node names its roles.
const ROLE: &str = "talos-role";
/// The role by which everything is asked for that is no secret.
const READER: &str = "os:reader";
/// The role by which a caller asks for one of the few types that Talos keeps from readers, and for nothing else.
const ADMIN: &str = "os:admin";
/// The metadata key by which apid is told for which node a question is.
const NODE: &str = "node";

/// Whatever carries calls of gRPC: a channel over machined's socket, one over mutual TLS to apid, or a service in a test.
pub trait Carrier:
    GrpcService<
        Body,
        ResponseBody: HttpBody<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
    > + Clone
{
}

impl<T> Carrier for T
where
    T: GrpcService<Body> + Clone,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
}

/// One Talos node that can be asked.
#[derive(Clone, Debug)]
pub struct Talos<T> {
    pub(super) client: StateClient<T>,
    metadata: MetadataMap,
}

/// A resource with its identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<R> {
    /// Unique among those of its type and namespace.
    pub id: String,
    /// What it says.
    pub spec: R,
}

/// All resources of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<R> {
    /// Those that were understood.
    pub resources: Vec<Resource<R>>,
    /// How many were not.
    pub refused: usize,
    /// What was wrong with the first of them.
    pub first_refused: Option<Malformed>,
    /// When one of them changed last, since the Unix epoch and by the node's own clock.
    pub changed: Option<Duration>,
}

impl<T: Carrier> Talos<T> {
    /// Asks over `carrier`, which already says who asks (a client certificate).
    pub fn new(carrier: T) -> Self {
        let client = StateClient::new(carrier).max_decoding_message_size(MESSAGE_BYTES);
        Self {
            client,
            metadata: MetadataMap::new(),
        }
    }

    /// Asks over machined's socket, where a caller names its own roles.
    pub(super) fn as_reader(carrier: T) -> Self {
        let mut talos = Self::new(carrier);
        let role = AsciiMetadataValue::from_static(READER);
        talos.metadata.insert(ROLE, role);
        talos
    }

    /// The same, with each question passed on by apid to `node`.
    pub fn for_node(mut self, node: &str) -> Result<Self, TalosError> {
        let value = AsciiMetadataValue::try_from(node);
        let value = value.map_err(|_| TalosError::Metadata { key: NODE })?;
        self.metadata.insert(NODE, value);
        Ok(self)
    }

    /// One resource; `None` if there is none of this name.
    pub async fn get<R: Kind>(&self, id: &str) -> Result<Option<R>, TalosError> {
        self.get_in(R::NAMESPACE, id).await
    }

    /// One resource of another namespace than the usual.
    pub async fn get_in<R: Kind>(
        &self,
        namespace: &str,
        id: &str,
    ) -> Result<Option<R>, TalosError> {
        const OPERATION: &str = "get";
        let request = GetRequest {
            namespace: namespace.to_owned(),
            r#type: R::TYPE.to_owned(),
            id: id.to_owned(),
            options: None,
        };
        let mut client = self.client.clone();
        let mut request = self.request(request);
        if R::SENSITIVE && self.metadata.contains_key(ROLE) {
            let role = AsciiMetadataValue::from_static(ADMIN);
            request.metadata_mut().insert(ROLE, role);
        }
        let asked = in_time(OPERATION, R::TYPE, client.get(request));
        match asked.await? {
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(TalosError::call(OPERATION, R::TYPE, &status)),
            Ok(answer) => answer
                .into_inner()
                .resource
                .map(|resource| decode::<R>(resource).map(|resource| resource.spec))
                .transpose()
                .map_err(|source| TalosError::Malformed {
                    kind: R::TYPE,
                    source,
                }),
        }
    }

    /// All resources of a type.
    pub async fn list<R: Kind>(&self) -> Result<Listing<R>, TalosError> {
        self.list_in(R::NAMESPACE).await
    }

    /// All resources of a type in another namespace than the usual.
    pub async fn list_in<R: Kind>(&self, namespace: &str) -> Result<Listing<R>, TalosError> {
        in_time("list", R::TYPE, self.collect(namespace)).await?
    }

    async fn collect<R: Kind>(&self, namespace: &str) -> Result<Listing<R>, TalosError> {
        const OPERATION: &str = "list";
        let failed = |status: Status| TalosError::call(OPERATION, R::TYPE, &status);
        let request = ListRequest {
            namespace: namespace.to_owned(),
            r#type: R::TYPE.to_owned(),
            options: None,
        };
        let mut client = self.client.clone();
        let answer = client.list(self.request(request)).await.map_err(failed)?;
        let mut stream = answer.into_inner();
        let mut listing = Listing::default();
        while let Some(message) = stream.message().await.map_err(failed)? {
            let Some(resource) = message.resource else {
                continue;
            };
            if listing.resources.len() + listing.refused >= RESOURCES {
                return Err(TalosError::TooMany {
                    operation: OPERATION,
                    kind: R::TYPE,
                    limit: RESOURCES,
                });
            }
            listing.changed = listing.changed.max(changed(&resource));
            listing.add(decode(resource));
        }
        Ok(listing)
    }

    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata.clone();
        request
    }
}

impl<R> Default for Listing<R> {
    fn default() -> Self {
        Self {
            resources: Vec::new(),
            refused: 0,
            first_refused: None,
            changed: None,
        }
    }
}

impl<R> Listing<R> {
    fn add(&mut self, decoded: Result<Resource<R>, Malformed>) {
        match decoded {
            Ok(resource) => self.resources.push(resource),
            Err(error) => {
                self.refused += 1;
                self.first_refused.get_or_insert(error);
            }
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn in_time<F: Future>(
    operation: &'static str,
    kind: &'static str,
    answer: F,
) -> Result<F::Output, TalosError> {
    let late = |_| TalosError::Timeout {
        operation,
        kind,
        seconds: CALL_TIMEOUT.as_secs(),
    };
    timeout(CALL_TIMEOUT, answer).await.map_err(late)
}

/// The identifier of a resource.
pub(super) fn identifier(resource: &cosi::Resource) -> Result<String, Malformed> {
    let id = resource.metadata.as_ref().map(|metadata| &metadata.id);
    let plain = |id: &&String| id.len() <= TEXT && !id.chars().any(char::is_control);
    id.filter(plain)
        .cloned()
        .ok_or_else(|| Malformed::new("metadata.id", "a short text"))
}

/// A resource as bytes.
pub(crate) fn decode_resource<R: Kind>(bytes: &[u8]) -> Result<Resource<R>, Malformed> {
    let resource = cosi::Resource::decode(bytes);
    decode(resource.map_err(|_| Malformed::new("resource", "a resource of COSI"))?)
}
fn changed(resource: &cosi::Resource) -> Option<Duration> {
    wall(resource.metadata.as_ref()?.updated)
}

/// Overwrites a body that nobody takes apart: it may hold keys too.
pub(super) fn wipe(resource: &mut cosi::Resource) {
    if let Some(spec) = &mut resource.spec {
        spec.proto_spec.zeroize();
        spec.yaml_spec.zeroize();
    }
}

/// Takes a resource apart. Both forms of its body may hold keys, and are overwritten whatever comes of it.
pub(super) fn decode<R: Kind>(resource: cosi::Resource) -> Result<Resource<R>, Malformed> {
    let id = identifier(&resource);
    let mut spec = resource.spec.unwrap_or_default();
    let body = R::Body::decode(spec.proto_spec.as_slice());
    spec.proto_spec.zeroize();
    spec.yaml_spec.zeroize();
    let body = body.map_err(|_| Malformed::new("spec.proto_spec", "a message of this type"))?;
    Ok(Resource {
        id: id?,
        spec: R::check(body)?,
    })
}
