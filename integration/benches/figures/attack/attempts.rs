//! The attackers: who has no credentials, who has wrong ones, and who has some and does not keep to the protocol.

use std::{any::Any, collections::VecDeque, fmt, sync::Arc, time::Duration};

use anyhow::ensure;
use proto::{
    transport::{Mark, dial},
    trust::{COLLECTOR_NAME, MeshKey},
    wire::{GetRequest, ReportRequest, mesh_client::MeshClient, report_client::ReportClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_stream::iter;

use crate::load::MESH_KEY;

/// Of so many, this share of each kind.
const ROUND: [(Kind, usize); 6] = [
    (Kind::BadCertificate, 30),
    (Kind::Garbage, 30),
    (Kind::HalfOpenTls, 20),
    (Kind::WrongRole, 10),
    (Kind::HalfOpenHttp, 5),
    (Kind::SlowReader, 5),
];
/// Attempts under way at a time, and such as are left open on purpose.
const AT_A_TIME: usize = 64;
const LEFT_OPEN: usize = 2048;
/// An attempt that is neither taken nor refused for so long is given up.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The certificate of another mesh.
    BadCertificate,
    /// Bytes that are no TLS.
    Garbage,
    /// A connection on which nothing is said.
    HalfOpenTls,
    /// A reader that reports.
    WrongRole,
    /// A reader that says nothing after the handshake.
    HalfOpenHttp,
    /// A reader that watches and never reads.
    SlowReader,
}

/// What became of all of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    refused: usize,
    held: usize,
    given_up: usize,
    /// Taken in although they must not be.
    taken: usize,
}

/// What an attempt leaves behind.
enum Left {
    Nothing,
    /// It was let in where it must not be.
    Taken,
    /// A connection that is kept open, so that the collector has to do something about it.
    Open(#[expect(dead_code, reason = "it is closed when it is dropped")] Box<dyn Any + Send>),
}

impl Attempts {
    pub(crate) const fn count(&self) -> usize {
        self.refused + self.held + self.given_up + self.taken
    }

    /// Makes so many at `target`.
    pub(crate) async fn make(target: &str, number: usize) -> anyhow::Result<Self> {
        let reader =
            Arc::new(MeshKey::from_base64(MESH_KEY, "the key of the bench")?.reader_config()?);
        let stranger = MeshKey::from_bytes([9; 32].into()).reader_config()?;
        let stranger = Arc::new(stranger);
        let kinds = ROUND
            .into_iter()
            .flat_map(|(kind, share)| std::iter::repeat_n(kind, share));
        // Kinds come mixed: each next one is some places further on, and a hundred and seven have no divisor in common.
        let round: Vec<Kind> = kinds.collect();
        let kinds = (0..number).filter_map(|number| round.get(number * 37 % round.len()));
        let mut all = Self::default();
        let mut running = JoinSet::new();
        let mut open = VecDeque::new();
        for kind in kinds.copied() {
            if running.len() >= AT_A_TIME
                && let Some(ended) = running.join_next().await
            {
                all.note(ended?, &mut open);
            }
            let tls = match kind {
                Kind::BadCertificate => Arc::clone(&stranger),
                _ => Arc::clone(&reader),
            };
            let target = target.to_owned();
            running.spawn(async move { timeout(PATIENCE, attempt(kind, &target, tls)).await });
        }
        while let Some(ended) = running.join_next().await {
            all.note(ended?, &mut open);
        }
        ensure!(all.taken == 0, "{} were let in that must not be", all.taken);
        Ok(all)
    }

    /// With others.
    pub(crate) const fn and(self, others: Self) -> Self {
        Self {
            refused: self.refused + others.refused,
            held: self.held + others.held,
            given_up: self.given_up + others.given_up,
            taken: self.taken + others.taken,
        }
    }

    fn note(
        &mut self,
        ended: Result<std::io::Result<Left>, tokio::time::error::Elapsed>,
        open: &mut VecDeque<Left>,
    ) {
        match ended {
            Err(_) => self.given_up += 1,
            Ok(Err(_) | Ok(Left::Nothing)) => self.refused += 1,
            Ok(Ok(Left::Taken)) => self.taken += 1,
            Ok(Ok(left)) => {
                self.held += 1;
                if open.len() >= LEFT_OPEN {
                    open.pop_front();
                }
                open.push_back(left);
            }
        }
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} attempts ({} refused, {} left open, {} given up after {PATIENCE:?})",
            self.count(),
            self.refused,
            self.held,
            self.given_up
        )
    }
}

async fn attempt(kind: Kind, target: &str, tls: Arc<ClientConfig>) -> std::io::Result<Left> {
    match kind {
        Kind::BadCertificate => {
            // Refused by an alert, after which the connection ends.
            match dial(target, Mark::None, tls).await {
                Ok(_) => Ok(Left::Taken),
                Err(_) => Ok(Left::Nothing),
            }
        }
        Kind::Garbage => {
            let mut stream = TcpStream::connect(target).await?;
            let bytes: Vec<u8> = (0..4096_u32)
                .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
                .collect();
            stream.write_all(&bytes).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok(Left::Nothing)
        }
        Kind::HalfOpenTls => Ok(Left::Open(Box::new(TcpStream::connect(target).await?))),
        Kind::HalfOpenHttp => {
            let stream = TcpStream::connect(target).await?;
            let name = ServerName::try_from(COLLECTOR_NAME).map_err(std::io::Error::other)?;
            let stream = TlsConnector::from(tls).connect(name, stream).await?;
            Ok(Left::Open(Box::new(stream)))
        }
        Kind::WrongRole => {
            let channel = dial(target, Mark::None, tls).await;
            let channel = channel.map_err(std::io::Error::other)?;
            let mut client = ReportClient::new(channel);
            match client.stream(iter([ReportRequest::default()])).await {
                Err(_) => Ok(Left::Nothing),
                Ok(_) => Ok(Left::Taken),
            }
        }
        Kind::SlowReader => {
            let channel = dial(target, Mark::None, tls).await;
            let channel = channel.map_err(std::io::Error::other)?;
            let mut client = MeshClient::new(channel.clone());
            let watched = client.watch(GetRequest {}).await;
            let watched = watched.map_err(std::io::Error::other)?.into_inner();
            Ok(Left::Open(Box::new((channel, watched))))
        }
    }
}
