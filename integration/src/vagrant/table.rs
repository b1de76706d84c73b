//! Which scenarios the machines carry, as the document `vagrant/SCENARIOS.md`.

use crate::lab::{carried, scenario::Scenario};

/// The document; scenarios come in the order given.
pub fn document(scenarios: &[Scenario]) -> String {
    let told = |count, all| {
        format!(
            "Made by `lab carried --write`; do not edit. {count} of {all} scenarios can be carried by the machines of this folder. None was run\n\
             on them: `lab run NAME --stage vagrant --dry-run` prints what would be typed."
        )
    };
    carried::document(
        "Scenarios on the machines",
        told,
        scenarios,
        super::carried::carried,
    )
}
