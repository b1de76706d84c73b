//! Names to addresses, with each way to fail kept apart: who does not know a name fares differently from who hears nobody.
//!
//! The node's own resolvers are asked one after the other, in the order of `/etc/resolv.conf`, until one knows; nothing is
//! cached, so an answer is of this moment. The families are asked apart: a name without IPv6 is no failure of the name.

mod asking;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    Resolver as Asker,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, NoRecords},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf,
};
use thiserror::Error;

use self::asking::Asking;

/// The file that names the resolvers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Most resolvers that are asked; the C library asks no more.
pub const MAX_RESOLVERS: usize = 3;
/// Most addresses of one family that are taken from an answer.
pub const MAX_ADDRESSES: usize = 16;
/// How long one resolver has to answer one question, a repetition included.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Asks the node's resolvers.
#[derive(Clone)]
pub struct Resolver {
    resolvers: Vec<(IpAddr, Asker<Asking>)>,
}

/// The addresses of one name, by family.
#[derive(Debug)]
pub struct Addresses {
    /// IPv4.
    pub v4: Result<Vec<Ipv4Addr>, NameError>,
    /// IPv6.
    pub v6: Result<Vec<Ipv6Addr>, NameError>,
    /// Resolvers that were asked and could not tell, with why, in the order in which they were asked.
    pub passed_over: Vec<(IpAddr, NameError)>,
}

/// The resolvers of the node are not known.
#[derive(Debug, Error)]
pub enum ResolverError {
    /// The file cannot be read, or names no resolver.
    #[error("read the resolvers in {RESOLV_CONF}: {0}")]
    Configuration(String),
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// It is no name of the domain name system.
    #[error("{0:?} is no domain name")]
    NotAName(String),
    /// NXDOMAIN: a resolver answered that there is no such name.
    #[error("there is no such name (NXDOMAIN)")]
    NoSuchName,
    /// The name is there, and has no address of this family.
    #[error("the name has no address of this family")]
    NoAddress,
    /// The resolver could not find out.
    #[error("the resolver failed to answer (SERVFAIL)")]
    ServFail,
    /// The resolver does not serve this node.
    #[error("the resolver refused to answer (REFUSED)")]
    Refused,
    /// Another response code.
    #[error("the resolver answered with code {0}")]
    Code(u16),
    /// No resolver answered in time.
    #[error("no resolver answered in time")]
    Timeout,
    /// No resolver could be asked: no route, or its port is closed.
    #[error("no resolver could be asked: {0}")]
    Unreachable(String),
    /// There is no resolver to ask.
    #[error("{RESOLV_CONF} names no resolver")]
    NoResolver,
    /// A resolver answered what is no answer.
    #[error("a resolver's answer is malformed: {0}")]
    Malformed(String),
}

impl Resolver {
    /// With the resolvers that the system names now. Read anew when the file may have changed.
    pub fn system() -> Result<Self, ResolverError> {
        let (config, _) = system_conf::read_system_conf()
            .map_err(|error| ResolverError::Configuration(error.to_string()))?;
        let mut servers = config.name_servers;
        servers.truncate(MAX_RESOLVERS);
        Self::with_servers(servers, ResolveHosts::Auto)
    }

