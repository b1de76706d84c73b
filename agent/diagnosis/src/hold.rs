//! What one judgement cannot know: since when a level is as it is. Kept by whoever judges again and again.
//!
//! A level with a stability window stays what it was until its check has been good without a break for that long. A cause
//! that no waiting cures ends a wait only after it has stood for a while: what is being changed right now looks like it.

use std::{collections::BTreeMap, time::Duration};

use evidence::{Gate, Moment, Phase};

use crate::graph::Graph;

/// How long each level has been as it is.
#[derive(Clone, Debug)]
pub struct Hold {
    patience: Duration,
    levels: BTreeMap<String, Since>,
}

/// One level.
#[derive(Clone, Debug)]
struct Since {
    /// Since when its own check is good without a break.
    good: Option<Moment>,
    /// What it was before that.
    before: Phase,
    /// Since when it is shut by what no waiting cures.
    terminal: Option<Moment>,
    /// Since when it may be built on, as told: ready, and may start.
    ready: Option<Moment>,
    may_start: Option<Moment>,
}

impl Hold {
    /// Keeps what no waiting cures to itself for so long.
    pub const fn new(patience: Duration) -> Self {
        Self {
            patience,
            levels: BTreeMap::new(),
        }
    }

    /// Takes in what was judged at `now`, and lowers what has not been so for long enough. It never opens a gate.
    pub fn apply(&mut self, graph: &Graph, gates: &mut [Gate], now: Moment) {
        let mut held = Vec::new();
        for gate in &mut *gates {
            let window = graph
                .level(&gate.level)
                .map_or(Duration::ZERO, |level| level.stable_for);
            let since = self.levels.entry(gate.level.clone()).or_insert(Since {
                good: None,
                before: Phase::Unknown,
                terminal: None,
                ready: None,
                may_start: None,
            });
            let good = gate.phase == Phase::Ready;
            if !good {
                since.before = gate.phase;
            }
            since.good = good.then(|| since.good.unwrap_or(now));
            since.terminal = gate.terminal.then(|| since.terminal.unwrap_or(now));
            gate.terminal = long(since.terminal, self.patience, now);
            if good && !long(since.good, window, now) {
                // No rest of time here: a reason that changes with every look would wake every watcher of the gate.
                gate.phase = since.before;
                gate.reasons = vec![format!(
                    "good, and not yet for {} without a break",
                    humantime::format_duration(window)
                )];
                held.push((gate.level.clone(), gate.phase));
            }
        }
        lower(gates, held);
        for gate in gates {
            if let Some(since) = self.levels.get_mut(&gate.level) {
                let at = |last: Option<Moment>, phase| {
                    (phase == Phase::Ready).then(|| last.unwrap_or(now))
                };
                since.ready = at(since.ready, gate.phase);
                since.may_start = at(since.may_start, gate.may_start);
            }
        }
    }

    /// Since when a level is ready without a break, as it was told; with `may_start`, since when it may start.
    pub fn since(&self, level: &str, may_start: bool) -> Option<Moment> {
        let since = self.levels.get(level)?;
        if may_start {
            since.may_start
        } else {
            since.ready
        }
    }
}

fn long(since: Option<Moment>, window: Duration, now: Moment) -> bool {
    since.is_some_and(|since| now.since(since) >= window)
}

/// What rests on a level that is held back may not start either.
fn lower(gates: &mut [Gate], mut held: Vec<(String, Phase)>) {
    let mut place = 0;
    while let Some((level, phase)) = held.get(place).cloned() {
        place += 1;
        for gate in gates
            .iter_mut()
            .filter(|gate| gate.depends_on.contains(&level))
        {
            gate.may_start = worse(gate.may_start, phase);
            let next = (gate.level.clone(), phase);
            if !held.contains(&next) {
                held.push(next);
            }
        }
    }
}

