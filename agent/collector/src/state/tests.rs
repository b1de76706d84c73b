use std::net::SocketAddr;

use evidence::PublicKey;

use super::*;

const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn agent(name: &str, key: [u8; 32]) -> Agent {
    Agent {
        node: NodeName::parse(name).unwrap(),
        key,
        mesh: "first".to_owned(),
        from: Some(SocketAddr::from(([192, 0, 2, 7], 40_000))),
    }
}

fn facts(name: &str, boot_id: &str) -> Facts {
    let who = Fact::Identity(Identity {
        name: NodeName::parse(name).unwrap(),
        public_key: Some(PublicKey::from_bytes([7; 32])),
        kubespan_address: None,
        addresses: Vec::new(),
        boot_id: boot_id.to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
    });
    Facts::from_iter([who])
}

fn state() -> State {
    State::new(Moment::ZERO, Expectation::default())
}

fn node<'s>(state: &'s State, name: &str) -> &'s NodeView {
    &state.view.nodes[&NodeName::parse(name).unwrap()]
}

fn peer_fact(number: usize) -> Fact {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
    Fact::EchoHeard(PublicKey::from_bytes(key), evidence::EchoHeard::default())
}

#[test]
fn another_key_for_a_node_is_a_conflict_and_changes_no_fact() {
    let mut state = state();
    let _first = state
        .open(&agent("vps-1", KEY), facts("vps-1", "a"), at(0))
        .unwrap();
    let refused = state
        .open(&agent("vps-1", OTHER_KEY), facts("vps-1", "b"), at(10))
        .unwrap_err();
    assert!(matches!(refused, Refusal::Key(_)), "{refused:?}");
    let node = node(&state, "vps-1");
    assert_eq!(boot_id(&node.facts), Some("a"));
    assert_eq!(
        node.conflict,
        Some(Conflict {
            at: at(10),
            what: "another certificate key, from 192.0.2.7".to_owned()
        })
    );
}

#[test]
fn a_key_stays_pinned_after_the_stream_has_ended() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let first = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    assert!(state.close(&hello.node, first.id, at(1)));
    let refused = state.open(
        &agent("vps-1", OTHER_KEY),
        facts("vps-1", "a"),
        at(1_000_000),
    );
    assert!(matches!(refused, Err(Refusal::Key(_))));
}

#[test]
fn a_second_machine_beside_a_live_one_is_a_conflict() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let mut first = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    let second = state.open(&hello, facts("vps-1", "b"), at(5_000));
    assert!(matches!(second, Err(Refusal::Machine(_))));
    assert!(node(&state, "vps-1").conflict.is_some());
    assert!(first.ended.try_recv().is_err());
}

#[test]
fn a_rebooted_machine_replaces_its_silent_or_closed_stream() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let mut silent = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    let rebooted = state.open(&hello, facts("vps-1", "b"), at(5_001)).unwrap();
    assert!(matches!(silent.ended.try_recv(), Ok(Refusal::Replaced(_))));
    state.close(&hello.node, rebooted.id, at(5_002));
    let again = state.open(&hello, facts("vps-1", "c"), at(5_003));
    assert!(again.is_ok());
    assert_eq!(node(&state, "vps-1").conflict, None);
}

#[test]
fn a_restarted_agent_replaces_its_live_stream_and_the_old_one_has_no_say() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let mut old = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    let _new = state.open(&hello, facts("vps-1", "a"), at(100)).unwrap();
    assert!(matches!(old.ended.try_recv(), Ok(Refusal::Replaced(_))));
    assert!(!state.close(&hello.node, old.id, at(200)));
    assert_eq!(node(&state, "vps-1").stream, Stream::Open);
    let late = state.apply(&hello.node, old.id, Delta::default(), at(200));
    assert!(matches!(late, Err(Refusal::Replaced(_))));
    assert_eq!(node(&state, "vps-1").last_report, at(100));
}

#[test]
fn a_stream_that_is_ended_from_here_is_told_why_and_its_node_is_closed() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let mut old = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    let mut new = state.open(&hello, facts("vps-1", "a"), at(100)).unwrap();
    drop(old.ended.try_recv());
    state.end(&hello.node, old.id, at(200), Refusal::Nodes);
    assert_eq!(node(&state, "vps-1").stream, Stream::Open);
    state.end(&hello.node, new.id, at(300), Refusal::Nodes);
    assert!(matches!(new.ended.try_recv(), Ok(Refusal::Nodes)));
    assert_eq!(node(&state, "vps-1").stream, Stream::Closed(at(300)));
    assert!(!state.close(&hello.node, new.id, at(400)));
    let late = state.apply(&hello.node, new.id, Delta::default(), at(400));
    assert!(matches!(late, Err(Refusal::Replaced(_))));
}

#[test]
fn a_conflict_is_remembered_over_a_restart() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let _first = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    drop(state.open(&agent("vps-1", OTHER_KEY), facts("vps-1", "b"), at(10)));
    let _again = state.open(&hello, facts("vps-1", "a"), at(20)).unwrap();
    assert!(node(&state, "vps-1").conflict.is_some());
}

#[test]
fn a_node_that_was_away_is_steady_only_since_it_came_back() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let first = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    let hear = |state: &mut State, id, ms| {
        let heard = state.apply(&hello.node, id, Delta::default(), at(ms));
        heard.unwrap();
        node(state, "vps-1").steady_since
    };
    assert_eq!(hear(&mut state, first.id, 2000), at(0));
    assert_eq!(hear(&mut state, first.id, 4001), at(4001));
    assert_eq!(hear(&mut state, first.id, 5000), at(4001));
    let soon = state.open(&hello, facts("vps-1", "a"), at(6000)).unwrap();
    assert_eq!(hear(&mut state, soon.id, 6500), at(4001));
    let late = state.open(&hello, facts("vps-1", "a"), at(9000)).unwrap();
    assert_eq!(hear(&mut state, late.id, 9100), at(9000));
}

