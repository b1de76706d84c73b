//! A script that asks the gate all the time, by gRPC and by HTTP, on a thread of its own.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use proto::{
    transport::{Mark, dial},
    trust::MeshKey,
    wire::{CheckRequest, Phase, gate_client::GateClient},
};

use super::process::{ADDRESS, HTTP, MESH_KEY};

/// The level that is asked for.
pub(crate) const LEVEL: &str = "mesh";
/// Between two questions of one kind.
const PACE: Duration = Duration::from_millis(10);
/// An answer that takes longer ends the bench.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) took: Duration,
    pub(crate) by_grpc: bool,
    /// What the gate said, by gRPC.
    pub(crate) phase: Option<Phase>,
}

/// Asks until it is dropped.
#[derive(Debug)]
pub(crate) struct Asker {
    answers: Receiver<Answer>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Asker {
    pub(crate) fn start() -> Self {
        let (sender, answers) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (also, told) = (Arc::clone(&stop), sender.clone());
        let threads = vec![
            thread::spawn(move || by_grpc(&also, &told)),
            thread::spawn({
                let stop = Arc::clone(&stop);
                move || by_http(&stop, &sender)
            }),
        ];
        Self {
            answers,
            stop,
            threads,
        }
    }

    /// The answers that have come since this was asked last.
    pub(crate) fn answers(&self) -> anyhow::Result<Vec<Answer>> {
        let running = self.threads.iter().all(|thread| !thread.is_finished());
        ensure!(running, "the gate could not be asked");
        Ok(self.answers.try_iter().collect())
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The collector may be gone by now, and nobody is interested any more.
            drop(thread.join());
        }
    }
}

fn by_grpc(stop: &AtomicBool, answers: &Sender<Answer>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let key = MeshKey::from_base64(MESH_KEY, "the key of the bench")?;
        let tls = Arc::new(key.reader_config()?);
        let mut gates = GateClient::new(dial(ADDRESS, Mark::None, tls).await?);
        while !stop.load(Ordering::Relaxed) {
            let request = CheckRequest {
                level: LEVEL.to_owned(),
                ..CheckRequest::default()
            };
            let asked = Instant::now();
            let state = tokio::time::timeout(PATIENCE, gates.check(request)).await?;
            let took = asked.elapsed();
            // The judge may be slow; that is an answer, too.
            let phase = state.ok().map(|state| state.into_inner().ready());
            let answer = Answer {
                took,
                by_grpc: true,
                phase,
            };
            if answers.send(answer).is_err() {
                return Ok(());
            }
            tokio::time::sleep(PACE).await;
        }
        Ok(())
    })
}

fn by_http(stop: &AtomicBool, answers: &Sender<Answer>) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(HTTP).context("connect by HTTP")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /gate/{LEVEL} HTTP/1.1\r\nHost: {HTTP}\r\n\r\n");
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        stream.write_all(request.as_bytes())?;
        read_answer(&mut stream)?;
        let answer = Answer {
            took: asked.elapsed(),
            by_grpc: false,
            phase: None,
        };
        if answers.send(answer).is_err() {
            return Ok(());
        }
        thread::sleep(PACE);
    }
    Ok(())
}

/// Reads one answer whole; the connection stays open.
fn read_answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&all);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.context("an answer has a length")? {
                return Ok(());
            }
        }
        let read = stream.read(&mut part)?;
        ensure!(read > 0, "the HTTP connection has ended");
        all.extend(part.iter().take(read));
    }
}

/// What the collector counts, as Prometheus reads it.
pub(crate) fn metrics() -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(HTTP).context("connect by HTTP")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {HTTP}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "/metrics: {answer}");
    Ok(answer)
}
