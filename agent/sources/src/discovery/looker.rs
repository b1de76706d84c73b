//! Looks at every endpoint, and remembers what one look cannot tell.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use evidence::{
    Discovery, Moment, PublicKey,
    discovery::{DiscoveryAddress, DiscoveryEndpoint, DiscoveryNames, DiscoveryStage, Stage},
    limits,
};
use tokio::task::{JoinSet, spawn_blocking};
use tonic::transport::Channel;

use super::{
    ClusterId, Endpoint, Key, Known, Proxies, Roots, affiliates,
    budget::Budget,
    calls::{self, Greeting},
    names,
    proxy::Proxy,
    stages::{self, Connected, Way, timed},
};

/// Pause after a look at a service that is well.
const PAUSE: Duration = Duration::from_mins(1);
/// Pause while nothing leads to a service, or a failure waits to be seen twice. Connections are tried again; calls have their
/// own budget.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(15);

/// What to look at, and how.
#[derive(Debug)]
pub struct Settings {
    /// The endpoints; those over the limit are not looked at.
    pub endpoints: Vec<Endpoint>,
    /// The cluster that is asked for; without it no list is asked for.
    pub cluster_id: Option<ClusterId>,
    /// The ways there.
    pub proxies: Proxies,
    /// Whom to trust; those of the node if none are given.
    pub roots: Option<Roots>,
    /// The agent's monotonic timeline.
    pub clock: fn() -> Moment,
}

/// What the node knows otherwise.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// The cluster secret, if it is at hand.
    pub key: Option<Arc<Key>>,
    /// Keys and peers.
    pub known: Known,
}

/// Looks, and looks again.
#[derive(Debug)]
pub struct Looker {
    settings: Settings,
    proxies: Arc<Proxies>,
    hello: Budget,
    list: Budget,
    /// Since when keys have been listed.
    seen: BTreeMap<PublicKey, Moment>,
    last: Discovery,
}

/// One address whose service can be asked.
struct Reached {
    endpoint: usize,
    address: usize,
    channel: Channel,
}

impl Looker {
    /// Nothing is known yet.
    pub fn new(mut settings: Settings) -> Self {
        settings.endpoints.truncate(limits::DISCOVERY_ENDPOINTS);
        let proxies = std::mem::replace(&mut settings.proxies, Proxies::new("", ""));
        let last = Discovery {
            since: (settings.clock)(),
            cluster: None,
            registry_off: false,
            endpoints: Vec::new(),
        };
        Self {
            settings,
            proxies: Arc::new(proxies),
            hello: Budget::default(),
            list: Budget::default(),
            seen: BTreeMap::new(),
            last,
        }
    }

    /// Looks elsewhere, or asks for another cluster, from the next look on. The budgets stay as they are.
    pub fn aim(&mut self, mut endpoints: Vec<Endpoint>, cluster_id: Option<ClusterId>) {
        endpoints.truncate(limits::DISCOVERY_ENDPOINTS);
        if (&self.settings.endpoints, &self.settings.cluster_id) != (&endpoints, &cluster_id) {
            self.seen.clear();
            self.last.endpoints.clear();
        }
        self.settings.endpoints = endpoints;
        self.settings.cluster_id = cluster_id;
    }

    /// How long to leave the service alone now.
    pub fn pause(&self) -> Duration {
        let settled = |endpoint: &DiscoveryEndpoint| {
            let addresses = &endpoint.addresses;
            let fresh = |address: &DiscoveryAddress| address.failed == 1;
            addresses.iter().any(DiscoveryAddress::connects) && !addresses.iter().any(fresh)
        };
        if self.last.endpoints.iter().all(settled) {
            PAUSE
        } else {
            PAUSE_AFTER_FAILURE
        }
    }

    /// One look at all endpoints. Takes two minutes at most, whatever the far ends do.
    pub async fn look(&mut self, surroundings: &Surroundings) -> Discovery {
        let roots = self.roots().await;
        let mut endpoints = Vec::new();
        let mut reached = Vec::new();
        for (index, endpoint) in self.targets().iter().enumerate() {
            let (fact, channels) = self.look_at(endpoint, &roots).await;
            endpoints.push(fact);
            reached.extend(channels.into_iter().map(|(address, channel)| Reached {
                endpoint: index,
                address,
                channel,
            }));
        }
        let cluster = self
            .settings
            .cluster_id
            .as_ref()
            .zip(surroundings.key.as_ref());
        self.last.cluster = cluster.map(|(id, key)| key.cluster(id.as_str()));
        self.last.endpoints = endpoints;
        self.ask(reached, surroundings).await;
        self.last.clone()
    }

