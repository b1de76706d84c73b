//! Reads links and addresses.

use std::collections::BTreeMap;

use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope},
    link::{InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State},
};
use netlink_sys::protocols::NETLINK_ROUTE;
use tokio::time::timeout;

use super::{
    error::LinksError,
    snapshot::{
        Address, Link, MAX_ADDRESSES, MAX_LINKS, OperState, Scope, Snapshot, VxlanSettings,
    },
};
use crate::{
    READ_TIMEOUT,
    netlink::{self, Filter, MAX_ATTEMPTS, NetlinkError},
};

/// Reads all links of this network namespace with their addresses.
pub async fn read() -> Result<Snapshot, LinksError> {
    bounded("links and addresses", async {
        let links = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let links = dump("links", Filter::Nothing, &links).await?;
        let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = dump("addresses", Filter::Nothing, &addresses).await?;
        Ok(assemble(links, addresses))
    })
    .await
}

pub(super) async fn bounded<T>(
    subject: &'static str,
    reading: impl Future<Output = Result<T, LinksError>>,
) -> Result<T, LinksError> {
    let after = READ_TIMEOUT;
    timeout(after, reading)
        .await
        .unwrap_or(Err(LinksError::TimedOut { subject, after }))
}

/// Reads dumps that are already there.
pub(crate) fn decode(links: &mut [u8], addresses: &mut [u8]) -> Result<Snapshot, LinksError> {
    Ok(assemble(
        Dump::of("links", links)?,
        Dump::of("addresses", addresses)?,
    ))
}

/// What a dump gave: the messages, and how many could not be decoded.
#[derive(Default)]
pub(super) struct Dump {
    pub(super) messages: Vec<RouteNetlinkMessage>,
    pub(super) undecoded: u64,
}

impl Dump {
    pub(super) fn of(subject: &'static str, messages: &mut [u8]) -> Result<Self, LinksError> {
        let mut dump = Self::default();
        let taken = netlink::take_apart(messages, |kind, payload| {
            dump.take(kind, payload);
            Ok(())
        });
        taken.map_err(|error| LinksError::new(subject, error))?;
        Ok(dump)
    }

    fn take(&mut self, kind: u16, payload: &[u8]) {
        match decode_message(kind, payload) {
            Some(message) => self.messages.push(message),
            None => self.undecoded += 1,
        }
    }
}

/// Dumps until one dump was consistent.
pub(super) async fn dump(
    subject: &'static str,
    filter: Filter,
    request: &RouteNetlinkMessage,
) -> Result<Dump, LinksError> {
    for _ in 0..MAX_ATTEMPTS {
        let mut dump = Dump::default();
        let each = |kind, payload: &mut [u8]| {
            dump.take(kind, payload);
            Ok(())
        };
        match netlink::dump(NETLINK_ROUTE, filter, request.clone(), each).await {
            Ok(()) => return Ok(dump),
            Err(NetlinkError::Interrupted) => {}
            Err(error) => return Err(LinksError::new(subject, error)),
        }
    }
    Err(LinksError::new(subject, NetlinkError::Interrupted))
}

fn decode_message(kind: u16, payload: &[u8]) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    RouteNetlinkMessage::deserialize(&header, payload).ok()
}

fn assemble(links: Dump, addresses: Dump) -> Snapshot {
    let mut dropped = links.undecoded + addresses.undecoded;
    let mut by_index = BTreeMap::new();
    for message in links.messages {
        match message {
            RouteNetlinkMessage::NewLink(message) if by_index.len() < MAX_LINKS => {
                by_index.insert(message.header.index, link(message));
            }
            _ => dropped += 1,
        }
    }
    for (number, message) in addresses.messages.into_iter().enumerate() {
        let owner = owner(&mut by_index, &message);
        match (owner, message) {
            (Some(link), RouteNetlinkMessage::NewAddress(message)) if number < MAX_ADDRESSES => {
                link.addresses.extend(address(&message));
            }
            _ => dropped += 1,
        }
    }
    Snapshot {
        links: by_index.into_values().collect(),
        dropped,
    }
}

