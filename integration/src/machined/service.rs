//! The state that is served, and the service.

use std::{
    fs,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evidence::Stage;
use sources::{
    host,
    talos::{DiscoveryConfig, Kind as _},
    wireguard,
};
use tokio::{
    sync::{broadcast, mpsc},
    time::{Instant, sleep},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, metadata::MetadataMap};
use upstream::cosi::{
    Event, EventType, GetRequest, GetResponse, ListRequest, ListResponse, Metadata, Resource,
    WatchRequest, WatchResponse, state_server::State,
};
use wireguard_control::{Backend, DeviceUpdate, Key, PeerConfigBuilder};

use super::{
    LOOK,
    given::Given,
    mood::Mood,
    peers::Memory,
    plan::{Neighbour, Plan},
    resources::{Place, Resources, timestamp},
};
use crate::lab::kubespan::LINK;

/// Talos looks at its peers so often.
const RECONCILE: Duration = Duration::from_secs(30);
/// Changes that a watcher may be behind; more, and its watch is given up.
const BEHIND: usize = 64;
/// Messages on their way to one caller.
const MESSAGES: usize = 16;
/// Nobody of ours begins from one.
const BOOKMARK: &[u8] = b"1";
/// A caller that is not known is kept waiting so long before it is refused.
const PID_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that this node's machined knows.
pub(super) struct World {
    plan: Plan,
    present: Mutex<Resources>,
    changes: broadcast::Sender<(Place, Event)>,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut present = Resources::of(&plan);
        present.addresses(&Given::now(), &plan.own);
        present.config(&Given::now(), &plan.cluster_id, &[]);
        present
            .0
            .values_mut()
            .for_each(|resource| stamp(resource, None));
        Self {
            present: Mutex::new(present),
            changes: broadcast::channel(BEHIND).0,
            plan,
        }
    }

    /// Looks at the device for ever, as often as Talos does, and at once when a scenario gives other candidates.
    pub(super) async fn turn(&self) {
        let mut memory = Memory::default();
        let (mut looked, mut given) = (None::<Instant>, Given::default());
        loop {
            let now_given = Given::now();
            let changed = now_given != given;
            if looked.is_none_or(|at| at.elapsed() > RECONCILE) || changed {
                if changed {
                    self.forget(&mut memory, [&given, &now_given]);
                    given = now_given;
                }
                looked = self.reconcile(&mut memory, &given).await.then(Instant::now);
            }
            sleep(LOOK).await;
        }
    }

    /// A peer with other candidates is begun anew.
    fn forget(&self, memory: &mut Memory, given: [&Given; 2]) {
        if given[0].candidates == given[1].candidates {
            return;
        }
        for name in given.iter().flat_map(|given| given.candidates.keys()) {
            let node = self.plan.others.iter().find(|node| node.name == *name);
            let key = node.and_then(|node| node.public_key.parse().ok());
            if let Some(key) = key {
                memory.0.remove(&key);
            }
        }
    }

    /// Whether there was a device to look at.
    async fn reconcile(&self, memory: &mut Memory, given: &Given) -> bool {
        let Ok(device) = wireguard::read(LINK).await else {
            return false;
        };
        let key = wireguard::preshared_key(LINK).await;
        let wall = host::clocks().wall;
        memory.keep(&device);
        for peer in &device.peers {
            let node = self.node(&peer.public_key.to_string());
            let candidates = node.map(|node| given.of(node)).unwrap_or_default();
            let set = memory.turn(peer, &candidates, wall);
            // The lab itself sets what it planned, and knows better than to dial into a NAT.
            if let (Some(to), Some(node)) = (set, node)
                && given.candidates.contains_key(&node.name)
            {
                set_endpoint(&node.public_key, to);
            }
        }
        let mut next = Resources::of(&self.plan);
        next.machine(given.stage.unwrap_or(Stage::Running));
        next.specs(&self.plan, |node| given.of(node));
        next.statuses(&self.plan, memory);
        // As by default: traffic to a peer is forced into the tunnel, whatever its state.
        next.steering(&self.plan, |_| true);
        let secret = key.as_ref().map_or(&[][..], |key| &key[..]);
        next.addresses(given, &self.plan.own);
        next.config(given, &self.plan.cluster_id, secret);
        if let Ok(key) = key {
            next.link(&device, &STANDARD.encode(*key));
        }
        self.replace(next);
        true
    }

    fn node(&self, key: &str) -> Option<&Neighbour> {
        self.plan.others.iter().find(|node| node.public_key == key)
    }

    /// Tells the watchers what is different.
    fn replace(&self, mut next: Resources) {
        let mut present = self.present();
        for (place, resource) in &mut next.0 {
            let old = present.0.get(place);
            let kind = match old {
                None => EventType::Created,
                Some(old) if old.spec == resource.spec => {
                    resource.metadata.clone_from(&old.metadata);
                    continue;
                }
                Some(_) => EventType::Updated,
            };
            stamp(resource, old);
            let event = Event {
                old: old.cloned(),
                ..change(kind, resource.clone())
            };
            self.tell(place, event);
        }
        for (place, old) in &present.0 {
            if !next.0.contains_key(place) {
                self.tell(place, change(EventType::Destroyed, old.clone()));
            }
        }
        *present = next;
    }

    /// Nobody need be watching.
    fn tell(&self, place: &Place, event: Event) {
        drop(self.changes.send((place.clone(), event)));
    }

    fn present(&self) -> MutexGuard<'_, Resources> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self, namespace: &str, kind: &str) -> Vec<Resource> {
        let present = self.present();
        let here = present
            .0
            .iter()
            .filter(|((space, of, _), _)| space == namespace && of == kind);
        here.map(|(_, resource)| resource.clone()).collect()
    }

    /// Types that this node never had, as well as secret ones, are refused rather than empty.
    fn knows(&self, kind: &str) -> bool {
        const KNOWN: [&str; 6] = [
            "KubeSpanPeerStatuses.kubespan.talos.dev",
            "KubeSpanEndpoints.kubespan.talos.dev",
            "KubePrismStatuses.kubernetes.talos.dev",
            "NodeStatuses.kubernetes.talos.dev",
            "Diagnostics.runtime.talos.dev",
            "KubeSpanPeerSpecs.kubespan.talos.dev",
        ];
        KNOWN.contains(&kind) || self.present().0.keys().any(|(_, of, _)| of == kind)
    }
}

