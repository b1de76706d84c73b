//! The discovery service, with an affiliate that Talos' own client has published.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    cipher::{AES_256, DecryptingKey, DecryptionContext, UnboundCipherKey},
};
use protox::prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use upstream::discovery::{
    Affiliate, HelloRequest, ListRequest, WatchRequest, cluster_client::ClusterClient,
};

use crate::{
    compare,
    cosi::schema,
    real::{Real, build, versions},
    report::{Report, Row, Section},
};

const SERVICE: &str = "github.com/siderolabs/discovery-service/cmd/discovery-service";
/// How long an answer may take, and between two looks.
const LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(200);

/// What was published.
#[derive(Debug, Deserialize)]
struct Dump {
    #[serde(rename = "clusterID")]
    cluster: String,
    #[serde(rename = "affiliateID")]
    id: String,
    key: String,
    affiliate: Value,
    endpoints: Vec<Value>,
}

type Client = ClusterClient<Channel>;

pub(crate) async fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump.json");
    let address = free();
    let mut service = Real::start(service(address));
    service.until(|| TcpStream::connect(address).ok());
    let mut publish = Command::new(build("discovery", ".", "publish"));
    publish
        .args(["-endpoint", &address.to_string(), "-dump"])
        .arg(&dump);
    let mut publisher = Real::start(publish);
    let text = publisher.until(|| fs::read(&dump).ok());
    let dump: Dump = serde_json::from_slice(&text).unwrap();
    let endpoint = Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut client = Client::new(endpoint.connect().await.unwrap());
    let rows = vec![
        hello(&mut client).await,
        list(&mut client, &dump, &schema()).await,
        watch(&mut client, &dump, &mut publisher).await,
    ];
    report.sections.push(Section {
        title: "Discovery".to_owned(),
        versions: versions("discovery"),
        rows,
    });
}

/// On loopback only, and keeping nothing.
fn service(address: SocketAddr) -> Command {
    let mut command = Command::new(build("discovery", SERVICE, "discovery-service"));
    let address = address.to_string();
    command.args(["-addr", &address, "-landing-addr", "", "-metrics-addr", ""]);
    // It tells each request.
    command
        .arg("-snapshots-enabled=false")
        .stderr(Stdio::null());
    command
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn hello(client: &mut Client) -> Row {
    let mut row = Row::named("Hello");
    let request = |cluster: &str| HelloRequest {
        cluster_id: cluster.to_owned(),
        client_version: "v1.13.9".to_owned(),
    };
    let answer = client.hello(request("nobody")).await.unwrap().into_inner();
    row.expect(
        "client_ip",
        answer.client_ip.as_slice(),
        &[127, 0, 0, 1][..],
    );
    row.expect("redirect", &answer.redirect.is_some(), &false);
    for (what, cluster) in [
        ("no cluster", String::new()),
        ("long cluster", "x".repeat(257)),
    ] {
        let refused = client.hello(request(&cluster)).await;
        let code = refused.err().map(|status| status.code());
        row.expect(what, &code, &Some(Code::InvalidArgument));
    }
    row
}

async fn list(client: &mut Client, dump: &Dump, schema: &DescriptorPool) -> Row {
    let mut row = Row::named("List, and what is sealed in it");
    let nobody = listed(client, "nobody").await;
    row.expect("affiliates of an unknown cluster", &nobody.len(), &0);
    let published = async {
        loop {
            let affiliates = listed(client, &dump.cluster).await;
            if !affiliates.is_empty() {
                return affiliates;
            }
            sleep(LOOK).await;
        }
    };
    let affiliates = timeout(LIMIT, published)
        .await
        .expect("an affiliate is published in time");
    row.expect("affiliates", &affiliates.len(), &1);
    let affiliate = &affiliates[0];
    row.expect("id", &affiliate.id, &dump.id);
    let key = key(&dump.key);
    let name = "sidero.discovery.client.Affiliate";
    let body = decoded(schema, name, &data(&key, &affiliate.data));
    compare::message(&body, &dump.affiliate, "", &mut row);
    row.expect(
        "endpoints",
        &affiliate.endpoints.len(),
        &dump.endpoints.len(),
    );
    for (sealed, real) in affiliate.endpoints.iter().zip(&dump.endpoints) {
        let open = endpoint(&key, sealed);
        let ours = decoded(schema, "sidero.discovery.client.Endpoint", &open);
        compare::message(&ours, real, "endpoints.", &mut row);
    }
    row
}

async fn listed(client: &mut Client, cluster: &str) -> Vec<Affiliate> {
    let request = ListRequest {
        cluster_id: cluster.to_owned(),
    };
    client.list(request).await.unwrap().into_inner().affiliates
}

/// First all there is, then each change.
async fn watch(client: &mut Client, dump: &Dump, publisher: &mut Real) -> Row {
    let mut row = Row::named("Watch");
    let request = WatchRequest {
        cluster_id: dump.cluster.clone(),
    };
    let mut stream = client.watch(request).await.unwrap().into_inner();
    for (what, deleted) in [("first message", false), ("after it was deleted", true)] {
        if deleted {
            publisher.order("delete");
        }
        let message = timeout(LIMIT, stream.message())
            .await
            .expect("a change comes in time");
        let message = message.unwrap().expect("the watch goes on");
        let ids: Vec<_> = message
            .affiliates
            .iter()
            .map(|affiliate| affiliate.id.as_str())
            .collect();
        row.expect(
            what,
            &(ids, message.deleted),
            &(vec![dump.id.as_str()], deleted),
        );
    }
    row
}

fn decoded(schema: &DescriptorPool, name: &str, bytes: &[u8]) -> DynamicMessage {
    let descriptor = schema.get_message_by_name(name).unwrap();
    DynamicMessage::decode(descriptor, bytes).unwrap()
}

fn key(hex: &str) -> [u8; 32] {
    std::array::from_fn(|index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap())
}

/// AES-256-GCM: nonce, sealed message, tag.
fn data(key: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
    let (nonce, rest) = sealed.split_at(NONCE_LEN);
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    let mut rest = rest.to_vec();
    let open = key.open_in_place(nonce, Aad::empty(), &mut rest).unwrap();
    open.to_vec()
}

/// AES-256-ECB: a byte of length, the message, zeros.
fn endpoint(key: &[u8; 32], sealed: &[u8]) -> Vec<u8> {
    let key = DecryptingKey::ecb(UnboundCipherKey::new(&AES_256, key).unwrap()).unwrap();
    let mut open = sealed.to_vec();
    key.decrypt(&mut open, DecryptionContext::None).unwrap();
    let length = usize::from(open[0]);
    open[1..=length].to_vec()
}