#[test]
fn a_sign_of_life_moves_the_last_report_and_asks_for_no_judgement() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let first = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    let view = state.lend();
    state.give_back(view);
    state
        .apply(&hello.node, first.id, Delta::default(), at(900))
        .unwrap();
    assert_eq!(state.news(), News::Nothing);
    assert_eq!(node(&state, "vps-1").last_report, at(900));
}

#[test]
fn a_node_has_no_more_facts_than_the_limit_however_many_deltas_bring_them() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let mut full = facts("vps-1", "a");
    (1..limits::FACTS).for_each(|number| full.insert(peer_fact(number)));
    assert_eq!(full.len(), limits::FACTS);
    let first = state.open(&hello, full, at(0)).unwrap();
    let apply = |state: &mut State, upserts, removed| {
        state.apply(
            &hello.node,
            first.id,
            Delta {
                upserts,
                removed,
                ..Delta::default()
            },
            at(1),
        )
    };
    let over = apply(&mut state, vec![peer_fact(limits::FACTS)], vec![]).unwrap_err();
    assert_eq!(
        over.to_string(),
        format!(
            "field delta.upserts: expected at most {} facts of one node, got {}",
            limits::FACTS,
            limits::FACTS + 1
        )
    );
    apply(&mut state, vec![peer_fact(1)], vec![]).unwrap();
    let swap = apply(
        &mut state,
        vec![peer_fact(limits::FACTS)],
        vec![peer_fact(2).key()],
    );
    swap.unwrap();
    assert_eq!(node(&state, "vps-1").facts.len(), limits::FACTS);
}

#[test]
fn a_full_view_refuses_new_nodes_and_keeps_the_old_ones() {
    let mut state = state();
    let name = |number: usize| format!("node-{number}");
    for number in 0..limits::NODES {
        let name = name(number);
        drop(
            state
                .open(&agent(&name, KEY), facts(&name, "a"), at(0))
                .unwrap(),
        );
    }
    let extra = name(limits::NODES);
    let refused = state.open(&agent(&extra, KEY), facts(&extra, "a"), at(1));
    assert!(matches!(refused, Err(Refusal::Nodes)));
    assert!(
        state
            .open(&agent("node-0", KEY), facts("node-0", "a"), at(1))
            .is_ok()
    );
    assert_eq!(state.node_count(), limits::NODES);
}

#[test]
fn a_peer_is_listed_with_its_key_and_reports_only_while_it_is_fresh() {
    let mut state = state();
    let hello = agent("vps-1", KEY);
    let first = state.open(&hello, facts("vps-1", "a"), at(0)).unwrap();
    state
        .apply(&hello.node, first.id, Delta::default(), at(1))
        .unwrap();
    let reporting = |state: &State, now| state.peers(now)[0].reporting;
    assert!(reporting(&state, at(5_001)));
    assert!(!reporting(&state, at(5_002)));
    state.close(&hello.node, first.id, at(2));
    assert!(!reporting(&state, at(3)));
}

#[test]
fn a_node_that_comes_with_another_mesh_key_is_the_same_node_and_pinned_there_by_itself() {
    let mut state = State::new(at(0), Expectation::default());
    let (old, mut new) = (agent("vps-1", [1; 32]), agent("vps-1", [2; 32]));
    new.mesh = "second".to_owned();
    state.open(&old, facts("vps-1", "boot-a"), at(1)).unwrap();
    let changed = state.open(&new, facts("vps-1", "boot-a"), at(2)).unwrap();
    assert!(state.is_current(&new.node, changed.id));
    assert!(state.view.nodes[&new.node].conflict.is_none());
    // Back, as when only half of the nodes have the new one.
    state.open(&old, facts("vps-1", "boot-a"), at(3)).unwrap();
    let mut clone = agent("vps-1", [3; 32]);
    clone.mesh = "second".to_owned();
    let refusal = state
        .open(&clone, facts("vps-1", "boot-a"), at(4))
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Key(_)), "{refusal:?}");
    // Another machine is no change of keys.
    let mut other = agent("vps-1", [2; 32]);
    other.mesh = "second".to_owned();
    let refusal = state
        .open(&other, facts("vps-1", "boot-b"), at(5))
        .unwrap_err();
    assert!(matches!(refusal, Refusal::Machine(_)), "{refusal:?}");
}

#[test]
fn what_pairs_did_before_a_restart_counts_as_soon_as_both_ends_are_there() {
    let node = |text: &str| NodeRef::named(&NodeName::parse(text).unwrap());
    let past = PairPast {
        from: node("vps-1"),
        to: node("vps-2"),
        good: true,
        rung: evidence::Rung::Tunnel,
        changes: vec![at(-3000), at(-2000)],
    };
    let mut state = state().remembering(BTreeMap::new(), vec![past.clone()]);
    let mut pasts = |name: &str| {
        state
            .open(&agent(name, KEY), facts(name, "a"), at(1))
            .unwrap();
        let view = state.lend();
        let pasts: Vec<PairPast> = view.history.pasts().collect();
        state.give_back(view);
        pasts
    };
    assert_eq!(pasts("vps-1"), []);
    assert_eq!(pasts("vps-2"), [past]);
}
