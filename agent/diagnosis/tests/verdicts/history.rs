//! What is remembered of pairs: which changes count, for how long, and how many.

use crate::support::{Lab, NOW, ago, name};
use diagnosis::{History, Recorder, View, diagnose};
use evidence::{
    Change, Fact, FactKey, Layer, Moment, NodeRef, Outcome, PairPast, Phase, Rung, Verdict, limits,
};

/// A collector that judges labs one after the other, at moments that all are [`NOW`] to them.
struct Watch {
    recorder: Recorder,
    history: History,
    /// Seconds since the first judgement.
    second: i64,
}

impl Watch {
    fn start() -> Self {
        let mut watch = Self {
            recorder: Recorder::default(),
            history: History::default(),
            second: 0,
        };
        // Until all agents have settled.
        for _ in 0..20 {
            watch.judge(&Lab::healthy());
        }
        watch
    }

    /// A second passes, and the lab is judged. All moments of it move along.
    fn judge(&mut self, lab: &Lab) -> (Verdict, Vec<Change>) {
        self.second += 1;
        let offset = self.second * 1000;
        let mut view = shifted(&lab.view, offset);
        view.history = std::mem::take(&mut self.history);
        let now = NOW.shifted(offset);
        let verdict = diagnose(&view, now);
        let changed = self.recorder.observe(&mut view, &verdict, now);
        self.history = view.history;
        (verdict, changed)
    }

    fn judge_for(&mut self, lab: &Lab, seconds: u32) -> Verdict {
        let mut verdict = Verdict::default();
        for _ in 0..seconds {
            verdict = self.judge(lab).0;
        }
        verdict
    }
}

fn shifted(view: &View, offset: i64) -> View {
    let mut view = view.clone();
    view.started = view.started.shifted(offset);
    for node in view.nodes.values_mut() {
        node.facts = node
            .facts
            .iter()
            .map(|fact| fact.clone().shifted(offset))
            .collect();
        node.since = node.since.shifted(offset);
        node.last_report = node.last_report.shifted(offset);
        node.steady_since = node.steady_since.shifted(offset);
    }
    view
}

fn broken() -> Lab {
    Lab::healthy().lose_both_ways("vps-1", "home-worker", 8000)
}

fn mesh(verdict: &Verdict) -> Phase {
    verdict.gate("mesh").expect("a level").phase
}

fn flapping(verdict: &Verdict) -> bool {
    verdict.roots().any(|root| root.code == "path-flapping")
}

#[test]
fn one_outage_slows_no_recovery() {
    let mut watch = Watch::start();
    let down = watch.judge_for(&broken(), 60);
    assert_eq!(mesh(&down), Phase::NotReady);
    let (up, changed) = watch.judge(&Lab::healthy());
    assert_eq!(mesh(&up), Phase::Ready, "{:#?}", up.gates);
    assert_eq!(changed.len(), 2, "both directions: {changed:?}");
    assert!(up.findings.is_empty());
}

#[test]
fn what_comes_and_goes_is_good_again_only_after_a_while() {
    let mut watch = Watch::start();
    let mut verdict = Verdict::default();
    for _ in 0..4 {
        watch.judge_for(&broken(), 8);
        verdict = watch.judge_for(&Lab::healthy(), 8);
    }
    assert!(flapping(&verdict), "{:#?}", verdict.findings);
    assert_eq!(mesh(&verdict), Phase::NotReady);
    let ladder = verdict
        .pairs
        .iter()
        .find(|ladder| ladder.flapping.is_some());
    let ladder = ladder.expect("a pair that flaps");
    assert_eq!(ladder.broken_at, None);
    assert_eq!(ladder.outcome(Rung::Tunnel), Outcome::Flapping);
    assert_eq!(ladder.highest, Some(Rung::Handshake));
    let period = ladder.flapping.and_then(|flapping| flapping.period_ms);
    assert_eq!(period, Some(16_000));
    // Twice the longest pause between two changes.
    let held = watch.judge_for(&Lab::healthy(), 8);
    assert!(flapping(&held));
    let free = watch.judge_for(&Lab::healthy(), 3);
    assert_eq!(mesh(&free), Phase::Ready, "{:#?}", free.gates);
}

#[test]
fn what_has_no_interval_is_told_without_one() {
    let mut watch = Watch::start();
    let mut verdict = Verdict::default();
    for (down, up) in [(4, 30), (20, 5), (6, 12), (15, 3)] {
        watch.judge_for(&broken(), down);
        verdict = watch.judge_for(&Lab::healthy(), up);
    }
    let told: Vec<_> = verdict
        .pairs
        .iter()
        .filter_map(|ladder| ladder.flapping)
        .collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|flapping| flapping.period_ms.is_none()));
    let root = verdict.roots().next().expect("a root");
    assert!(
        root.summary.contains("at no regular interval"),
        "{}",
        root.summary
    );
}

