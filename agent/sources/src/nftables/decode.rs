//! What the kernel says of a rule, a set and its elements. Pure; the numbers are those of `nf_tables.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    links::{FORCE_MARK, FORCE_MASK},
    netlink::each_attribute,
};

/// Family, version and the generation of the ruleset stand before the attributes.
pub(super) const HEADER: usize = 4;
/// The header of a question about an `inet` table.
pub(super) const INET_HEADER: [u8; HEADER] = [1, 0, 0, 0];

pub(super) const GET_RULE: u8 = 7;
pub(super) const GET_SET: u8 = 10;
pub(super) const GET_ELEMENTS: u8 = 13;

pub(super) const RULE_TABLE: u16 = 1;
pub(super) const SET_TABLE: u16 = 1;
pub(super) const ELEMENTS_TABLE: u16 = 1;
pub(super) const ELEMENTS_SET: u16 = 2;

const SUBSYSTEM: u16 = 10;
const LIST_ENTRY: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_IS_INTERVAL: u32 = 4;
const ELEMENTS_LIST: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_FLAGS: u16 = 3;
const ELEMENT_IS_END: u32 = 1;
const DATA_VALUE: u16 = 1;

const META_DESTINATION: u16 = 1;
const META_KEY: u16 = 2;
const META_SOURCE: u16 = 3;
const META_MARK: u32 = 3;
const META_FAMILY: u32 = 15;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LENGTH: u16 = 4;
const NETWORK_HEADER: u32 = 1;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const LOOKUP_SET: u16 = 1;
const LOOKUP_FLAGS: u16 = 5;
const COMPARE_HOW: u16 = 2;
const COMPARE_WITH: u16 = 3;

/// Where the destination stands in the header of an IPv4 and of an IPv6 packet, and how long it is.
const DESTINATIONS: [(u32, u32); 2] = [(16, 4), (24, 16)];

/// One rule of a chain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) chain: String,
    pub(super) steers: Steers,
}

/// Whether a rule gives packets the mark that leads into the tunnel.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Steers {
    No,
    /// Those for this destination.
    Into(Destination),
    /// Some, on conditions that are not understood here.
    Unclear,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Set(String),
    Prefix(IpAddr, u8),
}

/// One element of a set.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    /// Whether it closes an interval and is not part of it.
    pub(super) end: bool,
}

pub(super) const fn message_type(kind: u8) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}

/// Appends an attribute that is a name. Names are far shorter than an attribute may be.
pub(super) fn put_name(message: &mut Vec<u8>, kind: u16, name: &str) {
    let length = u16::try_from(4 + name.len() + 1).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(name.bytes());
    message.push(0);
    message.resize(message.len().next_multiple_of(4), 0);
}

pub(super) fn rule(attributes: &mut [u8]) -> Result<Rule, &'static str> {
    let mut chain = String::new();
    let mut reading = Reading::default();
    each_attribute(attributes, |kind, value| {
        match kind {
            RULE_CHAIN => chain = text(value),
            RULE_EXPRESSIONS => each_attribute(value, |kind, expression| match kind {
                LIST_ENTRY => self::expression(expression, &mut reading),
                _ => Ok(()),
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Rule {
        chain,
        steers: reading.finish(),
    })
}

/// The name of a set, and whether it holds intervals.
pub(super) fn set(attributes: &mut [u8]) -> Result<(String, bool), &'static str> {
    let mut name = String::new();
    let mut interval = false;
    each_attribute(attributes, |kind, value| {
        match kind {
            SET_NAME => name = text(value),
            SET_FLAGS => interval = number(value)? & SET_IS_INTERVAL != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, interval))
}

pub(super) fn elements(
    attributes: &mut [u8],
    take: &mut impl FnMut(Element),
) -> Result<(), &'static str> {
    each_attribute(attributes, |kind, list| {
        if kind != ELEMENTS_LIST {
            return Ok(());
        }
        each_attribute(list, |kind, element| {
            if kind == LIST_ENTRY {
                take(self::element(element)?);
            }
            Ok(())
        })
    })
}

fn element(attributes: &mut [u8]) -> Result<Element, &'static str> {
    let mut key = Vec::new();
    let mut end = false;
    each_attribute(attributes, |kind, value| {
        match kind {
            ELEMENT_KEY => key = data(value)?,
            ELEMENT_FLAGS => end = number(value)? & ELEMENT_IS_END != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Element { key, end })
}

/// A rule, as far as its expressions were read.
#[derive(Default)]
struct Reading {
    loaded: Loaded,
    /// What the mark in the register is made of: kept bits, then flipped bits.
    mark: Option<(u32, u32)>,
    destination: Option<Destination>,
    steers: bool,
    /// There are conditions beside family and destination.
    narrowed: bool,
}

/// What the register holds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Loaded {
    #[default]
    Nothing,
    Family,
    Mark,
    /// So many leading bytes of the destination.
    Destination {
        ipv6: bool,
        bytes: u32,
    },
    Other,
}

impl Reading {
    fn finish(self) -> Steers {
        match (self.steers, self.destination) {
            (false, _) => Steers::No,
            (true, Some(destination)) if !self.narrowed => Steers::Into(destination),
            (true, _) => Steers::Unclear,
        }
    }

    /// A condition on what is loaded. That on the family is implied by the length of the addresses.
    fn condition(&mut self, destination: Option<Destination>) {
        match destination {
            Some(destination) if self.destination.is_none() => self.destination = Some(destination),
            _ => self.narrowed |= self.loaded != Loaded::Family,
        }
    }
}

fn expression(attributes: &mut [u8], reading: &mut Reading) -> Result<(), &'static str> {
    let mut name = String::new();
    each_attribute(attributes, |kind, value| {
        match (kind, name.as_str()) {
            (EXPRESSION_NAME, _) => name = text(value),
            (EXPRESSION_DATA, "meta") => meta(value, reading)?,
            (EXPRESSION_DATA, "payload") => payload(value, reading)?,
            (EXPRESSION_DATA, "bitwise") => bitwise(value, reading)?,
            (EXPRESSION_DATA, "lookup") => lookup(value, reading)?,
            (EXPRESSION_DATA, "cmp") => compare(value, reading)?,
            // Verdicts and counters do not narrow a rule.
            (EXPRESSION_DATA, "immediate" | "counter") => {}
            (EXPRESSION_DATA, _) => reading.narrowed = true,
            _ => {}
        }
        Ok(())
    })
}

fn meta(attributes: &mut [u8], reading: &mut Reading) -> Result<(), &'static str> {
    let (mut key, mut loads, mut sets) = (0, false, false);
    each_attribute(attributes, |kind, value| {
        match kind {
            META_KEY => key = number(value)?,
            META_DESTINATION => loads = true,
            META_SOURCE => sets = true,
            _ => {}
        }
        Ok(())
    })?;
    if loads {
        reading.loaded = match key {
            META_FAMILY => Loaded::Family,
            META_MARK => Loaded::Mark,
            _ => Loaded::Other,
        };
    }
    if sets && key == META_MARK {
        reading.steers |= reading
            .mark
            .is_some_and(|(keep, flip)| keep & FORCE_MASK == 0 && flip & FORCE_MASK == FORCE_MARK);
    }
    Ok(())
}

