//! The table: each trouble, and what merely looks like it.

mod candidates;
pub(crate) mod discovery;
mod elsewhere;
pub(crate) mod encapsulation;
pub(crate) mod flapping;
pub(crate) mod host;
pub(crate) mod keys;
mod nat;
pub(crate) mod node_address;
pub(crate) mod nodes;
pub(crate) mod observer;
pub(crate) mod overlay;
pub(crate) mod quiet;
pub(crate) mod routed;
pub(crate) mod session;
pub(crate) mod sizes;
pub(crate) mod steering;
pub(crate) mod time;
mod together;
pub(crate) mod underlay;
mod uplink;

use super::Lab;
use evidence::Phase;

/// What a view must be judged to be.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Code and subject of every root, in any order.
    pub(crate) roots: Vec<(&'static str, String)>,
    /// The gates `underlay`, `wireguard` and `mesh`.
    pub(crate) gates: [Phase; 3],
}

/// One row of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) title: &'static str,
    pub(crate) lab: Lab,
    pub(crate) expected: Expected,
    /// Codes that one could take it for.
    pub(crate) looks_like: &'static [&'static str],
}

pub(crate) const READY: [Phase; 3] = [Phase::Ready; 3];
pub(crate) const NOT_READY: [Phase; 3] = [Phase::NotReady; 3];
pub(crate) const UNKNOWN: [Phase; 3] = [Phase::Unknown; 3];
pub(crate) const MESH_ONLY: [Phase; 3] = [Phase::Ready, Phase::Ready, Phase::NotReady];

/// How long ago a loss began that the probes have had the time to look into.
pub(crate) const SINCE: i64 = 8000;
/// The same for a loss that handshakes have looked into.
pub(crate) const LONG: i64 = 30_000;

/// All rows.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    [
        underlay::cases(),
        routed::cases(),
        session::cases(),
        keys::cases(),
        sizes::cases(),
        uplink::cases(),
        overlay::cases(),
        candidates::cases(),
        elsewhere::cases(),
        nat::cases(),
        discovery::cases(),
        flapping::cases(),
        observer::cases(),
        steering::cases(),
        nodes::cases(),
        time::cases(),
        host::cases(),
        together::cases(),
        encapsulation::cases(),
        node_address::cases(),
        quiet::cases(),
    ]
    .into_iter()
    .flatten()
}

fn case(
    title: &'static str,
    lab: Lab,
    roots: &[(&'static str, &str)],
    gates: [Phase; 3],
    looks_like: &'static [&'static str],
) -> Case {
    let owned = |(code, subject): &(&'static str, &str)| (*code, (*subject).to_owned());
    Case {
        title,
        lab,
        expected: Expected {
            roots: roots.iter().map(owned).collect(),
            gates,
        },
        looks_like,
    }
}
