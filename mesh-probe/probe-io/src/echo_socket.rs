//! The UDP sockets of the echo, inside the tunnel.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use probe_core::{Stamp, size};
use socket2::{Domain, MaybeUninitSlice, MsgHdrMut, Protocol, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    clock::ArrivalTimes,
    control::{ExtendedError, arrival, messages},
    error_queue::{self, is_about_the_network},
    filter, sys,
};

/// Bytes that are read of a datagram. No echo is longer; of a [`size`] probe the rest is padding.
pub const MAX_DATAGRAM: usize = 256;

/// Kernel memory for datagrams that wait to be read; beyond it they are dropped.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// Room for the control messages of one entry of the error queue.
const CONTROL: usize = 256;
/// Room for the time of arrival of a datagram.
const ARRIVAL: usize = 64;
/// Errors and datagrams of no use that are passed over in one call, so that a flood cannot hold the caller.
const MAX_PASSED_OVER: usize = 64;
/// `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` (linux/errqueue.h).
const ICMP_ORIGINS: [u8; 2] = [2, 3];

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EchoEvent {
    /// A datagram.
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// All of it, or the beginning of a [`size`] probe.
        bytes: Vec<u8>,
        /// How long it was.
        length: usize,
        /// When it came, by the kernel.
        received_at: Stamp,
    },
    /// Word that a datagram was too long for a link on its way.
    TooBig {
        /// Where it was sent.
        to: SocketAddr,
        /// The MTU of that link.
        mtu: u32,
        /// Who says so; `None` if it is this node itself.
        reporter: Option<IpAddr>,
    },
    /// Word that a datagram cannot get where it was sent.
    Refused {
        /// Where that was.
        to: SocketAddr,
        /// Who says so, and why.
        cause: Cause,
    },
}

/// Why a datagram did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The error number, as in errno(3): `ECONNREFUSED` means that nobody listens there.
    pub errno: i32,
    /// Type and code, if an ICMP message said so and not this node itself.
    pub icmp: Option<(u8, u8)>,
    /// Who sent that message.
    pub reporter: Option<IpAddr>,
    /// The MTU of the link that was too narrow, with `EMSGSIZE`; else it means nothing.
    pub mtu: u32,
}

impl Cause {
    /// Reads the control messages that came with an entry of the error queue; `None` if none of them is of an error.
    pub fn in_control(control: &[u8]) -> Option<Self> {
        let error = messages(control).find_map(|message| ExtendedError::read(&message))?;
        let from_network = ICMP_ORIGINS.contains(&error.origin);
        Some(Self {
            errno: error.errno,
            icmp: from_network.then_some((error.kind, error.code)),
            reporter: error.offender.filter(|_| from_network),
            mtu: error.info,
        })
    }
}

/// What was passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EchoSocketCounters {
    /// Datagrams longer than [`MAX_DATAGRAM`] that are no [`size`] probes.
    pub truncated: u64,
    /// Entries of the error queue that name no destination or no cause.
    pub unclear_errors: u64,
    /// Errors that a call returned in place of those in the queue.
    pub pending_errors: u64,
}

