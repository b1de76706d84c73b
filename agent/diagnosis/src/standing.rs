//! One look accuses nobody: what is named as the cause must have stood for a while.
//!
//! A judgement rests on reports of both ends of a path, and these come one after the other. For a moment one end tells of what
//! is over and the other does not yet: what fits neither before nor after may then look like a cause. A real one is still there
//! when both ends have reported again. Gates do not wait for that: they shut at once.
//!
//! Nor does a cause change its place because it ends: see `narrowing`.

mod narrowing;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evidence::{End, Finding, Gate, Moment, NodeRef, Phase, Subject, Verdict};

use crate::{gates, mesh::millis, timing};

/// Accusations that are remembered at most; what is more is told at once. As many as all nodes can have, of four kinds each.
const REMEMBERED: usize = 4 * evidence::limits::NODES;

/// A code, and a node that it was said of; none if of the cluster. The subject as a whole would not do: it grows, from one
/// direction to a site, while it is found out how far a fault reaches.
type Accusation = (String, Option<NodeRef>);

/// Since when what is named has been named. Kept by whoever judges again and again.
#[derive(Clone, Debug)]
pub struct Standing {
    least: Duration,
    known: BTreeMap<Accusation, Since>,
    /// The roots that were told last.
    told: Vec<Told>,
}

/// A root that is told.
#[derive(Clone, Debug)]
struct Told {
    /// As it was found last.
    root: Finding,
    found: Moment,
    /// Since when only a part of it is found.
    narrowed: Option<Moment>,
}

impl Told {
    fn new(root: Finding, now: Moment) -> Self {
        Self {
            root,
            found: now,
            narrowed: None,
        }
    }

    /// Its evidence has become older since.
    fn at(&self, now: Moment) -> Finding {
        let mut root = self.root.clone();
        let later = millis(now.since(self.found));
        for citation in &mut root.evidence {
            citation.age_ms = citation.age_ms.saturating_add(later);
        }
        root
    }
}

#[derive(Clone, Copy, Debug)]
struct Since {
    first: Moment,
    last: Moment,
}

impl Default for Standing {
    fn default() -> Self {
        Self::new(timing::CONFIRMED)
    }
}

impl Standing {
    /// Holds back what has not stood for so long.
    pub const fn new(least: Duration) -> Self {
        Self {
            least,
            known: BTreeMap::new(),
            told: Vec::new(),
        }
    }

    /// Takes in what was judged at `now`, and takes out of it what has not stood for long enough, with what is folded under it.
    ///
    /// What was told as a root, and is now folded under one that is held back, goes on being told as it was. So does, for a while, what
    /// only a part of is found.
    pub fn apply(&mut self, verdict: &mut Verdict, now: Moment) {
        let findings = std::mem::take(&mut verdict.findings);
        let (mut roots, mut effects): (Vec<Finding>, Vec<Finding>) = findings
            .into_iter()
            .partition(|finding| finding.suppressed_by.is_none());
        for root in &roots {
            self.see(root, now);
        }
        let before = std::mem::take(&mut self.told);
        let until = (now, timing::narrows(verdict.nodes.len()));
        let (whole, codes) = narrowing::widen(&mut roots, &before, &mut verdict.gates, until);
        for effect in &mut effects {
            let root = effect.suppressed_by.as_ref();
            if let Some(code) = root.and_then(|root| codes.get(root)) {
                effect.suppressed_by = Some(code.clone());
            }
        }
        let (stands, held): (Vec<Finding>, Vec<Finding>) =
            roots.into_iter().partition(|root| self.stands(root, now));
        let stands = stands.into_iter().map(|root| Told::new(root, now));
        let mut told: Vec<Told> = whole.into_iter().chain(stands).collect();
        let codes: BTreeSet<String> = told.iter().map(|told| told.root.code.clone()).collect();
        let (below, folded): (Vec<Finding>, Vec<Finding>) =
            effects.into_iter().partition(|effect| {
                effect
                    .suppressed_by
                    .as_ref()
                    .is_some_and(|root| codes.contains(root))
            });
        let folded: BTreeSet<Accusation> = folded.iter().flat_map(accusations).collect();
        let anew: BTreeSet<Accusation> = told
            .iter()
            .flat_map(|told| accusations(&told.root))
            .collect();
        for old in before {
            let is_in =
                |some: &BTreeSet<Accusation>| accusations(&old.root).any(|one| some.contains(&one));
            if is_in(&folded) && !is_in(&anew) {
                self.see(&old.root, now);
                told.push(old);
            }
        }
        let roots = told.iter().map(|told| told.at(now));
        verdict.findings = roots.chain(below).collect();
        self.told = told;
        if !held.is_empty() {
            for gate in &mut verdict.gates {
                self.unsay(gate, &held);
            }
        }
        self.known
            .retain(|_, since| now.since(since.last) <= self.least);
    }

