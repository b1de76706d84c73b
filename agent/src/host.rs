//! What the host says of itself, with what its counters gained since the agent started.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::IpAddr,
    time::Duration,
};

use evidence::{
    Complaint, Drops, Fingerprint, HardwareAddress, Host, HostLink, Moment, Offload, Ports,
    ReversePath, Udp, limits,
};
use probe_io::clock;
use sources::{
    host::{
        identity,
        kernel_log::{self, KernelLog},
        network::{self, Device, Network},
        offload,
    },
    links::{KUBESPAN, Link, Snapshot, node_addresses},
};
use tokio::{sync::watch, time::sleep};

use crate::{health::Growth, readers::TUNNEL_PORT};

/// Pace of reading: counters of trouble, none of which is decided by a second.
const EVERY: Duration = Duration::from_secs(5);
/// Pace of asking what network cards do: a setting, which people change.
const OFFLOAD_EVERY: Duration = Duration::from_mins(1);
/// Over which time wrong checksums count as of late.
const LATELY: Duration = Duration::from_mins(1);
/// Port of the overlay, as Cilium and flannel have it on Talos.
const OVERLAY_PORT: u16 = 8472;
const LOOPBACK: &str = "lo";

/// One reading, and when it was made.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostReading {
    at: Moment,
    network: Network,
    machine_id: Option<Fingerprint>,
    system_uuid: Option<Fingerprint>,
    /// Sockets on the tunnel's and on the overlay's port.
    sockets: Option<(u32, u32)>,
    offload: BTreeMap<String, Offload>,
    /// New lines of the kernel's log; `None` if it may not be read.
    kernel_log: Option<Vec<kernel_log::Line>>,
}

/// The newest reading, and what has grown since the first.
#[derive(Debug, Default)]
pub(crate) struct OwnHost {
    fact: Option<Host>,
    at: Moment,
    counters: BTreeMap<String, Growth>,
    addresses: Option<BTreeSet<IpAddr>>,
    changes: Drops,
    complaints: Vec<Complaint>,
    /// The counter of wrong checksums at each reading of the last minute.
    checksums: VecDeque<(Moment, u64)>,
}

/// Reads the host every few seconds.
pub(crate) async fn read(sender: watch::Sender<Option<HostReading>>) {
    let mut log = KernelLog::open();
    let mut offload = BTreeMap::new();
    let mut offload_at = None;
    while !sender.is_closed() {
        let now = clock::moment();
        if offload_at.is_none_or(|at| now.since(at) >= OFFLOAD_EVERY) {
            offload = offload::read().await;
            offload_at = Some(now);
        }
        let lines = log.as_mut().and_then(KernelLog::lines);
        // A log that ended is not tried again: whether it may be read does not change.
        log = log.filter(|_| lines.is_some());
        let sockets = network::bound_sockets(TUNNEL_PORT);
        let reading = HostReading {
            at: clock::moment(),
            network: network::read(),
            machine_id: identity::machine_id(),
            system_uuid: identity::system_uuid(),
            sockets: sockets.zip(network::bound_sockets(OVERLAY_PORT)),
            offload: offload.clone(),
            kernel_log: lines,
        };
        sender.send_replace(Some(reading));
        sleep(EVERY).await;
    }
}

impl OwnHost {
    /// Takes in a reading, the newest of the links, and how often routes were changed.
    pub(crate) fn follow(
        &mut self,
        reading: &HostReading,
        links: Option<&Snapshot>,
        route_changes: u64,
    ) {
        let HostReading {
            at,
            network,
            machine_id,
            system_uuid,
            sockets,
            offload,
            kernel_log,
        } = reading;
        self.at = *at;
        let all: Vec<&Link> = links.map(outside_links).unwrap_or_default();
        let told = all.iter().take(limits::HOST_LINKS);
        let told = told.map(|link| HostLink {
            offload: offload.get(&link.name).copied(),
            ..self.link(link, network, *at)
        });
        let told = told.collect();
        let present: BTreeSet<&str> = network.devices.keys().map(String::as_str).collect();
        // The counters of a link that is gone are of no use, and pods come and go.
        self.counters.retain(|name, _| {
            let (link, of_link) = name.split_once('/').unwrap_or((name, ""));
            of_link.is_empty() || present.contains(link)
        });
        let route_changes = self.grow("routes", Some(route_changes), *at);
        for line in kernel_log.iter().flatten() {
            self.complain(line, *at);
        }
        let left_out = all.len().saturating_sub(limits::HOST_LINKS);
        self.fact = Some(Host {
            machine_id: *machine_id,
            system_uuid: *system_uuid,
            links: told,
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            reverse_path: self.reverse_path(network, *at),
            ports: sockets.map(|(tunnel, overlay)| ports(tunnel, overlay, &all)),
            udp: self.udp(network, *at),
            checksum_errors: self.grow("checksum", network.checksum_errors, *at),
            checksum_errors_lately: self.lately(network.checksum_errors, *at),
            address_changes: self.changes,
            route_changes: route_changes.unwrap_or_default(),
            complaints: kernel_log.as_ref().map(|_| self.complaints.clone()),
        });
    }