/// What Talos does when it rotates. A device that is gone meanwhile is looked at again in the next turn.
fn set_endpoint(key: &str, to: SocketAddr) {
    let (Ok(key), Ok(link)) = (Key::from_base64(key), LINK.parse()) else {
        return;
    };
    let update = DeviceUpdate::new().add_peer(PeerConfigBuilder::new(&key).set_endpoint(to));
    let backend = if fs::exists(format!("/run/wireguard/{LINK}.sock")).unwrap_or(false) {
        Backend::Userspace
    } else {
        Backend::Kernel
    };
    drop(update.apply(&link, backend));
}

/// Version and times, as the state gives them to whatever it stores.
fn stamp(resource: &mut Resource, old: Option<&Resource>) {
    let now = Some(timestamp(Some(host::clocks().wall)));
    let old = old.and_then(|old| old.metadata.as_ref());
    let version = old.and_then(|old| old.version.parse::<u64>().ok());
    if let Some(metadata) = &mut resource.metadata {
        metadata.version = (version.unwrap_or_default() + 1).to_string();
        metadata.created = old.map_or(now, |old| old.created);
        metadata.updated = now;
    }
}

/// Something that happened: with a place in the history, which what was there before has not.
fn change(kind: EventType, resource: Resource) -> Event {
    Event {
        bookmark: Some(BOOKMARK.to_vec()),
        ..event(kind, Some(resource))
    }
}

/// All has been told; the resource says of which type, and has no body.
fn bootstrapped(asked: &WatchRequest) -> Event {
    let metadata = Metadata {
        namespace: asked.namespace.clone(),
        r#type: asked.r#type.clone(),
        ..Metadata::default()
    };
    let resource = Resource {
        metadata: Some(metadata),
        spec: None,
    };
    change(EventType::Bootstrapped, resource)
}

fn event(kind: EventType, resource: Option<Resource>) -> Event {
    Event {
        resource,
        event_type: kind.into(),
        ..Event::default()
    }
}

