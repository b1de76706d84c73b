//! What Talos has said so far, put together. Pure: time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use evidence::{
    Candidate, CandidateWay, Moment, PublicKey, Talos, TalosPeer, TalosPeerStatus, limits,
};
use sources::{
    discovery::ClusterId,
    talos::{Affiliate, Change, MachineType, Member, PeerSpec, PeerStatus, RESOURCES},
};

use crate::collectors::ControlPlanes;

use super::{
    Step, Update,
    node::{NodeAnswers, Registry, cut, number},
};

/// Everything that is told of Talos at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TalosReading {
    pub(super) node: Talos,
    pub(super) peers: BTreeMap<PublicKey, TalosPeer>,
    /// What other sources of this agent are told by Talos; it is in no report.
    pub(crate) told: Told,
}

/// Where Talos finds the time, and the other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// `None`: Talos does not say.
    pub(crate) time_servers: Option<Vec<String>>,
    pub(crate) registry: Registry,
    pub(crate) cluster_id: Option<ClusterId>,
    /// `None`: this version has no members.
    pub(crate) control_planes: Option<ControlPlanes>,
}

/// What is known, part by part.
#[derive(Default)]
pub(super) struct State {
    node: Option<Box<NodeAnswers>>,
    specs: Followed<PeerSpec>,
    statuses: Followed<PeerStatus>,
    affiliates: Followed<Affiliate>,
    members: Followed<Member>,
    /// How candidates would be reached, as far as that was asked.
    ways: BTreeMap<IpAddr, CandidateWay>,
    /// Of which that was asked since the last turn; the others keep what is known until they are asked.
    asked: BTreeSet<IpAddr>,
    /// The wall-clock time of a peer's last change and the moment we made of it: the same change must not wander with the
    /// rounding of two clocks.
    changes: BTreeMap<PublicKey, (Duration, Moment)>,
    last: Option<TalosReading>,
}

/// The resources of one type.
struct Followed<R> {
    known: BTreeMap<String, R>,
    /// While everything is told again: what has been told.
    again: Option<BTreeMap<String, R>>,
    /// Whether everything was told at least once, or nothing ever will be.
    whole: bool,
    supported: bool,
}

impl<R> Default for Followed<R> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            again: None,
            whole: false,
            supported: true,
        }
    }
}

impl<R> Followed<R> {
    fn apply(&mut self, step: Step<R>) {
        match step {
            Step::Begin => self.again = Some(BTreeMap::new()),
            Step::Changes(changes) => changes.into_iter().for_each(|change| self.change(change)),
            Step::Unsupported => {
                *self = Self {
                    whole: true,
                    supported: false,
                    ..Self::default()
                }
            }
        }
    }

    fn change(&mut self, change: Change<R>) {
        let map = self.again.as_mut().unwrap_or(&mut self.known);
        match change {
            Change::Present(resource) => {
                if map.len() < RESOURCES || map.contains_key(&resource.id) {
                    map.insert(resource.id, resource.spec);
                }
            }
            // One that is not understood any more is not what it was.
            Change::Gone(id) | Change::Refused(Some(id), _) => drop(map.remove(&id)),
            Change::Complete => {
                self.whole = true;
                self.known = self.again.take().unwrap_or_default();
            }
            Change::Refused(None, _) => {}
        }
    }

    /// How many there are; `None` as long as that is not known.
    fn count(&self) -> Option<usize> {
        (self.whole && self.supported).then_some(self.known.len())
    }
}

impl State {
    pub(super) fn apply(&mut self, update: Update) {
        match update {
            Update::Node(answers) => self.node = Some(answers),
            Update::Specs(step) => self.specs.apply(step),
            Update::Statuses(step) => self.statuses.apply(step),
            Update::Affiliates(step) => self.affiliates.apply(step),
            Update::Members(step) => self.members.apply(step),
        }
    }

    /// Whether each part has been told once: half a list looks like peers that are missing.
    pub(super) fn is_whole(&self) -> bool {
        let watched = [
            self.specs.whole,
            self.statuses.whole,
            self.affiliates.whole,
            self.members.whole,
        ];
        self.node.is_some() && watched == [true; 4]
    }

    /// The addresses of candidates that are to be asked for in this turn, those of which nothing is known first.
    pub(super) fn to_ask(&self) -> Vec<IpAddr> {
        let (unknown, known): (Vec<_>, Vec<_>) = self
            .candidates()
            .into_iter()
            .filter(|address| !self.asked.contains(address))
            .partition(|address| !self.ways.contains_key(address));
        [unknown, known].concat()
    }

    /// Another turn: all are to be asked for anew.
    pub(super) fn ask_again(&mut self) {
        self.asked.clear();
        let candidates = self.candidates();
        self.ways.retain(|address, _| candidates.contains(address));
    }

    /// What the kernel answered.
    pub(super) fn answered(&mut self, ways: BTreeMap<IpAddr, CandidateWay>) {
        self.asked.extend(ways.keys());
        self.ways.extend(ways);
    }

