//! What the state server says besides the bodies: the order of a watch, and its errors.

use std::time::Duration;

use sources::talos::{Change, PeerStatus, Talos, Watch};
use tokio::time::timeout;
use tonic::{Code, Streaming, transport::Channel};
use upstream::cosi::{
    Event, EventType, GetRequest, ListRequest, Resource, WatchOptions, WatchRequest, WatchResponse,
    state_client::StateClient,
};

use crate::{cosi::Dump, real::Real, report::Row};

const CHANGING: &str = "KubeSpanPeerStatuses.kubespan.talos.dev";
const NAMESPACE: &str = "kubespan";
/// The type with several resources in one namespace.
const MANY: (&str, &str) = ("runtime", "Services.v1alpha1.talos.dev");
/// How long a message may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The reader's word for each change, while the same happens.
async fn reader(watch: &mut Watch<PeerStatus>) -> &'static str {
    let next = timeout(LIMIT, watch.next());
    let changes = next.await.expect("a change comes in time").unwrap();
    match changes.as_slice() {
        [] => "nothing",
        [Change::Present(found)] if found.spec.receive_bytes == 4711 => "changed",
        [Change::Present(_)] => "present",
        [Change::Complete] => "complete",
        [Change::Gone(_)] => "gone",
        _ => "something else",
    }
}

pub(crate) async fn row(
    client: &mut StateClient<Channel>,
    talos: &Talos<Channel>,
    real: &mut Real,
    dump: &Dump,
) -> Row {
    let mut row = Row::named("order of a watch, lists, errors");
    lists(client, dump, &mut row).await;
    errors(client, &mut row).await;
    let mut watch = talos.watch::<PeerStatus>().await.unwrap();
    for expected in ["nothing", "present", "complete"] {
        row.expect("our watch", reader(&mut watch).await, expected);
    }
    watches(client, real, &mut row).await;
    for expected in ["changed", "gone"] {
        row.expect("our watch", reader(&mut watch).await, expected);
    }
    row
}

async fn lists(client: &mut StateClient<Channel>, dump: &Dump, row: &mut Row) {
    let (namespace, kind) = MANY;
    let request = ListRequest {
        namespace: namespace.to_owned(),
        r#type: kind.to_owned(),
        options: None,
    };
    let mut stream = client.list(request).await.unwrap().into_inner();
    let mut found = 0;
    while let Some(answer) = stream.message().await.unwrap() {
        found += usize::from(answer.resource.is_some());
    }
    let real = dump.resources.iter().filter(|entry| entry.kind == kind);
    row.expect("list: one resource per message", &found, &real.count());
}

async fn errors(client: &mut StateClient<Channel>, row: &mut Row) {
    let missing = GetRequest {
        namespace: NAMESPACE.to_owned(),
        r#type: CHANGING.to_owned(),
        id: "nobody".to_owned(),
        options: None,
    };
    let code = client.get(missing).await.map_err(|status| status.code());
    row.expect(
        "get of what is not there",
        &code.err(),
        &Some(Code::NotFound),
    );
}

/// Empty first message, the state, its end, and then what changes.
async fn watches(client: &mut StateClient<Channel>, real: &mut Real, row: &mut Row) {
    let mut stream = watch(client).await;
    row.expect(
        "watch: first message",
        &next(&mut stream).await,
        &Vec::new(),
    );
    row.expect(
        "watch: state",
        &next(&mut stream).await,
        &vec![(EventType::Created, vec!["resource", "body"])],
    );
    row.expect(
        "watch: end of the state",
        &next(&mut stream).await,
        &vec![(EventType::Bootstrapped, vec!["resource", "bookmark"])],
    );
    real.order("update");
    row.expect(
        "watch: update",
        &next(&mut stream).await,
        &vec![(
            EventType::Updated,
            vec!["resource", "body", "old", "old body", "bookmark"],
        )],
    );
    real.order("destroy");
    row.expect(
        "watch: destroy",
        &next(&mut stream).await,
        &vec![(EventType::Destroyed, vec!["resource", "body", "bookmark"])],
    );
}

async fn watch(client: &mut StateClient<Channel>) -> Streaming<WatchResponse> {
    let options = WatchOptions {
        bootstrap_contents: true,
        ..WatchOptions::default()
    };
    let request = WatchRequest {
        namespace: NAMESPACE.to_owned(),
        r#type: CHANGING.to_owned(),
        id: None,
        options: Some(options),
        api_version: 1,
    };
    client.watch(request).await.unwrap().into_inner()
}

/// The events of the next message: what kind, and which parts each has.
async fn next(stream: &mut Streaming<WatchResponse>) -> Vec<(EventType, Vec<&'static str>)> {
    let message = timeout(LIMIT, stream.message())
        .await
        .expect("an event comes in time");
    let events = message.unwrap().expect("the watch goes on").event;
    let told = events
        .iter()
        .map(|event| (event.event_type(), parts(event)));
    told.collect()
}

fn parts(event: &Event) -> Vec<&'static str> {
    let has_body = |resource: &Resource| {
        let spec = resource.spec.as_ref();
        spec.is_some_and(|spec| !spec.proto_spec.is_empty() && !spec.yaml_spec.is_empty())
    };
    let parts = [
        (event.resource.is_some(), "resource"),
        (event.resource.as_ref().is_some_and(has_body), "body"),
        (event.old.is_some(), "old"),
        (event.old.as_ref().is_some_and(has_body), "old body"),
        (event.error.is_some(), "error"),
        (event.bookmark.is_some(), "bookmark"),
    ];
    parts
        .into_iter()
        .filter_map(|(there, name)| there.then_some(name))
        .collect()
}
