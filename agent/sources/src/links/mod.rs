//! Links, addresses, and the rule and routes that steer traffic into `KubeSpan`. Read, never written.
//!
//! Reading order: `snapshot` (what a reading is, and what is asked of it), `read` (links and addresses), `steering`
//! (rules and table 180), `route` (by which link a packet would leave), `watch` (that something changed).

mod error;
mod read;
mod route;
mod snapshot;
mod steering;
mod watch;

pub use error::LinksError;
pub use read::read;
pub use route::{Question, Way, ways};
pub use snapshot::{
    Address, KUBESPAN, Link, MAX_ADDRESSES, MAX_LINKS, OperState, Scope, Snapshot, VxlanSettings,
    first_hardware_address, kubespan_address, node_addresses,
};
pub use steering::{FORCE_MARK, FORCE_MASK, FamilySteering, Steering, TABLE, read_steering};
pub use watch::{Change, Watch, watch};

pub(crate) use read::decode as decode_links;
pub(crate) use steering::decode as decode_steering;
pub(crate) use watch::decode as decode_changes;