    fn candidates(&self) -> BTreeSet<IpAddr> {
        let specs = self.specs.known.values();
        let told = specs.flat_map(|spec| spec.endpoints.iter().take(limits::CANDIDATES));
        told.map(std::net::SocketAddr::ip).collect()
    }

    /// Everything at this moment. What is as it was keeps its moment.
    pub(super) fn reading(&mut self, now: Moment, wall: Duration) -> TalosReading {
        let (members, affiliates) = (self.members.count(), self.affiliates.count());
        let node = self.node.as_ref();
        let told = Told {
            control_planes: members.map(|_| self.control_planes()),
            ..node.map_or_else(Told::default, |node| node.told())
        };
        let node = node.map_or_else(Talos::default, |node| node.fact(members, affiliates));
        let mut reading = TalosReading {
            node,
            told,
            peers: self.peers(now, wall),
        };
        reading.date(self.last.as_ref(), now);
        self.last = Some(reading.clone());
        reading
    }

    /// By their resource's id, which is that of the node.
    fn control_planes(&self) -> ControlPlanes {
        let members = self.members.known.iter();
        members
            .filter(|(_, member)| member.machine_type == MachineType::ControlPlane)
            .map(|(id, member)| (id.clone(), member.addresses.clone()))
            .collect()
    }

    fn peers(&mut self, now: Moment, wall: Duration) -> BTreeMap<PublicKey, TalosPeer> {
        let mut changes = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for (id, spec) in self.specs.known.iter().take(limits::PEERS) {
            let Ok(key) = id.parse::<PublicKey>() else {
                continue;
            };
            let status = self.statuses.known.get(id);
            let time = status.and_then(|status| status.last_endpoint_change);
            let moved = time.map(|time| match self.changes.get(&key) {
                Some((same, moment)) if *same == time => (time, *moment),
                _ => (time, now.minus(wall.saturating_sub(time))),
            });
            changes.extend(moved.map(|moved| (key, moved)));
            let status = status.map(|status| TalosPeerStatus {
                state: status.state,
                endpoint: status.endpoint,
                last_used: status.last_used_endpoint,
                last_change: moved.map(|(_, moment)| moment),
            });
            peers.insert(key, peer(spec, status, &self.ways));
        }
        self.changes = changes;
        peers
    }
}

fn peer(
    spec: &PeerSpec,
    status: Option<TalosPeerStatus>,
    ways: &BTreeMap<IpAddr, CandidateWay>,
) -> TalosPeer {
    let mut left_out = 0;
    let mut endpoints = spec.endpoints.clone();
    cut(&mut endpoints, limits::CANDIDATES, &mut left_out);
    let candidate = |to: std::net::SocketAddr| Candidate {
        to,
        way: ways.get(&to.ip()).cloned(),
    };
    let allowed = spec.allowed_ips.iter().take(limits::ALLOWED_IPS);
    TalosPeer {
        since: Moment::ZERO,
        label: spec.label.clone(),
        address: spec.address.and_then(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }),
        allowed_ips: allowed.map(ToString::to_string).collect(),
        candidates: endpoints.into_iter().map(candidate).collect(),
        left_out: number(left_out),
        status,
    }
}

#[cfg(test)]
impl TalosReading {
    /// One that tells other sources something, and nothing of the node.
    pub(crate) fn telling(told: Told) -> Self {
        Self {
            node: Talos::default(),
            peers: BTreeMap::new(),
            told,
        }
    }
}

