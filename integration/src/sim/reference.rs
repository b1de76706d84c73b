//! What is true of the world, held against each verdict.

use std::{collections::BTreeMap, fmt};

use evidence::{Confidence, Finding, NodeRef, Phase, Subject, Verdict};

use super::{
    benign,
    fault::{Action, Expected, Fault},
    plan::Plan,
    time::{Micros, SECOND},
    world::{Clock, World},
};

/// A gate may be open for so long after something below it broke: three losses, their reports, and the age at which an
/// echo proves nothing any more.
const GATE_SHUTS_WITHIN: Micros = 20 * SECOND;
/// The same for full-size packets.
const MTU_SHUTS_WITHIN: Micros = 30 * SECOND;
/// A node that is up again has this long until its agent has started, has dialled through what loss there is, and has reported.
const BACK_WITHIN: Micros = 20 * SECOND;
/// What was true may be told for so long after it was healed: handshakes are tried each five seconds, and a round of sizes.
const LINGERS: Micros = 45 * SECOND;
/// All is to be well again so long after everything was healed.
const RECOVERS_WITHIN: Micros = 150 * SECOND;
/// The pace of a small mesh, and what a node sends in a second: echoes, and full-size packets on two layers.
const ECHO_ROUND: Micros = 2 * SECOND;
const ECHOES: Micros = 34;
const SIZE_ROUND: Micros = 5 * SECOND;
const SIZES: Micros = 4;
/// Rounds that it takes to be sure.
const ROUNDS: Micros = 3;
/// Bytes of an echo on the underlay, and of a full-size packet of the tunnel.
const SMALL: usize = 250;
const LARGE: usize = 1420 + 60;

/// How long things may take in a cluster: a larger one is gone round more slowly.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All is to be well again so long after everything was healed.
    pub recovers: Micros,
    /// How much longer it takes than in a small one until all is known of a fault.
    pub slower: Micros,
    slower_echo: Micros,
}

impl Bounds {
    pub fn of(plan: &Plan) -> Self {
        let nodes = Micros::try_from(plan.nodes.len()).unwrap_or(Micros::MAX);
        let slower = |round: Micros, each: Micros| {
            ROUNDS * (nodes.saturating_mul(SECOND) / each - round).max(0)
        };
        let slower_echo = slower(ECHO_ROUND, ECHOES);
        let slower = slower(SIZE_ROUND, SIZES).max(slower_echo);
        Self {
            recovers: RECOVERS_WITHIN + slower,
            slower,
            slower_echo,
        }
    }

    /// From a fault to its name.
    fn named(&self, expected: &Expected) -> Micros {
        let by_size = ["pmtu-black-hole", "overlay-port-blocked"].contains(&expected.code);
        expected.within
            + if by_size {
                self.slower
            } else {
                self.slower_echo
            }
    }
}

