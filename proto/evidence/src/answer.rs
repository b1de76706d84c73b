//! What a verdict answers about one level, to each of the two questions.

use crate::{Gate, Phase, Verdict, document::Question};

impl Verdict {
    /// The gate of a level, for whoever asked this of it. Why it is shut, and whether for good, is told of what was asked: a level may be
    /// hopeless itself, or not measured, and yet may be started.
    pub fn answer(&self, level: &str, question: Question) -> Option<Gate> {
        let mut gate = self.gate(level)?.clone();
        if question == Question::MayStart {
            let below = gate.depends_on.iter().filter_map(|level| self.gate(level));
            let is_shut = below.into_iter().any(|below| below.terminal);
            gate.terminal = gate.may_start != Phase::Ready && is_shut;
            gate.reasons = self.why_not_start(&gate);
        }
        Some(gate)
    }

    /// The levels that a level waits for: those below it that are not ready, and have no other such level below them. None if it may
    /// start.
    pub fn blockers(&self, gate: &Gate) -> Vec<&Gate> {
        if gate.may_start == Phase::Ready {
            return Vec::new();
        }
        let shut = |gate: &Gate| {
            let mut below = self.below(gate);
            below.retain(|below| below.phase != Phase::Ready);
            below
        };
        let mut blockers = shut(gate);
        blockers.retain(|blocker| shut(blocker).is_empty());
        blockers
    }

    /// Each of those with its reasons: the first after its name, the others as they are.
    fn why_not_start(&self, gate: &Gate) -> Vec<String> {
        let mut reasons: Vec<String> = Vec::new();
        for blocker in self.blockers(gate) {
            let level = &blocker.level;
            let mut why = blocker.reasons.iter();
            let what = match blocker.phase {
                Phase::Unknown => format!("cannot tell whether {level} is ready"),
                Phase::Ready | Phase::NotReady => format!("{level} is not ready"),
            };
            reasons.push(
                why.next()
                    .map_or_else(|| what.clone(), |first| format!("{what}: {first}")),
            );
            for other in why {
                // What is wrong in the mesh shuts more levels than one.
                if !reasons.contains(other) {
                    reasons.push(other.clone());
                }
            }
        }
        reasons
    }

    /// All levels below one.
    fn below(&self, gate: &Gate) -> Vec<&Gate> {
        let mut found: Vec<&Gate> = Vec::new();
        let mut open: Vec<&String> = gate.depends_on.iter().rev().collect();
        while let Some(level) = open.pop() {
            let Some(next) = self.gate(level) else {
                continue;
            };
            // A verdict from elsewhere may hold a circle.
            if next.level != gate.level && !found.iter().any(|found| found.level == next.level) {
                found.push(next);
                open.extend(next.depends_on.iter().rev());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(level: &str, below: &[&str], phase: Phase, reasons: &[&str]) -> Gate {
        Gate {
            level: level.to_owned(),
            phase,
            may_start: Phase::Ready,
            depends_on: below.iter().map(|below| (*below).to_owned()).collect(),
            reasons: reasons.iter().map(|reason| (*reason).to_owned()).collect(),
            terminal: false,
        }
    }

    /// A chain with a branch, where `may_start` is what is below.
    fn verdict(mesh: Phase, discovery: Phase) -> Verdict {
        const PSK: &[&str] = &["2 of 12 directions fail", "wireguard-psk-mismatch: a <-> b"];
        const NOBODY: &[&str] = &["nobody looks", "wireguard-psk-mismatch: a <-> b"];
        let shut = |phase, reasons: &'static [&'static str]| match phase {
            Phase::Ready => Default::default(),
            Phase::NotReady | Phase::Unknown => reasons,
        };
        let mut gates = vec![
            gate("wireguard", &[], Phase::Ready, &[]),
            gate("mesh", &["wireguard"], mesh, shut(mesh, PSK)),
            gate("mtu", &["mesh"], mesh, shut(mesh, PSK)),
            gate("discovery", &[], discovery, shut(discovery, NOBODY)),
            gate(
                "api",
                &["mtu", "discovery"],
                Phase::Unknown,
                &["not measured"],
            ),
            gate("apps", &["api"], Phase::Unknown, &["not measured"]),
        ];
        for gate in &mut gates {
            let shut = match gate.level.as_str() {
                "mtu" => vec![mesh],
                "api" => vec![mesh, discovery],
                "apps" => vec![mesh, discovery, Phase::Unknown],
                _ => Vec::new(),
            };
            gate.may_start = if shut.contains(&Phase::NotReady) {
                Phase::NotReady
            } else if shut.contains(&Phase::Unknown) {
                Phase::Unknown
            } else {
                Phase::Ready
            };
        }
        Verdict {
            gates,
            ..Verdict::default()
        }
    }

    fn why(verdict: &Verdict, level: &str) -> Vec<String> {
        verdict.answer(level, Question::MayStart).unwrap().reasons
    }

    #[test]
    fn who_asks_whether_a_level_may_start_is_told_of_the_lowest_that_is_not_ready() {
        let broken = verdict(Phase::NotReady, Phase::Ready);
        let reasons = [
            "mesh is not ready: 2 of 12 directions fail",
            "wireguard-psk-mismatch: a <-> b",
        ];
        for level in ["mtu", "api", "apps"] {
            assert_eq!(why(&broken, level), reasons, "{level}");
        }
        let ready = broken.answer("api", Question::Ready).unwrap();
        assert_eq!(ready.reasons, ["not measured"]);
        let well = verdict(Phase::Ready, Phase::Ready);
        assert_eq!(why(&well, "api"), Vec::<String>::new());
        assert_eq!(
            why(&well, "apps"),
            ["cannot tell whether api is ready: not measured"]
        );
    }

    #[test]
    fn each_branch_that_is_shut_is_told_and_no_reason_twice() {
        let both = verdict(Phase::NotReady, Phase::Unknown);
        assert_eq!(
            why(&both, "apps"),
            [
                "mesh is not ready: 2 of 12 directions fail",
                "wireguard-psk-mismatch: a <-> b",
                "cannot tell whether discovery is ready: nobody looks",
            ]
        );
    }

    #[test]
    fn a_circle_in_a_verdict_from_elsewhere_ends() {
        let mut gates = vec![
            gate("a", &["b"], Phase::NotReady, &["one"]),
            gate("b", &["a", "nowhere"], Phase::NotReady, &["two"]),
        ];
        for gate in &mut gates {
            gate.may_start = Phase::NotReady;
        }
        let verdict = Verdict {
            gates,
            ..Verdict::default()
        };
        assert_eq!(why(&verdict, "a"), Vec::<String>::new());
    }
}
