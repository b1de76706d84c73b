//! The kernel's own answer to "by which link does a packet to this address leave?", with or without a mark.

use std::{io::ErrorKind, net::IpAddr};

use netlink_packet_core::{NetlinkDeserializable as _, NetlinkHeader};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::io::Errno;

use super::{error::LinksError, read::bounded};
use crate::netlink::{Conversation, NetlinkError};

const SUBJECT: &str = "the route to an address";

/// A packet that might be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where to.
    pub to: IpAddr,
    /// With which mark; 0 is none.
    pub mark: u32,
}

/// How it would leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The index of the link.
    pub link: u32,
    /// The source address that the kernel would choose.
    pub source: Option<IpAddr>,
    /// Whether the address is on the link itself and not behind a gateway.
    pub on_link: bool,
}

/// Asks one question after the other. `None` is the kernel's word that there is no way.
pub async fn ways(questions: &[Question]) -> Result<Vec<Option<Way>>, LinksError> {
    let failed = |error| LinksError::new(SUBJECT, error);
    bounded(SUBJECT, async {
        let mut kernel = Conversation::open(NETLINK_ROUTE).map_err(failed)?;
        let mut ways = Vec::with_capacity(questions.len());
        for question in questions {
            ways.push(way(&mut kernel, question).await.map_err(failed)?);
        }
        Ok(ways)
    })
    .await
}

async fn way(kernel: &mut Conversation, question: &Question) -> Result<Option<Way>, NetlinkError> {
    match kernel.ask(request(question)).await {
        Ok((kind, payload)) => Ok(decode(kind, payload)),
        Err(NetlinkError::Refused(error)) if is_no_way(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Unreachable, prohibited and blackhole routes are refusals of different names.
fn is_no_way(error: &std::io::Error) -> bool {
    let unreachable = matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable
    );
    unreachable
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::ACCESS | Errno::INVAL)
        )
}

fn request(question: &Question) -> RouteNetlinkMessage {
    let (family, length, to) = match question.to {
        IpAddr::V4(ip) => (AddressFamily::Inet, 32, RouteAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(ip)),
    };
    let mut request = RouteMessage::default();
    request.header.address_family = family;
    request.header.destination_prefix_length = length;
    request.attributes.push(RouteAttribute::Destination(to));
    if question.mark != 0 {
        request.attributes.push(RouteAttribute::Mark(question.mark));
    }
    RouteNetlinkMessage::GetRoute(request)
}

fn decode(kind: u16, payload: &[u8]) -> Option<Way> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    match RouteNetlinkMessage::deserialize(&header, payload).ok()? {
        RouteNetlinkMessage::NewRoute(route) => read(&route),
        _ => None,
    }
}

fn read(route: &RouteMessage) -> Option<Way> {
    let mut link = None;
    let mut source = None;
    let mut on_link = true;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(IpAddr::V4(*ip)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(ip)) => source = Some(IpAddr::V6(*ip)),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => on_link = false,
            _ => {}
        }
    }
    Some(Way {
        link: link?,
        source,
        on_link,
    })
}
