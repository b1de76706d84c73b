//! What holds for every view, real or absurd.

#[path = "support/chaos.rs"]
mod chaos;
mod support;

use std::{
    collections::BTreeSet,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use diagnosis::{PairFilter, View, diagnose, explain, pairs};
use evidence::{
    Citation, EchoSent, Fact, FactKey, Moment, Outcome, PairHealth, PairPast, Phase, Reporter,
    Rung, SourceId, Tally, Verdict,
};
use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{RngSeed, TestRunner},
};
use support::{Lab, NODES, NOW, ago, cases, key, name};

/// Checks a law on so many samples. The seed is told, so that a failure can be had again.
fn law<T: std::fmt::Debug>(
    samples: u32,
    strategy: &impl Strategy<Value = T>,
    holds: impl Fn(T) -> Result<(), TestCaseError>,
) {
    let mut config = ProptestConfig {
        cases: samples,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().build_hasher().finish(),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    if let Err(failure) = TestRunner::new(config).run(strategy, holds) {
        panic!("PROPTEST_RNG_SEED={seed}: {failure}");
    }
}

/// A case of the table, with some facts put into it that fit or do not.
fn any_lab() -> impl Strategy<Value = Lab> {
    let cases: Vec<Lab> = cases::all().map(|case| case.lab).collect();
    let healthy = Just(Lab::healthy());
    let noise = (select(NODES.to_vec()), chaos::any_fact());
    let noise = proptest::collection::vec(noise, 0..3);
    (prop_oneof![1 => healthy, 2 => select(cases)], noise).prop_map(|(mut lab, noise)| {
        for (node, fact) in noise {
            if lab.view.nodes.contains_key(&name(node)) {
                lab.put(node, fact);
            }
        }
        lab
    })
}

/// Evidence of a fault, or evidence gone.
#[derive(Clone, Debug)]
enum Edit {
    /// Nothing of the first arrives at the second.
    LoseDirection(&'static str, &'static str),
    /// The first misses the answers of the second.
    LoseEchoes(&'static str, &'static str),
    Stale(&'static str),
    /// The agent of the node has just woken from a stall.
    Stalled(&'static str),
    Gap(&'static str, SourceId),
    Remove(&'static str, Index),
    /// Marked packets of the first to the second leave beside the tunnel, since so long.
    Unsteer(&'static str, &'static str, Moment),
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let node = || select(NODES.to_vec());
    prop_oneof![
        (node(), node()).prop_map(|(from, to)| Edit::LoseDirection(from, to)),
        (node(), node()).prop_map(|(from, to)| Edit::LoseEchoes(from, to)),
        node().prop_map(Edit::Stale),
        node().prop_map(Edit::Stalled),
        (node(), select(SourceId::ALL.to_vec())).prop_map(|(node, id)| Edit::Gap(node, id)),
        (node(), node(), chaos::any_moment())
            .prop_map(|(from, to, since)| Edit::Unsteer(from, to, since)),
        (node(), any::<Index>()).prop_map(|(node, fact)| Edit::Remove(node, fact)),
    ]
}

fn edited(lab: &Lab, edit: &Edit) -> Lab {
    let here = |node: &str| lab.view.nodes.contains_key(&name(node));
    match *edit {
        Edit::LoseDirection(from, to) if from != to && here(from) && here(to) => {
            let lab = lose_more(lose_more(lab.clone(), from, to), to, from);
            unheard(lab, from, to)
        }
        Edit::LoseEchoes(from, to) if from != to && here(from) => lose_more(lab.clone(), from, to),
        Edit::Stalled(node) if here(node) => cases::observer::stalled(lab.clone(), node, 0),
        Edit::Stale(node) if here(node) => lab.clone().stale(node, 6000),
        Edit::Gap(node, source) if here(node) => lab.clone().gap(node, source, "no permission"),
        Edit::Unsteer(from, to, since) if here(from) => unsteer(lab.clone(), from, to, since),
        Edit::Remove(node, index) if here(node) => remove(lab, node, index),
        _ => lab.clone(),
    }
}

/// The run of lost echoes that `from` sees goes on, or begins.
fn lose_more(mut lab: Lab, from: &str, to: &str) -> Lab {
    if let Some(mut echo) = echo_sent(&mut lab, from, to) {
        let since = *echo.loss_since.get_or_insert_with(|| ago(8000));
        let before = |at: Moment| at.min(since.shifted(-1000));
        echo.consecutive_lost = echo.consecutive_lost.saturating_add(3);
        echo.last_answered = echo.last_answered.map(before);
        echo.refused = echo.refused.map(before);
        lab.put(from, Fact::EchoSent(key(to), echo));
    }
    lab
}

/// `to` heard nothing of `from` since the loss began.
fn unheard(mut lab: Lab, from: &str, to: &str) -> Lab {
    let since = echo_sent(&mut lab, from, to).and_then(|echo| echo.loss_since);
    let before = since.unwrap_or_else(|| ago(8000)).shifted(-1000);
    let asked = FactKey::EchoHeard(key(from));
    if let Some(Fact::EchoHeard(_, heard)) = lab.node(to).facts.get(&asked) {
        let mut heard = heard.clone();
        heard.last_heard = heard.last_heard.map(|at| at.min(before));
        lab.put(to, Fact::EchoHeard(key(from), heard));
    }
    lab
}

/// The chains of `from` no longer mark what is for `to`, and marked packets have no way.
fn unsteer(mut lab: Lab, from: &str, to: &str, since: Moment) -> Lab {
    let asked = FactKey::Steered(key(to));
    if let Some(Fact::Steered(_, mut steered)) = lab.node(from).facts.get(&asked).cloned() {
        steered.since = since;
        for prefix in &mut steered.prefixes {
            prefix.outgoing = Some(false);
            prefix.marked_via = None;
        }
        lab.put(from, Fact::Steered(key(to), steered));
    }
    lab
}

fn echo_sent(lab: &mut Lab, from: &str, to: &str) -> Option<EchoSent> {
    match lab.node(from).facts.get(&FactKey::EchoSent(key(to)))? {
        Fact::EchoSent(_, echo) => Some(echo.clone()),
        _ => None,
    }
}

/// Takes out any fact but two kinds. Without its record of inert datagrams a node withdraws an accusation. And when the
/// last device drops a node that does not speak, that node has left the mesh, which is no fault.
fn remove(lab: &Lab, node: &str, index: Index) -> Lab {
    let speaks = |key| {
        let mut speakers = NODES.iter().filter(|other| support::key(other) == key);
        speakers.any(|other| {
            lab.view
                .nodes
                .get(&name(other))
                .is_some_and(|view| NOW.since(view.last_report).as_secs() < 4)
        })
    };
    let facts: Vec<FactKey> = lab.view.nodes[&name(node)]
        .facts
        .iter()
        .map(Fact::key)
        .filter(|key| match key {
            FactKey::Inert(_) => false,
            FactKey::Peer(key) => speaks(*key),
            _ => true,
        })
        .collect();
    if facts.is_empty() {
        return lab.clone();
    }
    lab.clone().without(node, &facts[index.index(facts.len())])
}

/// Levels that are open, and levels that may be started.
fn open(verdict: &Verdict) -> BTreeSet<(String, &'static str)> {
    let gates = verdict.gates.iter();
    gates
        .flat_map(|gate| {
            let ready = (gate.phase == Phase::Ready).then(|| (gate.level.clone(), "ready"));
            let may = (gate.may_start == Phase::Ready).then(|| (gate.level.clone(), "may start"));
            [ready, may]
        })
        .flatten()
        .collect()
}

#[test]
fn evidence_of_a_fault_never_opens_a_gate() {
    law(4000, &(any_lab(), any_edit()), |(lab, edit)| {
        let (before, after) = (open(&lab.verdict()), open(&edited(&lab, &edit).verdict()));
        prop_assert!(
            after.is_subset(&before),
            "{edit:?} opened: {after:?}, before: {before:?}"
        );
        Ok(())
    });
}

/// What a node did not hear, and what nobody heard of it, accuses no path while it is in trouble.
#[test]
fn negative_evidence_of_a_sick_observer_never_makes_a_failure() {
    law(2000, &(any_lab(), select(NODES.to_vec())), |(lab, node)| {
        prop_assume!(lab.view.nodes.contains_key(&name(node)));
        let verdict = cases::observer::stalled(lab, node, 0).verdict();
        let touches = |ladder: &&evidence::Ladder| {
            [&ladder.from, &ladder.to]
                .iter()
                .any(|end| end.to_string() == node)
        };
        for ladder in verdict.pairs.iter().filter(touches) {
            for rung in [
                Rung::Underlay,
                Rung::Tunnel,
                Rung::TunnelMtu,
                Rung::OverlayPort,
            ] {
                prop_assert_ne!(ladder.outcome(rung), Outcome::Fail, "{:?}", ladder);
            }
        }
        Ok(())
    });
}

#[test]
fn from_a_healthy_mesh_any_such_evidence_on_any_pair_shuts_it() {
    let shut = |lab: Lab, what: String| {
        let phase = lab.verdict().gate("mesh").map(|gate| gate.phase);
        assert_ne!(phase, Some(Phase::Ready), "{what}");
    };
    for a in NODES {
        shut(Lab::healthy().stale(a, 6000), format!("{a} stale"));
        for id in [SourceId::WireGuard, SourceId::Echo] {
            shut(
                Lab::healthy().gap(a, id, "gone"),
                format!("{a} without {id:?}"),
            );
            shut(
                Lab::healthy().without(a, &FactKey::Source(id)),
                format!("{a} tells nothing of {id:?}"),
            );
        }
        shut(
            Lab::healthy().without(a, &FactKey::Steering),
            format!("{a} tells nothing of its rules"),
        );
        shut(
            Lab::healthy().without(a, &FactKey::Identity),
            format!("{a} without identity"),
        );
        for b in NODES.into_iter().filter(|b| *b != a) {
            shut(Lab::healthy().lose(a, b, 8000), format!("{a} -> {b} lost"));
            let asked = FactKey::EchoSent(key(b));
            shut(
                Lab::healthy().without(a, &asked),
                format!("{a} without echo to {b}"),
            );
            shut(
                Lab::healthy().without(a, &FactKey::Steered(key(b))),
                format!("{a} tells nothing of how it steers {b}"),
            );
            shut(
                Lab::healthy().without(a, &FactKey::Peer(key(b))),
                format!("{a} without peer {b}"),
            );
        }
    }
}

#[test]
fn a_node_must_tell_of_its_own_echo_and_what_the_far_side_heard_is_a_second_witness() {
    let phase = |lab: &Lab| lab.verdict().gate("mesh").map(|gate| gate.phase);
    let asked = FactKey::EchoSent(key("home-cp"));
    let heard = FactKey::EchoHeard(key("vps-1"));
    let untold = Lab::healthy().without("vps-1", &asked);
    assert_eq!(phase(&untold), Some(Phase::Unknown));
    let unheard = Lab::healthy().without("home-cp", &heard);
    assert_eq!(phase(&unheard), Some(Phase::Ready));
}

#[test]
fn the_order_in_which_facts_come_changes_nothing() {
    let shuffled = any_lab().prop_flat_map(|lab| {
        let nodes: Vec<_> = lab.view.nodes.clone().into_iter().collect();
        let facts: Vec<_> = nodes
            .iter()
            .flat_map(|(node, view)| view.facts.iter().map(|fact| (node.clone(), fact.clone())))
            .collect();
        (
            Just(lab),
            Just(nodes).prop_shuffle(),
            Just(facts).prop_shuffle(),
        )
    });
    law(200, &shuffled, |(lab, nodes, facts)| {
        let mut view = View {
            nodes: nodes.into_iter().collect(),
            ..lab.view.clone()
        };
        for node in view.nodes.values_mut() {
            node.facts = evidence::Facts::new();
        }
        for (node, fact) in facts {
            if let Some(node) = view.nodes.get_mut(&node) {
                node.facts.insert(fact);
            }
        }
        prop_assert_eq!(diagnose(&view, NOW), lab.verdict());
        Ok(())
    });
}

#[test]
fn a_judgement_of_real_views_is_sound() {
    law(1500, &any_lab(), |lab| sound(&lab.view, NOW));
}

#[test]
fn a_judgement_of_absurd_views_is_sound_and_never_panics() {
    let now = prop_oneof![3 => Just(NOW), 1 => chaos::any_moment()];
    law(1500, &(chaos::any_view(), now), |(view, now)| {
        sound(&view, now)
    });
}

fn sound(view: &View, now: Moment) -> Result<(), TestCaseError> {
    let verdict = diagnose(view, now);
    pages_say_the_same(view, now, &verdict)?;
    citations_exist(view, &verdict)?;
    findings_are_complete(&verdict)?;
    open_gates_are_proved(view, now, &verdict)
}

/// What is judged without words agrees with what is told, and a page has the ladders of the verdict.
fn pages_say_the_same(view: &View, now: Moment, verdict: &Verdict) -> Result<(), TestCaseError> {
    prop_assert_eq!(verdict.tally, Tally::of(&verdict.pairs));
    let all = pairs(view, &PairFilter::default(), now);
    prop_assert_eq!(&all.pairs, &verdict.pairs);
    let filter = PairFilter {
        not_good: true,
        ..PairFilter::default()
    };
    let mut expected = verdict.pairs.clone();
    expected.retain(|ladder| ladder.health() != PairHealth::Good);
    prop_assert_eq!(pairs(view, &filter, now).pairs, expected);
    Ok(())
}

fn citations_exist(view: &View, verdict: &Verdict) -> Result<(), TestCaseError> {
    let of_pairs = verdict
        .pairs
        .iter()
        .flat_map(|ladder| &ladder.rungs)
        .flat_map(|rung| &rung.evidence);
    let of_findings = verdict
        .findings
        .iter()
        .flat_map(|finding| &finding.evidence);
    for citation in of_pairs.chain(of_findings) {
        prop_assert!(exists(view, citation), "{citation:?}");
    }
    Ok(())
}

fn exists(view: &View, citation: &Citation) -> bool {
    match &citation.reporter {
        Reporter::Node(node) => view.nodes.get(node).is_some_and(|node| {
            let mut keys = node.facts.iter().map(|fact| fact.key().to_string());
            keys.any(|key| key == citation.fact)
        }),
        Reporter::Collector => {
            let past = |past: PairPast| format!("pair-history/{}/{}", past.from, past.to);
            let known = view.history.pasts().any(|one| past(one) == citation.fact);
            known || citation.fact == "reporters" || citation.fact.starts_with("report-stream/")
        }
    }
}

fn findings_are_complete(verdict: &Verdict) -> Result<(), TestCaseError> {
    let roots: BTreeSet<&str> = verdict.roots().map(|root| root.code.as_str()).collect();
    for finding in &verdict.findings {
        prop_assert!(
            !finding.evidence.is_empty(),
            "{} rests on nothing",
            finding.code
        );
        prop_assert!(
            explain(&finding.code).is_some(),
            "{} has no page",
            finding.code
        );
        let root = finding.suppressed_by.as_deref();
        prop_assert!(
            root.is_none_or(|root| roots.contains(root)),
            "{root:?} is no root"
        );
    }
    Ok(())
}

fn open_gates_are_proved(view: &View, now: Moment, verdict: &Verdict) -> Result<(), TestCaseError> {
    let nodes = verdict.nodes.len();
    for gate in verdict
        .gates
        .iter()
        .filter(|gate| gate.phase == Phase::Ready)
    {
        if gate.level == "discovery" {
            prop_assert!(nodes >= view.expectation.min_nodes);
            prop_assert!(verdict.nodes.iter().all(|node| node.reporting));
            continue;
        }
        let level = view.expectation.graph.level(&gate.level);
        let rung = level.and_then(|level| level.check.rung());
        let rung = rung.ok_or_else(|| TestCaseError::fail("an unmeasured level is open"))?;
        let good = verdict
            .pairs
            .iter()
            .filter(|ladder| ladder.outcome(rung).is_good());
        prop_assert_eq!(good.count(), nodes * (nodes - 1), "{}", &gate.level);
        prop_assert!(nodes >= 2 && nodes >= view.expectation.min_nodes);
        prop_assert!(verdict.nodes.iter().all(|node| node.reporting));
        for declared in &view.expectation.names {
            let report = view
                .nodes
                .get(declared)
                .map(|node| now.since(node.last_report));
            prop_assert!(
                report.is_some_and(|age| age.as_secs() < 5),
                "{declared} is missing"
            );
        }
    }
    Ok(())
}

#[test]
fn every_case_of_the_table_speaks_of_codes_that_have_pages() {
    for case in cases::all() {
        let named = case.expected.roots.iter().map(|root| root.0);
        for code in named.chain(case.looks_like.iter().copied()) {
            assert!(explain(code).is_some(), "{}: {code}", case.title);
        }
        let ready = case.lab.verdict().gate("mesh").map(|gate| gate.phase);
        assert_eq!(ready, Some(case.expected.gates[2]), "{}", case.title);
    }
}
