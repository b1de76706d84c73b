//! `talos` on made-up answers: what follows when what the nodes say does not fit together.

use evidence::{PublicKey, TalosPeerState};
use insta::assert_snapshot;
use mesh_probe::{
    adhoc::{
        Facts as _,
        talos::{Answer, Said, SaidPeer, Silence, Stage, TalosMesh},
    },
    exit::Exit,
    render::{self, Style},
};

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn peer(name: &str, number: u8, state: TalosPeerState) -> SaidPeer {
    SaidPeer {
        key: key(number),
        name: name.to_owned(),
        address: format!("fd7f::{number}").parse().ok(),
        addresses: vec![[10, 0, 0, number].into()],
        state: Some(state),
        endpoint: format!("203.0.113.{number}:51820").parse().ok(),
        handshake_age_s: Some(72),
        received: 4_199,
        sent: 812,
    }
}

fn node(name: &str, number: u8, peers: Vec<SaidPeer>) -> Answer {
    Answer {
        asked: format!("10.0.0.{number}"),
        said: Ok(Said {
            name: name.to_owned(),
            node_id: format!("id-{number}"),
            key: Some(key(number)),
            address: format!("fd7f::{number}").parse().ok(),
            addresses: vec![[10, 0, 0, number].into()],
            peers,
        }),
    }
}

fn silent(asked: &str, refused: bool) -> Answer {
    Answer {
        asked: asked.to_owned(),
        said: Err(Silence {
            stage: Stage::Timeout,
            why: "no answer from 10.0.0.3:50000 in time (TCP)".to_owned(),
            refused,
        }),
    }
}

fn mesh(answers: &[Answer]) -> TalosMesh {
    TalosMesh::new("home".to_owned(), None, answers)
}

fn screen(answers: &[Answer]) -> String {
    render::talos(&mesh(answers), Style::default())
}

const UP: TalosPeerState = TalosPeerState::Up;

#[test]
fn a_node_that_cannot_be_asked_is_known_by_what_the_others_say() {
    let answers = [
        node(
            "cp-1",
            1,
            vec![peer("cp-2", 2, UP), peer("worker-1", 3, UP)],
        ),
        node(
            "cp-2",
            2,
            vec![
                peer("cp-1", 1, UP),
                peer("worker-1", 3, TalosPeerState::Unknown),
            ],
        ),
        silent("10.0.0.3", false),
    ];
    assert_eq!(mesh(&answers).exit(), Exit::CannotTell);
    assert_snapshot!(screen(&answers));
}

#[test]
fn old_keys_and_one_sided_peers_are_named() {
    let answers = [
        node(
            "cp-1",
            1,
            vec![peer("worker-1", 9, UP), peer("worker-2", 4, UP)],
        ),
        node(
            "worker-1",
            3,
            vec![
                peer("cp-1", 1, TalosPeerState::Down),
                peer("worker-2", 4, UP),
            ],
        ),
        node("worker-2", 4, vec![peer("worker-1", 3, UP)]),
    ];
    assert_eq!(mesh(&answers).exit(), Exit::NotReady);
    assert_snapshot!(screen(&answers));
}

#[test]
fn machines_that_share_what_must_differ_are_named() {
    let mut clone = node("worker-1", 1, vec![peer("cp-1", 1, UP)]);
    let said = clone.said.as_mut().unwrap();
    said.node_id = "id-2".to_owned();
    clone.asked = "10.0.0.2".to_owned();
    let answers = [node("cp-1", 1, vec![]), clone, node("worker-1", 3, vec![])];
    let conclusions = mesh(&answers).conclusions().join("\n");
    for said in [
        "10.0.0.2 and 10.0.0.3 are several nodes with the one name worker-1",
        "cp-1 and worker-1 have the same key AQEBAQEB, as copies of one disk do",
        "cp-1 and worker-1 have the same KubeSpan address fd7f::1, as machines with equal hardware addresses do",
        "cp-1 and worker-1 have the same address 10.0.0.1: the others can reach but one of them",
    ] {
        assert!(
            conclusions.contains(said),
            "{said:?} is not in\n{conclusions}"
        );
    }
}

#[test]
fn a_node_that_was_asked_twice_is_one_node() {
    let one = node("cp-1", 1, vec![peer("cp-2", 2, UP)]);
    let two = node("cp-2", 2, vec![peer("cp-1", 1, UP)]);
    let mut again = one.clone();
    again.asked = "203.0.113.1".to_owned();
    let joined = mesh(&[one, two, again]);
    assert_eq!((joined.nodes.len(), joined.exit()), (2, Exit::Ready));
}

#[test]
fn nothing_heard_is_no_judgement_and_a_refusal_is_told_apart() {
    assert_eq!(mesh(&[]).exit(), Exit::CannotTell);
    assert_eq!(
        mesh(&[silent("a", false), silent("b", true)]).exit(),
        Exit::CannotTell
    );
    assert_eq!(mesh(&[silent("a", true)]).exit(), Exit::NotAuthorised);
}

#[test]
fn an_unknown_node_that_is_silent_accuses_nobody_of_not_knowing_it() {
    let answers = [
        node("cp-1", 1, vec![peer("cp-2", 2, UP)]),
        node("cp-2", 2, vec![peer("cp-1", 1, UP)]),
        silent("198.51.100.7", false),
    ];
    assert_eq!(mesh(&answers).exit(), Exit::CannotTell);
}

#[test]
fn a_node_without_kubespan_is_not_ready() {
    let mut bare = node("cp-1", 1, vec![]);
    bare.said.as_mut().unwrap().key = None;
    let joined = mesh(&[bare]);
    assert_eq!(joined.exit(), Exit::NotReady);
    assert!(joined.conclusions()[1].starts_with("cp-1 has no KubeSpan identity"));
}
