//! What a run comes to: the object that is printed, and how a verdict is held against an expectation.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::lab::{
    scenario::{Expect, ExpectedRoot, Scenario},
    stage_kind::StageKind,
    verdict::{NamedFinding, Phase, Verdict},
};

/// What `lab run -o json` prints.
#[derive(Debug, Serialize, Deserialize)]
pub struct RunResult {
    pub scenario: String,
    pub stage: StageKind,
    pub pass: bool,
    pub roots: Vec<NamedFinding>,
    pub suppressed: Vec<NamedFinding>,
    pub gates: BTreeMap<String, Phase>,
    pub time_to_verdict_s: Option<f64>,
    pub time_to_recovery_s: Option<f64>,
    pub failures: Vec<String>,
    /// Roots that should not have been named: at the end, or codes that must not be named at any time.
    #[serde(default)]
    pub wrong: Vec<String>,
    /// Why this stage cannot show what the scenario asks for; nothing was run then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_carried: Option<String>,
}

impl RunResult {
    pub fn mark(&self) -> &'static str {
        match (&self.not_carried, self.pass) {
            (Some(_), _) => "not carried",
            (None, true) => "pass",
            (None, false) => "FAIL",
        }
    }

    /// The result of a scenario that was not run: neither held nor broken, and never a pass.
    pub fn not_carried(scenario: &Scenario, stage: StageKind, reason: String) -> Self {
        Self {
            scenario: scenario.name.clone(),
            stage,
            pass: false,
            roots: Vec::new(),
            suppressed: Vec::new(),
            gates: BTreeMap::new(),
            time_to_verdict_s: None,
            time_to_recovery_s: None,
            failures: Vec::new(),
            wrong: Vec::new(),
            not_carried: Some(reason),
        }
    }
}

/// Roots that are named and not expected.
pub(super) fn not_expected(expect: &Expect, verdict: &Verdict) -> Vec<ExpectedRoot> {
    let named: BTreeSet<_> = verdict.roots().iter().map(ExpectedRoot::from).collect();
    let is_wrong = |root: &ExpectedRoot| !expect.others_allowed && !expect.roots.contains(root);
    named.into_iter().filter(is_wrong).collect()
}

/// What of the expectation does not hold, in words.
pub(super) fn mismatches(expect: &Expect, verdict: &Verdict) -> Vec<String> {
    let named: BTreeSet<_> = verdict.roots().iter().map(ExpectedRoot::from).collect();
    let wanted: BTreeSet<_> = expect.roots.iter().cloned().collect();
    let missing = wanted.difference(&named);
    let mut found: Vec<_> = missing
        .map(|root| format!("not named as root: {root}"))
        .collect();
    let wrong = not_expected(expect, verdict).into_iter();
    found.extend(wrong.map(|root| format!("wrongly named as root: {root}")));
    let roots = verdict.roots();
    let lines: Vec<&String> = roots.iter().flat_map(|root| &root.evidence).collect();
    let unsaid = |text: &&String| !lines.iter().any(|line| line.contains(text.as_str()));
    let unsaid = expect.evidence.iter().filter(unsaid);
    found.extend(unsaid.map(|text| format!("not in the evidence of a root: {text}")));
    for (level, wanted) in &expect.gates {
        let phase = verdict.phase(level);
        if phase != *wanted {
            found.push(format!("gate {level} is {phase}, expected {wanted}"));
        }
    }
    found
}

impl From<&NamedFinding> for ExpectedRoot {
    fn from(finding: &NamedFinding) -> Self {
        Self {
            code: finding.code.clone(),
            subject: finding.subject.clone(),
        }
    }
}

impl fmt::Display for ExpectedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code, self.subject)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.not_carried {
            return writeln!(f, "{}: not carried, {reason}", self.scenario);
        }
        writeln!(f, "{}: {}", self.scenario, self.mark())?;
        for root in &self.roots {
            writeln!(
                f,
                "  root       {} ({}), {}",
                root.code, root.subject, root.confidence
            )?;
            for evidence in &root.evidence {
                writeln!(f, "               {evidence}")?;
            }
        }
        for effect in &self.suppressed {
            writeln!(f, "  effect     {} ({})", effect.code, effect.subject)?;
        }
        for (level, phase) in &self.gates {
            writeln!(f, "  gate       {level}: {phase}")?;
        }
        if let Some(seconds) = self.time_to_verdict_s {
            writeln!(f, "  verdict    after {seconds} s")?;
        }
        if let Some(seconds) = self.time_to_recovery_s {
            writeln!(f, "  recovery   after {seconds} s")?;
        }
        self.failures
            .iter()
            .try_for_each(|failure| writeln!(f, "  failure    {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::verdict::{Finding, Gate};

    fn verdict(roots: &[(&str, &str)], mesh: Phase) -> Verdict {
        let finding = |(code, subject): &(&str, &str)| Finding {
            code: (*code).to_owned(),
            subject_text: (*subject).to_owned(),
            confidence: "certain".to_owned(),
            evidence: Vec::new(),
            suppressed_by: None,
        };
        let gate = Gate {
            level: "mesh".to_owned(),
            phase: mesh,
        };
        Verdict {
            findings: roots.iter().map(finding).collect(),
            gates: vec![gate],
        }
    }

    fn expect(text: &str) -> Expect {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_root_that_is_not_expected_is_a_wrong_accusation() {
        let one = expect("roots = [{ code = 'a', subject = 'x' }]");
        assert!(mismatches(&one, &verdict(&[("a", "x")], Phase::Ready)).is_empty());
        let two = verdict(&[("a", "x"), ("b", "y")], Phase::Ready);
        assert_eq!(mismatches(&one, &two), ["wrongly named as root: b (y)"]);
        let lenient = expect("roots = [{ code = 'a', subject = 'x' }]\nothers_allowed = true");
        assert!(mismatches(&lenient, &two).is_empty());
    }

    #[test]
    fn the_right_code_on_the_wrong_subject_does_not_count() {
        let wanted = expect("roots = [{ code = 'a', subject = 'x' }]");
        let found = mismatches(&wanted, &verdict(&[("a", "y")], Phase::Ready));
        assert_eq!(
            found,
            ["not named as root: a (x)", "wrongly named as root: a (y)"]
        );
    }

    #[test]
    fn a_gate_must_be_in_the_expected_phase() {
        let wanted = expect("gates = { mesh = 'not-ready' }");
        let found = mismatches(&wanted, &verdict(&[], Phase::Unknown));
        assert_eq!(found, ["gate mesh is unknown, expected not-ready"]);
    }

    #[test]
    fn each_expected_text_must_be_in_a_line_of_evidence() {
        let mut said = verdict(&[("a", "x")], Phase::Ready);
        said.findings[0].evidence = vec![crate::lab::verdict::Evidence {
            text: "1400 bytes reached vps-2".to_owned(),
        }];
        let wanted = expect(
            "roots = [{ code = 'a', subject = 'x' }]\nevidence = ['1400 bytes', 'nobody told']",
        );
        assert_eq!(
            mismatches(&wanted, &said),
            ["not in the evidence of a root: nobody told"]
        );
    }
}
