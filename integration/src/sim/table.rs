//! Which scenarios the simulator carries, as the document `integration/SIMULATED.md`.

use crate::lab::{carried, scenario::Scenario};

/// The document; scenarios come in the order given.
pub fn document(scenarios: &[Scenario]) -> String {
    let told = |count, all| {
        format!(
            "Made by `lab carried --stage sim --write`; do not edit. {count} of {all} scenarios can be played by the simulator: \
             `lab run NAME --stage sim`\nplays one, and `cargo test -p integration --test simulated` all of them, with the expectations of their files. \
             Its hosts have no shell: they know\nthe commands of these files as they are written, and a file with any other is not carried. \
             Network and WireGuard are models there."
        )
    };
    carried::document(
        "Scenarios in virtual time",
        told,
        scenarios,
        super::carried::carried,
    )
}
