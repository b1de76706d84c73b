//! The HTTP proxy that Talos' own client would use: `HTTPS_PROXY`, and `NO_PROXY` for who goes without (Go's httpproxy).

use std::{env, fmt, io};

use evidence::discovery::{FailureKind, StageFailure};
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Endpoint, stages::failure, text::tame};

/// Longest answer to CONNECT.
const MAX_HEAD: usize = 4096;

/// Which endpoints are behind a proxy.
pub struct Proxies(Matcher);

/// A proxy; what it is asked with may hold a password, so it does not show itself.
pub(super) struct Proxy {
    intercept: Intercept,
    /// A name or an address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Proxies {
    /// As this process was told by its environment.
    pub fn from_env() -> Self {
        let variable = |names: [&str; 2]| {
            let found = names.into_iter().find_map(|name| env::var(name).ok());
            found.unwrap_or_default()
        };
        Self::new(
            &variable(["HTTPS_PROXY", "https_proxy"]),
            &variable(["NO_PROXY", "no_proxy"]),
        )
    }

    /// A proxy for all but the hosts of a list, as `NO_PROXY` has it; empty texts for none.
    pub fn new(proxy: &str, except: &str) -> Self {
        Self(Matcher::builder().https(proxy).no(except).build())
    }

    /// gRPC asks for the proxy of `https` even where it speaks no TLS itself.
    pub(super) fn of(&self, endpoint: &Endpoint) -> Option<Proxy> {
        let uri = format!("https://{}/", endpoint.authority()).parse::<Uri>();
        let intercept = self.0.intercept(&uri.ok()?)?;
        let host = intercept.uri().host()?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Proxy {
            host: host.to_owned(),
            port: intercept.uri().port_u16().unwrap_or(80),
            intercept,
        })
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxies(..)")
    }
}

impl Proxy {
    /// Asks for a way to `authority`.
    pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        authority: &str,
    ) -> Result<(), StageFailure> {
        let scheme = self.intercept.uri().scheme_str().unwrap_or("http");
        if scheme != "http" {
            let text = format!("a proxy by {scheme} is not supported");
            return Err(failure(FailureKind::Other, &text));
        }
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(leave) = self
            .intercept
            .basic_auth()
            .and_then(|leave| leave.to_str().ok())
        {
            request.push_str("Proxy-Authorization: ");
            request.push_str(leave);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let sent = stream.write_all(request.as_bytes()).await;
        sent.map_err(|error| broken(&error))?;
        status(&head(stream).await?)
    }
}

/// Everything up to the empty line, and not a byte of what follows.
async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, StageFailure> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            let text = format!("the proxy's answer has no end within {MAX_HEAD} bytes");
            return Err(failure(FailureKind::Garbage, &text));
        }
        let byte = stream.read_u8().await;
        head.push(byte.map_err(|error| broken(&error))?);
    }
    Ok(head)
}

fn broken(error: &io::Error) -> StageFailure {
    failure(FailureKind::Reset, &format!("the proxy hung up: {error}"))
}

fn status(head: &[u8]) -> Result<(), StageFailure> {
    let head = String::from_utf8_lossy(head);
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.split_ascii_whitespace();
    let known = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    match words.next().filter(|_| known) {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        Some(_) => Err(failure(
            FailureKind::Refused,
            &format!("the proxy answered {}", tame(line)),
        )),
        None => Err(failure(
            FailureKind::Garbage,
            "the proxy answered what is not HTTP",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(proxy: &str, except: &str) -> Option<(String, u16)> {
        let endpoint = "https://discovery.talos.dev/".parse().unwrap();
        let found = Proxies::new(proxy, except).of(&endpoint)?;
        Some((found.host, found.port))
    }

    async fn asked(answer: &[u8]) -> (Result<(), StageFailure>, String) {
        let endpoint = "https://discovery.talos.dev/".parse::<Endpoint>().unwrap();
        let proxies = Proxies::new("http://me:secret@proxy.test:3128", "");
        let proxy = proxies.of(&endpoint).unwrap();
        let (mut near, mut far) = tokio::io::duplex(16 * 1024);
        far.write_all(answer).await.unwrap();
        let opened = proxy.open(&mut near, &endpoint.authority()).await;
        drop(near);
        let mut request = String::new();
        far.read_to_string(&mut request).await.unwrap();
        (opened, request)
    }

    #[test]
    fn the_environment_says_who_goes_through_a_proxy() {
        let expected = Some(("proxy.test".to_owned(), 3128));
        assert_eq!(proxy("http://proxy.test:3128", ""), expected);
        assert_eq!(
            proxy("http://proxy.test:3128", "talos.dev,10.0.0.0/8"),
            None
        );
        assert_eq!(proxy("", ""), None);
    }

    #[tokio::test]
    async fn a_proxy_is_asked_with_the_name_and_its_password_shows_nowhere_else() {
        let (opened, request) = asked(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        assert_eq!(opened, Ok(()));
        assert!(request.starts_with("CONNECT discovery.talos.dev:443 HTTP/1.1\r\n"));
        assert!(request.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"));
        let (refused, _) = asked(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind, FailureKind::Refused);
        assert!(!refused.text.contains("secret"), "{}", refused.text);
    }

    #[tokio::test]
    async fn a_proxy_that_talks_nonsense_or_without_end_is_left() {
        let (opened, _) = asked(b"SSH-2.0-x\r\n\r\n").await;
        assert_eq!(opened.unwrap_err().kind, FailureKind::Garbage);
        let (opened, _) = asked(&[b'x'; 8192]).await;
        assert_eq!(opened.unwrap_err().kind, FailureKind::Garbage);
    }
}
