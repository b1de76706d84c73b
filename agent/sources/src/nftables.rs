//! The destinations that Talos' own nftables chains mark for the tunnel. Read by dumps, never written.
//!
//! Talos keeps one table, `inet talos`, and makes it anew as a whole on each change. Two of its chains steer: what
//! arrives to be forwarded, and what the node itself sends. Each has a rule per family that looks the destination up in
//! an anonymous set of intervals and sets the mark.
//!
//! Reading order: this file (what is asked), `decode` (what a rule, a set and an element say), `ranges` (addresses).

mod decode;
mod error;
mod ranges;

use std::{collections::BTreeMap, net::IpAddr};

use netlink_packet_core::NetlinkSerializable;
use netlink_sys::protocols::NETLINK_NETFILTER;
use tokio::time::timeout;

use crate::{
    READ_TIMEOUT,
    netlink::{self, Filter, MAX_ATTEMPTS, NetlinkError},
};
use decode::{Destination, Element, Rule, Steers};
use ranges::Ranges;

pub use error::NftablesError;

/// Talos' own table.
pub const TABLE: &str = "talos";
/// Its chain for what arrives to be forwarded.
pub const PREROUTING: &str = "kubespan_prerouting";
/// Its chain for what the node itself sends.
pub const OUTGOING: &str = "kubespan_outgoing";

/// Most elements of all sets together; a cluster has one or two per node address.
pub const MAX_ELEMENTS: usize = 1 << 16;
/// Most sets that the two chains may look into; Talos makes one or two per rule.
pub const MAX_SETS: usize = 32;

/// What the two chains steer at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chains {
    /// What arrives to be forwarded.
    pub prerouting: Routed,
    /// What the node itself sends.
    pub outgoing: Routed,
}

/// The destinations that one chain marks for the tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Whether the chain has any rule at all.
    pub present: bool,
    /// Steering rules that say more than this reader understands: a "no" beside a count above 0 is not certain.
    pub unclear: u64,
    ranges: Ranges,
}

impl Routed {
    /// Whether every address of the prefix is marked; `None` if a rule that was not understood may do it.
    pub fn covers(&self, address: IpAddr, prefix_len: u8) -> Option<bool> {
        let covered = self.ranges.cover(address, prefix_len);
        (covered || self.unclear == 0).then_some(covered)
    }
}

/// Reads the two chains and the sets they look into. A node without them has none: that is no error.
///
/// A kernel whose `nf_tables` is a module that is not loaded would load it at the question: ask only where `KubeSpan`
/// steers, which is where the rule or table 180 is.
pub async fn read() -> Result<Chains, NftablesError> {
    timeout(READ_TIMEOUT, consistent())
        .await
        .unwrap_or(Err(NftablesError::TimedOut {
            after: READ_TIMEOUT,
        }))
}

