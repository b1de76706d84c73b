//! Netlink messages as the kernel lays them out.

use netlink_packet_core::{NLMSG_DONE, NetlinkSerializable};
use netlink_packet_route::RouteNetlinkMessage;

/// The number that the readers give their requests, and the kernel its answers.
const SEQUENCE: u32 = 1;

/// One message with this payload.
pub(super) fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).expect("seeds are short");
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([2, 0]);
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A whole dump: the messages and their end.
pub(super) fn dump(messages: &[RouteNetlinkMessage]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for route in messages {
        let mut payload = vec![0; NetlinkSerializable::buffer_len(route)];
        NetlinkSerializable::serialize(route, &mut payload);
        bytes.extend(message(route.message_type(), &payload));
    }
    bytes.extend(done());
    bytes
}

/// The end of a dump.
pub(super) fn done() -> Vec<u8> {
    message(NLMSG_DONE, &[0; 4])
}