/// Who asks for it.
pub(super) struct Service {
    world: Arc<World>,
}

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Service {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    async fn admit(&self, metadata: &MetadataMap, kind: &str) -> Result<Mood, Status> {
        let mood = Mood::now();
        if mood == Mood::Hangs {
            std::future::pending::<()>().await;
        }
        if mood == Mood::Denies {
            sleep(PID_TIMEOUT).await;
            return Err(Status::permission_denied("not authorized"));
        }
        let is = |wanted: &str| {
            metadata
                .get_all("talos-role")
                .iter()
                .any(|role| role == wanted)
        };
        let may = is("os:admin") || (is("os:reader") && kind != DiscoveryConfig::TYPE);
        if !may {
            return Err(Status::permission_denied("not authorized"));
        }
        if !self.world.knows(kind) {
            return Err(Status::permission_denied("no access is permitted"));
        }
        Ok(mood)
    }
}

#[tonic::async_trait]
impl State for Service {
    type ListStream = Messages<ListResponse>;
    type WatchStream = Messages<WatchResponse>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let asked = request.get_ref();
        let mood = self.admit(request.metadata(), &asked.r#type).await?;
        let place = (
            asked.namespace.clone(),
            asked.r#type.clone(),
            asked.id.clone(),
        );
        let resource = self.world.present().0.get(&place).cloned();
        let resource = resource.ok_or_else(|| Status::not_found("resource doesn't exist"))?;
        Ok(Response::new(GetResponse {
            resource: Some(in_mood(resource, mood)),
        }))
    }

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let asked = request.get_ref();
        let mood = self.admit(request.metadata(), &asked.r#type).await?;
        let all = self.world.all(&asked.namespace, &asked.r#type);
        let floods = mood == Mood::Floods && !all.is_empty();
        let again = if floods { usize::MAX } else { 1 };
        let endless = (0..again).flat_map(move |_| all.clone());
        let messages = endless.map(move |resource| {
            Ok(ListResponse {
                resource: Some(in_mood(resource, mood)),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.admit(request.metadata(), &request.get_ref().r#type)
            .await?;
        let (sender, messages) = mpsc::channel(MESSAGES);
        let watching = watch(Arc::clone(&self.world), request.into_inner(), sender);
        tokio::spawn(async move { drop(watching.await) });
        let messages = ReceiverStream::new(messages).map(|event| {
            Ok(WatchResponse {
                event: event.into_iter().collect(),
            })
        });
        Ok(Response::new(Box::pin(messages)))
    }
}

/// The caller is gone.
struct Gone;

/// An empty message, what there is, that this was all, and what changes.
async fn watch(
    world: Arc<World>,
    asked: WatchRequest,
    to: mpsc::Sender<Option<Event>>,
) -> Result<(), Gone> {
    let say = async |event| to.send(event).await.map_err(|_| Gone);
    let mut changes = world.changes.subscribe();
    say(None).await?;
    let contents = asked
        .options
        .as_ref()
        .is_some_and(|options| options.bootstrap_contents);
    let all = world.all(&asked.namespace, &asked.r#type);
    for resource in all.iter().filter(|_| contents) {
        say(Some(event(EventType::Created, Some(resource.clone())))).await?;
    }
    let talks = asked.api_version >= 1;
    if talks {
        say(Some(bootstrapped(&asked))).await?;
    }
    loop {
        let mood = Mood::now();
        if talks && mood == Mood::Overruns {
            return say(Some(overrun())).await;
        }
        if mood == Mood::Hangs {
            sleep(LOOK).await;
            continue;
        }
        for resource in all.iter().filter(|_| mood == Mood::Floods) {
            say(Some(event(EventType::Updated, Some(resource.clone())))).await?;
        }
        if mood == Mood::Floods {
            continue;
        }
        let heard = tokio::select! {
            heard = changes.recv() => heard,
            () = sleep(LOOK) => continue,
            () = to.closed() => return Err(Gone),
        };
        match heard {
            Ok(((space, kind, _), event)) if space == asked.namespace && kind == asked.r#type => {
                say(Some(event)).await?;
            }
            Ok(_) => {}
            Err(_) => return say(Some(overrun())).await,
        }
    }
}

fn overrun() -> Event {
    Event {
        error: Some("buffer overrun: the watcher was too slow".to_owned()),
        ..event(EventType::Errored, None)
    }
}

fn in_mood(mut resource: Resource, mood: Mood) -> Resource {
    if mood == Mood::Raves
        && let Some(spec) = &mut resource.spec
    {
        spec.proto_spec = rand::random::<[u8; 16]>().to_vec();
    }
    resource
}