/// The same lab with another agent process on a node.
fn restarted(mut lab: Lab, node: &str, instance: u64) -> Lab {
    let Some(Fact::Identity(mut identity)) = lab.node(node).facts.get(&FactKey::Identity).cloned()
    else {
        panic!("{node} tells who it is");
    };
    identity.instance = instance;
    lab.put(node, Fact::Identity(identity));
    lab
}

#[test]
fn the_start_of_an_agent_is_no_change_of_its_pairs() {
    let mut watch = Watch::start();
    for instance in 10..14 {
        let down = restarted(broken(), "home-worker", instance);
        watch.judge_for(&down, 5);
        let up = restarted(Lab::healthy(), "home-worker", instance);
        let verdict = watch.judge_for(&up, 5);
        assert!(!flapping(&verdict));
    }
    assert!(watch.history.pasts().all(|past| past.changes.is_empty()));
}

#[test]
fn a_collapse_and_an_endless_flapping_stay_within_their_limits() {
    let mut watch = Watch::start();
    for _ in 0..40 {
        watch.judge_for(&broken(), 1);
        watch.judge_for(&Lab::healthy(), 1);
    }
    assert!(!watch.history.is_empty());
    let all = || watch.history.pasts();
    assert!(all().all(|past| past.changes.len() <= limits::PAIR_CHANGES));
    assert!(watch.history.len() <= limits::PAIR_PASTS);
    let past = |at: usize| PairPast {
        from: NodeRef::named(&name("vps-1")),
        to: NodeRef::named(&evidence::NodeName::parse(&format!("n{at}")).expect("a name")),
        good: false,
        rung: Rung::Tunnel,
        changes: vec![Moment::ZERO; 100],
    };
    let over = History::of((0..limits::PAIR_PASTS + 10).map(past));
    assert_eq!(over.len(), limits::PAIR_PASTS);
    assert!(
        over.pasts()
            .all(|past| past.changes.len() == limits::PAIR_CHANGES)
    );
}

#[test]
fn what_is_remembered_can_be_told_and_taken_up_again() {
    let mut watch = Watch::start();
    watch.judge_for(&broken(), 8);
    watch.judge_for(&Lab::healthy(), 4);
    assert_eq!(History::of(watch.history.pasts()), watch.history);
    // Nobody asks for it any more after five minutes.
    watch.judge_for(&Lab::healthy(), 310);
    assert!(watch.history.is_empty());
}

/// Long packets from outside to these nodes at home are lost, and pass again to those.
fn narrow_towards(nodes: &[&str], mended: &[&str]) -> Lab {
    let ways = |nodes: &[&str]| {
        let of = |to: &&str| ["vps-1", "vps-2"].map(|from| (from, (*to).to_owned()));
        nodes.iter().flat_map(of).collect::<Vec<_>>()
    };
    let narrow = ways(nodes).into_iter();
    let mut lab = narrow.fold(Lab::healthy(), |lab, (from, to)| {
        lab.narrow(from, &to, Layer::Tunnel, Some(1328), 20_000)
    });
    for (from, to) in ways(mended) {
        lab.sizes(from, &to, Layer::Tunnel, |sizes| {
            sizes.mended = Some(ago(3000));
        });
    }
    lab
}

fn holes(verdict: &Verdict) -> Vec<String> {
    let holes = verdict
        .roots()
        .filter(|root| root.code == "pmtu-black-hole");
    holes.map(|root| root.subject_text.clone()).collect()
}

#[test]
fn what_has_not_been_tried_again_since_its_site_was_mended_is_held_against_nobody() {
    let both = narrow_towards(&["home-cp", "home-worker"], &[]).verdict();
    assert_eq!(holes(&both).len(), 1, "{:?}", holes(&both));
    let mended = narrow_towards(&["home-worker"], &["home-cp"]).verdict();
    assert!(holes(&mended).is_empty(), "{:?}", holes(&mended));
    assert_eq!(
        mended.gate("mtu").map(|gate| gate.phase),
        Some(Phase::NotReady)
    );
    let one = narrow_towards(&["home-worker"], &[]).verdict();
    assert_eq!(holes(&one), ["home-worker"]);
}

#[test]
fn what_fails_higher_a_moment_after_it_was_good_had_not_recovered() {
    let narrow = |layer| {
        let passed = Some(1328);
        Lab::healthy().narrow("vps-1", "home-worker", layer, passed, 20_000)
    };
    let mut watch = Watch::start();
    for _ in 0..4 {
        watch.judge_for(&narrow(Layer::Tunnel), 3);
        watch.judge_for(&Lab::healthy(), 2);
        watch.judge_for(&narrow(Layer::Overlay), 3);
    }
    let told: Vec<PairPast> = watch.history.pasts().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    // It failed once, and the recoveries of the lower rung were taken back; each fall to that is one change and no more.
    assert!(!told[0].good && told[0].changes.len() <= 1, "{told:?}");
}