fn owner<'links>(
    links: &'links mut BTreeMap<u32, Link>,
    message: &RouteNetlinkMessage,
) -> Option<&'links mut Link> {
    match message {
        RouteNetlinkMessage::NewAddress(message) => links.get_mut(&message.header.index),
        _ => None,
    }
}

fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        oper_state: OperState::Unknown,
        kind: None,
        vxlan: None,
        hardware_address: None,
        addresses: Vec::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::OperState(state) => link.oper_state = oper_state(state),
            LinkAttribute::LinkInfo(info) => {
                link.kind = kind(&info);
                link.vxlan = vxlan(&info);
            }
            LinkAttribute::Address(bytes) => link.hardware_address = bytes.try_into().ok(),
            _ => {}
        }
    }
    link
}

const fn oper_state(state: State) -> OperState {
    match state {
        State::Up => OperState::Up,
        State::Down => OperState::Down,
        State::LowerLayerDown => OperState::LowerLayerDown,
        State::Dormant => OperState::Dormant,
        State::Testing => OperState::Testing,
        State::NotPresent => OperState::NotPresent,
        _ => OperState::Unknown,
    }
}

fn kind(info: &[LinkInfo]) -> Option<String> {
    info.iter().find_map(|part| match part {
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    })
}

fn vxlan(info: &[LinkInfo]) -> Option<VxlanSettings> {
    let attributes = info.iter().find_map(|part| match part {
        LinkInfo::Data(InfoData::Vxlan(attributes)) => Some(attributes),
        _ => None,
    })?;
    let mut settings = VxlanSettings::default();
    for attribute in attributes {
        match attribute {
            InfoVxlan::Id(id) => settings.id = *id,
            InfoVxlan::Port(port) => settings.port = *port,
            InfoVxlan::CollectMetadata(external) => settings.external = *external,
            InfoVxlan::Local(ip) => settings.local = Some((*ip).into()),
            InfoVxlan::Local6(ip) => settings.local = Some((*ip).into()),
            InfoVxlan::Group(ip) => settings.remote = Some((*ip).into()),
            InfoVxlan::Group6(ip) => settings.remote = Some((*ip).into()),
            _ => {}
        }
    }
    Some(settings)
}

/// On a point-to-point link the kernel calls the own address "local" and the other end "address".
fn address(message: &AddressMessage) -> Option<Address> {
    let mut ip = None;
    let mut local = None;
    let header = message.header.flags;
    let mut tentative =
        header.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => ip = Some(*address),
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Flags(flags) => {
                tentative |= flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed);
            }
            _ => {}
        }
    }
    Some(Address {
        ip: local.or(ip)?,
        prefix_len: message.header.prefix_len,
        scope: scope(message.header.scope),
        tentative,
    })
}

