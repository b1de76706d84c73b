//! Looks at the discovery service now and then: where it was told that it is, or where Talos says that it is.

use std::{sync::Arc, time::Duration};

use evidence::{Discovery, PublicKey};
use probe_io::clock;
use rand::Rng as _;
use sources::discovery::{
    ClusterId, Endpoint, Key, Known, Looker, Proxies, Settings, Surroundings,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

use crate::{
    readers::{DeviceReading, Reading},
    talos::{Registry, TalosReading, Told},
};

/// The first look is put off by so much at most, and each later one by a tenth: the nodes of a site that come back together
/// share one limit of the service.
const SPREAD: Duration = Duration::from_secs(3);
/// Longest time of one look, all stages of all endpoints with all their own limits included.
const LOOK_WITHIN: Duration = Duration::from_mins(3);

/// Where the discovery service is, and which cluster is asked for, as far as that was said. It wins over what Talos says.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// None: those of Talos.
    pub endpoints: Vec<Endpoint>,
    /// None: that of Talos. Without either no list is asked for.
    pub cluster_id: Option<ClusterId>,
}

/// Why there is nothing to look at.
const NO_ENDPOINT: &str = "no endpoint was given; give --discovery URL, as the machine config has it, or \
     --discovery-from-talos on a Talos node";

/// What there is to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// Nobody has said yet.
    NotTold,
    /// Nobody says where it is; why not.
    Nowhere(String),
    /// Talos does not use it.
    Off,
    At(Vec<Endpoint>, Option<ClusterId>),
}

/// Looks again and again, if there is something to look at.
pub(crate) async fn read(
    sender: watch::Sender<Option<Reading<Discovery>>>,
    device: watch::Receiver<Option<Reading<DeviceReading>>>,
    mut talos: watch::Receiver<Option<Reading<TalosReading>>>,
    config: DiscoveryConfig,
    secret: Option<Zeroizing<[u8; 32]>>,
) {
    let key = secret.as_ref().and_then(Key::new).map(Arc::new);
    drop(secret);
    let since = clock::moment();
    let mut looker = Looker::new(Settings {
        endpoints: Vec::new(),
        cluster_id: None,
        proxies: Proxies::from_env(),
        roots: None,
        clock: clock::moment,
    });
    let mut last = Target::NotTold;
    let mut spread = Some(up_to(SPREAD));
    while !sender.is_closed() {
        last = target(&config, talos.borrow_and_update().as_ref(), &last);
        let say = |value| {
            sender.send_replace(Some(Reading {
                at: clock::moment(),
                value,
            }));
        };
        let pause = match &last {
            Target::NotTold => None,
            Target::Nowhere(reason) => {
                say(Err(reason.clone()));
                None
            }
            Target::Off => {
                say(Ok(Discovery {
                    since,
                    cluster: None,
                    registry_off: true,
                    endpoints: Vec::new(),
                }));
                None
            }
            Target::At(endpoints, id) => {
                sleep(spread.take().unwrap_or_default()).await;
                looker.aim(endpoints.clone(), id.clone());
                let surroundings = Surroundings {
                    key: key.clone(),
                    known: known(&device),
                };
                let look = timeout(LOOK_WITHIN, looker.look(&surroundings)).await;
                let late = |_| "a look at the discovery service did not end".to_owned();
                say(look.map_err(late));
                let pause = looker.pause();
                Some(pause + up_to(pause / 10))
            }
        };
        let other = async {
            let heard = talos.wait_for(|read| target(&config, read.as_ref(), &last) != last);
            heard.await.map(drop)
        };
        // Without anything to look at, only another word of Talos is waited for.
        let pause = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sender.closed() => {}
            () = pause => {}
            Ok(()) = other => {}
            else => sender.closed().await,
        }
    }
}

