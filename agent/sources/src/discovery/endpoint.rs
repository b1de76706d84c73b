//! Where a discovery service is.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;
use url::{Host, Url};

/// An endpoint of the discovery service, as Talos' `DiscoveryServiceConfig` takes it: `https`, `grpc` or `http`, a host, a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Only `http` goes without TLS.
    pub tls: bool,
}

/// Which cluster: an opaque text. Whoever knows it can list and overwrite what the service holds, so it does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterId(String);

/// A text that the service takes for no cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a cluster id has 1 to {MAX_CLUSTER_ID} bytes, not {0}")]
pub struct ClusterIdError(usize);

/// Longest cluster id that the service takes (`limits.ClusterIDMax`).
const MAX_CLUSTER_ID: usize = 256;

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// It is no URL.
    #[error("{0:?} is no URL")]
    Url(String),
    /// Another scheme.
    #[error("the scheme of {0:?} is not https, grpc or http")]
    Scheme(String),
    /// There is no host.
    #[error("{0:?} names no host")]
    Host(String),
}

impl ClusterId {
    /// As the service is told.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterId {
    type Err = ClusterIdError;
    fn from_str(text: &str) -> Result<Self, ClusterIdError> {
        match text.len() {
            1..=MAX_CLUSTER_ID => Ok(Self(text.to_owned())),
            length => Err(ClusterIdError(length)),
        }
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterId(..)")
    }
}

impl Endpoint {
    /// The host, if it is an address.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as in a URL.
    pub fn authority(&self) -> String {
        match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]:{}", self.port),
            _ => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}/", self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Takes a URL. A redirect of the service names host and port alone, which means TLS.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let whole = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = Url::parse(&whole).map_err(|_| EndpointError::Url(text.to_owned()))?;
        let tls = match url.scheme() {
            "https" | "grpc" => true,
            "http" => false,
            _ => return Err(EndpointError::Scheme(text.to_owned())),
        };
        let host = host(&url).ok_or_else(|| EndpointError::Host(text.to_owned()))?;
        let default = if tls { 443 } else { 80 };
        Ok(Self {
            host,
            port: url.port().unwrap_or(default),
            tls,
        })
    }
}

fn host(url: &Url) -> Option<String> {
    // Of a scheme that URLs do not know, an address is just text.
    match url.host()? {
        Host::Domain("") => None,
        Host::Domain(name) => Some(name.to_ascii_lowercase()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Endpoint>().unwrap().to_string()
    }

    #[test]
    fn the_schemes_of_talos_give_port_and_tls() {
        assert_eq!(
            parsed("https://discovery.talos.dev/"),
            "https://discovery.talos.dev:443/"
        );
        assert_eq!(parsed("grpc://Example.test"), "https://example.test:443/");
        assert_eq!(parsed("http://10.0.0.1"), "http://10.0.0.1:80/");
        assert_eq!(
            parsed("https://[2001:db8::1]:8443"),
            "https://[2001:db8::1]:8443/"
        );
    }

    #[test]
    fn a_cluster_id_has_bounds_and_does_not_show_itself() {
        let id: ClusterId = "secret".parse().unwrap();
        assert_eq!(format!("{id:?}"), "ClusterId(..)");
        assert_eq!("".parse::<ClusterId>(), Err(ClusterIdError(0)));
        let long = "x".repeat(257).parse::<ClusterId>();
        assert_eq!(long, Err(ClusterIdError(257)));
    }

    #[test]
    fn a_redirect_names_host_and_port_alone() {
        assert_eq!(parsed("other.test:3000"), "https://other.test:3000/");
        assert_eq!(parsed("[2001:db8::1]:3000"), "https://[2001:db8::1]:3000/");
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason() {
        for bad in ["", "ftp://x.test", "https://", "https://x.test:99999"] {
            let refused = bad.parse::<Endpoint>();
            assert!(refused.is_err(), "{bad}: {refused:?}");
        }
    }
}
