//! Reads by what traffic for the peers' addresses enters the tunnel, and puts it into facts.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use evidence::{
    EndpointWay, Fact, Facts, Moment, PublicKey, Steered, SteeredPrefix, Steering, SteeringChains,
    SteeringFamily, limits,
};
use probe_io::clock;
use sources::{
    Gap,
    links::{self, FORCE_MARK, KUBESPAN, Question, Snapshot, Way},
    nftables::{self, Chains},
    wireguard::{AllowedIp, Device, Peer},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    peers::Peers,
    readers::{DeviceReading, Reading},
};

/// Pace of reading. Links, rules and routes are read sooner, when the kernel says that one changed; of chains it does
/// not tell us.
const EVERY: Duration = Duration::from_secs(2);
/// Changes come in bursts: one reading for all that come within this time.
const SETTLE: Duration = Duration::from_millis(200);
/// Route questions a second that a big mesh may cost; beyond them the pace gets slower.
const QUESTIONS_PER_SECOND: u32 = 200;
/// Why the chains of a node that does not steer are not read: the question could load a kernel module.
const NOT_ASKED: &str = "not asked: neither KubeSpan's rule nor table 180 is on this node, so nothing steers into the tunnel";

/// Why there is no reading of a node whose peers are not known at present.
pub(crate) const WAITS: &str = "not asked: the kubespan device or the links cannot be read";

/// One reading of everything that steers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteeringReading {
    /// What holds for all peers.
    pub node: Steering,
    /// What holds for each.
    pub peers: BTreeMap<PublicKey, Steered>,
    /// Why the chains could not be read.
    pub chains_gap: Option<String>,
}

/// Reads again and again. Needs what the readers of the device and of the links have read.
pub(crate) async fn read_steering(
    sender: watch::Sender<Option<Reading<SteeringReading>>>,
    device: watch::Receiver<Option<Reading<DeviceReading>>>,
    mut links: watch::Receiver<Option<Reading<Snapshot>>>,
) {
    let mut last: Option<SteeringReading> = None;
    while !sender.is_closed() {
        let peers = newest(&device).map(|reading| reading.device);
        let snapshot = newest(&links);
        links.mark_unchanged();
        let Some((device, snapshot)) = peers.zip(snapshot) else {
            if last.is_some() {
                publish(&sender, Err(WAITS.to_owned()));
            }
            sleep(SETTLE).await;
            continue;
        };
        let value = read(&device, &snapshot, last.as_ref()).await;
        last = value.as_ref().ok().cloned().or(last);
        publish(&sender, value);
        // Not an error: the link reader ends only with the agent.
        let _changed = timeout(pace(last.as_ref()), links.changed()).await;
        sleep(SETTLE).await;
    }
}

fn publish(
    sender: &watch::Sender<Option<Reading<SteeringReading>>>,
    value: Result<SteeringReading, String>,
) {
    sender.send_replace(Some(Reading {
        at: clock::moment(),
        value,
    }));
}

fn newest<T: Clone>(receiver: &watch::Receiver<Option<Reading<T>>>) -> Option<T> {
    receiver
        .borrow()
        .as_ref()
        .and_then(|reading| reading.value.as_ref().ok())
        .cloned()
}

fn pace(last: Option<&SteeringReading>) -> Duration {
    let peers = last.map_or(0, |reading| reading.peers.values().map(questions_of).sum());
    EVERY.max(Duration::from_secs(1) * peers / QUESTIONS_PER_SECOND)
}

fn questions_of(steered: &Steered) -> u32 {
    let prefixes = u32::try_from(steered.prefixes.len()).unwrap_or(u32::MAX);
    prefixes.saturating_mul(2).saturating_add(1)
}

async fn read(
    device: &Device,
    snapshot: &Snapshot,
    last: Option<&SteeringReading>,
) -> Result<SteeringReading, String> {
    let told = |error: &links::LinksError| Gap::from(error).reason;
    let steering = links::read_steering(snapshot)
        .await
        .map_err(|error| told(&error))?;
    let chains = if steers(&steering) {
        let read = nftables::read().await;
        read.map_err(|error| Gap::from(&error).reason)
    } else {
        Err(NOT_ASKED.to_owned())
    };
    let asked = asked(device, snapshot);
    let questions: Vec<Question> = asked
        .iter()
        .flat_map(|peer| peer.questions(device.fwmark))
        .collect();
    let ways = links::ways(&questions)
        .await
        .map_err(|error| told(&error))?;
    let mut reading = assemble(&steering, &asked, &ways, chains.as_ref().ok(), snapshot);
    reading.chains_gap = chains.err();
    reading.date(last, clock::moment());
    Ok(reading)
}

fn steers(steering: &links::Steering) -> bool {
    let any =
        |family: &links::FamilySteering| family.rule_priority.is_some() || family.default_route;
    any(&steering.ipv4) || any(&steering.ipv6)
}

impl SteeringReading {
    /// The facts, of peers that are still there.
    pub(crate) fn facts(&self, peers: &Peers, facts: &mut Facts) {
        facts.insert(Fact::Steering(self.node.clone()));
        for (key, _) in peers.facts() {
            if let Some(steered) = self.peers.get(&key) {
                facts.insert(Fact::Steered(key, steered.clone()));
            }
        }
    }

    /// What is as it was has been so since it was first read so.
    fn date(&mut self, last: Option<&Self>, now: Moment) {
        self.node.since = last.map_or(now, |last| last.node.since);
        if last.is_none_or(|last| last.node != self.node) {
            self.node.since = now;
        }
        for (key, steered) in &mut self.peers {
            let before = last.and_then(|last| last.peers.get(key));
            date_peer(steered, before, now);
        }
    }
}

