//! Scripts that ask the gate all the time, by gRPC and by HTTP, each on a thread of its own.
//!
//! A third one asks a thread that answers at once and knows nothing. The processors are shared with the load and with the server: so what that
//! one waits for is what the machine delays, and what the gate takes beyond it is the collector's.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
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
    pub(crate) by: By,
    /// What the gate said, by gRPC.
    pub(crate) phase: Option<Phase>,
}

/// Who was asked, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Grpc,
    Http,
    /// Somebody who answers at once.
    Nobody,
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
        let kinds = [by_grpc, by_http, by_nobody];
        let threads = kinds.map(|ask| {
            let (stop, sender) = (Arc::clone(&stop), sender.clone());
            thread::spawn(move || ask(&stop, &sender))
        });
        Self {
            answers,
            stop,
            threads: threads.into(),
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
                by: By::Grpc,
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
            by: By::Http,
            phase: None,
        };
        if answers.send(answer).is_err() {
            return Ok(());
        }
        thread::sleep(PACE);
    }
    Ok(())
}

fn by_nobody(stop: &AtomicBool, answers: &Sender<Answer>) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut asked, _) = listener.accept()?;
    for end in [&stream, &asked] {
        end.set_nodelay(true)?;
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    // It ends with the connection.
    let answering = thread::spawn(move || {
        let mut word = [0; 1];
        while asked.read_exact(&mut word).is_ok() && asked.write_all(&word).is_ok() {}
    });
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let mut word = [1];
        stream.write_all(&word)?;
        stream.read_exact(&mut word)?;
        let answer = Answer {
            took: asked.elapsed(),
            by: By::Nobody,
            phase: None,
        };
        if answers.send(answer).is_err() {
            break;
        }
        thread::sleep(PACE);
    }
    drop(stream);
    // It has nothing to tell.
    drop(answering.join());
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
