//! The way from a workstation: a talosconfig as Talos writes it, and TLS as Go's library speaks it.

use std::{path::Path, sync::Arc, time::Duration};

use sources::{
    apid::dial,
    talos::{PeerStatus, Talos},
    talosconfig::Talosconfig,
};
use tokio::time::Instant;

use crate::report::Row;

const LIMIT: Duration = Duration::from_secs(10);

pub(crate) async fn row(talosconfig: &Path) -> Row {
    let mut row = Row::named("talosconfig and mutual TLS");
    let config = Talosconfig::load(talosconfig, None).unwrap();
    row.expect("context", config.context.as_str(), "conformance");
    row.expect("endpoints", &config.endpoints.len(), &1);
    row.expect("nodes", &config.nodes.len(), &0);
    let tls = Arc::new(config.credentials.client().unwrap());
    let endpoint = &config.endpoints[0];
    let dialled = Box::pin(dial(endpoint, tls, Instant::now() + LIMIT)).await;
    let (address, channel) = dialled.unwrap();
    row.expect("address", &address.port(), &endpoint.port());
    let statuses = Talos::new(channel).list::<PeerStatus>().await.unwrap();
    row.expect("peer statuses over TLS", &statuses.resources.len(), &1);
    row.expect(
        "time of the last change",
        &statuses.changed.is_some(),
        &true,
    );
    row
}
