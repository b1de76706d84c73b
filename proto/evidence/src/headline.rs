//! Is it well? In a few words, the same on every surface.

use crate::{
    NodeState, Phase, Tally, Verdict,
    words::{count, few},
};

/// Names in one doubt.
const NAMES: usize = 6;

/// A verdict in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Headline {
    /// No agent has reported.
    Nothing,
    /// So many roots.
    Problems(usize),
    /// No finding, and not all is proved: what keeps that from being good news.
    Doubts(Vec<String>),
    /// All that is measured is well; these levels are not measured.
    Measured(String),
    /// All is well.
    Well,
}

impl Headline {
    /// The headline itself, without the doubts.
    pub fn title(&self) -> String {
        match self {
            Self::Nothing => "Nothing is known".to_owned(),
            Self::Problems(problems) => count(*problems, "problem"),
            Self::Doubts(_) => "No problem found, but not all is proved".to_owned(),
            Self::Measured(_) => "All that is measured is well".to_owned(),
            Self::Well => "All is well".to_owned(),
        }
    }
}

impl Verdict {
    /// The verdict in a few words.
    pub fn headline(&self) -> Headline {
        if self.nodes.is_empty() && self.findings.is_empty() {
            return Headline::Nothing;
        }
        let problems = self.roots().count();
        if problems > 0 {
            return Headline::Problems(problems);
        }
        let unknown = said("gates unknown", &self.levels(Phase::Unknown));
        let mut doubts = self.doubts();
        match (doubts.is_empty(), unknown) {
            (true, None) => Headline::Well,
            (true, Some(unknown)) => Headline::Measured(unknown),
            (false, unknown) => {
                doubts.extend(unknown);
                Headline::Doubts(doubts)
            }
        }
    }

    /// How many of everything are well, in one sentence.
    pub fn summary(&self) -> String {
        let reporting = self.nodes.iter().filter(|node| node.reporting);
        let ready = self.gates.iter().filter(|gate| gate.phase == Phase::Ready);
        format!(
            "{} of {} report, {}, {} of {} ready.",
            reporting.count(),
            count(self.nodes.len(), "node"),
            self.all_pairs(),
            ready.count(),
            count(self.gates.len(), "gate"),
        )
    }

    /// What keeps an absence of findings from being good news. Levels that are unknown are told apart: on a mesh where all
    /// else is proved they are only not measured.
    fn doubts(&self) -> Vec<String> {
        let name = |node: &NodeState| node.node.to_string();
        let nodes = || self.nodes.iter();
        let silent = nodes().filter(|node| !node.reporting);
        let blind = nodes().filter(|node| node.reporting && !node.gaps.is_empty());
        let tally = self.all_pairs();
        let silent: Vec<String> = silent.map(name).collect();
        let blind: Vec<String> = blind.map(name).collect();
        let mut doubts: Vec<String> = [
            said("not reporting", &silent),
            said("cannot see everything", &blind),
            said("gates not ready", &self.levels(Phase::NotReady)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if tally.good < tally.all() {
            doubts.push(format!("pairs: {tally}"));
        }
        if tally.all() == 0 {
            doubts.push("pairs: none is known".to_owned());
        }
        // A collector of a later version counts a pair as good for reasons that are not known here.
        let told = Tally::of(&self.pairs);
        if tally.good == tally.all() && told.good < told.all() {
            let unread = told.all() - told.good;
            doubts.push(format!(
                "pairs: {unread} called good for reasons that this version does not know"
            ));
        }
        if self.gates.is_empty() {
            doubts.push("gates: none is known".to_owned());
        } else if !self.gates.iter().any(|gate| gate.phase == Phase::Ready) {
            doubts.push("gates: none is ready".to_owned());
        }
        if self.findings_left_out > 0 {
            let more = self.findings_left_out;
            doubts.push(format!("findings: {more} left out"));
        }
        if !self.findings.is_empty() {
            let effects = count(self.findings.len(), "effect");
            doubts.push(format!("findings: {effects} of what is not shown"));
        }
        doubts
    }

    fn levels(&self, phase: Phase) -> Vec<String> {
        let gates = self.gates.iter().filter(|gate| gate.phase == phase);
        gates.map(|gate| gate.level.clone()).collect()
    }
}

fn said(what: &str, names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{what}: {}", few(names.iter(), NAMES)))
}