/// Something that a verdict says and that is not so, or does not say and should.
#[derive(Clone, Debug)]
pub struct Flaw {
    pub at: Micros,
    pub kind: FlawKind,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlawKind {
    /// Something is accused that is well.
    WrongAccusation,
    /// A gate is open that must be shut.
    OpenGate,
    /// A fault is not named in time.
    NotNamed,
    /// Not all is well long after all was healed.
    NotRecovered,
}

/// Something that may be said for a time.
#[derive(Clone, Debug)]
struct Excuse {
    codes: Vec<&'static str>,
    subject: String,
    until: Micros,
}

#[derive(Clone, Debug)]
struct Trouble {
    fault: Fault,
    began: Micros,
    healed: Option<Micros>,
    named: Option<Micros>,
    told: bool,
}

/// The reference model.
#[derive(Debug)]
pub struct Reference {
    plan: Plan,
    bounds: Bounds,
    excuses: Vec<Excuse>,
    troubles: Vec<Trouble>,
    /// Since when each way carries nothing, and since when no full-size packet.
    broken: BTreeMap<(usize, usize), Micros>,
    narrow: BTreeMap<(usize, usize), Micros>,
    /// When something last happened that makes a mesh not ready for a while.
    unwell_until: Micros,
    /// What is said at present and is not so, to be told once.
    standing: BTreeMap<String, Micros>,
    pub flaws: Vec<Flaw>,
    pub verdicts: u64,
    /// Verdicts with an open gate, of those in which it could be.
    pub ready: u64,
    pub well: u64,
    /// Time from each fault to its name.
    pub times: Vec<(Fault, Micros)>,
}

impl Reference {
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            bounds: Bounds::of(plan),
            excuses: Vec::new(),
            troubles: Vec::new(),
            broken: BTreeMap::new(),
            narrow: BTreeMap::new(),
            unwell_until: 60 * SECOND,
            standing: BTreeMap::new(),
            flaws: Vec::new(),
            verdicts: 0,
            ready: 0,
            well: 0,
            times: Vec::new(),
        }
    }

    /// Something is going to happen: what may be said of it, and for how long.
    pub fn expect(&mut self, at: Micros, action: &Action) {
        let name = |node: usize| self.plan.nodes[node].name.to_string();
        let mut excuse = |codes: &[&'static str], node: usize, until: Micros| {
            self.excuses.push(Excuse {
                codes: codes.to_vec(),
                subject: name(node),
                until,
            });
        };
        let unwell = match *action {
            Action::Stall { node, time } => {
                // That its agent was not run is true of it.
                excuse(&["observer-overloaded"], node, at + time + 30 * SECOND);
                at + time + 20 * SECOND
            }
            Action::Reboot { node, away } => {
                let codes = ["agent-not-reporting", "reports-stale", "peer-silent"];
                excuse(&codes, node, at + away + BACK_WITHIN);
                self.excuses.push(Excuse {
                    codes: vec!["too-few-nodes"],
                    subject: "cluster".to_owned(),
                    until: at + away + BACK_WITHIN,
                });
                at + away + 60 * SECOND
            }
            Action::RestartAgent { away, .. } | Action::RestartCollector { away } => {
                at + away + 30 * SECOND
            }
            Action::Break(fault) => {
                self.troubles.push(Trouble {
                    fault,
                    began: at,
                    healed: None,
                    named: None,
                    told: false,
                });
                Micros::MAX
            }
            Action::Heal(fault) => {
                let mut open = self.troubles.iter_mut();
                if let Some(trouble) =
                    open.find(|trouble| trouble.fault == fault && trouble.healed.is_none())
                {
                    trouble.healed = Some(at);
                }
                if self.troubles.iter().any(|trouble| trouble.healed.is_none()) {
                    Micros::MAX
                } else {
                    self.unwell_until = 0;
                    at + self.bounds.recovers
                }
            }
            _ => 0,
        };
        self.unwell_until = self.unwell_until.max(unwell);
    }

    /// Holds a verdict against what is true.
    pub fn check(&mut self, world: &World, verdict: &Verdict) {
        let now = world.now;
        self.verdicts += 1;
        self.excuses.retain(|excuse| excuse.until >= now);
        self.look(world);
        let wrong: Vec<String> = verdict
            .roots()
            .filter(|root| !self.is_true(root, now))
            .map(|root| format!("{} ({}): {}", root.code, root.subject_text, root.summary))
            .collect();
        self.note_standing(FlawKind::WrongAccusation, &wrong, now);
        self.check_gates(verdict, now);
        self.check_names(verdict, now);
        self.check_recovery(verdict, now);
    }

    /// Follows what is true: a way that worked for a moment between two troubles is one that broke anew.
    pub fn look(&mut self, world: &World) {
        let now = world.now;
        let lost = |node: usize| {
            let node = &world.nodes[node];
            !node.powered || !node.device.up || node.agent.is_none() || node.drops_tunnel
        };
        for (a, b) in self.plan.pairs() {
            let down = lost(a) || lost(b);
            for (length, since) in [(SMALL, &mut self.broken), (LARGE, &mut self.narrow)] {
                if down || !world.network.passes(a, b, length) {
                    since.entry((a, b)).or_insert(now);
                } else {
                    since.remove(&(a, b));
                }
            }
        }
    }

    fn is_true(&self, root: &Finding, now: Micros) -> bool {
        let code = root.code.as_str();
        let subject = self.subject(root);
        let subject = subject.as_str();
        let excused =
            |excuse: &Excuse| excuse.codes.contains(&code) && subject.contains(&excuse.subject);
        if self.excuses.iter().any(excused) {
            return true;
        }
        let undecided = code == "tunnel-silent" && root.confidence == Confidence::Undecided;
        self.troubles.iter().any(|trouble| {
            if trouble
                .healed
                .is_some_and(|healed| now > healed + LINGERS + self.bounds.slower)
            {
                return false;
            }
            let expected = trouble.fault.expected(&self.plan);
            if expected.is_some_and(|expected| {
                (expected.code, expected.subject.as_str()) == (code, subject)
            }) {
                return true;
            }
            if undecided && self.is_silenced(trouble.fault, root) {
                return true;
            }
            let (codes, subjects) = trouble.fault.also_true(&self.plan);
            codes.contains(&code) && subjects.iter().any(|known| subject.contains(known))
        })
    }

    /// What a finding is about, by name: a collector that was started while a node was away knows but its key.
    fn subject(&self, root: &Finding) -> String {
        let key = match &root.subject {
            Subject::Node {
                node: NodeRef::Unnamed { key },
            } => Some(*key),
            _ => None,
        };
        let node =
            key.and_then(|key| (0..self.plan.nodes.len()).find(|node| self.plan.key(*node) == key));
        node.map_or_else(
            || root.subject_text.clone(),
            |node| self.plan.nodes[node].name.to_string(),
        )
    }

    /// Whether each direction that a finding explains leads to, or comes from, a node whose tunnels the fault silences.
    fn is_silenced(&self, fault: Fault, root: &Finding) -> bool {
        let is = |node: &NodeRef| {
            let name = node.to_string();
            let place = self
                .plan
                .nodes
                .iter()
                .position(|one| one.name.as_str() == name);
            place.is_some_and(|node| fault.silences(node, &self.plan))
        };
        root.explains
            .iter()
            .all(|pair| is(&pair.from) || is(&pair.to))
    }

    /// What is wrong now, and was not a moment ago, is one flaw.
    fn note_standing(&mut self, kind: FlawKind, wrong: &[String], now: Micros) {
        let key = |what: &String| what.split(": ").next().unwrap_or_default().to_owned();
        for what in wrong {
            if self.standing.insert(key(what), now).is_none() {
                self.flaws.push(Flaw {
                    at: now,
                    kind,
                    what: what.clone(),
                });
            }
        }
        self.standing.retain(|_, last| now - *last < 30 * SECOND);
    }

    fn check_gates(&mut self, verdict: &Verdict, now: Micros) {
        let phase = |level: &str| {
            let gate = verdict.gates.iter().find(|gate| gate.level == level);
            gate.map_or(Phase::Unknown, |gate| gate.phase)
        };
        if now >= self.unwell_until {
            self.well += 1;
            self.ready += u64::from(phase("mesh") == Phase::Ready);
        }
        for (level, since, bound) in [
            (
                "mesh",
                &self.broken,
                GATE_SHUTS_WITHIN + self.bounds.slower_echo,
            ),
            ("mtu", &self.narrow, MTU_SHUTS_WITHIN + self.bounds.slower),
        ] {
            let long = since.iter().find(|(_, since)| now - **since > bound);
            if let Some(((a, b), since)) = long
                && phase(level) == Phase::Ready
            {
                let name = |node: &usize| &self.plan.nodes[*node].name;
                let what = format!(
                    "gate {level} is ready, though {} -> {} carries nothing since {}",
                    name(a),
                    name(b),
                    Clock(*since)
                );
                if !self.flaws.iter().any(|flaw| flaw.what == what) {
                    self.flaws.push(Flaw {
                        at: now,
                        kind: FlawKind::OpenGate,
                        what,
                    });
                }
            }
        }
    }

    fn check_names(&mut self, verdict: &Verdict, now: Micros) {
        for trouble in &mut self.troubles {
            let Some(expected) = trouble.fault.expected(&self.plan) else {
                continue;
            };
            if trouble.named.is_some() || trouble.told || trouble.healed.is_some() {
                continue;
            }
            let mut roots = verdict.roots();
            if roots.any(|root| root.code == expected.code && root.subject_text == expected.subject)
            {
                trouble.named = Some(now);
                self.times.push((trouble.fault, now - trouble.began));
            } else if now > trouble.began + self.bounds.named(&expected) {
                trouble.told = true;
                self.flaws.push(Flaw {
                    at: now,
                    kind: FlawKind::NotNamed,
                    what: format!(
                        "{:?} is not named as {} ({}); named: [{}]",
                        trouble.fault,
                        expected.code,
                        expected.subject,
                        benign::roots(verdict)
                    ),
                });
            }
        }
    }

    fn check_recovery(&mut self, verdict: &Verdict, now: Micros) {
        let healed = self
            .troubles
            .iter()
            .map(|trouble| trouble.healed)
            .collect::<Option<Vec<_>>>();
        let Some(last) = healed.and_then(|healed| healed.into_iter().max()) else {
            return;
        };
        if now < last + self.bounds.recovers {
            return;
        }
        let shut = |level: &str| {
            let gate = verdict.gates.iter().find(|gate| gate.level == level);
            let reasons = gate.map_or(&[][..], |gate| &gate.reasons);
            gate.is_none_or(|gate| gate.phase != Phase::Ready)
                .then(|| format!("{level} ({})", reasons.join("; ")))
        };
        let shut: Vec<String> = ["mesh", "mtu"].into_iter().filter_map(shut).collect();
        let roots = benign::roots(verdict);
        if !(shut.is_empty() && roots.is_empty()) && now >= self.unwell_until {
            self.flaws.push(Flaw {
                at: now,
                kind: FlawKind::NotRecovered,
                what: format!(
                    "after healing, shut: [{}], named: [{}]",
                    shut.join(", "),
                    roots
                ),
            });
        }
        self.troubles.clear();
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FlawKind::WrongAccusation => "wrong accusation",
            FlawKind::OpenGate => "open gate",
            FlawKind::NotNamed => "not named",
            FlawKind::NotRecovered => "not recovered",
        };
        write!(f, "{} {kind}: {}", Clock(self.at), self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_gone_round_more_slowly_may_take_longer() {
        let slower = |nodes| {
            let bounds = Bounds::of(&benign::large(nodes, 0));
            [bounds.slower_echo, bounds.slower].map(|slower| slower / SECOND)
        };
        assert_eq!(slower(8), [0, 0]);
        // Six seconds for a round of full-size packets, instead of five.
        assert_eq!(slower(24), [0, 3]);
        assert_eq!(slower(200), [11, 135]);
    }
}
