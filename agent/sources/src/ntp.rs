//! Asks one time server once (SNTP, RFC 4330), with each way to fail kept apart.
//!
//! The question carries nothing of this node, not even its time: a random number stands where a clock would, and the
//! answer must repeat it. So whoever does not see the question cannot answer it.

pub mod packet;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use socket2::SockRef;
use thiserror::Error;
use tokio::{net::UdpSocket, time::timeout};

use self::packet::{Refused, Told};
use crate::refusal;

/// The port of all time servers.
pub const PORT: u16 = 123;
/// How long a server has to answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Datagrams that are looked at for one answer; a server that floods is not listened to any longer.
const MAX_DATAGRAMS: usize = 16;
/// Largest datagram that is read whole; extensions of the protocol are shorter.
const MAX_BYTES: usize = 512;
/// The mark with which `KubeSpan` lets packets pass beside the tunnel.
const UNDERLAY_MARK: u32 = 0x20;

/// The time that a server told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When it came, in microseconds since boot.
    pub at_micros: u64,
    /// The server's wall clock then, in microseconds since the Unix epoch.
    pub wall_micros: i64,
    /// How far that may be off: half of the way, and what the server itself does not know.
    pub error_micros: u64,
    /// How many servers stand between it and a clock of reference.
    pub stratum: u8,
}

/// Why a server did not tell the time.
#[derive(Debug, Error)]
pub enum NtpError {
    /// This node has no way to it, or may not send there.
    #[error("send to {to}")]
    NoRoute {
        /// Whom.
        to: IpAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The far host says that nobody listens.
    #[error("port {PORT} of {0} is closed")]
    PortClosed(IpAddr),
    /// Nothing came in time.
    #[error("{0} does not answer")]
    Silent(IpAddr),
    /// What came is no answer, with the reason of the last.
    #[error("what {from} answers is no answer")]
    Malformed {
        /// Who.
        from: IpAddr,
        /// What is wrong with it.
        #[source]
        source: packet::PacketError,
    },
    /// It answered that it does not tell.
    #[error("{from} does not tell the time: {why}")]
    Refused {
        /// Who.
        from: IpAddr,
        /// By which words.
        why: Refused,
    },
}

/// Asks the server at `address` now. `nonce` must be random.
pub async fn ask(address: IpAddr, nonce: u64) -> Result<Answer, NtpError> {
    ask_at(SocketAddr::new(address, PORT), nonce).await
}

async fn ask_at(server: SocketAddr, nonce: u64) -> Result<Answer, NtpError> {
    let to = server.ip();
    let socket = open(server)
        .await
        .map_err(|source| NtpError::NoRoute { to, source })?;
    let asked_at = boot_micros();
    let sent = socket.send(&packet::question(nonce)).await;
    sent.map_err(|error| failure(to, error))?;
    let mut odd = None;
    let answered = timeout(ANSWER_WITHIN, answer(&socket, to, nonce, &mut odd)).await;
    match (answered, odd) {
        (Ok(told), _) => told.and_then(|(told, at)| offset(to, &told, asked_at, at)),
        (Err(_), Some(source)) => Err(NtpError::Malformed { from: to, source }),
        (Err(_), None) => Err(NtpError::Silent(to)),
    }
}

/// Connected, so that only the server is heard, and the network when it says that nobody is there.
async fn open(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if server.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Without the right to mark, KubeSpan may take the question into the tunnel; outside of it nothing changes.
    let _unmarked = SockRef::from(&socket).set_mark(UNDERLAY_MARK);
    socket.connect(server).await?;
    Ok(socket)
}

/// Waits for the answer, for as long as what comes is none; `odd` is why.
async fn answer(
    socket: &UdpSocket,
    from: IpAddr,
    nonce: u64,
    odd: &mut Option<packet::PacketError>,
) -> Result<(Told, u64), NtpError> {
    let mut bytes = [0; MAX_BYTES];
    for _ in 0..MAX_DATAGRAMS {
        let received = tokio::select! {
            received = socket.recv(&mut bytes) => received,
            error = refusal::of(socket) => Err(error),
        };
        let at = boot_micros();
        let length = received.map_err(|error| failure(from, error))?;
        match packet::read(bytes.get(..length).unwrap_or_default(), nonce) {
            Ok(Ok(told)) => return Ok((told, at)),
            Ok(Err(why)) => return Err(NtpError::Refused { from, why }),
            Err(error) => *odd = Some(error),
        }
    }
    Err(NtpError::Malformed {
        from,
        source: odd.unwrap_or(packet::PacketError::NotOurs),
    })
}

fn failure(to: IpAddr, source: io::Error) -> NtpError {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => NtpError::PortClosed(to),
        _ => NtpError::NoRoute { to, source },
    }
}

/// Of four stamps, two of ours and two of the server's, the server's clock when its answer came.
fn offset(from: IpAddr, told: &Told, asked_at: u64, at: u64) -> Result<Answer, NtpError> {
    let contradiction = || NtpError::Malformed {
        from,
        source: packet::PacketError::Contradiction,
    };
    let took = told.sent_micros.checked_sub(told.received_micros);
    let took = took.and_then(|took| u64::try_from(took).ok());
    let way = took.and_then(|took| at.saturating_sub(asked_at).checked_sub(took));
    let way = way.ok_or_else(contradiction)?;
    Ok(Answer {
        at_micros: at,
        wall_micros: told.sent_micros.saturating_add_unsigned(way / 2),
        error_micros: way.div_ceil(2).saturating_add(told.distance_micros),
        stratum: told.stratum,
    })
}

fn boot_micros() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let micros = now
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(now.tv_nsec / 1000);
    u64::try_from(micros).unwrap_or(0)
}

#[cfg(test)]
mod tests;
