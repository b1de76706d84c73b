//! Which collectors are reported to where none were given: those that listen on control planes, as Talos names them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use proto::{limits::PORT, trust::AgentProof};
use tokio::{
    sync::watch,
    task::{AbortHandle, spawn},
};
use tracing::{info, warn};

use crate::{
    readers::Reading,
    supervisor::Published,
    talos::TalosReading,
    uplink::{self, ADDRESSES, Collector},
    uplinks::Uplinks,
};

/// Most control planes that are reported to: etcd has five members, seven at most.
const COLLECTORS: usize = 8;

/// Control planes by their identifier in Talos, with their addresses.
pub(crate) type ControlPlanes = BTreeMap<String, Vec<IpAddr>>;
/// Where each is dialled, in this order.
type Wanted = BTreeMap<String, Vec<SocketAddr>>;

/// An uplink that ends with this.
struct Uplink {
    addresses: watch::Sender<Vec<SocketAddr>>,
    task: AbortHandle,
}

impl Drop for Uplink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows for ever what Talos says, with an uplink to each control plane that it names.
pub(crate) async fn follow(
    mut talos: watch::Receiver<Option<Reading<TalosReading>>>,
    proof: AgentProof,
    facts: watch::Receiver<Published>,
    listed: Uplinks,
) {
    let mut uplinks: BTreeMap<String, Uplink> = BTreeMap::new();
    let mut lack = None;
    while talos.changed().await.is_ok() {
        let heard = match &*talos.borrow_and_update() {
            Some(reading) => wanted(reading),
            None => continue,
        };
        let wanted = match heard {
            Ok(wanted) => {
                lack = None;
                wanted
            }
            Err(why) => {
                if lack.as_ref() != Some(&why) {
                    let kept = uplinks.len();
                    warn!(reason = %why, kept, "no collector is given, and Talos names none; observing on");
                    lack = Some(why);
                }
                continue;
            }
        };
        let change = Change::between(&uplinks.keys().cloned().collect(), &wanted);
        for name in &change.ended {
            uplinks.remove(name);
        }
        for (name, addresses) in &wanted {
            if let Some(uplink) = uplinks.get(name) {
                uplink.addresses.send_if_modified(|known| {
                    let is_new = known != addresses;
                    known.clone_from(addresses);
                    is_new
                });
                continue;
            }
            let (sender, receiver) = watch::channel(addresses.clone());
            let collector = Collector::Told {
                name: name.clone(),
                addresses: receiver,
            };
            let reporting = uplink::run(collector, proof.clone(), facts.clone(), listed.clone());
            let task = spawn(reporting);
            let uplink = Uplink {
                addresses: sender,
                task: task.abort_handle(),
            };
            uplinks.insert(name.clone(), uplink);
        }
        if !change.is_none() {
            let Change { begun, ended } = change;
            info!(
                ?begun,
                ?ended,
                "the control planes that are reported to changed"
            );
        }
    }
}

/// What differs between the uplinks that are and those that should be.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    begun: Vec<String>,
    ended: Vec<String>,
}

impl Change {
    fn between(present: &BTreeSet<String>, wanted: &Wanted) -> Self {
        let begun = wanted.keys().filter(|name| !present.contains(*name));
        let ended = present.iter().filter(|name| !wanted.contains_key(*name));
        Self {
            begun: begun.cloned().collect(),
            ended: ended.cloned().collect(),
        }
    }

    const fn is_none(&self) -> bool {
        self.begun.is_empty() && self.ended.is_empty()
    }
}

/// Whom to report to, or what is missing. While it is missing those that were known are kept: a Talos that is not heard, or has lost
/// sight of all others, does not say that they are gone.
fn wanted(reading: &Reading<TalosReading>) -> Result<Wanted, String> {
    let told = match &reading.value {
        Ok(talos) => &talos.told.control_planes,
        Err(reason) => return Err(format!("Talos is not heard: {reason}")),
    };
    let known = told
        .as_ref()
        .ok_or("this version of Talos does not tell the members of the cluster")?;
    if known.is_empty() {
        return Err("among the members that Talos knows is no control plane".to_owned());
    }
    let wanted = dialled(known);
    if wanted.is_empty() {
        return Err("no control plane has an address of its own".to_owned());
    }
    Ok(wanted)
}

/// The addresses at which control planes are dialled, this node among them: a collector may run here. What two have, as a
/// bridge of each host or a virtual address, leads to neither for sure.
fn dialled(known: &ControlPlanes) -> Wanted {
    let of = |addresses: &[IpAddr]| -> BTreeSet<IpAddr> {
        let canonical = addresses.iter().map(IpAddr::to_canonical);
        canonical.filter(leads_somewhere).collect()
    };
    let mut owners: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for address in known.values().flat_map(|addresses| of(addresses)) {
        *owners.entry(address).or_default() += 1;
    }
    let own = |addresses: &[IpAddr]| -> Vec<SocketAddr> {
        // In the order of numbers, so that it is the same each time; Talos' own prefixes of IPv6 come last.
        let own = of(addresses)
            .into_iter()
            .filter(|address| owners.get(address) == Some(&1));
        let dialled = own.map(|address| SocketAddr::new(address, PORT));
        dialled.take(ADDRESSES).collect()
    };
    let wanted = known
        .iter()
        .map(|(name, addresses)| (name.clone(), own(addresses)));
    wanted
        .filter(|(_, addresses)| !addresses.is_empty())
        .take(COLLECTORS)
        .collect()
}

