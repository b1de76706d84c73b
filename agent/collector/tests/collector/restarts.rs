//! The program, killed again and again while agents report: it always opens its store, tells nothing that was not so, and
//! opens no gate without fresh reports.
//!
//! A few seconds with all tests; `./dev restarts` does it for five minutes.

mod ledger;
mod load;
mod process;

use std::{
    env, fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{
    convert::transition_from_wire,
    limits::MESSAGE_BYTES,
    transport::{Mark, dial},
    wire::{
        CheckRequest, HistoryRequest, Phase, Question, gate_client::GateClient,
        mesh_client::MeshClient,
    },
};
use rustls::ClientConfig;
use tokio::time::sleep;
use tonic::{Code, transport::Channel};

use crate::fixture::{Agent, identity, mesh_key, name, soon};
use ledger::Ledger;
use process::Process;

/// How long it goes on, in seconds.
const SECONDS: &str = "RESTARTS_SECONDS";
/// Without being told.
const SHORT: Duration = Duration::from_secs(10);
/// Between two looks of a reader.
const LOOKS: Duration = Duration::from_millis(20);
/// How long the gate is looked at before any agent reports.
const ALONE: Duration = Duration::from_millis(100);

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Of those, before the collector served.
    early: usize,
    /// Runs that came to the disk, by the number of the last one.
    begun: u64,
    /// Runs in which the gate opened, after fresh reports.
    opened: usize,
    /// Looks at the gate.
    looks: usize,
    clones_refused: usize,
    slowest_start: Duration,
    largest_file: u64,
}

/// Numbers that look like chance, the same each time.
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_lose_no_store_invent_no_history_and_open_no_gate() {
    let seconds = env::var(SECONDS).map(|text| text.parse().unwrap());
    let length = seconds.map_or(SHORT, Duration::from_secs);
    let folder = tempfile::tempdir().unwrap();
    let gates = tempfile::NamedTempFile::new().unwrap();
    let graph =
        "levels:\n- name: wireguard\n  check: wireguard\n- name: api\n  depends_on: [wireguard]\n";
    fs::write(gates.path(), graph).unwrap();
    let mut lot = Lot(0x9e37_79b9_7f4a_7c15);
    let (mut tally, mut ledger) = (Tally::default(), Ledger::default());
    let started = Instant::now();
    let mut round: usize = 0;
    while started.elapsed() < length {
        round += 1;
        let process = Process::start(folder.path(), gates.path());
        if round.is_multiple_of(4) {
            // While it starts: it may be anywhere in opening its store.
            let within = if round.is_multiple_of(8) { 60 } else { 400 };
            sleep(Duration::from_millis(lot.below(within))).await;
            process.kill();
            tally.early += 1;
        } else {
            // Sometimes for so long that paths are accused, and found again.
            let alive = if round % 10 == 1 && length > SHORT {
                3000 + lot.below(9000)
            } else {
                200 + lot.below(1000)
            };
            let alive = Duration::from_millis(alive);
            one_run(process, round, alive, &mut tally, &mut ledger).await;
        }
        tally.kills += 1;
        let size = fs::metadata(folder.path().join("history")).map_or(0, |about| about.len());
        tally.largest_file = tally.largest_file.max(size);
        nothing_else(folder.path());
    }
    println!("{:.0?}: {tally:#?} {ledger:#?}", started.elapsed());
    assert!(tally.opened * 3 > tally.kills - tally.early, "{tally:?}");
    assert!(tally.clones_refused > 0 && ledger.compared > 0, "{tally:?}");
}

/// No journal was set aside; what was being written anew may still be there.
fn nothing_else(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name();
        let known = [
            "history",
            "history.new",
            "last-verdict.json",
            "last-verdict.json.new",
            "last-verdict.before.json",
        ];
        assert!(
            known.iter().any(|known| name == *known),
            "{}",
            name.display()
        );
    }
}

async fn one_run(
    mut process: Process,
    round: usize,
    alive: Duration,
    tally: &mut Tally,
    ledger: &mut Ledger,
) {
    let (address, took) = process.serves();
    tally.slowest_start = tally.slowest_start.max(took);
    let reader = channel(address, mesh_key(7).reader_config().unwrap()).await;
    let run = ledger.restarted(&told(&reader).await);
    tally.begun = run;
    // Nobody reports yet.
    let alone = Instant::now();
    while alone.elapsed() < ALONE {
        assert_ne!(phase(&reader).await, Some(Phase::Ready), "run {run}");
        tally.looks += 1;
        sleep(LOOKS).await;
    }
    if round.is_multiple_of(3) {
        refused(address).await;
        tally.clones_refused += 1;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let agents = load::start(address, &stop).await;
    let (begun, mut opened) = (Instant::now(), false);
    while begun.elapsed() < alive {
        opened |= phase(&reader).await == Some(Phase::Ready);
        tally.looks += 1;
        ledger.seen(&told(&reader).await);
        sleep(LOOKS).await;
    }
    tally.opened += usize::from(opened);
    process.kill();
    stop.store(true, Ordering::Relaxed);
    for agent in agents {
        soon(agent).await.unwrap();
    }
}

async fn channel(address: SocketAddr, tls: ClientConfig) -> Channel {
    let target = address.to_string();
    let dialled = dial(&target, Mark::None, Arc::new(tls));
    soon(Box::pin(dialled)).await.unwrap()
}

async fn told(reader: &Channel) -> ledger::Told {
    let mut mesh = MeshClient::new(reader.clone()).max_decoding_message_size(MESSAGE_BYTES);
    let told = soon(mesh.history(HistoryRequest {})).await.unwrap();
    let told = told.into_inner();
    let transitions = told.transitions.into_iter().map(transition_from_wire);
    ledger::Told {
        run: told.run.unwrap(),
        transitions: transitions.map(Result::unwrap).collect(),
    }
}

async fn phase(reader: &Channel) -> Option<Phase> {
    let request = CheckRequest {
        level: "wireguard".to_owned(),
        question: Question::Ready.into(),
    };
    let state = soon(GateClient::new(reader.clone()).check(request)).await;
    state.ok().map(|state| state.into_inner().ready())
}

/// A machine that comes under the name of a node of earlier runs, before that one does.
async fn refused(address: SocketAddr) {
    let tls = mesh_key(7)
        .agent_config(&name(load::NODES[0]), b"another machine")
        .unwrap();
    let mut clone = Agent::on(channel(address, tls).await).await.unwrap();
    clone.snapshot([identity(load::NODES[0], "boot-b")]).await;
    assert_eq!(clone.refusal().await.code(), Code::AlreadyExists);
}