/// Why there is no socket, or nothing from it.
#[derive(Debug, Error)]
pub enum EchoSocketError {
    /// The kernel refused a step of the opening.
    #[error("open the echo socket on {address}: {step}")]
    Open {
        /// Where it should listen.
        address: SocketAddr,
        /// Which step.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error("read from the echo socket")]
    Receive(#[source] io::Error),
    /// Sending failed, on this node.
    #[error("send an echo datagram to {to}")]
    Send {
        /// Where to.
        to: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A UDP socket that hears of ICMP errors per destination.
#[derive(Debug)]
pub struct EchoSocket {
    socket: AsyncFd<Socket>,
    intake: Intake,
}

/// A second socket on the port of an [`EchoSocket`], which gets the replies to echo requests.
///
/// Nobody is woken by what comes to it. It is read when there is time; each datagram says when it came.
#[derive(Debug)]
pub struct EchoReplies {
    socket: Socket,
    intake: Intake,
}

/// What is kept from one datagram to the next.
#[derive(Clone, Copy, Debug, Default)]
struct Intake {
    counters: EchoSocketCounters,
    times: ArrivalTimes,
}

impl EchoSocket {
    /// Listens on this address. Needs a tokio runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, EchoSocketError> {
        let socket = open(address)?;
        socket
            .bind(&address.into())
            .map_err(refused(address, "bind"))?;
        Self::register(socket, address)
    }

    /// The same, with replies to echo requests kept apart. Fails where anybody else has the port.
    pub fn bind_with_replies(address: SocketAddr) -> Result<(Self, EchoReplies), EchoSocketError> {
        let refused = |step| refused(address, step);
        let first = open(address)?;
        first.bind(&address.into()).map_err(refused("bind"))?;
        let local = first.local_addr().map_err(refused("find its address"))?;
        // Only now that the port is ours may it be shared.
        first
            .set_reuse_port(true)
            .map_err(refused("share the port"))?;
        let second = open(address)?;
        second
            .set_reuse_port(true)
            .map_err(refused("share the port"))?;
        second.bind(&local).map_err(refused("bind a second time"))?;
        sys::choose_by_program(&second, &mut filter::replies())
            .map_err(refused("keep replies apart"))?;
        let replies = EchoReplies {
            socket: second,
            intake: Intake::default(),
        };
        Ok((Self::register(first, address)?, replies))
    }

    fn register(socket: Socket, address: SocketAddr) -> Result<Self, EchoSocketError> {
        let interest = Interest::READABLE | Interest::ERROR;
        let socket = sys::register(socket, interest).map_err(refused(address, "register"))?;
        Ok(Self {
            socket,
            intake: Intake::default(),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.get_ref().local_addr()?;
        address
            .as_socket()
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// The next event. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<EchoEvent, EchoSocketError> {
        loop {
            let ready = self
                .socket
                .ready(Interest::READABLE | Interest::ERROR)
                .await;
            let mut ready = ready.map_err(EchoSocketError::Receive)?;
            match read(&self.socket, &mut self.intake) {
                Ok(event) => return Ok(event),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Err(EchoSocketError::Receive(error)),
            }
        }
    }

    /// The next event, if one is waiting: for reading all that has come before time is said to have passed.
    pub fn try_next(&mut self) -> Result<Option<EchoEvent>, EchoSocketError> {
        if_any(read(&self.socket, &mut self.intake))
    }

    /// Sends one datagram, without waiting: a full buffer is an error.
    pub fn send_to(&mut self, bytes: &[u8], to: SocketAddr) -> Result<(), EchoSocketError> {
        let address = SockAddr::from(to);
        let send = || self.socket.get_ref().send_to(bytes, &address);
        let outcome = match send() {
            // An error of an earlier datagram, to anybody, is returned once by whatever call comes next. The queue has it too.
            Err(error) if is_about_the_network(&error) => {
                self.intake.counters.pending_errors += 1;
                send()
            }
            outcome => outcome,
        };
        let failed = |source| EchoSocketError::Send { to, source };
        outcome.map(drop).map_err(failed)
    }

    /// What was passed over.
    pub const fn counters(&self) -> &EchoSocketCounters {
        &self.intake.counters
    }
}

impl EchoReplies {
    /// The next event, if one is waiting.
    pub fn try_next(&mut self) -> Result<Option<EchoEvent>, EchoSocketError> {
        if_any(read_waiting(&self.socket, &mut self.intake))
    }

    /// What was passed over.
    pub const fn counters(&self) -> &EchoSocketCounters {
        &self.intake.counters
    }
}

fn refused(
    address: SocketAddr,
    step: &'static str,
) -> impl FnOnce(io::Error) -> EchoSocketError + Copy {
    move |source| EchoSocketError::Open {
        address,
        step,
        source,
    }
}

/// A socket of this family, not bound yet.
fn open(address: SocketAddr) -> Result<Socket, EchoSocketError> {
    let refused = |step| refused(address, step);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )
    .map_err(refused("create"))?;
    socket
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .map_err(refused("limit its buffer"))?;
    if address.is_ipv6() {
        socket
            .set_only_v6(true)
            .map_err(refused("keep it to IPv6"))?;
    }
    // What does not fit is refused and not cut up, and what is sent does not depend on what was learned of the path before.
    error_queue::prepare(&socket, address.is_ipv4()).map_err(refused("ask for errors"))?;
    sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
        .map_err(refused("ask for times of arrival"))?;
    Ok(socket)
}

fn if_any(read: io::Result<EchoEvent>) -> Result<Option<EchoEvent>, EchoSocketError> {
    match read {
        Ok(event) => Ok(Some(event)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(EchoSocketError::Receive(error)),
    }
}

/// The queue of errors is looked at when a call or the runtime says that there are some: not for each datagram, as there are
/// many.
fn read(socket: &AsyncFd<Socket>, intake: &mut Intake) -> io::Result<EchoEvent> {
    for _ in 0..MAX_PASSED_OVER {
        let event = match read_waiting(socket.get_ref(), intake) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket
                .try_io(Interest::ERROR, |socket| {
                    read_error(socket, &mut intake.counters)
                })?,
            other => return other,
        };
        if let Some(event) = event {
            return Ok(event);
        }
    }
    Err(io::Error::other("too many errors in a row"))
}

/// What waits to be read: a datagram, or the error that a call speaks of.
fn read_waiting(socket: &Socket, intake: &mut Intake) -> io::Result<EchoEvent> {
    for _ in 0..MAX_PASSED_OVER {
        let event = match read_datagram(socket, intake) {
            Err(error) if is_about_the_network(&error) => {
                intake.counters.pending_errors += 1;
                read_pending_error(socket, &mut intake.counters)?
            }
            other => other?,
        };
        if let Some(event) = event {
            return Ok(event);
        }
    }
    Err(io::Error::other("too many errors in a row"))
}

/// What a call spoke of should be in the queue; if it was read before, there are datagrams to go on with.
fn read_pending_error(
    socket: &Socket,
    counters: &mut EchoSocketCounters,
) -> io::Result<Option<EchoEvent>> {
    match read_error(socket, counters) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        other => other,
    }
}

fn read_error(socket: &Socket, counters: &mut EchoSocketCounters) -> io::Result<Option<EchoEvent>> {
    let mut payload = sys::buffer::<MAX_DATAGRAM>();
    let mut control = sys::buffer::<CONTROL>();
    // Long enough for both families; the kernel overwrites it with the destination of the datagram.
    let mut address = SockAddr::from(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)));
    let mut buffers = [MaybeUninitSlice::new(&mut payload)];
    let mut message = MsgHdrMut::new()
        .with_addr(&mut address)
        .with_buffers(&mut buffers)
        .with_control(&mut control);
    socket.recvmsg(&mut message, libc::MSG_ERRQUEUE)?;
    let length = message.control_len();
    let cause = Cause::in_control(sys::filled(&control, length));
    let (Some(to), Some(cause)) = (address.as_socket(), cause) else {
        counters.unclear_errors += 1;
        return Ok(None);
    };
    if cause.errno == libc::EMSGSIZE {
        return Ok(Some(EchoEvent::TooBig {
            to,
            mtu: cause.mtu,
            reporter: cause.reporter,
        }));
    }
    Ok(Some(EchoEvent::Refused { to, cause }))
}

fn read_datagram(socket: &Socket, intake: &mut Intake) -> io::Result<Option<EchoEvent>> {
    let mut payload = sys::buffer::<MAX_DATAGRAM>();
    let mut control = sys::buffer::<ARRIVAL>();
    let mut address = SockAddr::from(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0)));
    let mut buffers = [MaybeUninitSlice::new(&mut payload)];
    let mut message = MsgHdrMut::new()
        .with_addr(&mut address)
        .with_buffers(&mut buffers)
        .with_control(&mut control);
    // With MSG_TRUNC the length is that of the datagram, even if it did not fit.
    let length = socket.recvmsg(&mut message, libc::MSG_TRUNC)?;
    let said = message.control_len();
    let received_at = intake.times.came(arrival(sys::filled(&control, said)));
    let bytes = sys::filled(&payload, length).to_vec();
    if length > MAX_DATAGRAM && !bytes.starts_with(&size::MAGIC) {
        intake.counters.truncated += 1;
        return Ok(None);
    }
    Ok(address.as_socket().map(|from| EchoEvent::Datagram {
        from,
        bytes,
        length,
        received_at,
    }))
}