    /// How much a counter has grown in the last minute.
    fn lately(&mut self, read: Option<u64>, at: Moment) -> Option<u32> {
        let read = read?;
        // The oldest that is kept is the last one before the minute.
        while self
            .checksums
            .get(1)
            .is_some_and(|(then, _)| at.since(*then) >= LATELY)
        {
            self.checksums.pop_front();
        }
        self.checksums.push_back((at, read));
        let before = self.checksums.front().map_or(read, |(_, before)| *before);
        Some(u32::try_from(read.saturating_sub(before)).unwrap_or(u32::MAX))
    }

    fn complain(&mut self, (kind, link): &kernel_log::Line, at: Moment) {
        let known = |complaint: &&mut Complaint| complaint.kind == *kind && complaint.link == *link;
        if let Some(complaint) = self.complaints.iter_mut().find(known) {
            complaint.seen.count = complaint.seen.count.saturating_add(1);
            complaint.seen.last = Some(at);
        } else if self.complaints.len() < limits::COMPLAINTS {
            self.complaints.push(Complaint {
                kind: *kind,
                link: link.clone(),
                seen: Drops {
                    count: 1,
                    last: Some(at),
                },
            });
        }
    }

    /// Takes in the links whenever they were read: an address that comes and goes between two readings has changed twice.
    pub(crate) fn follow_addresses(&mut self, links: &Snapshot, now: Moment) {
        let read: BTreeSet<IpAddr> = node_addresses(links).into_iter().collect();
        if let Some(before) = self.addresses.replace(read.clone()) {
            let changed = before.symmetric_difference(&read).count();
            if changed > 0 {
                let changed = u64::try_from(changed).unwrap_or(u64::MAX);
                self.changes.count = self.changes.count.saturating_add(changed);
                self.changes.last = Some(now);
            }
        }
    }

    pub(crate) const fn fact(&self) -> Option<&Host> {
        self.fact.as_ref()
    }

    /// When the host was last read. A part that cannot be read is missing in the fact.
    pub(crate) fn tried(&self) -> Option<(Moment, Option<String>)> {
        self.fact.as_ref().map(|_| (self.at, None))
    }

    fn link(&mut self, link: &Link, network: &Network, at: Moment) -> HostLink {
        let device = network.devices.get(&link.name);
        let mut grow = |what: &str, counter: fn(&Device) -> u64| {
            self.grow(&format!("{}/{what}", link.name), device.map(counter), at)
        };
        HostLink {
            name: link.name.clone(),
            kind: link.kind.clone(),
            address: link.hardware_address.map(HardwareAddress),
            up: link.up,
            mtu: link.mtu,
            rp_filter: device.and_then(|device| device.rp_filter),
            offload: None,
            rx_dropped: grow("rx-dropped", |device| device.rx_dropped),
            tx_dropped: grow("tx-dropped", |device| device.tx_dropped),
            rx_errors: grow("rx-errors", |device| device.rx_errors),
            tx_errors: grow("tx-errors", |device| device.tx_errors),
        }
    }

    fn reverse_path(&mut self, network: &Network, at: Moment) -> Option<ReversePath> {
        let dropped = self.grow("reverse-path", network.filtered, at);
        network.filter.map(|(all, src_valid_mark)| ReversePath {
            all,
            src_valid_mark,
            dropped,
        })
    }

    fn udp(&mut self, network: &Network, at: Moment) -> Option<Udp> {
        let no_room = self.grow("udp-no-room", network.no_room, at);
        let not_sent = self.grow("udp-not-sent", network.not_sent, at);
        no_room.zip(not_sent).map(|(no_room, not_sent)| Udp {
            no_room,
            not_sent,
            pages: network.udp_pages.map(|(pages, _)| pages),
            pages_max: network.udp_pages.map(|(_, max)| max),
        })
    }

    fn grow(&mut self, counter: &str, read: Option<u64>, at: Moment) -> Option<Drops> {
        let known = self.counters.entry(counter.to_owned()).or_default();
        known.grow(read, at)
    }
}

/// Hardware first, then by name: what is left out is what there is most of.
fn outside_links(links: &Snapshot) -> Vec<&Link> {
    let outside = links.links.iter().filter(|link| link.name != LOOPBACK);
    let mut all: Vec<&Link> = outside.collect();
    all.sort_by_key(|link| (link.name != KUBESPAN, link.kind.is_some(), &link.name));
    all
}

