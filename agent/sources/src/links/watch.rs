//! Says that links, addresses, routes or rules changed, so that they are read again. What changed is left to the reading.

use std::collections::BTreeSet;

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

use super::error::LinksError;
use crate::netlink::DATAGRAM;

const SUBJECT: &str = "changes of links, addresses, routes and rules";

/// `RTNLGRP_*`: link, IPv4 address, IPv4 route, IPv4 rule, IPv6 address, IPv6 route, IPv6 rule.
const GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];

/// What is worth reading again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A link came, went or changed.
    Link,
    /// An address came, went or changed.
    Address,
    /// A route came, went or changed.
    Route,
    /// A rule came or went.
    Rule,
    /// The kernel had more to say than was read in time: anything may have changed.
    Everything,
}

/// A subscription to the kernel's notifications. Dropping it ends the subscription.
pub struct Watch {
    socket: TokioSocket,
    buffer: Vec<u8>,
    /// Each change once, so it is bounded by the number of kinds.
    pending: BTreeSet<Change>,
}

/// Subscribes. Changes after this call are reported; read once after it to know the state before.
pub fn watch() -> Result<Watch, LinksError> {
    let subscribe = || {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let plain = socket.socket_mut();
        plain.bind_auto()?;
        for group in GROUPS {
            plain.add_membership(group)?;
        }
        Ok(socket)
    };
    let socket = subscribe().map_err(failed("subscribe over netlink"))?;
    Ok(Watch {
        socket,
        buffer: vec![0; DATAGRAM],
        pending: BTreeSet::new(),
    })
}

impl Watch {
    /// Waits for the next change. Cancelling loses nothing. Bursts are the caller's to debounce.
    pub async fn changed(&mut self) -> Result<Change, LinksError> {
        loop {
            if let Some(change) = self.pending.pop_first() {
                return Ok(change);
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), LinksError> {
        let mut space = &mut self.buffer[..];
        let received = self.socket.recv_from(&mut space).await;
        let left = space.len();
        match received {
            Ok(sender) if sender.port_number() == 0 => {
                let length = self.buffer.len() - left;
                changes(&self.buffer[..length], &mut self.pending);
                Ok(())
            }
            // Only the kernel is believed.
            Ok(_) => Ok(()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                self.pending.insert(Change::Everything);
                Ok(())
            }
            Err(error) => Err(failed("read notifications")(error)),
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = f.debug_struct("Watch");
        text.field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// What one datagram says has changed.
pub(crate) fn decode(datagram: &[u8]) -> BTreeSet<Change> {
    let mut pending = BTreeSet::new();
    changes(datagram, &mut pending);
    pending
}

/// Only headers are looked at. What is not netlink at all could have been any change.
fn changes(mut datagram: &[u8], pending: &mut BTreeSet<Change>) {
    while !datagram.is_empty() {
        let Ok(message) = NetlinkBuffer::new_checked(datagram) else {
            pending.insert(Change::Everything);
            return;
        };
        pending.extend(change(message.message_type()));
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        let next = length.checked_next_multiple_of(4).unwrap_or(usize::MAX);
        datagram = datagram.get(next..).unwrap_or_default();
    }
}

/// `RTM_NEW*` and `RTM_DEL*` of the groups above.
const fn change(message_type: u16) -> Option<Change> {
    match message_type {
        16 | 17 => Some(Change::Link),
        20 | 21 => Some(Change::Address),
        24 | 25 => Some(Change::Route),
        32 | 33 => Some(Change::Rule),
        _ => None,
    }
}

fn failed(operation: &'static str) -> impl Fn(std::io::Error) -> LinksError {
    move |source| LinksError::Io {
        operation,
        subject: SUBJECT,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: u8) -> Vec<u8> {
        let length = 16 + u32::from(payload);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(usize::try_from(length).unwrap().next_multiple_of(4), 0);
        bytes
    }

    fn seen(datagram: &[u8]) -> Vec<Change> {
        decode(datagram).into_iter().collect()
    }

    #[test]
    fn each_kind_of_change_in_a_datagram_is_reported_once() {
        let datagram = [
            message(16, 5),
            message(25, 0),
            message(24, 4),
            message(33, 1),
            message(20, 0),
        ]
        .concat();
        assert_eq!(
            seen(&datagram),
            [Change::Link, Change::Address, Change::Route, Change::Rule]
        );
    }

    #[test]
    fn a_notification_of_another_kind_is_no_change() {
        assert_eq!(seen(&message(28, 8)), []);
    }

    #[test]
    fn a_datagram_that_is_not_netlink_may_have_been_anything() {
        assert_eq!(seen(&[1, 2, 3]), [Change::Everything]);
        assert_eq!(seen(&[0; 32]), [Change::Everything]);
    }
}
