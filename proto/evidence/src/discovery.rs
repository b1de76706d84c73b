//! Facts about the discovery service, as one node sees it.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{Moment, PublicKey};

/// All that a node has seen of the discovery service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discovery {
    /// When this agent began to look.
    pub since: Moment,
    /// Which cluster the node asks for: a hash keyed with the mesh key, so that nodes can be compared and nobody else learns
    /// the id. `None` while the id is not known.
    pub cluster: Option<[u8; 8]>,
    /// Whether Talos on this node says that it does not use the service.
    pub registry_off: bool,
    /// The endpoints in the order in which they are configured, at most [`crate::limits::DISCOVERY_ENDPOINTS`].
    pub endpoints: Vec<DiscoveryEndpoint>,
}

/// One endpoint of the discovery service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryEndpoint {
    /// Its host, a name or an address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Whether TLS is spoken; a URL with `http` asks for none.
    pub tls: bool,
    /// When it was last looked at.
    pub at: Moment,
    /// What the resolvers say of the name; `None` if the host is an address, or if a proxy resolves it.
    pub names: Option<DiscoveryNames>,
    /// The HTTP proxy that the connections go through, as `host:port`.
    pub proxy: Option<String>,
    /// The addresses that were tried, at most [`crate::limits::DISCOVERY_ADDRESSES`].
    pub addresses: Vec<DiscoveryAddress>,
    /// How many more the name has.
    pub left_out: u32,
    /// The address of this node as the service sees it.
    pub public: Option<IpAddr>,
    /// Where the service sends its clients instead.
    pub redirect: Option<String>,
    /// What `List` gave last.
    pub affiliates: Option<Affiliates>,
}

/// The answers for one name, a family each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryNames {
    /// The resolvers that were asked, at most [`crate::limits::RESOLVERS`].
    pub resolvers: Vec<SocketAddr>,
    /// The A records.
    pub ipv4: NameAnswer,
    /// The AAAA records.
    pub ipv6: NameAnswer,
    /// How many times in a row, up to now, neither family had an address.
    pub failed: u32,
    /// When the first of these times was.
    pub failed_since: Option<Moment>,
}

/// What the resolvers said for one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameAnswer {
    /// What came.
    pub outcome: NameOutcome,
    /// How long it took, in microseconds.
    pub took_us: u32,
    /// What was said, for a person; empty if addresses came.
    pub text: String,
}

/// How a question for a name ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NameOutcome {
    /// There are addresses.
    Found,
    /// The name exists and has no address of the family.
    Empty,
    /// NXDOMAIN: the name does not exist.
    NoSuchName,
    /// SERVFAIL.
    ServerFailure,
    /// REFUSED.
    Refused,
    /// No resolver answered in time.
    Silent,
    /// No resolver could be asked: none is known, or none can be reached.
    NoResolver,
    /// Anything else.
    Other,
}

/// One address of an endpoint, or of the proxy in front of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryAddress {
    /// The address.
    pub address: IpAddr,
    /// The stages of the newest connection that were tried, in their order, each at most once. Only the last can have failed.
    pub stages: Vec<DiscoveryStage>,
    /// How many connections in a row, up to now, failed before the service could be asked.
    pub failed: u32,
    /// When the first of these was tried.
    pub failed_since: Option<Moment>,
    /// The newest `Hello` over this address; one in a minute is sent over all.
    pub hello: Option<DiscoveryStage>,
    /// How many times in a row, up to now, one of the two failed.
    pub calls_failed: u32,
    /// The newest `List` over this address.
    pub list: Option<DiscoveryStage>,
    /// The certificate of the far end.
    pub certificate: Option<DiscoveryCertificate>,
}

/// How far one came, how long that took and what ended it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryStage {
    /// Which.
    pub stage: Stage,
    /// When it ended.
    pub at: Moment,
    /// How long it took, in microseconds.
    pub took_us: u32,
    /// Why it failed; `None` if it did not.
    pub failure: Option<StageFailure>,
}

/// A stage on the way to the discovery service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// A TCP connection.
    Tcp,
    /// The proxy's leave to pass (CONNECT).
    Proxy,
    /// The TLS handshake, with a certificate that is trusted.
    Tls,
    /// HTTP/2.
    Http2,
    /// The call `Hello`.
    Hello,
    /// The call `List`.
    List,
}

/// Why a stage failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageFailure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What was said, for a person; never holds a key.
    pub text: String,
}

/// The kinds of failures that lead to different advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// Somebody refused: a reset in answer to SYN, or a proxy that says no.
    Refused,
    /// No route, or a router said so.
    Unreachable,
    /// Nothing came in time.
    Silent,
    /// The connection was reset or ended in the middle.
    Reset,
    /// The certificate's issuer is not trusted.
    Untrusted,
    /// The certificate is for another name.
    WrongName,
    /// The certificate is not valid at this time.
    OutOfDate,
    /// The far end speaks TLS, but not HTTP/2.
    NoHttp2,
    /// What came was not what the stage speaks.
    Garbage,
    /// The service limits the rate of requests.
    RateLimited,
    /// The service answered with another error.
    Status,
    /// Anything else.
    Other,
}

