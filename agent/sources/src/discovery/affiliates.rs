//! What a list of affiliates comes to: bounded, whatever the service says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use aws_lc_rs::digest;
use evidence::{
    Moment, PublicKey,
    discovery::{Affiliate, Affiliates, Rivals},
    limits,
};
use upstream::discovery as wire;

use super::{Key, OpenError, Opened, open, text::tame};

/// What the node knows without the service.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its own key.
    pub own: Option<PublicKey>,
    /// The peers of its device; `None` while it cannot be read.
    pub peers: Option<BTreeSet<PublicKey>>,
}

/// An affiliate that could be opened and takes part in `KubeSpan`.
struct Member {
    affiliate: Affiliate,
    addresses: Vec<IpAddr>,
}

/// Sums a list up. `seen` holds since when each key was listed; who is no longer listed is forgotten.
pub fn summary(
    list: &[wire::Affiliate],
    key: Option<&Key>,
    known: &Known,
    seen: &mut BTreeMap<PublicKey, Moment>,
    at: Moment,
) -> Affiliates {
    let taken = list.get(..limits::PEERS).unwrap_or(list);
    let mut sum = Affiliates {
        at,
        count: count(list.len()),
        most_endpoints: count(most_endpoints(taken)),
        garbled: 0,
        digest: ids(taken),
        decrypted: key.map(|_| 0),
        sealed: Vec::new(),
        own: None,
        unknown: Vec::new(),
        rivals: Vec::new(),
        unlisted: Vec::new(),
    };
    let Some(key) = key else { return sum };
    let members = open_all(taken, key, &mut sum, at);
    let listed: BTreeSet<PublicKey> = members.iter().map(|member| member.affiliate.key).collect();
    seen.retain(|key, _| listed.contains(key));
    let members: Vec<Member> = members
        .into_iter()
        .map(|mut member| {
            member.affiliate.since = *seen.entry(member.affiliate.key).or_insert(at);
            member
        })
        .collect();
    sum.own = known.own.map(|own| listed.contains(&own));
    compare(&mut sum, known, &members, &listed);
    sum.rivals = rivals(&members);
    sum
}

fn most_endpoints(list: &[wire::Affiliate]) -> usize {
    let counts = list.iter().map(|affiliate| affiliate.endpoints.len());
    counts.max().unwrap_or_default()
}

/// The same for the same set, in whatever order it is listed.
fn ids(list: &[wire::Affiliate]) -> [u8; 8] {
    let ids: BTreeSet<&str> = list.iter().map(|affiliate| affiliate.id.as_str()).collect();
    let mut context = digest::Context::new(&digest::SHA256);
    for id in ids {
        context.update(&u64::try_from(id.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(id.as_bytes());
    }
    let mut short = [0; 8];
    let whole = context.finish();
    short
        .iter_mut()
        .zip(whole.as_ref())
        .for_each(|(to, from)| *to = *from);
    short
}

fn open_all(list: &[wire::Affiliate], key: &Key, sum: &mut Affiliates, at: Moment) -> Vec<Member> {
    let mut members = Vec::new();
    let mut decrypted = 0;
    // An affiliate for which others have told endpoints, and which has not told of itself yet, has no data.
    for sealed in list.iter().filter(|affiliate| !affiliate.data.is_empty()) {
        match key.affiliate(&sealed.data) {
            Ok(opened) => {
                decrypted += 1;
                members.extend(member(&opened, sealed, key, (&mut sum.garbled, at)));
            }
            Err(OpenError::Key) if sum.sealed.len() < limits::AFFILIATES => {
                sum.sealed.push(tame(&sealed.id));
            }
            Err(_) => {}
        }
    }
    let silent = list.iter().filter(|affiliate| affiliate.data.is_empty());
    sum.decrypted = Some(decrypted + count(silent.count()));
    members
}

fn member(
    Opened(open): &Opened,
    sealed: &wire::Affiliate,
    key: &Key,
    (garbled, at): (&mut u32, Moment),
) -> Option<Member> {
    let kubespan = open.kubespan.as_ref()?;
    let name = [&open.nodename, &open.hostname, &open.node_id];
    let name = name.into_iter().find(|name| !name.is_empty())?;
    let mut endpoints: Vec<SocketAddr> = Vec::new();
    for endpoint in &sealed.endpoints {
        match key.endpoint(endpoint) {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(_) => *garbled = garbled.saturating_add(1),
        }
    }
    endpoints.truncate(limits::AFFILIATE_ENDPOINTS);
    let addresses = open.addresses.iter().take(limits::ADDRESSES);
    Some(Member {
        affiliate: Affiliate {
            name: tame(name),
            key: kubespan.public_key.parse().ok()?,
            since: at,
            endpoints,
        },
        addresses: addresses.filter_map(|bytes| open::address(bytes)).collect(),
    })
}

fn compare(sum: &mut Affiliates, known: &Known, members: &[Member], listed: &BTreeSet<PublicKey>) {
    let Some(peers) = &known.peers else { return };
    let strange = |member: &&Member| {
        let key = member.affiliate.key;
        !peers.contains(&key) && Some(key) != known.own
    };
    let unknown = members.iter().filter(strange);
    sum.unknown = unknown
        .map(|member| member.affiliate.clone())
        .take(limits::AFFILIATES)
        .collect();
    sum.unlisted = peers
        .difference(listed)
        .take(limits::AFFILIATES)
        .copied()
        .collect();
}

/// Pairs of affiliates that claim one address.
fn rivals(members: &[Member]) -> Vec<Rivals> {
    let mut holders: BTreeMap<IpAddr, &Affiliate> = BTreeMap::new();
    let mut found = Vec::new();
    for member in members {
        for address in &member.addresses {
            let holder = holders.entry(*address).or_insert(&member.affiliate);
            if holder.key != member.affiliate.key && found.len() < limits::AFFILIATES {
                found.push(Rivals {
                    address: *address,
                    one: holder.clone(),
                    other: member.affiliate.clone(),
                });
            }
        }
    }
    found
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