/// What was said wins. A Talos that is not heard for a while has not changed its mind.
fn target(
    config: &DiscoveryConfig,
    talos: Option<&Reading<TalosReading>>,
    last: &Target,
) -> Target {
    let told = talos.and_then(|reading| reading.value.as_ref().ok());
    let id = |told: Option<&Told>| {
        let told = told.and_then(|told| told.cluster_id.clone());
        let before = match last {
            Target::At(_, id) => id.clone(),
            _ => None,
        };
        config.cluster_id.clone().or(told).or(before)
    };
    let told = told.map(|reading| &reading.told);
    if !config.endpoints.is_empty() {
        return Target::At(config.endpoints.clone(), id(told));
    }
    match (told, talos) {
        (Some(Told { registry, .. }), _) => match registry {
            Registry::Off => Target::Off,
            Registry::At(endpoints) if !endpoints.is_empty() => {
                Target::At(endpoints.clone(), id(told))
            }
            Registry::At(_) => Target::Nowhere(
                "Talos uses the discovery service, and says not where it is; give --discovery URL"
                    .to_owned(),
            ),
            Registry::Kept(reason) => Target::Nowhere(format!("{reason}; give --discovery URL")),
            Registry::NotAsked => Target::Nowhere(NO_ENDPOINT.to_owned()),
        },
        (None, None) => Target::NotTold,
        (None, Some(_)) => match last {
            Target::NotTold | Target::Nowhere(_) => Target::Nowhere(NO_ENDPOINT.to_owned()),
            told => told.clone(),
        },
    }
}

fn up_to(most: Duration) -> Duration {
    most.mul_f64(rand::rng().random::<f64>())
}

fn known(device: &watch::Receiver<Option<Reading<DeviceReading>>>) -> Known {
    let reading = device.borrow();
    let device = reading
        .as_ref()
        .and_then(|reading| reading.value.as_ref().ok())
        .map(|reading| &reading.device);
    let peers = |device: &sources::wireguard::Device| -> std::collections::BTreeSet<PublicKey> {
        device.peers.iter().map(|peer| peer.public_key).collect()
    };
    Known {
        own: device.and_then(|device| device.public_key),
        peers: device.map(peers),
    }
}

#[cfg(test)]
mod tests {
    use evidence::Moment;

    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        url.parse().unwrap()
    }

    fn talos(registry: Registry, id: &str) -> Reading<TalosReading> {
        let told = Told {
            registry,
            cluster_id: id.parse().ok(),
            ..Told::default()
        };
        Reading {
            at: Moment::ZERO,
            value: Ok(TalosReading::telling(told)),
        }
    }

    fn silent() -> Reading<TalosReading> {
        Reading {
            at: Moment::ZERO,
            value: Err("not heard".to_owned()),
        }
    }

    #[test]
    fn who_was_told_nothing_follows_talos_through_its_silence() {
        let config = DiscoveryConfig::default();
        let told = Registry::At(vec![endpoint("https://one.test")]);
        let found = target(&config, Some(&talos(told, "id")), &Target::NotTold);
        let expected = Target::At(vec![endpoint("https://one.test")], "id".parse().ok());
        assert_eq!(found, expected);
        assert_eq!(target(&config, Some(&silent()), &found), expected);
        let off = target(&config, Some(&talos(Registry::Off, "id")), &found);
        assert_eq!(off, Target::Off);
    }

    #[test]
    fn what_was_said_wins_over_talos_and_the_cluster_is_still_that_of_talos() {
        let config = DiscoveryConfig {
            endpoints: vec![endpoint("https://mine.test")],
            cluster_id: None,
        };
        let mine = |id: &str| Target::At(vec![endpoint("https://mine.test")], id.parse().ok());
        assert_eq!(target(&config, None, &Target::NotTold), mine(""));
        let off = talos(Registry::Off, "id");
        assert_eq!(target(&config, Some(&off), &Target::NotTold), mine("id"));
        let with_id = DiscoveryConfig {
            cluster_id: "other".parse().ok(),
            ..config
        };
        assert_eq!(
            target(&with_id, Some(&off), &Target::NotTold),
            mine("other")
        );
    }

    #[test]
    fn where_nobody_says_where_it_is_the_reason_says_what_to_give() {
        let config = DiscoveryConfig::default();
        assert_eq!(target(&config, None, &Target::NotTold), Target::NotTold);
        let kept = talos(Registry::Kept("not authorized".to_owned()), "id");
        let asked = talos(Registry::NotAsked, "id");
        for reading in [silent(), kept, asked] {
            let found = target(&config, Some(&reading), &Target::NotTold);
            let Target::Nowhere(reason) = found else {
                panic!("{found:?}");
            };
            assert!(reason.contains("--discovery"), "{reason}");
        }
    }
}
