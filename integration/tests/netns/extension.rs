//! The services of the Talos extension in containers such as Talos makes of their files: they see what they need, and no more.
//! `container.rs` says what a lab cannot carry of it.

use std::path::Path;

use integration::lab::programs::Binaries;
use serde_json::Value;
use talos_ext::{assemble::SERVICES, service::Service};

use crate::{
    agents::staged,
    container::{self, Bundle, Container},
    support::{TestLab, eventually, is_required, text},
};

const NODES: [&str; 4] = ["vps-1", "vps-2", "home-cp", "home-worker"];
/// The only control plane of the lab, as its Talos says: agents find the collector there by themselves.
const CONTROL_PLANE: &str = "home-cp";
/// What no agent of this lab can see, in a container or not: nobody was told of a discovery service or of a time server.
const KNOWN_GAPS: [&str; 2] = [
    "discovery: no endpoint was given",
    "ntp: Talos has no time server",
];
const PROBE: &str = "mesh-probe --collector 127.0.0.1:21820 --mesh-key-file /run/mesh.key";

/// The collector is told the mesh key by its document, and nothing else is told to anybody.
pub(crate) fn the_services_of_the_extension_report_from_their_containers() {
    if !staged() || !can_contain() {
        return;
    }
    let programs = Binaries::beside(Path::new(env!("CARGO_BIN_EXE_lab"))).unwrap();
    let [agent, collector] = SERVICES.map(|(_, text)| Service::parse(text).unwrap());
    let lab = TestLab::up();
    let scratch = tempfile::tempdir().unwrap();
    let start = |host: &'static str, service: &Service, environment: &[String]| {
        let folder = scratch.path().join(host).join(&service.name);
        let bundle = Bundle {
            folder,
            programs: &programs,
            service,
            environment,
        };
        Container::start(&lab, host, &bundle)
    };
    // As if it were another user's: connecting asks for CAP_DAC_OVERRIDE then.
    lab.shell("vps-2", "chmod 555 /run/machined/machine.sock");
    let key = lab.shell(
        CONTROL_PLANE,
        "umask 077; wg show kubespan preshared-keys | awk '{print $2; exit}' | tee /run/mesh.key",
    );
    let collector = start(
        CONTROL_PLANE,
        &collector,
        &[format!("MESH_KEY={}", key.trim())],
    );
    let agents = NODES.map(|node| start(node, &agent, &[]));

    let ready = probe(&lab, "gate mesh --wait-timeout 20s");
    assert!(ready.contains("mesh: ready"), "{ready}");
    eventually("Talos is heard everywhere", || {
        gaps(&lab).iter().all(|gap| !gap.contains("talos: "))
    });
    let unexpected: Vec<String> = gaps(&lab)
        .into_iter()
        .filter(|gap| !KNOWN_GAPS.iter().any(|known| gap.contains(known)))
        .collect();
    assert_eq!(unexpected, Vec::<String>::new(), "what a container hides");

    collector.is_as_declared();
    for agent in &agents {
        agent.is_as_declared();
    }
    let folder = scratch.path().join("vps-1").join("mesh-agent");
    let socket = container::kept(&folder, "/run/mesh-agent").join("agent.sock");
    answers_outside_of_its_container(&lab, "vps-1", &socket);
    keeps_what_it_needs(&lab, "vps-1", "0000000000003000");
    keeps_what_it_needs(&lab, "vps-2", "0000000000003002");
    // Talos kills after ten seconds whom the signal has not ended, and what is the first process must mean to end.
    agents[0].stop();
    collector.stop();
    let folder = scratch.path().join(CONTROL_PLANE).join("mesh-collector");
    let kept = container::kept(&folder, "/var/lib/mesh-collector");
    let journal = std::fs::read_to_string(kept.join("history")).unwrap();
    assert!(journal.contains("mesh"), "what changed is kept: {journal}");
}

fn can_contain() -> bool {
    let missing = container::missing();
    if let Some(missing) = &missing {
        println!("SKIPPED: {missing}");
        assert!(!is_required(), "REQUIRE_STAGE says that it must be there");
    }
    missing.is_none()
}

fn probe(lab: &TestLab, question: &str) -> String {
    text(&lab.enter(CONTROL_PLANE, &["sh", "-c", &format!("{PROBE} {question}")]))
}

/// What the agents say that they cannot see, after the name of each.
fn gaps(lab: &TestLab) -> Vec<String> {
    let status = lab.shell(CONTROL_PLANE, &format!("{PROBE} status -o json; true"));
    let status: Value = serde_json::from_str(&status).unwrap();
    let nodes = status["verdict"]["nodes"].as_array().unwrap().iter();
    nodes
        .flat_map(|node| {
            let name = node["node"]["name"].as_str().unwrap_or("?");
            let gaps = node["gaps"].as_array().unwrap().iter();
            gaps.map(move |gap| format!("{name}: {}", gap.as_str().unwrap_or("?")))
        })
        .collect()
}

/// Who is root on the node can ask the agent, by a socket that nobody else can open.
fn answers_outside_of_its_container(lab: &TestLab, host: &str, socket: &Path) {
    let socket = socket.display();
    let said = lab.shell(
        host,
        &format!("mesh-probe agent unix:{socket} -o json; stat -c %a {socket}"),
    );
    let (document, mode) = said.trim_end().rsplit_once('\n').unwrap();
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["status"]["node"], host, "{document}");
    assert_eq!(mode, "600");
}

/// Of all that Talos gives, the agent keeps two capabilities (12, 13) and one more (1) where machined's socket is shut for it.
fn keeps_what_it_needs(lab: &TestLab, host: &str, capabilities: &str) {
    let status = lab.shell(host, "cat /proc/$(cat /run/mesh-agent.pid)/status");
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let line = format!("{set}:\t{capabilities}");
        assert!(status.contains(&line), "{host}: {line}: {status}");
    }
}
