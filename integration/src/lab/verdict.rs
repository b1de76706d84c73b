//! What the collector says, as far as a scenario needs it: `mesh-probe status -o json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Reads on over fields it does not know: the answer may grow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct MeshStatus {
    pub verdict: Verdict,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    #[serde(default)]
    pub findings: Vec<Finding>,
    #[serde(default)]
    pub gates: Vec<Gate>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub code: String,
    pub subject_text: String,
    #[serde(default)]
    pub confidence: String,
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    #[serde(default)]
    pub suppressed_by: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Evidence {
    #[serde(default)]
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Gate {
    pub level: String,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Ready,
    NotReady,
    Unknown,
}

/// A finding as a result shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedFinding {
    pub code: String,
    pub subject: String,
    pub confidence: String,
    pub evidence: Vec<String>,
}

impl Verdict {
    /// The findings that are not the effect of another one.
    pub fn roots(&self) -> Vec<NamedFinding> {
        self.named(Option::is_none)
    }

    pub fn suppressed(&self) -> Vec<NamedFinding> {
        self.named(Option::is_some)
    }

    pub fn gates(&self) -> BTreeMap<String, Phase> {
        let gates = self.gates.iter();
        gates.map(|gate| (gate.level.clone(), gate.phase)).collect()
    }

    /// A level that the collector does not name is unknown.
    pub fn phase(&self, level: &str) -> Phase {
        let gate = self.gates.iter().find(|gate| gate.level == level);
        gate.map_or(Phase::Unknown, |gate| gate.phase)
    }

    fn named(&self, wanted: impl Fn(&Option<String>) -> bool) -> Vec<NamedFinding> {
        let findings = self.findings.iter();
        let findings = findings.filter(|finding| wanted(&finding.suppressed_by));
        findings.map(NamedFinding::from).collect()
    }
}

impl From<&Finding> for NamedFinding {
    fn from(finding: &Finding) -> Self {
        Self {
            code: finding.code.clone(),
            subject: finding.subject_text.clone(),
            confidence: finding.confidence.clone(),
            evidence: finding
                .evidence
                .iter()
                .map(|evidence| evidence.text.clone())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{
      "apiVersion": "mesh.talos/v1", "kind": "MeshStatus",
      "verdict": {
        "nodes": [], "pairs": [],
        "findings": [
          {"code": "udp-51820-blocked-inbound", "subject": {"kind": "node", "node": "home-worker"},
           "subjectText": "home-worker", "confidence": "certain", "summary": "s",
           "evidence": [{"reporter": "vps-1", "fact": "f", "ageMs": 3, "text": "t"}], "suppressedBy": null},
          {"code": "peer-silent", "subject": {"kind": "pair"}, "subjectText": "vps-1 -> home-worker",
           "confidence": "likely", "summary": "s", "evidence": [], "suppressedBy": "udp-51820-blocked-inbound"}],
        "gates": [{"level": "mesh", "phase": "not-ready", "mayStart": true, "reasons": ["r"]}]
      }
    }"#;

    #[test]
    fn roots_are_the_findings_that_nothing_explains() {
        let status: MeshStatus = serde_json::from_str(STATUS).unwrap();
        let roots = status.verdict.roots();
        assert_eq!(roots.len(), 1);
        assert_eq!(
            (roots[0].subject.as_str(), &roots[0].evidence[..]),
            ("home-worker", &["t".to_owned()][..])
        );
        assert_eq!(status.verdict.suppressed()[0].code, "peer-silent");
    }

    #[test]
    fn a_gate_that_is_not_named_is_unknown() {
        let status: MeshStatus = serde_json::from_str(STATUS).unwrap();
        assert_eq!(status.verdict.phase("mesh"), Phase::NotReady);
        assert_eq!(status.verdict.phase("cni"), Phase::Unknown);
    }
}