/// Starts again when the ruleset changed meanwhile: names of anonymous sets are used again.
async fn consistent() -> Result<Chains, NftablesError> {
    for _ in 0..MAX_ATTEMPTS {
        let mut generations = Generations::default();
        match once(&mut generations).await {
            Ok(chains) if generations.same => return Ok(chains),
            Ok(_) | Err(NetlinkError::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(NetlinkError::Interrupted.into())
}

async fn once(generations: &mut Generations) -> Result<Chains, NetlinkError> {
    let rules = rules(generations).await?;
    let intervals = sets(generations).await?;
    let mut known = BTreeMap::new();
    let mut room = MAX_ELEMENTS;
    for name in rules.iter().filter_map(looked_up) {
        if known.contains_key(name) {
            continue;
        }
        // A set that is gone between two dumps was of another generation.
        let interval = *intervals.get(name).ok_or(NetlinkError::Interrupted)?;
        if known.len() == MAX_SETS {
            return Err(NetlinkError::TooLarge);
        }
        let elements = elements(name, generations, room).await?;
        room -= elements.len();
        known.insert(name.to_owned(), Ranges::of(&elements, interval));
    }
    Ok(Chains {
        prerouting: routed(&rules, PREROUTING, &known),
        outgoing: routed(&rules, OUTGOING, &known),
    })
}

fn looked_up(rule: &Rule) -> Option<&str> {
    match &rule.steers {
        Steers::Into(Destination::Set(name)) => Some(name),
        _ => None,
    }
}

fn routed(rules: &[Rule], chain: &str, sets: &BTreeMap<String, Ranges>) -> Routed {
    let mut routed = Routed::default();
    for rule in rules.iter().filter(|rule| rule.chain == chain) {
        routed.present = true;
        match &rule.steers {
            Steers::No => {}
            Steers::Unclear => routed.unclear += 1,
            Steers::Into(Destination::Prefix(address, prefix_len)) => {
                routed.ranges.add(*address, *prefix_len);
            }
            Steers::Into(Destination::Set(name)) => {
                if let Some(ranges) = sets.get(name) {
                    routed.ranges.join(ranges);
                }
            }
        }
    }
    routed
}

async fn rules(generations: &mut Generations) -> Result<Vec<Rule>, NetlinkError> {
    let mut rules = Vec::new();
    let request = Request::new(decode::GET_RULE, &[(decode::RULE_TABLE, TABLE)]);
    dump(request, generations, |attributes| {
        let rule = decode::rule(attributes)?;
        if [PREROUTING, OUTGOING].contains(&rule.chain.as_str()) {
            rules.push(rule);
        }
        Ok(())
    })
    .await?;
    Ok(rules)
}

/// The sets of the table by name, and whether each holds intervals.
async fn sets(generations: &mut Generations) -> Result<BTreeMap<String, bool>, NetlinkError> {
    let mut sets = BTreeMap::new();
    let request = Request::new(decode::GET_SET, &[(decode::SET_TABLE, TABLE)]);
    dump(request, generations, |attributes| {
        let (name, interval) = decode::set(attributes)?;
        sets.insert(name, interval);
        Ok(())
    })
    .await?;
    Ok(sets)
}

async fn elements(
    set: &str,
    generations: &mut Generations,
    room: usize,
) -> Result<Vec<Element>, NetlinkError> {
    let mut all = Vec::new();
    let named = [(decode::ELEMENTS_TABLE, TABLE), (decode::ELEMENTS_SET, set)];
    let request = Request::new(decode::GET_ELEMENTS, &named);
    dump(request, generations, |attributes| {
        decode::elements(attributes, &mut |element| all.push(element))
    })
    .await?;
    if all.len() > room {
        return Err(NetlinkError::TooLarge);
    }
    Ok(all)
}

/// A table or a set that is not there is an error to the kernel and has no content to us.
async fn dump(
    request: Request,
    generations: &mut Generations,
    mut each: impl FnMut(&mut [u8]) -> Result<(), &'static str>,
) -> Result<(), NetlinkError> {
    let each = |_, payload: &mut [u8]| {
        let (header, attributes) = payload
            .split_at_mut_checked(decode::HEADER)
            .ok_or("a netfilter header")?;
        generations.note(header);
        each(attributes)
    };
    match netlink::dump(NETLINK_NETFILTER, Filter::Nothing, request, each).await {
        Err(NetlinkError::Refused(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Whether all messages were of one generation of the ruleset: the kernel writes its number into each.
#[derive(Debug)]
struct Generations {
    first: Option<[u8; 2]>,
    same: bool,
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            first: None,
            same: true,
        }
    }
}

impl Generations {
    fn note(&mut self, header: &[u8]) {
        if let Some(number) = header.last_chunk().copied() {
            self.same &= *self.first.get_or_insert(number) == number;
        }
    }
}

/// A question about Talos' table.
struct Request {
    kind: u8,
    payload: Vec<u8>,
}

impl Request {
    fn new(kind: u8, named: &[(u16, &str)]) -> Self {
        let mut payload = decode::INET_HEADER.to_vec();
        for (attribute, name) in named {
            decode::put_name(&mut payload, *attribute, name);
        }
        Self { kind, payload }
    }
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        decode::message_type(self.kind)
    }

    fn buffer_len(&self) -> usize {
        self.payload.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.payload);
    }
}
