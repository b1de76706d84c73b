//! A few datagrams to one UDP port, from a port of no meaning, and what is heard of them.

use std::{io, net::SocketAddr};

use probe_core::sweep::Refusal;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    error_queue::{self, is_about_the_network},
    mark::mark_socket,
    sys,
};

/// Bytes kept of an answer; the longest message of WireGuard's handshake fits.
const MAX_ANSWER: usize = 256;
/// Datagrams and errors of no use that are passed over in one call.
const MAX_PASSED_OVER: usize = 64;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Something listens there, and answered with this; longer answers are cut.
    Answer(Vec<u8>),
    /// A datagram was turned away.
    Refused(Refusal),
}

/// Why there is no socket, or nothing from it.
#[derive(Debug, Error)]
pub enum KnockError {
    /// The mark needs a capability.
    #[error("mark a socket with {mark:#x}: not permitted; CAP_NET_ADMIN is missing")]
    Mark {
        /// Which mark.
        mark: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a step.
    #[error("{step} towards {to}")]
    Step {
        /// Which step.
        step: &'static str,
        /// Whom it is for.
        to: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// An unprivileged UDP socket that hears of ICMP errors. Needs a tokio runtime.
#[derive(Debug)]
pub struct Knock {
    socket: AsyncFd<Socket>,
    to: SocketAddr,
}

impl Knock {
    /// A socket of its own towards this port. Only a mark needs a capability.
    pub fn open(to: SocketAddr, mark: Option<u32>) -> Result<Self, KnockError> {
        let failed = |step| move |source| KnockError::Step { step, to, source };
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))
            .map_err(failed("open a socket"))?;
        error_queue::prepare(&socket, to.is_ipv4()).map_err(failed("ask for errors"))?;
        if let Some(mark) = mark {
            mark_socket(&socket, mark).map_err(|source| KnockError::Mark { mark, source })?;
        }
        let interest = Interest::READABLE | Interest::ERROR;
        let socket = sys::register(socket, interest).map_err(failed("register a socket"))?;
        Ok(Self { socket, to })
    }

    /// Sends one datagram. What this node itself refuses, for want of a route for example, is returned as a refusal.
    pub fn send(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let address = SockAddr::from(self.to);
        let send = || self.socket.get_ref().send_to(bytes, &address);
        // The error of an earlier datagram is returned once by whatever call comes next; the queue has it too.
        drop(self.socket.get_ref().take_error());
        let outcome = send().or_else(|_| send());
        outcome.map(drop).map_err(|error| Refusal {
            reporter: None,
            icmp: None,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        })
    }

    /// What is heard next. Nothing is lost if the future is dropped.
    pub async fn next(&self) -> Result<Heard, KnockError> {
        let (step, to) = ("read what is heard", self.to);
        let failed = |source| KnockError::Step { step, to, source };
        loop {
            let interest = Interest::READABLE | Interest::ERROR;
            let mut ready = self.socket.ready(interest).await.map_err(failed)?;
            match read(self.socket.get_ref(), to) {
                Ok(Some(heard)) => return Ok(heard),
                // Much of no use: the runtime lets others have a turn before the next look.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

fn read(socket: &Socket, to: SocketAddr) -> io::Result<Option<Heard>> {
    for _ in 0..MAX_PASSED_OVER {
        let heard = match error_queue::read(socket) {
            Ok(entry) => entry.map(|entry| Heard::Refused(entry.refusal())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => answer(socket, to)?,
            Err(error) => return Err(error),
        };
        if heard.is_some() {
            return Ok(heard);
        }
    }
    Ok(None)
}

/// Only what comes from the very address and port that was asked is an answer.
fn answer(socket: &Socket, to: SocketAddr) -> io::Result<Option<Heard>> {
    let mut buffer = sys::buffer::<MAX_ANSWER>();
    let (length, from) = match socket.recv_from(&mut buffer) {
        Err(error) if is_about_the_network(&error) => return Ok(None),
        received => received?,
    };
    let from = from.as_socket();
    let is_from_there = from.is_some_and(|from| from.ip() == to.ip() && from.port() == to.port());
    Ok(is_from_there.then(|| Heard::Answer(sys::filled(&buffer, length).to_vec())))
}