fn scope(scope: AddressScope) -> Scope {
    match scope {
        AddressScope::Universe => Scope::Global,
        AddressScope::Link => Scope::Link,
        AddressScope::Host => Scope::Host,
        other => Scope::Other(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkSerializable;
    use netlink_packet_route::{AddressFamily, link::InfoKind};
    use proptest::prelude::*;

    use super::*;

    fn dump(messages: Vec<RouteNetlinkMessage>) -> Dump {
        Dump {
            messages,
            undecoded: 0,
        }
    }

    fn link_message(index: u32, name: &str) -> RouteNetlinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Mtu(1420),
            LinkAttribute::OperState(State::LowerLayerDown),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Wireguard)]),
        ];
        RouteNetlinkMessage::NewLink(message)
    }

    fn address_message(index: u32, attributes: Vec<AddressAttribute>) -> RouteNetlinkMessage {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.index = index;
        message.header.prefix_len = 24;
        message.attributes = attributes;
        RouteNetlinkMessage::NewAddress(message)
    }

    #[test]
    fn addresses_are_put_on_their_links_and_links_in_order_of_index() {
        let address = AddressAttribute::Address([10, 0, 0, 1].into());
        let links = dump(vec![link_message(7, "kubespan"), link_message(2, "eth0")]);
        let addresses = dump(vec![address_message(7, vec![address])]);
        let snapshot = assemble(links, addresses);
        let [eth0, kubespan] = &snapshot.links[..] else {
            panic!("{snapshot:?}")
        };
        assert_eq!((eth0.name.as_str(), eth0.addresses.len()), ("eth0", 0));
        assert_eq!(kubespan.kind.as_deref(), Some("wireguard"));
        assert_eq!((kubespan.mtu, kubespan.up), (1420, true));
        assert_eq!(kubespan.oper_state, OperState::LowerLayerDown);
        assert_eq!(kubespan.addresses[0].ip.to_string(), "10.0.0.1");
        assert_eq!(snapshot.dropped, 0);
    }

    #[test]
    fn a_vxlan_device_is_read_with_its_port_and_ends() {
        let mut message = link_message(4, "flannel.1");
        if let RouteNetlinkMessage::NewLink(message) = &mut message {
            let settings = vec![
                InfoVxlan::Id(1),
                InfoVxlan::Port(8472),
                InfoVxlan::Local([192, 0, 2, 2].into()),
                InfoVxlan::CollectMetadata(false),
            ];
            message.attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(settings)),
            ]));
        }
        let snapshot = assemble(dump(vec![message]), dump(Vec::new()));
        let expected = VxlanSettings {
            id: 1,
            port: 8472,
            external: false,
            local: Some([192, 0, 2, 2].into()),
            remote: None,
        };
        assert_eq!(snapshot.links[0].vxlan, Some(expected));
        assert_eq!(snapshot.links[0].kind.as_deref(), Some("vxlan"));
    }

    #[test]
    fn on_a_point_to_point_link_the_own_address_is_taken() {
        let own = AddressAttribute::Local([10, 0, 0, 1].into());
        let other = AddressAttribute::Address([10, 0, 0, 2].into());
        let links = dump(vec![link_message(3, "ppp0")]);
        let snapshot = assemble(links, dump(vec![address_message(3, vec![other, own])]));
        assert_eq!(snapshot.links[0].addresses[0].ip.to_string(), "10.0.0.1");
    }

    #[test]
    fn an_address_that_failed_duplicate_detection_is_tentative() {
        let address = AddressAttribute::Address([10, 0, 0, 1].into());
        let failed = AddressAttribute::Flags(AddressFlags::Dadfailed);
        let links = dump(vec![link_message(3, "eth0")]);
        let snapshot = assemble(links, dump(vec![address_message(3, vec![address, failed])]));
        assert!(snapshot.links[0].addresses[0].tentative);
    }

    #[test]
    fn what_has_no_link_or_goes_beyond_the_limit_is_counted() {
        let indices = 1..=u32::try_from(MAX_LINKS + 3).unwrap();
        let links = dump(indices.map(|index| link_message(index, "veth")).collect());
        let stray = address_message(999_999, Vec::new());
        let mut addresses = dump(vec![stray]);
        addresses.undecoded = 2;
        let snapshot = assemble(links, addresses);
        assert_eq!(snapshot.links.len(), MAX_LINKS);
        assert_eq!(snapshot.dropped, 3 + 1 + 2);
    }

    proptest! {
        #[test]
        fn a_link_message_with_a_few_wrong_bytes_is_read_or_refused(
            wrong in prop::collection::vec((any::<u16>(), any::<u8>()), 1..6),
        ) {
            let message = link_message(1, "kubespan");
            let mut bytes = vec![0; NetlinkSerializable::buffer_len(&message)];
            NetlinkSerializable::serialize(&message, &mut bytes);
            for (at, byte) in wrong {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            drop(decode_message(16, &bytes));
        }
    }
}
