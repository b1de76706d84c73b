//! As whom a listener is asked.
//!
//! A page from elsewhere can give its own name the address of loopback, and a browser then lets it read what answers there. Its
//! requests still carry that name. So where details are told to everybody on this machine, they are told only to who asks for an
//! address or for `localhost`.

use std::{net::IpAddr, str::FromStr as _};

use axum::{extract::Request, middleware::Next, response::Response};
use http::{StatusCode, header, uri::Authority};

use super::documents::error;

/// Refuses who asks for another name.
pub(super) async fn own(request: Request, next: Next) -> Response {
    let header = request.headers().get(header::HOST);
    let named = header.map(|host| Authority::try_from(host.as_bytes()).ok());
    let asked = request.uri().authority().cloned().map(Some).or(named);
    // Every browser says whom it asks.
    let own = asked.is_none_or(|authority| authority.is_some_and(|one| is_own(one.host())));
    if own {
        return next.run(request).await;
    }
    error(
        StatusCode::MISDIRECTED_REQUEST,
        "details on loopback are told to who asks for an address or for localhost, and for no other name",
    )
}

fn is_own(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    IpAddr::from_str(bare).is_ok() || host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_own_names_and_no_others() {
        for own in ["127.0.0.1", "[::1]", "localhost", "mesh.localhost"] {
            assert!(is_own(own), "{own}");
        }
        for other in [
            "rebound.example",
            "localhost.example",
            "127.0.0.1.example",
            "",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}