impl TalosReading {
    fn date(&mut self, last: Option<&Self>, now: Moment) {
        self.node.since = last.map_or(now, |last| last.node.since);
        if last.is_none_or(|last| last.node != self.node) {
            self.node.since = now;
        }
        for (key, peer) in &mut self.peers {
            let before = last.and_then(|last| last.peers.get(key));
            peer.since = before.map_or(now, |before| before.since);
            if before != Some(&*peer) {
                peer.since = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use evidence::TalosPeerState;
    use sources::talos::Resource;

    use super::*;

    const KEY: &str = "Oak2fBEWngBhwslBxDVgnRNHXs88OAp4kjroSX0uqUE=";

    fn present<R>(spec: R) -> Change<R> {
        Change::Present(Resource {
            id: KEY.to_owned(),
            spec,
        })
    }

    fn spec(label: &str) -> PeerSpec {
        PeerSpec {
            address: None,
            allowed_ips: Vec::new(),
            endpoints: vec!["198.51.100.2:51820".parse().unwrap(); 18],
            label: label.to_owned(),
        }
    }

    fn status(changed: u64) -> PeerStatus {
        PeerStatus {
            endpoint: None,
            label: String::new(),
            state: TalosPeerState::Up,
            receive_bytes: 0,
            transmit_bytes: 0,
            last_handshake: None,
            last_used_endpoint: None,
            last_endpoint_change: Some(Duration::from_secs(changed)),
        }
    }

    fn whole() -> State {
        let mut state = State::default();
        state.apply(Update::Node(Box::default()));
        state.apply(Update::Affiliates(Step::Unsupported));
        state.apply(Update::Members(Step::Changes(vec![Change::Complete])));
        state.apply(Update::Specs(Step::Changes(vec![Change::Complete])));
        state.apply(Update::Specs(Step::Changes(vec![present(spec("vps-1"))])));
        assert!(!state.is_whole());
        state.apply(Update::Statuses(Step::Changes(vec![Change::Complete])));
        state.apply(Update::Statuses(Step::Changes(vec![present(status(90))])));
        assert!(state.is_whole());
        state
    }

    fn only(reading: &TalosReading) -> &TalosPeer {
        reading.peers.values().next().unwrap()
    }

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn what_stays_as_it_is_keeps_its_moment_although_two_clocks_do_not_keep_step() {
        let mut state = whole();
        let first = state.reading(at(50_000), Duration::from_secs(100));
        let changed = |reading: &TalosReading| only(reading).status.as_ref().unwrap().last_change;
        assert_eq!(changed(&first), Some(at(40_000)));
        let later = state.reading(at(51_000), Duration::from_millis(101_003));
        assert_eq!(only(&later), only(&first));
        state.apply(Update::Specs(Step::Changes(vec![present(spec("other"))])));
        let last = state.reading(at(52_000), Duration::from_secs(102));
        assert_eq!(only(&last).since, at(52_000));
        assert_eq!(changed(&last), Some(at(40_000)));
    }

    #[test]
    fn what_is_not_told_again_is_gone_once_all_is_told_and_not_before() {
        let mut state = whole();
        state.apply(Update::Specs(Step::Begin));
        assert_eq!(state.reading(at(1), Duration::ZERO).peers.len(), 1);
        state.apply(Update::Specs(Step::Changes(vec![Change::Complete])));
        assert_eq!(state.reading(at(2), Duration::ZERO).peers.len(), 0);
    }

    #[test]
    fn what_a_version_does_not_know_is_not_counted_as_none() {
        let reading = whole().reading(at(1), Duration::ZERO);
        let counts = (reading.node.members, reading.node.affiliates);
        assert_eq!(counts, (Some(0), None));
    }

    #[test]
    fn control_planes_are_told_with_their_addresses_and_workers_are_not() {
        let member = |id: &str, machine_type| {
            Change::Present(Resource {
                id: id.to_owned(),
                spec: Member {
                    node_id: String::new(),
                    addresses: vec![IpAddr::from([192, 0, 2, 1])],
                    hostname: id.to_owned(),
                    machine_type,
                    operating_system: String::new(),
                    api_server_port: None,
                },
            })
        };
        let mut state = whole();
        state.apply(Update::Members(Step::Changes(vec![
            member("cp-1", MachineType::ControlPlane),
            member("worker-1", MachineType::Worker),
            member("later", MachineType::Unknown),
        ])));
        let told = |state: &mut State| state.reading(at(1), Duration::ZERO).told.control_planes;
        let known = BTreeMap::from([("cp-1".to_owned(), vec![IpAddr::from([192, 0, 2, 1])])]);
        assert_eq!(told(&mut state), Some(known));
        state.apply(Update::Members(Step::Unsupported));
        assert_eq!(told(&mut state), None, "not told is not none");
    }

    #[test]
    fn more_candidates_than_are_told_are_counted_and_their_ways_are_asked_once() {
        let mut state = whole();
        assert_eq!(state.to_ask().len(), 1);
        let way = CandidateWay {
            via: None,
            on_link: false,
        };
        state.answered(BTreeMap::from([([198, 51, 100, 2].into(), way.clone())]));
        assert!(state.to_ask().is_empty());
        let reading = state.reading(at(1), Duration::ZERO);
        let peer = only(&reading);
        assert_eq!((peer.candidates.len(), peer.left_out), (16, 2));
        assert_eq!(peer.candidates[0].way, Some(way.clone()));
        state.ask_again();
        assert_eq!(state.to_ask().len(), 1);
        let reading = state.reading(at(2), Duration::ZERO);
        let known = &only(&reading).candidates[0].way;
        assert_eq!(*known, Some(way), "until it is asked again");
    }

    #[test]
    fn a_spec_that_is_not_understood_any_more_is_not_what_it_was() {
        let mut state = whole();
        let why = sources::talos::Malformed {
            field: "endpoints",
            expected: "an address",
        };
        let refused = |id: Option<&str>| {
            let id = id.map(str::to_owned);
            Update::Specs(Step::Changes(vec![Change::Refused(id, why.clone())]))
        };
        state.apply(refused(None));
        assert_eq!(state.reading(at(1), Duration::ZERO).peers.len(), 1);
        state.apply(refused(Some(KEY)));
        assert_eq!(state.reading(at(2), Duration::ZERO).peers.len(), 0);
    }
}
