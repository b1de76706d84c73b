//! Every bound of HTTP, in one place.

use std::time::Duration;

use crate::connections::Bounds;

/// Connections of one listener at a time.
pub(super) const CONNECTIONS: usize = 256;
/// The same over TLS: agents may ask, too, and few do.
pub(super) const BOUNDS: Bounds = Bounds {
    agents: CONNECTIONS,
    each: 8,
    readers: CONNECTIONS,
    network: CONNECTIONS / 2,
};
/// Requests that one connection of HTTP/2 may have open at a time.
pub(super) const STREAMS: u32 = 32;
/// Headers of one request.
pub(super) const HEADERS: usize = 32;
/// Bytes of the head of one request (HTTP/1). No path reads a body.
pub(super) const REQUEST_BYTES: usize = 16 * 1024;
/// The same of HTTP/2.
pub(super) const HEADER_LIST: u32 = 16 * 1024;
/// Time for the head of a request, and between two requests of a connection (HTTP/1).
pub(super) const HEADER_TIME: Duration = Duration::from_secs(10);
/// Time between pings of a connection of HTTP/2, and for their answers.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(20);
/// Time that a connection lasts; clients make another.
pub(super) const LIFETIME: Duration = Duration::from_mins(15);
/// Time that open requests get to end after that, or after a stop.
pub(super) const DRAIN: Duration = Duration::from_secs(3);
/// Longest `wait` of a request: proxies and clients give up sooner than gRPC does, and may ask again.
pub(super) const WAIT: Duration = Duration::from_mins(10);
/// Largest document: over it, a smaller question has to be asked.
pub(super) const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Largest status page. What would be over it is left out, section by section, and that is said.
pub(super) const PAGE_BYTES: usize = 2 * 1024 * 1024;
/// Time after which a browser asks for the page again.
pub(super) const REFRESH: Duration = Duration::from_secs(10);
/// After connections could not be accepted.
pub(super) const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Between two looks at the first bytes of a connection.
pub(super) const PEEK_AGAIN: Duration = Duration::from_millis(5);
/// A judgement that is older means that the judge hangs, and only a restart helps.
pub(super) const HUNG: Duration = Duration::from_mins(1);
