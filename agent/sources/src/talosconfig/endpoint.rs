//! Where an apid listens, as people write it for talosctl.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use thiserror::Error;

/// The port of apid.
pub const APID_PORT: u16 = 50000;
/// The port of `https://` without one, which means a load balancer in front of apid.
const HTTPS_PORT: u16 = 443;
/// Longest name of a host, as DNS has it.
const MAX_NAME: usize = 253;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "expected a host or address with or without a port, as 203.0.113.11, cp.example.org:50000 or [2001:db8::11]:50000"
)]
pub struct EndpointError;

impl Endpoint {
    /// As a resolver and TLS take it: an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// apid of an address.
    pub fn of(address: std::net::IpAddr) -> Self {
        Self {
            host: address.to_string(),
            port: APID_PORT,
        }
    }
}

impl fmt::Display for Endpoint {
    /// Without the port where it is the usual one: that is how people name their nodes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        match (*port, host.contains(':')) {
            (APID_PORT, _) => f.write_str(host),
            (port, true) => write!(f, "[{host}]:{port}"),
            (port, false) => write!(f, "{host}:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (usual, text) = match text.split_once("://") {
            Some(("https", rest)) => (HTTPS_PORT, rest.trim_end_matches('/')),
            Some((_, rest)) => (APID_PORT, rest.trim_end_matches('/')),
            None => (APID_PORT, text),
        };
        let (host, port) = split(text, usual)?;
        if port == 0 || !is_host(host) {
            return Err(EndpointError);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

fn split(text: &str, usual: u16) -> Result<(&str, u16), EndpointError> {
    if text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text, usual));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !text.ends_with(']') => {
            (host, port.parse().map_err(|_| EndpointError)?)
        }
        _ => (text, usual),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => Ok((address, port)),
        None if !host.contains(':') => Ok((host, port)),
        _ => Err(EndpointError),
    }
}

fn is_host(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    host.parse::<Ipv6Addr>().is_ok()
        || (!host.is_empty() && host.len() <= MAX_NAME && host.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, u16)> {
        let endpoint: Endpoint = text.parse().ok()?;
        Some((endpoint.host, endpoint.port))
    }

    #[test]
    fn an_endpoint_is_read_as_talosctl_reads_it() {
        let is = |host: &str, port| Some((host.to_owned(), port));
        assert_eq!(parsed("203.0.113.11"), is("203.0.113.11", 50000));
        assert_eq!(parsed("cp.example.org:111"), is("cp.example.org", 111));
        assert_eq!(parsed("2001:db8::11"), is("2001:db8::11", 50000));
        assert_eq!(parsed("[2001:db8::11]"), is("2001:db8::11", 50000));
        assert_eq!(parsed("[2001:db8::11]:8080"), is("2001:db8::11", 8080));
        assert_eq!(
            parsed("https://omni.example.org/"),
            is("omni.example.org", 443)
        );
        assert_eq!(parsed("https://10.0.0.1:50000"), is("10.0.0.1", 50000));
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for text in [
            "",
            ":1",
            "a:0",
            "a:x",
            "a b",
            "[x]:1",
            "a:b:c",
            "[2001:db8::1",
            "https://",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_shown_without_the_usual_port() {
        let shown = |text: &str| text.parse::<Endpoint>().unwrap().to_string();
        assert_eq!(shown("10.0.0.1:50000"), "10.0.0.1");
        assert_eq!(shown("[2001:db8::1]:1"), "[2001:db8::1]:1");
    }
}
