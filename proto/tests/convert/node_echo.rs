//! What is wrong with a fact about echoes to node addresses is refused by its name.

use evidence::{Fact, Via};
use proto::{
    convert::{ConvertError, Incoming},
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

pub(crate) fn sample() -> wire::NodeEcho {
    wire::NodeEcho {
        public_key: vec![2; 32],
        asked: vec![wire::NodeAsked {
            to: vec![203, 0, 113, 12],
            answered: 3,
            last_answered_ms: Some(4),
            back_via: Some("kubespan".to_owned()),
            through: Some(true),
            lost: 1,
            lost_since_ms: Some(5),
            beside_ms: Some(3),
            mended_ms: Some(2),
        }],
        heard: vec![wire::NodeHeard {
            at: vec![203, 0, 113, 11],
            heard: 2,
            last_ms: 4,
            via: Some("eth0".to_owned()),
            around: 1,
            around_since_ms: Some(4),
        }],
    }
}

fn with(spoil: impl FnOnce(&mut wire::NodeEcho)) -> ConvertError {
    let mut echo = sample();
    spoil(&mut echo);
    sample::fact(WireFact::NodeEcho(echo)).unwrap_err()
}

#[test]
fn each_field_that_is_wrong_is_refused_by_its_name() {
    let control = || Some("a\u{1b}b".to_owned());
    let cases = [
        ("node_echo.public_key", with(|echo| echo.public_key.clear())),
        ("node_echo.to", with(|echo| echo.asked[0].to.clear())),
        ("node_echo.at", with(|echo| echo.heard[0].at.push(1))),
        (
            "node_echo.back_via",
            with(|echo| echo.asked[0].back_via = control()),
        ),
        ("node_echo.via", with(|echo| echo.heard[0].via = control())),
        (
            "node_echo.via",
            with(|echo| echo.heard[0].via = Some("x".repeat(17))),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
    }
}

#[test]
fn the_link_of_the_tunnel_is_told_by_its_name_and_an_unknown_one_by_none() {
    let mut echo = sample();
    echo.heard[0].via = None;
    let fact = wire::Fact {
        fact: Some(WireFact::NodeEcho(echo)),
    };
    let Ok(Incoming::Snapshot(facts)) = sample::snapshot(vec![fact]) else {
        panic!("the sample is refused");
    };
    let Some(Fact::NodeEcho(_, echo)) = facts.iter().next() else {
        panic!("the fact is gone");
    };
    assert_eq!(echo.asked[0].back, Some(Via::Tunnel));
    assert_eq!(echo.heard[0].via, None);
}
