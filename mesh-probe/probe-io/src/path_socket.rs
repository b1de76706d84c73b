//! Packets of a given size that nobody may fragment, and how each of them fared.

mod drive;
mod message;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
};

use probe_core::sweep::{Input, MAX_DATAGRAMS, Refusal};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    error_queue::{self, Entry, is_about_the_network},
    mark::mark_socket,
    sys,
};
use message::Echo;

/// Ports that nobody listens on, one for each datagram, so that a refusal names the datagram: where traceroute begins.
const FIRST_CLOSED_PORT: u16 = 33434;
/// Kernel memory for answers that wait to be read; a burst of jumbo frames fits.
const RECEIVE_BUFFER: usize = 512 * 1024;
/// Room for the largest answer and an IPv4 header with options. A ping socket does not tell the length of what it cuts off.
const MAX_ANSWER: usize = 9216 + 40;
/// Datagrams and errors of no use that are passed over in one call.
const MAX_PASSED_OVER: usize = 64;

/// How an answer is provoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Echo requests. The answer is as large as the request.
    Echo,
    /// UDP to ports that nobody listens on: the host says "port unreachable", in a short message.
    ClosedPort,
}

/// Why there is no socket, or nothing from it.
#[derive(Debug, Error)]
pub enum PathSocketError {
    /// Neither a ping socket nor a raw one may be opened.
    #[error(
        "open a ping socket for {to}: not permitted; net.ipv4.ping_group_range leaves this group out, and CAP_NET_RAW is missing"
    )]
    Permission {
        /// Whom it is for.
        to: IpAddr,
    },
    /// The mark needs a capability.
    #[error("mark a socket with {mark:#x}: not permitted; CAP_NET_ADMIN is missing")]
    Mark {
        /// Which mark.
        mark: u32,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a step of the opening.
    #[error("open a socket for {to}: {step}")]
    Open {
        /// Whom it is for.
        to: IpAddr,
        /// Which step.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error("read what {to} answers")]
    Receive {
        /// Who.
        to: IpAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A socket towards one host. Needs a tokio runtime.
#[derive(Debug)]
pub struct PathSocket {
    socket: AsyncFd<Socket>,
    to: IpAddr,
    form: Form,
    /// Sizes by token.
    sizes: Vec<u16>,
    ready: VecDeque<Input>,
}

/// What is sent, and what the kernel does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A ping socket: the kernel chooses the identifier and sorts the replies.
    Ping(Echo),
    /// A raw socket: it sees all of the host's ICMP, and of IPv4 the IP header too.
    Raw(Echo),
    ClosedPort,
}

impl PathSocket {
    /// `random` is repeated by echo replies, so that no stale or forged one is taken for an answer.
    pub fn open(
        to: IpAddr,
        way: Way,
        mark: Option<u32>,
        random: u64,
    ) -> Result<Self, PathSocketError> {
        let (socket, form) = match way {
            Way::Echo => open_echo(to, random)?,
            Way::ClosedPort => (open_udp(to)?, Form::ClosedPort),
        };
        let failed = |step| move |source| PathSocketError::Open { to, step, source };
        error_queue::prepare(&socket, to.is_ipv4()).map_err(failed("ask for errors"))?;
        socket
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .map_err(failed("size its buffer"))?;
        if let Some(mark) = mark {
            mark_socket(&socket, mark).map_err(|source| PathSocketError::Mark { mark, source })?;
        }
        let interest = Interest::READABLE | Interest::ERROR;
        let socket = sys::register(socket, interest).map_err(failed("register"))?;
        Ok(Self {
            socket,
            to,
            form,
            sizes: Vec::new(),
            ready: VecDeque::new(),
        })
    }

    /// Sends one packet of this size, IP header included. What becomes of it is said by [`PathSocket::next`], also when it
    /// cannot be sent at all; of one that found no room, nothing is said, as of one that got lost.
    ///
    /// Tokens count from 0, one for each call, to at most [`MAX_DATAGRAMS`].
    pub fn send(&mut self, token: u16, size: u16) {
        if self.sizes.len() >= MAX_DATAGRAMS {
            return;
        }
        self.sizes.push(size);
        let bytes = self.bytes(token, size);
        let address = SockAddr::from(SocketAddr::new(self.to, self.port(token)));
        match self.try_send(token, &bytes, &address) {
            Err(error) if !is_for_want_of_room(&error) => {
                self.ready.push_back(refused_here(&error));
            }
            _ => {}
        }
    }

    /// The error of an earlier packet is returned once by whatever call comes next, and is in the queue too: only what fails
    /// twice in a row is about this one.
    fn try_send(&mut self, token: u16, bytes: &[u8], address: &SockAddr) -> io::Result<()> {
        drop(self.socket.get_ref().take_error());
        match self.socket.get_ref().send_to(bytes, address) {
            Err(error) if self.is_too_big(token, &error) => return Ok(()),
            Err(error) if is_for_want_of_room(&error) => return Err(error),
            Err(_) => {}
            Ok(_) => return Ok(()),
        }
        match self.socket.get_ref().send_to(bytes, address) {
            Err(error) if self.is_too_big(token, &error) => Ok(()),
            // A firewall of this node led it to another interface, which found it too large. An ICMP message may name the MTU.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                self.ready.push_back(Input::TooBigHere { token, mtu: None });
                Ok(())
            }
            result => result.map(drop),
        }
    }

    /// Whether the error is that this very packet is too large for the interface.
    fn is_too_big(&mut self, token: u16, error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::EMSGSIZE) && self.take_errors(token)
    }

    /// How one of the packets fared. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Input, PathSocketError> {
        let to = self.to;
        loop {
            if let Some(input) = self.ready.pop_front() {
                return Ok(input);
            }
            let interest = Interest::READABLE | Interest::ERROR;
            let ready = self.socket.ready(interest).await;
            let mut ready = ready.map_err(|source| PathSocketError::Receive { to, source })?;
            match self.form.read(self.socket.get_ref(), to, &self.sizes) {
                Ok(Some(input)) => return Ok(input),
                // Much of no use: the runtime lets others have a turn before the next look.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(source) => return Err(PathSocketError::Receive { to, source }),
            }
        }
    }

    /// Takes all errors that wait; whether one of them says that the packet just sent is too large for the interface.
    fn take_errors(&mut self, token: u16) -> bool {
        let mut is_too_big_here = false;
        while let Ok(entry) = error_queue::read(self.socket.get_ref()) {
            let Some(entry) = entry else { continue };
            if entry.is_too_big_here() {
                is_too_big_here = true;
                let mtu = Some(entry.error.info);
                self.ready.push_back(Input::TooBigHere { token, mtu });
            } else {
                self.ready.extend(self.form.judge(&entry, self.to));
            }
        }
        is_too_big_here
    }

    fn bytes(&self, token: u16, size: u16) -> Vec<u8> {
        match self.form {
            Form::Ping(echo) | Form::Raw(echo) => echo.request(token, size),
            Form::ClosedPort => message::closed_port(self.to, size),
        }
    }

    const fn port(&self, token: u16) -> u16 {
        match self.form {
            Form::Ping(_) | Form::Raw(_) => 0,
            Form::ClosedPort => FIRST_CLOSED_PORT.wrapping_add(token),
        }
    }
}

