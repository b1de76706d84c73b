//! Waits: what ends them, and what does not.

use std::time::{Duration, Instant};

use evidence::{Gate, Phase};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    exit_codes::nobody,
    fixture::gate,
    program::ask,
    server::{Canned, KEY, key, serve, serve_at},
};

fn terminal() -> Gate {
    Gate {
        terminal: true,
        ..gate("mesh", Phase::NotReady)
    }
}

#[tokio::test]
async fn a_wait_ends_when_the_level_becomes_ready() {
    let canned = Canned::with_gate(gate("mesh", Phase::NotReady));
    let address = serve(canned.clone());
    let heal = async {
        canned.until_asked().await;
        canned.now_says(gate("mesh", Phase::Ready));
    };
    let (run, ()) = tokio::join!(ask(address, "wait mesh"), heal);
    assert_eq!((run.code, run.stdout.as_str()), (0, "mesh: ready\n"));
    assert_eq!(run.stderr, "", "progress is for terminals only");
}

#[tokio::test]
async fn what_waiting_cannot_cure_ends_the_wait_at_once() {
    let address = serve(Canned::with_gate(terminal()));
    let begin = Instant::now();
    let run = ask(address, "wait mesh --wait-timeout 15s").await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stdout.contains("waiting cannot cure this"), "{run:?}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn no_fail_fast_sits_it_out() {
    let address = serve(Canned::with_gate(terminal()));
    let run = ask(address, "gate mesh --wait-timeout 1s --no-fail-fast").await;
    assert_eq!(run.code, 4, "{run:?}");
}

#[tokio::test]
async fn a_collector_that_comes_late_is_found() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let late = async move {
        drop(other.accept().await.unwrap());
        drop(other);
        serve_at(
            address,
            Canned::with_gate(gate("mesh", Phase::Ready)),
            key(KEY).server_config().unwrap(),
        );
    };
    let (run, ()) = tokio::join!(ask(address, "wait mesh --wait-timeout 15s"), late);
    assert_eq!(run.code, 0, "{run:?}");
}

#[tokio::test]
async fn a_collector_that_never_comes_is_3_after_the_timeout() {
    let begin = Instant::now();
    let run = ask(nobody(), "wait mesh --wait-timeout 1s").await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert!(
        run.stderr.starts_with(
            "error: the collector could not be reached while waiting 1.0 s for mesh\n  because: failed to reach"
        ),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_collector_that_goes_away_and_stays_away_is_3() {
    let canned = Canned::with_gate(gate("mesh", Phase::NotReady));
    let (asked, elsewhere) = (canned.clone(), Runtime::new().unwrap());
    let server = elsewhere.spawn(async { serve(canned) });
    let leave = async {
        asked.until_asked().await;
        elsewhere.shutdown_background();
    };
    let waiting = ask(server.await.unwrap(), "wait mesh --wait-timeout 3s");
    let (run, ()) = tokio::join!(waiting, leave);
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stderr
            .contains("could not be reached while waiting 3.0 s for mesh"),
        "{run:?}"
    );
}