    async fn roots(&self) -> Roots {
        match &self.settings.roots {
            Some(roots) => roots.clone(),
            // Read each time: an operator may add an authority. A panic there leaves nobody to trust, which is then told.
            None => spawn_blocking(Roots::of_node)
                .await
                .unwrap_or_else(|_| Roots::of(Vec::new())),
        }
    }

    /// What is configured, and where that sends its clients.
    fn targets(&self) -> Vec<Endpoint> {
        let mut targets = self.settings.endpoints.clone();
        for endpoint in &self.last.endpoints {
            let redirect = endpoint.redirect.as_ref();
            let redirect = redirect.and_then(|text| text.parse::<Endpoint>().ok());
            let redirect = redirect.map(|target| Endpoint {
                tls: endpoint.tls,
                ..target
            });
            targets.extend(redirect.filter(|target| !targets.contains(target)));
        }
        targets.truncate(limits::DISCOVERY_ENDPOINTS);
        targets
    }

    async fn look_at(
        &self,
        endpoint: &Endpoint,
        roots: &Roots,
    ) -> (DiscoveryEndpoint, Vec<(usize, Channel)>) {
        let proxy = self.proxies.of(endpoint);
        let old = self.remembered(endpoint);
        let host = proxy.as_ref().map_or(&endpoint.host, |proxy| &proxy.host);
        let (mut found, names) = resolve(host, old, self.settings.clock).await;
        let left_out = found.len().saturating_sub(limits::DISCOVERY_ADDRESSES);
        found.truncate(limits::DISCOVERY_ADDRESSES);
        let mut addresses = Vec::new();
        let mut channels = Vec::new();
        for (index, connected) in self.connect_all(endpoint, &found, roots).await {
            let Some(address) = found.get(index) else {
                continue;
            };
            let before = old.and_then(|old| known_address(old, *address));
            channels.extend(connected.channel.clone().map(|channel| (index, channel)));
            addresses.push(self.address(*address, before, connected));
        }
        let fact = DiscoveryEndpoint {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: endpoint.tls,
            at: (self.settings.clock)(),
            names,
            proxy: proxy.as_ref().map(shown),
            addresses,
            left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            public: old.and_then(|old| old.public),
            redirect: old.and_then(|old| old.redirect.clone()),
            affiliates: old.and_then(|old| old.affiliates.clone()),
        };
        (fact, channels)
    }

    /// All addresses at once, so that a dead one delays no other; in their order.
    async fn connect_all(
        &self,
        endpoint: &Endpoint,
        addresses: &[IpAddr],
        roots: &Roots,
    ) -> BTreeMap<usize, Connected> {
        let clock = self.settings.clock;
        let mut tries = JoinSet::new();
        for (index, address) in addresses.iter().copied().enumerate() {
            let (endpoint, roots) = (endpoint.clone(), roots.clone());
            let proxies = Arc::clone(&self.proxies);
            tries.spawn(async move {
                let proxy = proxies.of(&endpoint);
                let way = Way {
                    proxy: proxy.as_ref(),
                    endpoint: &endpoint,
                    address,
                    roots: &roots,
                };
                (index, stages::connect(&way, clock).await)
            });
        }
        let mut connected = BTreeMap::new();
        while let Some(done) = tries.join_next().await {
            connected.extend(done);
        }
        connected
    }

    fn address(
        &self,
        address: IpAddr,
        before: Option<&DiscoveryAddress>,
        connected: Connected,
    ) -> DiscoveryAddress {
        let good = connected.channel.is_some();
        let failed = before.map_or(0, |before| before.failed);
        let since = before.and_then(|before| before.failed_since);
        DiscoveryAddress {
            address,
            stages: connected.stages.done,
            failed: if good { 0 } else { failed.saturating_add(1) },
            failed_since: (!good).then(|| since.unwrap_or_else(self.settings.clock)),
            hello: before.and_then(|before| before.hello.clone()),
            calls_failed: before.map_or(0, |before| before.calls_failed),
            list: before.and_then(|before| before.list.clone()),
            certificate: connected.certificate,
        }
    }