    /// With given resolvers, without the hosts file.
    pub fn with_resolvers(resolvers: &[SocketAddr]) -> Result<Self, ResolverError> {
        let server = |address: &SocketAddr| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            server
        };
        let servers = resolvers.iter().take(MAX_RESOLVERS).map(server).collect();
        Self::with_servers(servers, ResolveHosts::Never)
    }

    fn with_servers(
        servers: Vec<NameServerConfig>,
        hosts: ResolveHosts,
    ) -> Result<Self, ResolverError> {
        let one = |server: NameServerConfig| {
            let address = server.ip;
            let config = ResolverConfig::from_name_servers(vec![server]);
            let mut builder = Asker::builder_with_config(config, Asking::default());
            set(builder.options_mut(), hosts);
            Ok((address, builder.build()?))
        };
        let resolvers: Result<_, NetError> = servers.into_iter().map(one).collect();
        let resolvers =
            resolvers.map_err(|error| ResolverError::Configuration(error.to_string()))?;
        Ok(Self { resolvers })
    }

    /// Who is asked, first first.
    pub fn resolvers(&self) -> impl Iterator<Item = IpAddr> {
        self.resolvers.iter().map(|(address, _)| *address)
    }

    /// The addresses of a name; a name that is an address is its own answer and nobody is asked.
    pub async fn addresses(&self, name: &str) -> Addresses {
        if let Ok(address) = name.parse() {
            return literal(address);
        }
        let v4 = self.family(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        });
        let v6 = self.family(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        });
        let ((v4, mut passed_over), (v6, more)) = tokio::join!(v4, v6);
        let new = |(resolver, _): &(IpAddr, NameError)| {
            passed_over.iter().all(|(known, _)| known != resolver)
        };
        let more: Vec<_> = more.into_iter().filter(new).collect();
        passed_over.extend(more);
        Addresses {
            v4,
            v6,
            passed_over,
        }
    }

    /// The word of the first resolver that knows, and those before it that could not tell.
    async fn family<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> (Result<Vec<T>, NameError>, Vec<(IpAddr, NameError)>) {
        let mut passed_over = Vec::new();
        let Ok(asked) = absolute(name).parse::<Name>() else {
            return (Err(NameError::NotAName(name.to_owned())), passed_over);
        };
        for (resolver, asker) in &self.resolvers {
            let result = match asker.lookup(asked.clone(), kind).await {
                Ok(lookup) => some(&lookup, &pick),
                Err(error) => Err(failure(&error)),
            };
            match result {
                Err(error) if !error.is_final() => passed_over.push((*resolver, error)),
                known => return (known, passed_over),
            }
        }
        let first = passed_over.first().map(|(_, error)| error.clone());
        (Err(first.unwrap_or(NameError::NoResolver)), passed_over)
    }
}

impl NameError {
    /// Whether another resolver would say the same: this one knows.
    const fn is_final(&self) -> bool {
        matches!(self, Self::NotAName(_) | Self::NoSuchName | Self::NoAddress)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("resolvers", &self.resolvers().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Addresses {
    /// All of them, IPv4 first.
    pub fn all(&self) -> Vec<IpAddr> {
        let v4 = self.v4.iter().flatten().copied().map(IpAddr::V4);
        let v6 = self.v6.iter().flatten().copied().map(IpAddr::V6);
        v4.chain(v6).collect()
    }

    /// Why there is none; `None` if there is one. Of two reasons the one that says more.
    pub fn failure(&self) -> Option<&NameError> {
        match (&self.v4, &self.v6) {
            (Err(NameError::NoAddress), Err(other)) | (Err(other), Err(_)) => Some(other),
            _ => None,
        }
    }
}

/// A question that is lost is repeated within the time of an answer; nothing is remembered.
fn set(options: &mut ResolverOpts, hosts: ResolveHosts) {
    options.cache_size = 0;
    options.timeout = ANSWER_WITHIN;
    options.attempts = 0;
    // Else a port is drawn by lot, of all: KubeSpan's own among them.
    options.os_port_selection = true;
    options.use_hosts_file = hosts;
}

/// A name with a dot is meant as it stands: no search list.
fn absolute(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') {
        format!("{name}.")
    } else {
        name.to_owned()
    }
}

fn literal(address: IpAddr) -> Addresses {
    match address {
        IpAddr::V4(address) => Addresses {
            v4: Ok(vec![address]),
            v6: Err(NameError::NoAddress),
            passed_over: Vec::new(),
        },
        IpAddr::V6(address) => Addresses {
            v4: Err(NameError::NoAddress),
            v6: Ok(vec![address]),
            passed_over: Vec::new(),
        },
    }
}

fn some<T>(lookup: &Lookup, pick: &impl Fn(&RData) -> Option<T>) -> Result<Vec<T>, NameError> {
    let records = lookup.answers().iter();
    let found: Vec<T> = records
        .filter_map(|record| pick(&record.data))
        .take(MAX_ADDRESSES)
        .collect();
    if found.is_empty() {
        return Err(NameError::NoAddress);
    }
    Ok(found)
}

fn failure(error: &NetError) -> NameError {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) => {
            code(*response_code)
        }
        NetError::Dns(DnsError::ResponseCode(response)) => code(*response),
        NetError::Timeout => NameError::Timeout,
        NetError::NoConnections | NetError::Busy => {
            NameError::Unreachable("no connection".to_owned())
        }
        NetError::Io(error) => NameError::Unreachable(error.to_string()),
        other => NameError::Malformed(other.to_string()),
    }
}

fn code(response: ResponseCode) -> NameError {
    match response {
        ResponseCode::NoError => NameError::NoAddress,
        ResponseCode::NXDomain => NameError::NoSuchName,
        ResponseCode::ServFail => NameError::ServFail,
        ResponseCode::Refused => NameError::Refused,
        other => NameError::Code(other.into()),
    }
}

#[cfg(test)]
mod tests;
