//! Whoever remembers the last judgement says what whoever remembers nothing says.

#[path = "support/chaos.rs"]
mod chaos;
#[expect(
    dead_code,
    reason = "this target changes meshes in few of the ways there are"
)]
mod support;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use diagnosis::{History, NodeView, PairFilter, Recorder, Stream, View, Watch, diagnose, pairs};
use evidence::{Fact, FactKey, Moment, NodeRef, PairPast, Rung};
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{RngSeed, TestRunner},
};
use support::{Lab, NODES, NOW, cases, name};

/// What happens to a mesh between two judgements.
#[derive(Clone, Debug)]
enum Event {
    /// A node says something, fitting or not.
    Says(&'static str, Fact),
    /// A node no longer says one of its facts.
    SaysNoMore(&'static str, Index),
    /// All nodes say again what they said, seen now.
    AllReport,
    /// One does.
    Reports(&'static str),
    /// All that is told is that the nodes were there so long ago.
    AllSpeak(i64),
    Closes(&'static str),
    Leaves(&'static str),
    /// It comes with what it said in a healthy mesh.
    Comes(&'static str),
    /// The verdict becomes a part of the history.
    Recorded,
    /// So does what one pair did before a restart: changes that lie so far apart.
    Recalled(&'static str, &'static str, i64),
    /// Nothing is remembered any more.
    Forgotten,
    /// The clock of the judge goes back.
    Back,
}

fn any_event() -> impl Strategy<Value = Event> {
    let node = || select(NODES.to_vec());
    prop_oneof![
        6 => (node(), chaos::any_fact()).prop_map(|(node, fact)| Event::Says(node, fact)),
        2 => (node(), any::<Index>()).prop_map(|(node, fact)| Event::SaysNoMore(node, fact)),
        4 => Just(Event::AllReport),
        3 => node().prop_map(Event::Reports),
        4 => (0..4_000_i64).prop_map(Event::AllSpeak),
        1 => node().prop_map(Event::Closes),
        1 => node().prop_map(Event::Leaves),
        2 => node().prop_map(Event::Comes),
        3 => Just(Event::Recorded),
        2 => (node(), node(), 500..20_000_i64).prop_map(|(a, b, apart)| Event::Recalled(a, b, apart)),
        1 => Just(Event::Forgotten),
        1 => Just(Event::Back),
    ]
}

/// Short and long pauses: every bound in time is crossed by some.
fn any_pause() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => 0..300_i64,
        3 => 300..2_000_i64,
        3 => 2_000..6_000_i64,
        2 => 6_000..40_000_i64,
        1 => 40_000..700_000_i64,
    ]
}

fn any_start() -> impl Strategy<Value = View> {
    let labs: Vec<View> = cases::all().map(|case| case.lab.view).collect();
    prop_oneof![
        1 => Just(Lab::healthy().view),
        4 => select(labs),
        1 => chaos::any_view(),
    ]
}

#[test]
fn a_watch_says_what_a_judgement_from_scratch_says() {
    let mut config = ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().build_hasher().finish(),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let events = vec((any_pause(), any_event()), 1..16);
    let followed = TestRunner::new(config).run(&(any_start(), events), |(view, events)| {
        follow(view, &events)
    });
    if let Err(failure) = followed {
        panic!("PROPTEST_RNG_SEED={seed}: {failure}");
    }
}

/// No fact is new, and yet the outcome is: the far side has listened for long enough.
#[test]
fn a_report_that_says_nothing_new_can_decide_a_pair() {
    let mut lab = Lab::healthy().lose("vps-1", "home-worker", 5000);
    let mut watch = Watch::default();
    let mut heard = |lab: &mut Lab, ago: i64| {
        lab.node("home-worker").last_report = NOW.shifted(-ago);
        let verdict = watch.diagnose(&lab.view, NOW);
        assert_eq!(verdict, diagnose(&lab.view, NOW));
        verdict.tally.broken
    };
    assert_eq!(heard(&mut lab, 2500), 0);
    assert_eq!(heard(&mut lab, 300), 1);
}

#[test]
fn what_is_remembered_no_more_marks_no_pair() {
    let mut lab = Lab::healthy();
    let mut watch = Watch::default();
    let mut unproved = |lab: &Lab| watch.diagnose(&lab.view, NOW).tally.unproved;
    assert_eq!(unproved(&lab), 0);
    happen(
        &mut lab.view,
        &Event::Recalled("vps-1", "vps-2", 2000),
        0,
        NOW,
    );
    assert_eq!((unproved(&lab), lab.verdict().tally.unproved), (1, 1));
    lab.view.history = History::default();
    assert_eq!(unproved(&lab), 0);
}

fn follow(mut view: View, events: &[(i64, Event)]) -> Result<(), TestCaseError> {
    let (mut watch, mut recorder) = (Watch::default(), Recorder::default());
    let mut now = NOW;
    for (step, (pause, event)) in events.iter().enumerate() {
        let verdict = diagnose(&view, now);
        prop_assert_eq!(
            &watch.diagnose(&view, now),
            &verdict,
            "before event {}",
            step
        );
        // Nothing new, and later: only time can make a difference.
        now = now.shifted(*pause);
        prop_assert_eq!(
            watch.diagnose(&view, now),
            diagnose(&view, now),
            "after pause {}",
            step
        );
        if pause % 2 == 0 {
            // Whoever asks for ladders takes no news from the next judgement.
            let all = PairFilter::default();
            happen(&mut view, event, *pause, now);
            prop_assert_eq!(watch.pairs(&view, &all, now), pairs(&view, &all, now));
            continue;
        }
        match event {
            Event::Recorded => drop(recorder.observe(&mut view, &verdict, now)),
            Event::Back => now = now.shifted(-5_000),
            event => happen(&mut view, event, *pause, now),
        }
    }
    prop_assert_eq!(watch.diagnose(&view, now), diagnose(&view, now));
    Ok(())
}

fn happen(view: &mut View, event: &Event, pause: i64, now: Moment) {
    match event {
        Event::Leaves(node) => drop(view.nodes.remove(&name(node))),
        Event::Comes(node) => {
            let healthy = Lab::healthy().view.nodes.remove(&name(node));
            let later = healthy.map(|healthy| NodeView {
                since: now,
                ..reported(healthy, now.as_millis() - NOW.as_millis())
            });
            view.nodes.extend(later.map(|later| (name(node), later)));
        }
        Event::AllReport => {
            for node in view.nodes.values_mut() {
                *node = reported(node.clone(), pause);
            }
        }
        Event::AllSpeak(ago) => {
            let nodes = view.nodes.values_mut();
            nodes.for_each(|node| node.last_report = now.shifted(-ago));
        }
        Event::Recalled(from, to, apart) => view.history.recall(PairPast {
            from: NodeRef::named(&name(from)),
            to: NodeRef::named(&name(to)),
            good: true,
            rung: Rung::Tunnel,
            changes: (1..6)
                .rev()
                .map(|back| now.shifted(-back * apart))
                .collect(),
        }),
        Event::Forgotten => view.history = History::default(),
        Event::Says(node, fact) => with(view, node, |node| node.facts.insert(fact.clone())),
        Event::SaysNoMore(node, index) => with(view, node, |node| {
            let keys: Vec<FactKey> = node.facts.iter().map(Fact::key).collect();
            if !keys.is_empty() {
                node.facts.remove(&keys[index.index(keys.len())]);
            }
        }),
        Event::Reports(node) => with(view, node, |node| *node = reported(node.clone(), pause)),
        Event::Closes(node) => with(view, node, |node| node.stream = Stream::Closed(now)),
        Event::Recorded | Event::Back => {}
    }
}

fn with(view: &mut View, node: &str, change: impl FnOnce(&mut NodeView)) {
    if let Some(node) = view.nodes.get_mut(&name(node)) {
        change(node);
    }
}

/// What a node says so much later, if nothing has changed.
fn reported(node: NodeView, later: i64) -> NodeView {
    let facts = node.facts.iter().cloned();
    NodeView {
        facts: facts.map(|fact| fact.shifted(later)).collect(),
        last_report: node.last_report.shifted(later),
        ..node
    }
}