fn date_peer(steered: &mut Steered, before: Option<&Steered>, now: Moment) {
    let known = before.and_then(|before| before.endpoint.as_ref());
    if let Some(endpoint) = &mut steered.endpoint {
        let same = known.filter(|known| known.to == endpoint.to);
        endpoint.looped = same.and_then(|known| known.looped);
    }
    steered.since = before.map_or(now, |before| before.since);
    if before != Some(&*steered) {
        steered.since = now;
    }
    // Each reading of a loop dates it anew, and that is no change.
    if let Some(endpoint) = &mut steered.endpoint
        && endpoint.via.as_deref() == Some(KUBESPAN)
    {
        endpoint.looped = Some(now);
    }
}

/// When the chains were last tried, and why they could not be read.
pub(crate) fn chains_tried(reading: &Reading<SteeringReading>) -> Option<(Moment, Option<String>)> {
    let value = reading.value.as_ref().ok()?;
    Some((reading.at, value.chains_gap.clone()))
}

/// A peer, and which of its prefixes are asked about.
struct AskedPeer<'a> {
    peer: &'a Peer,
    prefixes: Vec<AllowedIp>,
    left_out: usize,
}

impl AskedPeer<'_> {
    /// The endpoint's question, then two for each prefix: marked, and as it is.
    fn questions(&self, fwmark: u32) -> impl Iterator<Item = Question> {
        let endpoint = self.peer.endpoint.map(|endpoint| Question {
            to: endpoint.ip(),
            mark: fwmark,
        });
        let prefixes = self.prefixes.iter().flat_map(|prefix| {
            [FORCE_MARK, 0].map(|mark| Question {
                to: prefix.address(),
                mark,
            })
        });
        endpoint.into_iter().chain(prefixes)
    }
}

fn asked<'a>(device: &'a Device, snapshot: &Snapshot) -> Vec<AskedPeer<'a>> {
    let own = links::kubespan_address(snapshot);
    device
        .peers
        .iter()
        .map(|peer| {
            let mut prefixes: Vec<AllowedIp> = peer
                .allowed_ips
                .iter()
                .filter(|prefix| !is_kubespan(prefix, own))
                .copied()
                .collect();
            // Single addresses are those of nodes: they come first.
            prefixes.sort_by_key(|prefix| (Reverse(prefix.prefix_len()), *prefix));
            let left_out = prefixes.len().saturating_sub(limits::STEERED);
            prefixes.truncate(limits::STEERED);
            AskedPeer {
                peer,
                prefixes,
                left_out,
            }
        })
        .collect()
}

/// Whether it lies in the /64 of our own `KubeSpan` address, which is on the link: that needs no steering.
fn is_kubespan(prefix: &AllowedIp, own: Option<Ipv6Addr>) -> bool {
    match (prefix.address(), own) {
        (IpAddr::V6(address), Some(own)) => address.octets()[..8] == own.octets()[..8],
        _ => false,
    }
}

/// Puts the answers to the questions where they belong.
fn assemble(
    steering: &links::Steering,
    asked: &[AskedPeer<'_>],
    ways: &[Option<Way>],
    chains: Option<&Chains>,
    snapshot: &Snapshot,
) -> SteeringReading {
    let mut ways = ways.iter().copied();
    let mut next = || ways.next().flatten();
    let name = |way: Option<Way>| way.map(|way| link_name(snapshot, way.link));
    let peers = asked.iter().map(|asked| {
        let endpoint = asked.peer.endpoint.map(|to| {
            let via = name(next());
            let link = via.as_deref().and_then(|name| snapshot.link(name));
            EndpointWay {
                to,
                mtu: link.map(|link| link.mtu),
                via,
                looped: None,
            }
        });
        let prefixes = asked.prefixes.iter().map(|prefix| {
            let (marked, plain) = (next(), next());
            let covers =
                |routed: &nftables::Routed| routed.covers(prefix.address(), prefix.prefix_len());
            SteeredPrefix {
                prefix: prefix.to_string(),
                outgoing: chains.and_then(|chains| covers(&chains.outgoing)),
                prerouting: chains.and_then(|chains| covers(&chains.prerouting)),
                marked_via: name(marked),
                source: plain.and_then(|way| way.source),
            }
        });
        let steered = Steered {
            since: Moment::ZERO,
            prefixes: prefixes.collect(),
            left_out: u32::try_from(asked.left_out).unwrap_or(u32::MAX),
            endpoint,
        };
        (asked.peer.public_key, steered)
    });
    SteeringReading {
        peers: peers.collect(),
        node: node(steering, chains),
        chains_gap: None,
    }
}

fn node(steering: &links::Steering, chains: Option<&Chains>) -> Steering {
    let family = |family: &links::FamilySteering| SteeringFamily {
        rule_priority: family.rule_priority,
        default_route: family.default_route,
        undecoded: steering.undecoded > 0,
    };
    Steering {
        since: Moment::ZERO,
        ipv4: family(&steering.ipv4),
        ipv6: family(&steering.ipv6),
        chains: chains.map(|chains| SteeringChains {
            outgoing: chains.outgoing.present,
            prerouting: chains.prerouting.present,
        }),
    }
}

/// A link that came after the links were read has no name here yet.
fn link_name(snapshot: &Snapshot, index: u32) -> String {
    let link = snapshot.links.iter().find(|link| link.index == index);
    link.map_or_else(|| format!("#{index}"), |link| link.name.clone())
}

#[cfg(test)]
mod tests;