fn leads_somewhere(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use evidence::Moment;
    use proto::trust::MeshKey;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::talos::Told;

    fn planes(list: &[(&str, &[&str])]) -> ControlPlanes {
        let parsed = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        list.iter()
            .map(|(name, texts)| ((*name).to_owned(), parsed(texts)))
            .collect()
    }

    fn texts(wanted: &Wanted, name: &str) -> Vec<String> {
        wanted[name].iter().map(ToString::to_string).collect()
    }

    fn reading(control_planes: Option<ControlPlanes>) -> Reading<TalosReading> {
        Reading {
            at: Moment::ZERO,
            value: Ok(TalosReading::telling(Told {
                control_planes,
                ..Told::default()
            })),
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_or_to_two_are_left_out_and_the_rest_has_an_order() {
        let wanted = dialled(&planes(&[
            (
                "cp-1",
                &[
                    "fd5c:1a2b:3c4d:5e02::1",
                    "2001:db8::1",
                    "127.0.0.1",
                    "fe80::1",
                    "::ffff:203.0.113.1",
                    "203.0.113.1",
                    "172.17.0.1",
                ],
            ),
            ("cp-2", &["172.17.0.1", "10.0.0.2"]),
            ("cp-3", &["172.17.0.1", "169.254.0.1", "::1", "0.0.0.0"]),
        ]));
        assert_eq!(wanted.keys().collect::<Vec<_>>(), ["cp-1", "cp-2"]);
        assert_eq!(
            texts(&wanted, "cp-1"),
            [
                "203.0.113.1:21820",
                "[2001:db8::1]:21820",
                "[fd5c:1a2b:3c4d:5e02::1]:21820"
            ]
        );
        assert_eq!(texts(&wanted, "cp-2"), ["10.0.0.2:21820"]);
    }

    #[test]
    fn at_most_eight_are_reported_to_each_at_eight_addresses_at_most() {
        let address = |plane: u8, host: u8| IpAddr::from([10, 0, plane, host]);
        let known: ControlPlanes = (0..20)
            .map(|plane| {
                let addresses = (1..=20).map(|host| address(plane, host)).collect();
                (format!("cp-{plane:02}"), addresses)
            })
            .collect();
        let wanted = dialled(&known);
        assert_eq!(wanted.len(), COLLECTORS);
        assert!(
            wanted
                .values()
                .all(|addresses| addresses.len() == ADDRESSES)
        );
        assert_eq!(wanted.keys().next_back().unwrap(), "cp-07");
    }

    #[test]
    fn the_difference_names_who_came_and_who_went() {
        let present = ["cp-1", "cp-2"].map(str::to_owned).into();
        let wanted = dialled(&planes(&[("cp-2", &["10.0.0.9"]), ("cp-3", &["10.0.0.3"])]));
        let change = Change::between(&present, &wanted);
        assert_eq!(
            (change.begun, change.ended),
            (vec!["cp-3".to_owned()], vec!["cp-1".to_owned()])
        );
        assert!(Change::between(&wanted.keys().cloned().collect(), &wanted).is_none());
    }

    #[test]
    fn what_is_missing_is_told_and_is_not_an_empty_set() {
        let why = |reading: &Reading<TalosReading>| wanted(reading).unwrap_err();
        let silent = Reading {
            at: Moment::ZERO,
            value: Err("no socket".to_owned()),
        };
        assert_eq!(why(&silent), "Talos is not heard: no socket");
        assert!(why(&reading(None)).contains("does not tell the members"));
        assert!(why(&reading(Some(planes(&[])))).contains("no control plane"));
        let local = planes(&[("cp-1", &["127.0.0.1"])]);
        assert!(why(&reading(Some(local))).contains("an address of its own"));
    }

    #[tokio::test]
    async fn uplinks_come_and_go_with_control_planes_and_stay_while_talos_is_silent() {
        let name = evidence::NodeName::parse("vps-1").unwrap();
        let key = MeshKey::from_bytes([1; 32].into());
        let proof = AgentProof::derived(&key, &name, b"machine").unwrap();
        let (sender, talos) = watch::channel(None);
        // Nothing is dialled: the node has no identity yet.
        let (published, facts) = watch::channel(Published::default());
        let following = spawn(follow(talos, proof, facts, Uplinks::default()));
        // One receiver is the follower's own; each uplink has one more.
        let reach = async |uplinks: usize| {
            let reached = timeout(Duration::from_secs(20), async {
                while published.receiver_count() != uplinks + 1 {
                    sleep(Duration::from_millis(5)).await;
                }
            });
            assert!(reached.await.is_ok(), "never {uplinks} uplinks");
        };
        let two = planes(&[("cp-1", &["192.0.2.1"]), ("cp-2", &["192.0.2.2"])]);
        sender.send_replace(Some(reading(Some(two))));
        reach(2).await;
        sender.send_replace(Some(Reading {
            at: Moment::ZERO,
            value: Err("it restarts".to_owned()),
        }));
        sleep(Duration::from_millis(50)).await;
        reach(2).await;
        let one = planes(&[("cp-2", &["192.0.2.2"])]);
        sender.send_replace(Some(reading(Some(one))));
        reach(1).await;
        following.abort();
        drop(following.await);
        let rest = timeout(Duration::from_secs(20), async {
            while published.receiver_count() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(rest.await.is_ok(), "an uplink outlived its owner");
    }
}