/// A certificate as the far end showed it, trusted or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveryCertificate {
    /// Who issued it.
    pub issuer: String,
    /// The names that it is for, at most [`crate::limits::CERTIFICATE_NAMES`].
    pub names: Vec<String>,
    /// The first 8 bytes of its SHA-256 digest.
    pub fingerprint: [u8; 8],
    /// From when it is valid, in seconds of Unix time.
    pub not_before: i64,
    /// Until when it is valid, in seconds of Unix time.
    pub not_after: i64,
    /// The wall clock of the node in seconds of Unix time, when it was shown.
    pub seen_at: i64,
    /// The protocol that was agreed on (ALPN).
    pub protocol: Option<String>,
}

/// What one `List` gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affiliates {
    /// When it came.
    pub at: Moment,
    /// How many affiliates the service has.
    pub count: u32,
    /// The most endpoints that one of them has.
    pub most_endpoints: u32,
    /// Endpoints of decrypted affiliates that are none once they are decrypted.
    pub garbled: u32,
    /// A digest of the set of their ids: nodes that see the same have the same.
    pub digest: [u8; 8],
    /// How many could be decrypted, or have said nothing yet; `None` without the key.
    pub decrypted: Option<u32>,
    /// The ids of some that could not, at most [`crate::limits::AFFILIATES`].
    pub sealed: Vec<String>,
    /// Whether this node's own affiliate is among them; `None` if that cannot be told.
    pub own: Option<bool>,
    /// Some that this node's device does not have as a peer, at most [`crate::limits::AFFILIATES`].
    pub unknown: Vec<Affiliate>,
    /// Some that want the same node address as another, in pairs, at most [`crate::limits::AFFILIATES`] pairs.
    pub rivals: Vec<Rivals>,
    /// Some peers of this node's device that no affiliate stands for, at most [`crate::limits::AFFILIATES`].
    pub unlisted: Vec<PublicKey>,
}

/// One node as it tells the others of itself through the discovery service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affiliate {
    /// The name that it gives itself.
    pub name: String,
    /// The key of its `kubespan` device.
    pub key: PublicKey,
    /// Since when this agent has seen it listed.
    pub since: Moment,
    /// Where it can be dialled, as far as is known, at most [`crate::limits::AFFILIATE_ENDPOINTS`].
    pub endpoints: Vec<SocketAddr>,
}

/// Two affiliates with one node address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rivals {
    /// The address.
    pub address: IpAddr,
    /// One of them.
    pub one: Affiliate,
    /// The other.
    pub other: Affiliate,
}

impl Stage {
    /// All stages in their order.
    pub const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Proxy,
        Self::Tls,
        Self::Http2,
        Self::Hello,
        Self::List,
    ];

    /// The name a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Proxy => "CONNECT",
            Self::Tls => "TLS",
            Self::Http2 => "HTTP/2",
            Self::Hello => "Hello",
            Self::List => "List",
        }
    }
}

impl NameOutcome {
    /// The name a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Empty => "no address",
            Self::NoSuchName => "NXDOMAIN",
            Self::ServerFailure => "SERVFAIL",
            Self::Refused => "REFUSED",
            Self::Silent => "no answer",
            Self::NoResolver => "no resolver",
            Self::Other => "failed",
        }
    }
}

impl DiscoveryNames {
    /// Whether the name has an address.
    pub fn found(&self) -> bool {
        [&self.ipv4, &self.ipv6]
            .iter()
            .any(|answer| answer.outcome == NameOutcome::Found)
    }
}

impl DiscoveryAddress {
    /// The stage that failed, of the newest connection or of the newest calls.
    pub fn failure(&self) -> Option<(&DiscoveryStage, &StageFailure)> {
        let connection = self.stages.iter();
        let calls = self.hello.iter().chain(&self.list);
        connection
            .chain(calls)
            .find_map(|stage| Some((stage, stage.failure.as_ref()?)))
    }

    /// Whether a connection comes so far that the service can be asked.
    pub fn connects(&self) -> bool {
        let last = self.stages.last();
        last.is_some_and(|last| last.stage == Stage::Http2 && last.failure.is_none())
    }
}

impl Discovery {
    /// Moves all moments onto a timeline whose origin lies `offset` milliseconds earlier.
    pub fn shift(&mut self, offset: i64) {
        self.since = self.since.shifted(offset);
        for endpoint in &mut self.endpoints {
            endpoint.shift(offset);
        }
    }
}

impl DiscoveryEndpoint {
    fn shift(&mut self, offset: i64) {
        self.at = self.at.shifted(offset);
        if let Some(names) = &mut self.names {
            names.failed_since = names.failed_since.map(|at| at.shifted(offset));
        }
        for address in &mut self.addresses {
            address.failed_since = address.failed_since.map(|at| at.shifted(offset));
            let stages = address.stages.iter_mut();
            for stage in stages.chain(&mut address.hello).chain(&mut address.list) {
                stage.at = stage.at.shifted(offset);
            }
        }
        if let Some(affiliates) = &mut self.affiliates {
            affiliates.shift(offset);
        }
    }
}

impl Affiliates {
    fn shift(&mut self, offset: i64) {
        self.at = self.at.shifted(offset);
        let rivals = self.rivals.iter_mut();
        let rivals = rivals.flat_map(|pair| [&mut pair.one, &mut pair.other]);
        for affiliate in self.unknown.iter_mut().chain(rivals) {
            affiliate.since = affiliate.since.shifted(offset);
        }
    }
}