fn ports(tunnel_sockets: u32, overlay_sockets: u32, links: &[&Link]) -> Ports {
    let other = |link: &&&Link| link.kind.as_deref() == Some("wireguard") && link.name != KUBESPAN;
    let others = links.iter().filter(other).take(limits::HOST_LINKS);
    Ports {
        tunnel_sockets,
        overlay_sockets,
        other_wireguard: others.map(|link| link.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use evidence::ComplaintKind;
    use sources::links::{Address, OperState, Scope};

    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>, address: Option<[u8; 4]>) -> Link {
        let address = address.map(|ip| Address {
            ip: ip.into(),
            prefix_len: 24,
            scope: Scope::Global,
            tentative: false,
        });
        Link {
            index,
            name: name.to_owned(),
            mtu: 1500,
            up: true,
            oper_state: OperState::Up,
            kind: kind.map(str::to_owned),
            vxlan: None,
            hardware_address: Some([2, 0, 0, 0, 0, 1]),
            addresses: address.into_iter().collect(),
        }
    }

    fn snapshot(links: Vec<Link>) -> Snapshot {
        Snapshot { links, dropped: 0 }
    }

    fn reading(at: i64, rx_dropped: u64) -> HostReading {
        let device = Device {
            rx_dropped,
            ..Device::default()
        };
        HostReading {
            at: Moment::from_millis(at),
            network: Network {
                devices: BTreeMap::from([("eth0".to_owned(), device)]),
                ..Network::default()
            },
            sockets: Some((2, 0)),
            ..HostReading::default()
        }
    }

    #[test]
    fn what_a_link_dropped_is_told_from_the_first_look_on() {
        let links = snapshot(vec![link(2, "eth0", None, None)]);
        let mut host = OwnHost::default();
        host.follow(&reading(0, 90), Some(&links), 0);
        host.follow(&reading(5_000, 93), Some(&links), 0);
        let dropped = host.fact().unwrap().links[0].rx_dropped.unwrap();
        assert_eq!(
            (dropped.count, dropped.last),
            (3, Some(Moment::from_millis(5_000)))
        );
        assert_eq!(host.fact().unwrap().reverse_path, None);
    }

    #[test]
    fn counters_of_links_that_are_gone_are_forgotten() {
        let links = snapshot(vec![
            link(2, "eth0", None, None),
            link(3, "veth9", None, None),
        ]);
        let mut host = OwnHost::default();
        for at in 0..3 {
            host.follow(&reading(at, 0), Some(&links), 0);
        }
        assert!(host.counters.keys().all(|name| !name.starts_with("veth9")));
        assert!(host.counters.contains_key("eth0/rx-dropped"));
    }

    #[test]
    fn another_wireguard_link_is_told_and_hardware_comes_first() {
        let links = snapshot(vec![
            link(1, "lo", None, None),
            link(2, "br0", Some("bridge"), None),
            link(3, "eth0", None, None),
            link(4, "wg0", Some("wireguard"), None),
            link(5, KUBESPAN, Some("wireguard"), None),
        ]);
        let mut host = OwnHost::default();
        host.follow(&reading(0, 0), Some(&links), 0);
        let fact = host.fact().unwrap();
        let names: Vec<&str> = fact.links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, [KUBESPAN, "eth0", "br0", "wg0"]);
        assert_eq!(fact.ports.as_ref().unwrap().other_wireguard, ["wg0"]);
    }

    #[test]
    fn wrong_checksums_of_late_are_those_of_the_last_minute() {
        let mut host = OwnHost::default();
        let mut lately = |at, read| host.lately(Some(read), Moment::from_millis(at)).unwrap();
        assert_eq!(lately(0, 100), 0);
        assert_eq!(lately(30_000, 107), 7);
        assert_eq!(lately(59_000, 108), 8);
        assert_eq!(lately(90_500, 110), 3);
        assert_eq!(lately(200_000, 110), 0);
    }

    #[test]
    fn lines_of_one_kind_and_link_are_one_complaint_and_their_number_is_bounded() {
        let line = |link: String| (ComplaintKind::DeadLoop, Some(link));
        let mut reading = reading(1, 0);
        let links = 0..30;
        reading.kernel_log = Some(links.map(|link| line(format!("vx{link}"))).collect());
        let mut host = OwnHost::default();
        host.follow(&reading, None, 0);
        host.follow(&reading, None, 0);
        let complaints = host.fact().unwrap().complaints.clone().unwrap();
        assert_eq!(complaints.len(), limits::COMPLAINTS);
        assert_eq!(complaints[0].seen.count, 2);
        reading.kernel_log = None;
        host.follow(&reading, None, 0);
        assert_eq!(host.fact().unwrap().complaints, None);
    }

    #[test]
    fn addresses_that_come_and_go_are_counted_and_dated() {
        let with = |address| snapshot(vec![link(2, "eth0", None, Some(address))]);
        let mut host = OwnHost::default();
        host.follow_addresses(&with([192, 0, 2, 1]), Moment::from_millis(1));
        host.follow_addresses(&with([192, 0, 2, 1]), Moment::from_millis(2));
        assert_eq!(host.changes, Drops::default());
        host.follow_addresses(&with([192, 0, 2, 2]), Moment::from_millis(3));
        assert_eq!(host.changes.count, 2);
        assert_eq!(host.changes.last, Some(Moment::from_millis(3)));
    }
}