    fn see(&mut self, root: &Finding, now: Moment) {
        for accusation in accusations(root) {
            if let Some(since) = self.known.get_mut(&accusation) {
                since.last = now;
            } else if self.known.len() < REMEMBERED {
                let since = Since {
                    first: now,
                    last: now,
                };
                self.known.insert(accusation, since);
            }
        }
    }

    /// Whether it has been said for long enough, of one of its nodes at least.
    fn stands(&self, root: &Finding, now: Moment) -> bool {
        let mut known = accusations(root).map(|accusation| self.known.get(&accusation));
        known.any(|since| since.is_none_or(|since| now.since(since.first) >= self.least))
    }

    /// Takes what is held back out of the reasons of a gate.
    fn unsay(&self, gate: &mut Gate, held: &[Finding]) {
        let said: Vec<String> = held.iter().map(gates::reason).collect();
        let before = gate.reasons.len();
        gate.reasons.retain(|reason| !said.contains(reason));
        if gate.reasons.len() < before && gate.phase != Phase::Ready {
            gate.reasons.push(format!(
                "a cause shows; it is told once it has stood for {}",
                humantime::format_duration(self.least)
            ));
        }
    }
}

fn accusations(finding: &Finding) -> impl Iterator<Item = Accusation> + '_ {
    let nodes: Vec<Option<NodeRef>> = match &finding.subject {
        Subject::Cluster => vec![None],
        Subject::Node { node } => vec![Some(node.clone())],
        Subject::Direction { from: a, to: b } | Subject::Pair { a, b } => {
            [a, b].map(|node| Some(node.clone())).to_vec()
        }
        Subject::Site { nodes, .. } => nodes.iter().cloned().map(Some).collect(),
        Subject::Ends { a, b, .. } => {
            let nodes = |end: &End| end.nodes.clone();
            nodes(a).into_iter().chain(nodes(b)).map(Some).collect()
        }
    };
    nodes.into_iter().map(|node| (finding.code.clone(), node))
}

#[cfg(test)]
mod tests {
    use evidence::{Confidence, NodeName};

    use super::*;

    pub(super) const LEAST: Duration = Duration::from_millis(1200);

    pub(super) fn node(name: &str) -> NodeRef {
        let name = NodeName::parse(name).unwrap();
        NodeRef::Named { name }
    }

    pub(super) fn finding(code: &str, subject: Subject, suppressed_by: Option<&str>) -> Finding {
        Finding {
            code: code.to_owned(),
            subject_text: subject.to_string(),
            subject,
            confidence: Confidence::Likely,
            summary: String::new(),
            evidence: Vec::new(),
            fixes: Vec::new(),
            could_also_be: Vec::new(),
            decided_by: None,
            explains: Vec::new(),
            explains_more: 0,
            suppressed_by: suppressed_by.map(str::to_owned),
        }
    }

    fn of(code: &str, name: &str) -> Finding {
        finding(code, Subject::Node { node: node(name) }, None)
    }

    pub(super) fn way(code: &str, from: &str, to: &str) -> Finding {
        let (from, to) = (node(from), node(to));
        finding(code, Subject::Direction { from, to }, None)
    }

    fn under(code: &str, name: &str, root: &str) -> Finding {
        finding(code, Subject::Node { node: node(name) }, Some(root))
    }

    pub(super) fn verdict(findings: Vec<Finding>) -> Verdict {
        let gate = Gate {
            level: "mesh".to_owned(),
            phase: Phase::NotReady,
            may_start: Phase::Ready,
            depends_on: Vec::new(),
            reasons: findings.iter().map(gates::reason).collect(),
            terminal: false,
        };
        Verdict {
            findings,
            gates: vec![gate],
            ..Verdict::default()
        }
    }

    /// What is told at each of these moments: code and whether it is a root.
    fn told(steps: Vec<(i64, Vec<Finding>)>) -> Vec<Vec<(String, bool)>> {
        let mut standing = Standing::new(LEAST);
        let one = |(at, findings): (i64, Vec<Finding>)| {
            let mut verdict = verdict(findings);
            standing.apply(&mut verdict, Moment::from_millis(at));
            let told = verdict.findings.into_iter();
            told.map(|finding| (finding.code, finding.suppressed_by.is_none()))
                .collect()
        };
        steps.into_iter().map(one).collect()
    }

