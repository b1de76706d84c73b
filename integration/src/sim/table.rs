//! Which scenarios the simulator carries, as the document `integration/SIMULATED.md`.

use crate::lab::scenario::Scenario;

use super::carried::carried;

/// The document; scenarios come in the order given.
pub fn document(scenarios: &[Scenario]) -> String {
    let judged: Vec<_> = scenarios
        .iter()
        .map(|scenario| (scenario, carried(scenario)))
        .collect();
    let count = judged.iter().filter(|(_, carried)| carried.is_ok()).count();
    let mut lines = vec![format!(
        "# Scenarios in virtual time\n\nMade by `lab carried --stage sim --write`; do not edit. {count} of {} scenarios can be played by the simulator: \
         `lab run NAME --stage sim`\nplays one, and `cargo test -p integration --test simulated` all of them, with the expectations of their files. \
         Its hosts have no shell: they know\nthe commands of these files as they are written, and a file with any other is not carried. \
         Network and WireGuard are models there.\n\n| scenario | carried | why not |\n|---|---|---|",
        judged.len()
    )];
    for (scenario, carried) in judged {
        let (mark, reason) = match &carried {
            Ok(()) => ("yes", ""),
            Err(reason) => ("no", reason.as_str()),
        };
        let reason = reason.replace('|', "\\|");
        lines.push(format!("| {} | {mark} | {reason} |", scenario.name));
    }
    lines.join("\n") + "\n"
}
