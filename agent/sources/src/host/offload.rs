//! What network cards do of the kernel's work on packets, as `ethtool -k` shows it. Read over generic netlink, never set.

use std::collections::BTreeMap;

use evidence::Offload;
use netlink_packet_core::NetlinkSerializable;
use netlink_sys::protocols::NETLINK_GENERIC;

use crate::netlink::{self, Filter, GENERIC_HEADER, NetlinkError, each_attribute};

const FAMILY: &[u8] = b"ethtool\0";
/// `ETHTOOL_MSG_FEATURES_GET`.
const GET_FEATURES: u8 = 11;
const VERSION: u8 = 1;
/// `ETHTOOL_A_FEATURES_*`, `ETHTOOL_A_HEADER_*` and `ETHTOOL_A_BITSET_*`.
const HEADER: u16 = 1;
const ACTIVE: u16 = 4;
const DEVICE_NAME: u16 = 2;
const BITS: u16 = 3;
const BIT_NAME: u16 = 2;

/// Names of features as the kernel has them, whatever their numbers are.
const CHECKSUM: &[u8] = b"tx-checksum-ip-generic\0";
const TUNNEL_SEGMENTATION: &[u8] = b"tx-udp_tnl-segmentation\0";
const TUNNEL_CHECKSUM: &[u8] = b"tx-udp_tnl-csum-segmentation\0";
/// Most links that are told.
const MAX_LINKS: usize = 2048;

/// The question for all links, without any attribute.
struct Question {
    family: u16,
}

impl NetlinkSerializable for Question {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        GENERIC_HEADER
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Some(header) = buffer.first_chunk_mut() {
            *header = [GET_FEATURES, VERSION, 0, 0];
        }
    }
}

/// By the names of links. What cannot be read is not known, and so is everything where the kernel has no such family.
pub async fn read() -> BTreeMap<String, Offload> {
    dump().await.unwrap_or_default()
}

async fn dump() -> Result<BTreeMap<String, Offload>, NetlinkError> {
    let Some(family) = netlink::family(FAMILY).await? else {
        return Ok(BTreeMap::new());
    };
    let mut links = BTreeMap::new();
    let each = |kind, payload: &mut [u8]| {
        if kind == family
            && links.len() < MAX_LINKS
            && let Some((name, offload)) = decode(payload)?
        {
            links.insert(name, offload);
        }
        Ok(())
    };
    netlink::dump(NETLINK_GENERIC, Filter::Nothing, Question { family }, each).await?;
    Ok(links)
}

/// One link's answer: which link, and which of its features are switched on. Those that are not are not listed.
pub(crate) fn decode(payload: &mut [u8]) -> Result<Option<(String, Offload)>, &'static str> {
    let attributes = payload.get_mut(GENERIC_HEADER..).unwrap_or_default();
    let (mut name, mut offload) = (None, None);
    each_attribute(attributes, |kind, value| {
        match kind {
            HEADER => {
                each_attribute(value, |kind, value| {
                    if kind == DEVICE_NAME {
                        name = text(value);
                    }
                    Ok(())
                })?;
            }
            ACTIVE => offload = Some(active(value)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(name.zip(offload))
}

fn active(bitset: &mut [u8]) -> Result<Offload, &'static str> {
    let mut offload = Offload::default();
    each_attribute(bitset, |kind, bits| {
        if kind != BITS {
            return Ok(());
        }
        each_attribute(bits, |_, bit| {
            each_attribute(bit, |kind, value| {
                if kind == BIT_NAME {
                    offload.checksum |= value == CHECKSUM;
                    offload.tunnel_segmentation |= value == TUNNEL_SEGMENTATION;
                    offload.tunnel_checksum |= value == TUNNEL_CHECKSUM;
                }
                Ok(())
            })
        })
    })?;
    Ok(offload)
}

fn text(name: &[u8]) -> Option<String> {
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    str::from_utf8(name).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn answer(name: &[u8], on: &[&[u8]]) -> Vec<u8> {
        let bit = |name: &&[u8]| attribute(1, &attribute(BIT_NAME, name));
        let bits: Vec<u8> = on.iter().flat_map(bit).collect();
        let header = attribute(HEADER, &attribute(DEVICE_NAME, name));
        let active = attribute(ACTIVE, &attribute(BITS, &bits));
        [vec![GET_FEATURES, 1, 0, 0], header, active].concat()
    }

    #[test]
    fn a_link_has_the_features_that_are_listed_as_active_and_no_others() {
        let other: &[u8] = b"tx-scatter-gather\0";
        let decoded = decode(&mut answer(b"eth0\0", &[CHECKSUM, other])).unwrap();
        let expected = Offload {
            checksum: true,
            ..Offload::default()
        };
        assert_eq!(decoded, Some(("eth0".to_owned(), expected)));
        assert_eq!(decode(&mut [GET_FEATURES, 1, 0, 0]), Ok(None));
    }

    #[test]
    fn any_cut_of_an_answer_is_taken_or_refused() {
        let whole = answer(b"eth0\0", &[CHECKSUM, TUNNEL_CHECKSUM]);
        for length in 0..whole.len() {
            drop(decode(&mut whole[..length].to_vec()));
        }
    }

    #[tokio::test]
    async fn this_machine_tells_of_its_loopback() {
        // Loopback has its checksums done by nobody, which counts as done; a kernel without the family tells nothing.
        let links = read().await;
        if let Some(loopback) = links.get("lo") {
            assert!(loopback.checksum, "{links:?}");
        }
    }
}
