//! The numbers of generic netlink's families.

use netlink_packet_generic::{
    GenlMessage,
    ctrl::{GenlCtrl, GenlCtrlCmd},
};
use netlink_sys::protocols::NETLINK_GENERIC;

use super::{Filter, NetlinkError, dump, each_attribute};

const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// Command, version, and two bytes of nothing before the attributes.
pub(crate) const GENERIC_HEADER: usize = 4;

/// A family's number, found in the list of all families: asking for it by name would load a kernel module. The name ends with a zero.
pub(crate) async fn family(name: &'static [u8]) -> Result<Option<u16>, NetlinkError> {
    let request = GenlMessage::from_payload(GenlCtrl {
        cmd: GenlCtrlCmd::GetFamily,
        nlas: Vec::new(),
    });
    let mut found = None;
    dump(NETLINK_GENERIC, Filter::Nothing, request, |_, payload| {
        let attributes = payload.get_mut(GENERIC_HEADER..).unwrap_or_default();
        found = found.or(family_in(attributes, name)?);
        Ok(())
    })
    .await?;
    Ok(found)
}

fn family_in(attributes: &mut [u8], name: &[u8]) -> Result<Option<u16>, &'static str> {
    let mut id = None;
    let mut is_it = false;
    each_attribute(attributes, |kind, value| {
        match kind {
            FAMILY_ID => id = value.first_chunk().map(|b| u16::from_ne_bytes(*b)),
            FAMILY_NAME => is_it = value == name,
            _ => {}
        }
        Ok(())
    })?;
    Ok(id.filter(|_| is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_found_by_its_whole_name() {
        let family = |name: &[u8]| {
            let length = u16::try_from(4 + name.len()).unwrap();
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(FAMILY_NAME.to_ne_bytes());
            bytes.extend(name);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes.extend(6_u16.to_ne_bytes());
            bytes.extend(FAMILY_ID.to_ne_bytes());
            bytes.extend(33_u16.to_ne_bytes());
            family_in(&mut bytes, b"wireguard\0")
        };
        assert_eq!(family(b"wireguard\0"), Ok(Some(33)));
        assert_eq!(family(b"wireguard2\0"), Ok(None));
        assert_eq!(family(b"nlctrl\0"), Ok(None));
    }
}