impl Form {
    /// Errors first: they explain what is missing among the answers.
    fn read(&self, socket: &Socket, to: IpAddr, sizes: &[u16]) -> io::Result<Option<Input>> {
        for _ in 0..MAX_PASSED_OVER {
            let input = match error_queue::read(socket) {
                Ok(entry) => entry.and_then(|entry| self.judge(&entry, to)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.read_answer(socket, to, sizes)?
                }
                Err(error) => return Err(error),
            };
            if input.is_some() {
                return Ok(input);
            }
        }
        Ok(None)
    }

    fn read_answer(&self, socket: &Socket, to: IpAddr, sizes: &[u16]) -> io::Result<Option<Input>> {
        let mut buffer = sys::buffer::<MAX_ANSWER>();
        let (length, from) = match socket.recv_from(&mut buffer) {
            Err(error) if is_about_the_network(&error) => return Ok(None),
            received => received?,
        };
        let bytes = sys::filled(&buffer, length);
        let is_from_there = from.as_socket().is_some_and(|from| from.ip() == to);
        let token = match self {
            _ if !is_from_there => None,
            Self::Ping(echo) => echo.reply(bytes, false),
            Self::Raw(echo) => echo.raw_reply(bytes),
            // Somebody listens there after all, and would have to be asked something it understands.
            Self::ClosedPort => None,
        };
        let token = token.filter(|(token, size)| sizes.get(usize::from(*token)) == Some(size));
        Ok(token.map(|(token, _)| Input::Answered { token }))
    }

