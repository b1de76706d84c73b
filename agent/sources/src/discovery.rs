//! The discovery service as this node sees it: names, connections, `Hello` and `List`, each stage with its own time and failure.
//!
//! - [`Endpoint`]: where it is; [`Proxies`]: the way there; [`Roots`]: whom a certificate must come from;
//! - `stages`: TCP, proxy, TLS, HTTP/2; `tls`: what the far end showed, trusted or not;
//! - `calls`: `Hello` and `List`, at most one of each in a minute (`budget`);
//! - [`Key`]: opens what affiliates say of themselves; `affiliates`: what a list of them comes to;
//! - [`Looker`]: does it all and remembers what one look cannot tell.
//!
//! It calls nothing that writes: an `AffiliateUpdate` or a `Delete` does not exist in this program. `Hello` carries a cluster id
//! that is drawn by lot and thrown away. A deletion is believed only when a list lacks the affiliate: the service's own
//! notices of deletion can be wrong.

mod affiliates;
mod budget;
mod calls;
mod endpoint;
mod first_bytes;
mod looker;
mod names;
mod open;
mod proxy;
mod stages;
mod text;
mod tls;

pub use affiliates::{Known, summary};
pub use endpoint::{ClusterId, ClusterIdError, Endpoint, EndpointError};
pub use looker::{Looker, Settings, Surroundings};
pub use open::{Key, OpenError, Opened};
pub use proxy::Proxies;
pub use tls::Roots;

/// Mark of `KubeSpan`'s own packets: what carries it keeps to the underlay.
const UNDERLAY_MARK: u32 = 0x20;
