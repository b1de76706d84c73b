//! Which scenario files a stage can carry, as a document, with the reason for each other one.

use super::scenario::Scenario;

/// The document under its title. `told` gets how many are carried, and of how many; scenarios come in the order given.
pub fn document(
    title: &str,
    told: impl FnOnce(usize, usize) -> String,
    scenarios: &[Scenario],
    carried: impl Fn(&Scenario) -> Result<(), String>,
) -> String {
    let reasons: Vec<_> = scenarios.iter().map(carried).collect();
    let count = reasons.iter().filter(|reason| reason.is_ok()).count();
    let head = format!(
        "# {title}\n\n{}\n\n| scenario | carried | why not |\n|---|---|---|",
        told(count, scenarios.len())
    );
    let mut lines = vec![head];
    for (scenario, reason) in scenarios.iter().zip(reasons) {
        let (mark, reason) = match &reason {
            Ok(()) => ("yes", String::new()),
            Err(reason) => ("no", reason.replace('|', "\\|")),
        };
        lines.push(format!("| {} | {mark} | {reason} |", scenario.name));
    }
    lines.join("\n") + "\n"
}