    /// What an error says; `None` if it does not say of which packet.
    fn judge(&self, entry: &Entry, to: IpAddr) -> Option<Input> {
        let token = match self {
            Self::Ping(echo) => echo.quoted(&entry.quoted, false)?,
            Self::Raw(echo) => echo.quoted(&entry.quoted, true)?,
            Self::ClosedPort => entry.to.port().checked_sub(FIRST_CLOSED_PORT)?,
        };
        let refusal = entry.refusal();
        let told = refusal.reporter.zip(refusal.icmp);
        match told {
            Some((reporter, (3, 4) | (2, 0))) if entry.error.errno == libc::EMSGSIZE => {
                Some(Input::TooBig {
                    token,
                    reporter,
                    mtu: entry.error.info,
                })
            }
            // Whatever else the host itself has against it: it got there.
            Some((reporter, _)) if reporter == to => Some(Input::Answered { token }),
            _ => Some(Input::Refused(refusal)),
        }
    }
}

/// A full queue, here or of the interface: the packet is lost, as it could be later.
fn is_for_want_of_room(error: &io::Error) -> bool {
    let room = [libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM];
    error
        .raw_os_error()
        .is_some_and(|errno| room.contains(&errno))
}

fn refused_here(error: &io::Error) -> Input {
    Input::Refused(Refusal {
        reporter: None,
        icmp: None,
        errno: error.raw_os_error().unwrap_or(libc::EIO),
    })
}

/// A ping socket where the group may have one, and a raw one otherwise.
fn open_echo(to: IpAddr, random: u64) -> Result<(Socket, Form), PathSocketError> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let echo = Echo::new(to.is_ipv4(), random);
    if let Ok(socket) = Socket::new(domain, Type::DGRAM, Some(protocol)) {
        return Ok((socket, Form::Ping(echo)));
    }
    match Socket::new(domain, Type::RAW, Some(protocol)) {
        Ok(socket) => Ok((connected(socket, to)?, Form::Raw(echo))),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(PathSocketError::Permission { to })
        }
        Err(source) => Err(PathSocketError::Open {
            to,
            step: "create",
            source,
        }),
    }
}

/// A raw socket that is connected sees that host's messages only. Without a route it stays as it is: sending will tell.
fn connected(socket: Socket, to: IpAddr) -> Result<Socket, PathSocketError> {
    match socket.connect(&SocketAddr::new(to, 0).into()) {
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            let step = "connect";
            Err(PathSocketError::Open { to, step, source })
        }
        _ => Ok(socket),
    }
}

fn open_udp(to: IpAddr) -> Result<Socket, PathSocketError> {
    let domain = Domain::for_address(SocketAddr::new(to, 0));
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(|source| PathSocketError::Open {
        to,
        step: "create",
        source,
    })
}
