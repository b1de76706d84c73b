//! The kernel's notifications that links, addresses, routes or rules changed.

use std::collections::BTreeSet;

use sources::{decode::changes, links::Change};

use super::netlink::message;
use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "link-changes",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let seen = changes(bytes);
    // What is cut off may have been anything, and must be said to be.
    let whole = bytes.len() >= 16 || bytes.is_empty();
    assert!(whole || seen.contains(&Change::Everything), "{seen:?}");
    let behind_another = changes(&[&message(16, &[0; 4]), bytes].concat());
    let expected: BTreeSet<_> = seen.into_iter().chain([Change::Link]).collect();
    assert_eq!(behind_another, expected, "behind another notification");
}

fn seeds() -> Vec<Vec<u8>> {
    let one = |kind| message(kind, &[0; 12]);
    vec![
        [16, 17, 20, 21, 24, 25, 32, 33, 28].map(one).concat(),
        message(16, &[0; 5]),
        one(24)[..20].to_vec(),
        vec![0; 32],
        vec![1, 2, 3],
    ]
}
