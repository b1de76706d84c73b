//! Why a datagram did not get there, in words.

use std::{io, net::IpAddr};

use probe_core::sweep::Refusal;
use rustix::io::Errno;
use serde::Serialize;

/// Word that the other end cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    pub why: Why,
    /// Who says so; none is this node.
    pub reporter: Option<IpAddr>,
    /// Type and code of the ICMP message.
    pub icmp: Option<(u8, u8)>,
    pub errno: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The packet came through, and nobody listens.
    PortUnreachable,
    /// A firewall says no.
    Prohibited,
    HostUnreachable,
    NoRoute,
    Other,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            reporter,
            icmp,
            errno,
        } = refusal;
        let is_ipv4 = reporter.is_some_and(|address| address.is_ipv4());
        let why = match icmp {
            Some(message) if is_ipv4 => of_icmp(message),
            Some(message) => of_icmpv6(message),
            None => of_errno(errno),
        };
        Self {
            why,
            reporter,
            icmp,
            errno,
        }
    }
}

impl Refused {
    /// `203.0.113.1 says: administratively prohibited (ICMP type 3 code 13)`
    pub(super) fn line(&self) -> String {
        let words = self.words();
        match (self.reporter, self.icmp) {
            (Some(reporter), Some((kind, code))) => {
                format!("{reporter} says: {words} (ICMP type {kind} code {code})")
            }
            _ => format!("this node says: {words}"),
        }
    }

    fn words(&self) -> String {
        match self.why {
            Why::PortUnreachable => "port unreachable".to_owned(),
            Why::Prohibited if self.reporter.is_none() => {
                "forbidden, by its own firewall or a prohibiting route".to_owned()
            }
            Why::Prohibited => "administratively prohibited".to_owned(),
            Why::HostUnreachable if self.reporter.is_none() => {
                "no answer to ARP or neighbour solicitation".to_owned()
            }
            Why::HostUnreachable => "host unreachable".to_owned(),
            Why::NoRoute => "no route".to_owned(),
            Why::Other => io::Error::from_raw_os_error(self.errno).to_string(),
        }
    }
}

/// RFC 792 and RFC 1812, section 5.2.7.1.
const fn of_icmp(message: (u8, u8)) -> Why {
    match message {
        (3, 3) => Why::PortUnreachable,
        (3, 9 | 10 | 13) => Why::Prohibited,
        (3, 1 | 7) => Why::HostUnreachable,
        (3, 0 | 6) => Why::NoRoute,
        _ => Why::Other,
    }
}

/// RFC 4443, section 3.1.
const fn of_icmpv6(message: (u8, u8)) -> Why {
    match message {
        (1, 4) => Why::PortUnreachable,
        (1, 1 | 5 | 6) => Why::Prohibited,
        (1, 3) => Why::HostUnreachable,
        (1, 0) => Why::NoRoute,
        _ => Why::Other,
    }
}

fn of_errno(errno: i32) -> Why {
    match Errno::from_raw_os_error(errno) {
        Errno::PERM | Errno::ACCESS => Why::Prohibited,
        Errno::HOSTUNREACH => Why::HostUnreachable,
        Errno::NETUNREACH => Why::NoRoute,
        _ => Why::Other,
    }
}