    fn root(code: &str) -> (String, bool) {
        (code.to_owned(), true)
    }

    #[test]
    fn what_shows_for_a_moment_is_never_told() {
        let flash = |at| (at, vec![of("dropped", "a")]);
        let told = told(vec![flash(0), flash(500), (1000, vec![]), (5000, vec![])]);
        assert!(told.iter().all(Vec::is_empty), "{told:?}");
    }

    #[test]
    fn what_stays_is_told_and_a_look_that_misses_it_starts_nothing_anew() {
        let here = |at| (at, vec![of("blocked", "a")]);
        let told = told(vec![here(0), (400, vec![]), here(800), here(1200)]);
        assert_eq!(told, [vec![], vec![], vec![], vec![root("blocked")]]);
    }

    #[test]
    fn looks_that_are_far_apart_confirm_each_other() {
        let here = |at| (at, vec![of("blocked", "a")]);
        let told = told(vec![here(0), here(6000)]);
        assert_eq!(told, [vec![], vec![root("blocked")]]);
    }

    #[test]
    fn a_subject_that_grows_is_the_same_accusation() {
        let told = told(vec![
            (0, vec![way("silent", "a", "b")]),
            (1300, vec![of("silent", "b")]),
        ]);
        assert_eq!(told, [vec![], vec![root("silent")]]);
    }

    #[test]
    fn another_node_is_another_accusation() {
        let told = told(vec![
            (0, vec![of("blocked", "a")]),
            (1300, vec![of("blocked", "b")]),
        ]);
        assert_eq!(told, [vec![], vec![]]);
    }

    #[test]
    fn what_is_folded_under_it_is_held_back_as_well() {
        let both = |at| {
            let findings = vec![of("blocked", "a"), under("silent", "a", "blocked")];
            (at, findings)
        };
        let effect = ("silent".to_owned(), false);
        let told = told(vec![both(0), both(1200)]);
        assert_eq!(told, [vec![], vec![root("blocked"), effect]]);
    }

    #[test]
    fn what_was_told_stays_until_its_cause_has_stood() {
        let silent = |at| (at, vec![of("silent", "a")]);
        let caused = |at| {
            let findings = vec![of("blocked", "a"), under("silent", "a", "blocked")];
            (at, findings)
        };
        let effect = ("silent".to_owned(), false);
        let told = told(vec![
            silent(0),
            silent(1200),
            caused(2000),
            caused(3000),
            caused(3200),
        ]);
        assert_eq!(
            told[1..],
            [
                vec![root("silent")],
                vec![root("silent")],
                vec![root("silent")],
                vec![root("blocked"), effect],
            ]
        );
    }

    #[test]
    fn what_was_told_of_a_site_is_not_told_of_each_of_its_pairs() {
        let mut standing = Standing::new(LEAST);
        let site = || {
            let nodes = vec![node("a"), node("b")];
            let address = "198.51.100.2".to_owned();
            finding("silent", Subject::Site { address, nodes }, None)
        };
        for at in [0, 1200] {
            standing.apply(&mut verdict(vec![site()]), Moment::from_millis(at));
        }
        let mut judged = verdict(vec![
            of("blocked", "a"),
            under("silent", "a", "blocked"),
            under("silent", "b", "blocked"),
        ]);
        standing.apply(&mut judged, Moment::from_millis(2000));
        assert_eq!(judged.findings, [site()]);
    }

    #[test]
    fn a_gate_shuts_at_once_and_names_no_cause_that_is_held_back() {
        let mut standing = Standing::new(LEAST);
        let mut judged = verdict(vec![of("blocked", "a")]);
        standing.apply(&mut judged, Moment::ZERO);
        assert_eq!(judged.gates[0].phase, Phase::NotReady);
        assert_eq!(
            judged.gates[0].reasons,
            ["a cause shows; it is told once it has stood for 1s 200ms"]
        );
        let mut judged = verdict(vec![of("blocked", "a")]);
        standing.apply(&mut judged, Moment::from_millis(1200));
        assert_eq!(judged.gates[0].reasons, ["blocked: a"]);
    }

    #[test]
    fn more_than_can_be_remembered_is_told_at_once() {
        let many = (0..=REMEMBERED).map(|number| of("blocked", &format!("n{number}")));
        let mut judged = verdict(many.collect());
        Standing::new(LEAST).apply(&mut judged, Moment::ZERO);
        assert_eq!(judged.findings.len(), 1);
    }
}
