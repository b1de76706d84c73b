//! The short cut against the judgement at length.

use std::net::IpAddr;

use evidence::{Drops, Fact, FactKey, Moment, NodeRef};
use proptest::{collection::vec, prelude::*, sample::select};

use super::good_until;
use crate::{
    NodeView, View, chaos,
    mesh::{Memo, Mesh},
    pair::Outcomes,
    support::{Lab, NODES, NOW, ago, cases, healthy, name},
};

fn with_mesh<T>(view: &View, now: Moment, then: impl FnOnce(&Mesh<'_>) -> T) -> T {
    let mut memo = Memo::default();
    let news = memo.take_in(view, now);
    then(&Mesh::new(view, now, (&memo, &news), &[]))
}

/// The directions that the short cut calls good, each with the moment until when.
fn good(mesh: &Mesh<'_>) -> Vec<((usize, usize), Moment)> {
    let nodes = mesh.members.len();
    let ways = (0..nodes).flat_map(|a| (0..nodes).map(move |b| (a, b)));
    let ways = ways.filter(|(a, b)| a != b);
    let until = |(a, b)| {
        let ends = mesh.members.at(a).zip(mesh.members.at(b));
        ends.and_then(|(a, b)| good_until(mesh, a, b))
    };
    ways.filter_map(|way| Some((way, until(way)?))).collect()
}

/// Whether those are good at length too; of some ends that do not speak any more it is not asked.
fn are_good(mesh: &Mesh<'_>, ways: &[(usize, usize)]) -> Result<(), TestCaseError> {
    for (a, b) in ways {
        let ends = mesh.members.at(*a).zip(mesh.members.at(*b));
        let speak = ends.filter(|(a, b)| a.fresh().is_some() && b.fresh().is_some());
        if let Some((a, b)) = speak {
            let (outcomes, _) = Outcomes::at_length(mesh, a, b);
            prop_assert_eq!(outcomes, Outcomes::GOOD, "{} -> {}", a.node, b.node);
        }
    }
    Ok(())
}

fn follow(view: &View, now: Moment) -> Result<(), TestCaseError> {
    let found = with_mesh(view, now, |mesh| {
        let found = good(mesh);
        let ways: Vec<_> = found.iter().map(|(way, _)| *way).collect();
        are_good(mesh, &ways).map(|()| found)
    })?;
    for (way, until) in found {
        prop_assert!(until > now);
        with_mesh(view, until.shifted(-1), |mesh| are_good(mesh, &[way]))?;
        with_mesh(view, until, |mesh| {
            let still = good(mesh).iter().any(|(other, _)| *other == way);
            prop_assert!(!still, "nothing ends at {}", until);
            Ok(())
        })?;
    }
    Ok(())
}

/// A case of the table at some moment, with some facts put into it that fit or do not.
fn any_view() -> impl Strategy<Value = (View, Moment)> {
    let labs: Vec<View> = cases::all().map(|case| case.lab.view).collect();
    let lab = prop_oneof![
        4 => Just(Lab::healthy().view),
        4 => select(labs),
        1 => chaos::any_view(),
    ];
    let noise = vec((select(NODES.to_vec()), chaos::any_fact()), 0..4);
    let now = prop_oneof![-5_000..5_000_i64, -20_000..200_000_i64];
    (lab, noise, now).prop_map(|(mut view, noise, later)| {
        for (node, fact) in noise {
            put(&mut view, node, fact);
        }
        let now = NOW.shifted(later);
        for node in view.nodes.values_mut() {
            // Who fell silent long ago ends every answer; what else ends one is asked here.
            if later > 0 {
                node.last_report = node.last_report.shifted(later);
            }
        }
        (view, now)
    })
}

fn put(view: &mut View, node: &str, fact: Fact) {
    if let Some(node) = view.nodes.get_mut(&name(node)) {
        node.facts.insert(fact);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_found_good_by_few_words_is_good_at_length((view, now) in any_view()) {
        follow(&view, now)?;
    }
}

/// The same of each row of the table, and of each where no node says which address it sends from.
#[test]
fn what_is_found_good_by_few_words_in_a_known_case_is_good_at_length() {
    for case in cases::all() {
        let mut view = case.lab.view;
        for _ in 0..2 {
            let found = follow(&view, NOW);
            assert!(found.is_ok(), "{}: {found:?}", case.title);
            view.nodes.values_mut().for_each(forget_sources);
        }
    }
}

fn forget_sources(node: &mut NodeView) {
    let facts: Vec<Fact> = node.facts.iter().cloned().collect();
    for fact in facts {
        if let Fact::Steered(key, mut steered) = fact {
            let prefixes = steered.prefixes.iter_mut();
            prefixes.for_each(|prefix| prefix.source = None);
            node.facts.insert(Fact::Steered(key, steered));
        }
    }
}

/// Its addresses changed a while ago.
fn moved() -> Fact {
    let mut host = healthy::host("vps-1");
    host.address_changes = Drops {
        count: 1,
        last: Some(ago(60_000)),
    };
    Fact::Host(Box::new(host))
}

/// Where no node says which address it sends from, nothing but the change itself tells that a device has missed it.
#[test]
fn what_one_device_has_missed_is_not_found_good_because_another_one_knows() {
    let mut lab = Lab::healthy();
    lab.put("vps-1", moved());
    let after = IpAddr::from([203, 0, 113, 77]);
    let identity = lab.node("vps-1").facts.get(&FactKey::Identity).cloned();
    let Some(Fact::Identity(mut identity)) = identity else {
        panic!("vps-1 says who it is");
    };
    identity.addresses = vec![after];
    lab.put("vps-1", Fact::Identity(identity));
    let told = || format!("{after}/32");
    lab.peer("vps-2", "vps-1", |peer| peer.allowed_ips.push(told()));
    lab = cases::steering::edit_peer(lab, "vps-2", "vps-1", |steered| {
        for prefix in &mut steered.prefixes {
            prefix.prefix = told();
        }
    });
    lab.view.nodes.values_mut().for_each(forget_sources);
    assert!(follow(&lab.view, NOW).is_ok());
    let from = NodeRef::named(&name("vps-1"));
    let found = with_mesh(&lab.view, NOW, |mesh| {
        let found = good(mesh)
            .into_iter()
            .filter(|((a, _), _)| mesh.members.at(*a).is_some_and(|a| a.node == from));
        let to = found.filter_map(|((_, b), _)| Some(mesh.members.at(b)?.node.to_string()));
        to.collect::<Vec<_>>()
    });
    assert_eq!(found, ["vps-2"]);
}

#[test]
fn all_directions_of_a_mesh_that_is_well_are_found_good_by_few_words() {
    let found = |lab: &Lab| with_mesh(&lab.view, NOW, |mesh| good(mesh).len());
    let mut lab = Lab::healthy();
    assert_eq!(found(&lab), NODES.len() * (NODES.len() - 1));
    // Its addresses changed a while ago, and every device knows.
    lab.put("vps-1", moved());
    assert_eq!(found(&lab), NODES.len() * (NODES.len() - 1));
}
