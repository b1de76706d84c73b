//! COSI's state server with one genuine resource of each type.

use std::{fs, path::Path, process::Command};

use hyper_util::rt::TokioIo;
use protox::prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Deserialize;
use serde_json::Value;
use sources::talos;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint, Uri};
use upstream::cosi::{GetRequest, Resource, state_client::StateClient};

use crate::{
    compare::{self, enum_name, real_enum_name},
    own, protocol,
    readers::Readers,
    real::{Real, build, versions},
    report::{Report, Row, Section},
    workstation,
};

/// The messages of our schema, by the types of the resources that they are the bodies of.
const BODIES: &[(&str, &str)] = &[
    ("KubeSpanPeerSpecs.kubespan.talos.dev", "KubeSpanPeerSpec"),
    (
        "KubeSpanPeerStatuses.kubespan.talos.dev",
        "KubeSpanPeerStatus",
    ),
    ("KubeSpanEndpoints.kubespan.talos.dev", "KubeSpanEndpoint"),
    ("Affiliates.cluster.talos.dev", "Affiliate"),
    ("Members.cluster.talos.dev", "Member"),
    ("Identities.cluster.talos.dev", "ClusterIdentity"),
    ("Infos.cluster.talos.dev", "ClusterInfo"),
    ("DiscoveryConfigs.cluster.talos.dev", "DiscoveryConfig"),
    ("TimeServerStatuses.net.talos.dev", "TimeServerStatus"),
    ("NodeAddresses.net.talos.dev", "NodeAddress"),
    ("LinkStatuses.net.talos.dev", "LinkStatus"),
    ("AddressStatuses.net.talos.dev", "AddressStatus"),
    ("RouteStatuses.net.talos.dev", "RouteStatus"),
    ("RoutingRuleStatuses.net.talos.dev", "RoutingRuleStatus"),
    ("HostnameStatuses.net.talos.dev", "HostnameStatus"),
    ("NetworkStatuses.net.talos.dev", "NetworkStatus"),
    ("HardwareAddresses.net.talos.dev", "HardwareAddr"),
    ("ProbeStatuses.net.talos.dev", "ProbeStatus"),
    ("MachineStatuses.runtime.talos.dev", "MachineStatus"),
    ("Versions.runtime.talos.dev", "Version"),
    ("TimeStatuses.v1alpha1.talos.dev", "TimeStatus"),
    ("Services.v1alpha1.talos.dev", "Service"),
    ("KubePrismStatuses.kubernetes.talos.dev", "KubePrismStatus"),
    ("NodeIPs.kubernetes.talos.dev", "NodeIP"),
    ("Nodenames.kubernetes.talos.dev", "Nodename"),
    ("NodeStatuses.kubernetes.talos.dev", "NodeStatus"),
    ("EtcdMembers.etcd.talos.dev", "EtcdMember"),
    ("Diagnostics.runtime.talos.dev", "Diagnostic"),
    ("NfTablesChains.net.talos.dev", "NfTablesChain"),
];

/// What the Go program wrote down.
#[derive(Debug, Deserialize)]
pub(crate) struct Dump {
    enums: std::collections::BTreeMap<String, Vec<String>>,
    pub(crate) resources: Vec<Entry>,
}

/// One resource as the real side has it.
#[derive(Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) namespace: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) version: String,
    phase: String,
    created: String,
    pub(crate) spec: Value,
}

pub(crate) async fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let (socket, dump) = (
        folder.path().join("state.sock"),
        folder.path().join("dump.json"),
    );
    let mut command = Command::new(build("cosi", ".", "cosi"));
    command.arg("-socket").arg(&socket).arg("-dump").arg(&dump);
    let talosconfig = folder.path().join("talosconfig");
    command.arg("-talosconfig").arg(&talosconfig);
    let mut real = Real::start(command);
    let text = real.until(|| fs::read(&dump).ok());
    let dump: Dump = serde_json::from_slice(&text).unwrap();
    let mut client = StateClient::new(connect(&socket).await);
    let schema = schema();
    let mut rows = bodies(&mut client, &schema, &dump).await;
    rows.push(enums(&schema, &dump));
    let talos = talos::connect(&socket).await.unwrap();
    let readers = Readers {
        talos: talos.clone(),
        dump: &dump,
        row: Row::named("our reader, down to its checked nouns"),
    };
    rows.push(readers.all().await);
    rows.push(workstation::row(&talosconfig).await);
    rows.push(protocol::row(&mut client, &talos, &mut real, &dump).await);
    report.sections.push(Section {
        title: "COSI and Talos' resources".to_owned(),
        versions: versions("cosi"),
        rows,
    });
}

async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://state.internal");
    endpoint.connect_with_connector(connector).await.unwrap()
}

/// Our schema as data, from the files themselves.
pub(crate) fn schema() -> DescriptorPool {
    let folder = own().join("../proto/upstream/schema");
    let compiled = protox::compile(["talos.proto", "affiliate.proto"], [folder]).unwrap();
    DescriptorPool::from_file_descriptor_set(compiled).unwrap()
}

/// A row for each type that our schema has a message for.
async fn bodies(
    client: &mut StateClient<Channel>,
    schema: &DescriptorPool,
    dump: &Dump,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, name) in BODIES {
        let mut row = Row::named(*kind);
        let descriptor = schema
            .get_message_by_name(&format!("talos.{name}"))
            .unwrap();
        for entry in dump.resources.iter().filter(|entry| entry.kind == *kind) {
            let resource = get(client, entry).await;
            metadata(&resource, entry, &mut row);
            let body = resource.spec.unwrap_or_default().proto_spec;
            let ours = DynamicMessage::decode(descriptor.clone(), body.as_slice()).unwrap();
            compare::message(&ours, &entry.spec, "", &mut row);
        }
        rows.push(row);
    }
    rows
}

async fn get(client: &mut StateClient<Channel>, entry: &Entry) -> Resource {
    let request = GetRequest {
        namespace: entry.namespace.clone(),
        r#type: entry.kind.clone(),
        id: entry.id.clone(),
        options: None,
    };
    let answer = client.get(request).await.unwrap();
    answer.into_inner().resource.unwrap()
}

fn metadata(ours: &Resource, real: &Entry, row: &mut Row) {
    let ours = ours.metadata.clone().unwrap_or_default();
    let created = ours.created.map(|at| {
        let since = std::time::Duration::new(at.seconds.unsigned_abs(), at.nanos.unsigned_abs());
        humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + since).to_string()
    });
    row.expect("metadata.namespace", &ours.namespace, &real.namespace);
    row.expect("metadata.type", &ours.r#type, &real.kind);
    row.expect("metadata.id", &ours.id, &real.id);
    row.expect("metadata.version", &ours.version, &real.version);
    row.expect("metadata.phase", &ours.phase, &real.phase);
    row.expect(
        "metadata.created",
        &created.as_deref(),
        &Some(real.created.as_str()),
    );
}

/// Every number that has a name, not only those that a resource happens to hold.
fn enums(schema: &DescriptorPool, dump: &Dump) -> Row {
    let mut row = Row::named("names of numbers");
    for (name, real) in &dump.enums {
        let ours = schema.get_enum_by_name(&format!("talos.{name}")).unwrap();
        for (number, real) in (0..).zip(real) {
            let ours = ours.get_value(number).map(|value| enum_name(value.name()));
            row.expect(
                &format!("{name} {number}"),
                &ours,
                &Some(real_enum_name(real)),
            );
        }
    }
    row
}
