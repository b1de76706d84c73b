//! Which scenarios the machines carry, as the document `vagrant/SCENARIOS.md`.

use crate::{lab::scenario::Scenario, vagrant::carried::carried};

/// The document; scenarios come in the order given.
pub fn document(scenarios: &[Scenario]) -> String {
    let judged: Vec<_> = scenarios
        .iter()
        .map(|scenario| (scenario, carried(scenario)))
        .collect();
    let count = judged.iter().filter(|(_, carried)| carried.is_ok()).count();
    let mut lines = vec![format!(
        "# Scenarios on the machines\n\nMade by `lab carried --write`; do not edit. {count} of {} scenarios can be carried by the machines of this folder. None was run\n\
         on them: `lab run NAME --stage vagrant --dry-run` prints what would be typed.\n\n| scenario | carried | why not |\n|---|---|---|",
        judged.len()
    )];
    for (scenario, carried) in judged {
        let (mark, reason) = match &carried {
            Ok(()) => ("yes", ""),
            Err(reason) => ("no", reason.as_str()),
        };
        lines.push(format!("| {} | {mark} | {reason} |", scenario.name));
    }
    lines.join("\n") + "\n"
}
