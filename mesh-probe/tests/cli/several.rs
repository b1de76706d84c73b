//! Several collectors: all must agree, or one is enough.

use std::{net::SocketAddr, time::Instant};

use evidence::{Gate, Phase};

use crate::{
    exit_codes::nobody,
    fixture::gate,
    program::{Run, ask},
    server::{Canned, serve},
};

fn saying(phase: Phase) -> SocketAddr {
    serve(Canned::with_gate(gate("mesh", phase)))
}

async fn ask_both(first: SocketAddr, second: SocketAddr, rest: &str) -> Run {
    ask(format!("{first},{second}"), &format!("gate mesh {rest}")).await
}

#[tokio::test]
async fn all_must_say_yes_unless_one_is_enough() {
    use Phase::{NotReady, Ready, Unknown};
    for (first, second, all, any) in [
        (Ready, Ready, 0, 0),
        (Ready, NotReady, 1, 0),
        (NotReady, Ready, 1, 0),
        (Ready, Unknown, 3, 0),
        (Unknown, NotReady, 1, 1),
        (Unknown, Unknown, 3, 3),
    ] {
        let (a, b) = (saying(first), saying(second));
        assert_eq!(ask_both(a, b, "").await.code, all, "{first:?} {second:?}");
        assert_eq!(
            ask_both(a, b, "--any").await.code,
            any,
            "{first:?} {second:?}"
        );
    }
}

#[tokio::test]
async fn one_that_is_away_keeps_all_from_agreeing_and_is_named() {
    let (here, away) = (saying(Phase::Ready), nobody());
    for (first, second) in [(here, away), (away, here)] {
        let run = ask_both(first, second, "--timeout 1s").await;
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        let says = format!("error: failed to reach the collector at {away}\n");
        assert!(run.stderr.starts_with(&says), "{run:?}");
        let ends = format!("\n  {here} says: ready\n");
        assert!(run.stderr.ends_with(&ends), "{run:?}");
        let document = ask_both(first, second, "--timeout 1s -o json").await.json();
        assert_eq!(document["kind"], "Error");
        let voices = document["collectors"].as_array().unwrap();
        let of = |who: SocketAddr| {
            voices
                .iter()
                .find(|one| one["collector"] == who.to_string())
        };
        assert_eq!(of(here).unwrap()["answer"], "ready", "{document}");
        assert!(of(away).unwrap()["error"].is_string(), "{document}");
        let nagios = ask_both(first, second, "--timeout 1s --nagios").await;
        let ends = format!("; {here} says: ready\n");
        assert!(nagios.stdout.ends_with(&ends), "{nagios:?}");
    }
    let run = ask_both(here, away, "--timeout 1s --any").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout.contains(&format!("{here} says: ready")),
        "{run:?}"
    );
    assert!(
        run.stdout.contains(&format!(
            "{away}: failed to reach the collector at {away}: failed to connect"
        )),
        "{run:?}"
    );
    let document = ask_both(here, away, "--timeout 1s --any -o json")
        .await
        .json();
    assert_eq!(document["ready"], true);
    assert_eq!(document["collectors"][0]["answer"], "ready");
    assert!(document["collectors"][1]["error"].is_string(), "{document}");
    let nagios = ask_both(here, away, "--timeout 1s --any --nagios").await;
    assert_eq!(nagios.code, 1, "{nagios:?}");
    let says = format!("MESH WARNING - mesh: ready at 1 of 2; {away}: failed to reach");
    assert!(nagios.stdout.starts_with(&says), "{nagios:?}");
}

#[tokio::test]
async fn a_level_that_one_does_not_know_is_said_to_be_missing_there() {
    let here = serve(Canned::with_gate(gate("attic", Phase::Ready)));
    let there = saying(Phase::Ready);
    let run = ask(format!("{there},{here}"), "gate attic").await;
    assert_eq!(run.code, 2, "{run:?}");
    assert_eq!(
        run.stderr,
        format!(
            "error: there is no level \"attic\" at the collector {there}\n  \
             because: known levels: mesh\n  {here} says: ready\n"
        )
    );
    let alone = ask(there, "gate attic").await;
    let says = format!("error: there is no level \"attic\" at the collector {there}\n");
    assert!(alone.stderr.starts_with(&says), "{alone:?}");
    let document = ask(there, "gate attic -o json").await.json();
    assert!(document.get("collectors").is_none(), "{document}");
}

#[tokio::test]
async fn a_plugin_names_who_did_not_say_yes_and_what_it_said() {
    let (yes, no) = (saying(Phase::Ready), saying(Phase::NotReady));
    let any = ask_both(yes, no, "--any --nagios").await;
    assert_eq!(any.code, 1, "{any:?}");
    let says = format!("MESH WARNING - mesh: ready at 1 of 2; {no}: not ready | ready=1;");
    assert!(any.stdout.starts_with(&says), "{any:?}");
    let all = ask_both(yes, no, "--nagios").await;
    assert_eq!(all.code, 2, "{all:?}");
    let says = format!(
        "MESH CRITICAL - mesh: NOT READY: 2 of 12 directions fail at underlay; ready at 1 of 2; {no}: not ready | "
    );
    assert!(all.stdout.starts_with(&says), "{all:?}");
    let start = ask_both(yes, no, "--any --nagios --may-start").await;
    assert!(
        start.stdout.starts_with("MESH OK - mesh: may start | "),
        "{start:?}"
    );
}

#[tokio::test]
async fn a_wait_for_all_ends_when_the_last_one_says_yes() {
    let late = Canned::with_gate(gate("mesh", Phase::NotReady));
    let (first, second) = (saying(Phase::Ready), serve(late.clone()));
    let heal = async {
        late.until_asked().await;
        late.now_says(gate("mesh", Phase::Ready));
    };
    let waiting = ask(format!("{first},{second}"), "wait mesh --wait-timeout 15s");
    let (run, ()) = tokio::join!(waiting, heal);
    assert_eq!(run.code, 0, "{run:?}");
    let run = ask(
        format!("{first},{}", saying(Phase::NotReady)),
        "wait mesh --wait-timeout 1s",
    );
    let run = run.await;
    assert_eq!(run.code, 4, "{run:?}");
    assert!(
        run.stdout.contains("because: 2 of 12 directions fail"),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_wait_ends_at_once_when_one_is_hopeless_or_when_one_is_enough() {
    let hopeless = Gate {
        terminal: true,
        ..gate("mesh", Phase::NotReady)
    };
    let (hopeless, shut) = (serve(Canned::with_gate(hopeless)), saying(Phase::NotReady));
    let begun = Instant::now();
    let run = ask(format!("{shut},{hopeless}"), "wait mesh --wait-timeout 15s").await;
    assert_eq!(run.code, 1, "{run:?}");
    let targets = format!("{shut},{}", saying(Phase::Ready));
    let run = ask(targets, "wait mesh --any --wait-timeout 15s").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(begun.elapsed().as_secs() < 12);
}

#[tokio::test]
async fn other_commands_ask_one() {
    let targets = format!("{},{}", saying(Phase::Ready), saying(Phase::Ready));
    let run = ask(targets, "status").await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("asks one collector"), "{run:?}");
}