fn payload(attributes: &mut [u8], reading: &mut Reading) -> Result<(), &'static str> {
    let (mut base, mut offset, mut length) = (0, 0, 0);
    each_attribute(attributes, |kind, value| {
        match kind {
            PAYLOAD_BASE => base = number(value)?,
            PAYLOAD_OFFSET => offset = number(value)?,
            PAYLOAD_LENGTH => length = number(value)?,
            _ => {}
        }
        Ok(())
    })?;
    let at = DESTINATIONS
        .iter()
        .position(|(start, bytes)| *start == offset && (1..=*bytes).contains(&length));
    reading.loaded = match at.filter(|_| base == NETWORK_HEADER) {
        Some(family) => Loaded::Destination {
            ipv6: family == 1,
            bytes: length,
        },
        None => Loaded::Other,
    };
    Ok(())
}

fn bitwise(attributes: &mut [u8], reading: &mut Reading) -> Result<(), &'static str> {
    let (mut mask, mut flip) = (None, None);
    each_attribute(attributes, |kind, value| {
        match kind {
            BITWISE_MASK => mask = word(&data(value)?),
            BITWISE_XOR => flip = word(&data(value)?),
            _ => {}
        }
        Ok(())
    })?;
    if reading.loaded == Loaded::Mark {
        reading.mark = mask.zip(flip);
    } else {
        reading.loaded = Loaded::Other;
    }
    Ok(())
}

fn lookup(attributes: &mut [u8], reading: &mut Reading) -> Result<(), &'static str> {
    let (mut set, mut flags) = (String::new(), 0);
    each_attribute(attributes, |kind, value| {
        match kind {
            LOOKUP_SET => set = text(value),
            LOOKUP_FLAGS => flags = number(value)?,
            _ => {}
        }
        Ok(())
    })?;
    let whole = matches!(
        reading.loaded,
        Loaded::Destination {
            ipv6: false,
            bytes: 4
        } | Loaded::Destination {
            ipv6: true,
            bytes: 16
        }
    );
    reading.condition((whole && flags == 0).then_some(Destination::Set(set)));
    Ok(())
}

fn compare(attributes: &mut [u8], reading: &mut Reading) -> Result<(), &'static str> {
    let (mut how, mut with) = (0, Vec::new());
    each_attribute(attributes, |kind, value| {
        match kind {
            COMPARE_HOW => how = number(value)?,
            COMPARE_WITH => with = data(value)?,
            _ => {}
        }
        Ok(())
    })?;
    let prefix = match reading.loaded {
        Loaded::Destination { ipv6, bytes } if how == 0 => prefix(ipv6, bytes, &with),
        _ => None,
    };
    reading.condition(prefix);
    Ok(())
}

/// nft writes a prefix of whole bytes as a comparison of so many bytes.
fn prefix(ipv6: bool, bytes: u32, value: &[u8]) -> Option<Destination> {
    let length = usize::try_from(bytes).ok()?;
    let value = value.get(..length)?;
    let mut octets = [0; 16];
    octets.get_mut(..length)?.copy_from_slice(value);
    let address = if ipv6 {
        IpAddr::V6(Ipv6Addr::from(octets))
    } else {
        IpAddr::V4(Ipv4Addr::from(*octets.first_chunk::<4>()?))
    };
    let prefix_len = u8::try_from(bytes * 8).ok()?;
    Some(Destination::Prefix(address, prefix_len))
}

/// The bytes in a nested data attribute; none for a verdict.
fn data(nested: &mut [u8]) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::new();
    each_attribute(nested, |kind, value| {
        if kind == DATA_VALUE {
            bytes = value.to_vec();
        }
        Ok(())
    })?;
    Ok(bytes)
}

/// Marks stand in registers in the byte order of the machine.
fn word(bytes: &[u8]) -> Option<u32> {
    <[u8; 4]>::try_from(bytes).ok().map(u32::from_ne_bytes)
}

/// Numbers stand in attributes in network order.
fn number(value: &[u8]) -> Result<u32, &'static str> {
    <[u8; 4]>::try_from(value)
        .map(u32::from_be_bytes)
        .map_err(|_| "a number of 32 bits")
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    let text = &value[..end.unwrap_or(value.len())];
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests;