    /// One `Hello`, over the address that has waited longest for one, and a `List` behind it.
    async fn ask(&mut self, mut reached: Vec<Reached>, surroundings: &Surroundings) {
        reached.sort_by_key(|reached| self.last_hello(reached));
        let Some(next) = reached.into_iter().next() else {
            return;
        };
        let clock = self.settings.clock;
        if !self.hello.take(clock()) {
            return;
        }
        let served = self.call(&next, surroundings).await;
        self.note(&next, |address| {
            let more = address.calls_failed.saturating_add(1);
            address.calls_failed = if served { 0 } else { more };
        });
    }

    /// Whether nothing failed.
    async fn call(&mut self, next: &Reached, surroundings: &Surroundings) -> bool {
        let clock = self.settings.clock;
        let hello = calls::hello(next.channel.clone());
        let (stage, greeting) = timed(Stage::Hello, calls::WITHIN, clock, hello).await;
        self.note(next, |address| address.hello = Some(stage));
        let Some(Greeting { public, redirect }) = greeting else {
            return false;
        };
        let elsewhere = redirect.is_some();
        if let Some(endpoint) = self.last.endpoints.get_mut(next.endpoint) {
            endpoint.public = public.or(endpoint.public);
            endpoint.redirect = redirect;
        }
        let id = self.settings.cluster_id.clone();
        match id.filter(|_| !elsewhere) {
            Some(id) if self.list.take(clock()) => self.take_list(next, &id, surroundings).await,
            _ => true,
        }
    }

    async fn take_list(
        &mut self,
        from: &Reached,
        id: &ClusterId,
        surroundings: &Surroundings,
    ) -> bool {
        let clock = self.settings.clock;
        let list = calls::list(from.channel.clone(), id.as_str());
        let (stage, list) = timed(Stage::List, calls::WITHIN, clock, list).await;
        let at = stage.at;
        self.note(from, |address| address.list = Some(stage));
        let Some(list) = list else { return false };
        let key = surroundings.key.as_deref();
        let sum = affiliates::summary(&list, key, &surroundings.known, &mut self.seen, at);
        if let Some(endpoint) = self.last.endpoints.get_mut(from.endpoint) {
            endpoint.affiliates = Some(sum);
        }
        true
    }

    fn note(&mut self, reached: &Reached, note: impl FnOnce(&mut DiscoveryAddress)) {
        let endpoint = self.last.endpoints.get_mut(reached.endpoint);
        let address = endpoint.and_then(|endpoint| endpoint.addresses.get_mut(reached.address));
        if let Some(address) = address {
            note(address);
        }
    }

    fn last_hello(&self, reached: &Reached) -> Option<Moment> {
        let endpoint = self.last.endpoints.get(reached.endpoint)?;
        let hello: Option<&DiscoveryStage> =
            endpoint.addresses.get(reached.address)?.hello.as_ref();
        hello.map(|stage| stage.at)
    }

    fn remembered(&self, endpoint: &Endpoint) -> Option<&DiscoveryEndpoint> {
        self.last.endpoints.iter().find(|old| {
            (&old.host, old.port, old.tls) == (&endpoint.host, endpoint.port, endpoint.tls)
        })
    }
}

fn known_address(endpoint: &DiscoveryEndpoint, address: IpAddr) -> Option<&DiscoveryAddress> {
    let mut addresses = endpoint.addresses.iter();
    addresses.find(|known| known.address == address)
}

/// Never with its password.
fn shown(proxy: &Proxy) -> String {
    format!("{}:{}", proxy.host, proxy.port)
}

/// Addresses of a host, and what was said of its name if it is one.
async fn resolve(
    host: &str,
    old: Option<&DiscoveryEndpoint>,
    clock: fn() -> Moment,
) -> (Vec<IpAddr>, Option<DiscoveryNames>) {
    if let Ok(address) = host.parse() {
        return (vec![address], None);
    }
    let (addresses, mut names) = names::ask(host).await;
    if !names.found() {
        let before = old.and_then(|old| old.names.as_ref());
        let failed = before.map_or(0, |before| before.failed);
        names.failed = failed.saturating_add(1);
        let since = before.and_then(|before| before.failed_since);
        names.failed_since = Some(since.unwrap_or_else(clock));
    }
    (addresses, Some(names))
}
