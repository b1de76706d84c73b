//! Looks at the discovery service now and then.

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

use crate::readers::{DeviceReading, Reading};

/// The first look is put off by so much at most, and each later one by a tenth: the nodes of a site that come back together
/// share one limit of the service.
const SPREAD: Duration = Duration::from_secs(3);
/// Longest time of one look, all stages of all endpoints with all their own limits included.
const LOOK_WITHIN: Duration = Duration::from_mins(3);

/// Where the discovery service is, and which cluster is asked for.
#[derive(Clone, Debug, Default)]
pub struct DiscoveryConfig {
    /// None: nothing is looked at.
    pub endpoints: Vec<Endpoint>,
    /// Without it no list is asked for.
    pub cluster_id: Option<ClusterId>,
}

/// Why there is nothing to look at.
const NO_ENDPOINT: &str =
    "no endpoint was given; give --discovery URL, as the machine config has it";

/// Looks again and again, if there is something to look at.
pub(crate) async fn read(
    sender: watch::Sender<Option<Reading<Discovery>>>,
    device: watch::Receiver<Option<Reading<DeviceReading>>>,
    config: DiscoveryConfig,
    secret: Option<Zeroizing<[u8; 32]>>,
) {
    if config.endpoints.is_empty() {
        sender.send_replace(Some(Reading {
            at: clock::moment(),
            value: Err(NO_ENDPOINT.to_owned()),
        }));
        return;
    }
    let key = secret.as_ref().and_then(Key::new).map(Arc::new);
    drop(secret);
    let mut looker = Looker::new(Settings {
        endpoints: config.endpoints,
        cluster_id: config.cluster_id,
        proxies: Proxies::from_env(),
        roots: None,
        clock: clock::moment,
    });
    sleep(up_to(SPREAD)).await;
    while !sender.is_closed() {
        let surroundings = Surroundings {
            key: key.clone(),
            known: known(&device),
        };
        let look = timeout(LOOK_WITHIN, looker.look(&surroundings)).await;
        let value = look.map_err(|_| "a look at the discovery service did not end".to_owned());
        sender.send_replace(Some(Reading {
            at: clock::moment(),
            value,
        }));
        let pause = looker.pause();
        sleep(pause + up_to(pause / 10)).await;
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