const fn worse(a: Phase, b: Phase) -> Phase {
    match (a, b) {
        (Phase::NotReady, _) | (_, Phase::NotReady) => Phase::NotReady,
        (Phase::Unknown, _) | (_, Phase::Unknown) => Phase::Unknown,
        (Phase::Ready, Phase::Ready) => Phase::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{graph::Level, levels::Check};

    const SECOND: i64 = 1000;

    fn graph(window: u64) -> Graph {
        let mesh = Level {
            stable_for: Duration::from_secs(window),
            ..Level::new("mesh", &[], Check::Mesh)
        };
        let api = Level::new("api", &["mesh"], Check::None);
        let cni = Level::new("cni", &["api"], Check::None);
        Graph::new(vec![mesh, api, cni]).unwrap()
    }

    fn gate(level: &str, phase: Phase, may_start: Phase, below: &[&str]) -> Gate {
        Gate {
            level: level.to_owned(),
            phase,
            may_start,
            depends_on: below.iter().map(|below| (*below).to_owned()).collect(),
            reasons: Vec::new(),
            terminal: false,
        }
    }

    /// What is told of `mesh`, and of what rests on it, one judgement a second.
    fn told(window: u64, phases: &[Phase]) -> Vec<(Phase, Phase, Phase)> {
        let (graph, mut hold) = (graph(window), Hold::new(Duration::ZERO));
        let one = |(at, phase): (usize, &Phase)| {
            let mut gates = [
                gate("mesh", *phase, Phase::Ready, &[]),
                gate("api", Phase::Unknown, *phase, &["mesh"]),
                gate("cni", Phase::Unknown, *phase, &["api"]),
            ];
            let now = Moment::from_millis(i64::try_from(at).unwrap() * SECOND);
            hold.apply(&graph, &mut gates, now);
            (gates[0].phase, gates[1].may_start, gates[2].may_start)
        };
        phases.iter().enumerate().map(one).collect()
    }

    #[test]
    fn without_a_window_what_is_good_is_ready_at_once() {
        let all = (Phase::Ready, Phase::Ready, Phase::Ready);
        assert_eq!(told(0, &[Phase::Ready]), [all]);
    }

    #[test]
    fn with_a_window_a_level_stays_what_it_was_until_it_has_been_good_for_long_enough() {
        use Phase::{NotReady, Ready, Unknown};
        let phases = [Unknown, Ready, Ready, Ready, NotReady, Ready, Ready, Ready];
        let told = told(2, &phases);
        let mesh: Vec<Phase> = told.iter().map(|told| told.0).collect();
        assert_eq!(
            mesh,
            [
                Unknown, Unknown, Unknown, Ready, NotReady, NotReady, NotReady, Ready
            ]
        );
        for (mesh, api, cni) in told {
            assert_eq!((api, cni), (mesh, mesh), "what rests on it waits as well");
        }
    }

    #[test]
    fn a_restart_forgets_how_long_a_level_was_good() {
        assert_eq!(told(5, &[Phase::Ready])[0].0, Phase::Unknown);
    }

    #[test]
    fn what_no_waiting_cures_is_told_after_it_has_stood() {
        let (graph, mut hold) = (graph(0), Hold::new(Duration::from_secs(2)));
        let mut terminal = Vec::new();
        for (second, shut) in [true, true, false, true, true, true]
            .into_iter()
            .enumerate()
        {
            let mut gates = [Gate {
                terminal: shut,
                ..gate("mesh", Phase::NotReady, Phase::Ready, &[])
            }];
            let now = Moment::from_millis(i64::try_from(second).unwrap() * SECOND);
            hold.apply(&graph, &mut gates, now);
            terminal.push(gates[0].terminal);
        }
        assert_eq!(terminal, [false, false, false, false, false, true]);
    }

    #[test]
    fn since_is_of_what_was_told_and_not_of_what_was_judged() {
        let (graph, mut hold) = (graph(2), Hold::new(Duration::ZERO));
        for second in 0..4 {
            let mut gates = [gate("mesh", Phase::Ready, Phase::Ready, &[])];
            hold.apply(&graph, &mut gates, Moment::from_millis(second * SECOND));
        }
        assert_eq!(
            hold.since("mesh", false),
            Some(Moment::from_millis(2 * SECOND))
        );
        assert_eq!(hold.since("mesh", true), Some(Moment::ZERO));
        assert_eq!(hold.since("nowhere", true), None);
    }
}
