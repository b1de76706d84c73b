//! What is answered, and what it rests on.

use std::time::Instant;

use crate::{
    agents::{self, Running},
    program::{Run, ask, run},
    support::{
        Lab,
        cases::{self, Case},
    },
};

fn targets(agents: &[Running]) -> String {
    let addresses: Vec<String> = agents.iter().map(|one| one.address.to_string()).collect();
    addresses.join(",")
}

async fn ask_all(agents: &[Running], arguments: &str) -> Run {
    ask(&format!("{arguments} --direct {}", targets(agents))).await
}

fn blocked() -> Case {
    let is_it = |case: &Case| {
        let roots = &case.expected.roots;
        roots.len() == 1 && roots[0] == ("udp-51820-blocked-inbound", "home-worker".to_owned())
    };
    cases::all().find(is_it).expect("the table has this case")
}

#[tokio::test]
async fn a_mesh_that_is_well_is_ready_at_once_and_the_answer_says_who_was_asked() {
    let agents = agents::all(&Lab::healthy());
    let begun = Instant::now();
    let run = ask_all(&agents, "gate mesh -o json").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let document = run.json();
    assert_eq!(document["kind"], "Gate");
    assert_eq!(document["ready"], true);
    let asked = document["direct"]["agents"].as_array().unwrap();
    let nodes: Vec<_> = asked.iter().map(|one| one["node"].as_str()).collect();
    let all = ["home-cp", "home-worker", "vps-1", "vps-2"];
    assert_eq!(nodes, all.map(Some));
    let run = ask_all(&agents, "gate mesh").await;
    assert!(run.stdout.starts_with("mesh: ready\n"), "{run:?}");
    assert!(run.stdout.contains("4 of 4 agents answered"), "{run:?}");
}

#[tokio::test]
async fn a_fault_shuts_the_gate_and_its_cause_is_named_once_it_has_stood() {
    let agents = agents::all(&blocked().lab);
    let run = ask_all(&agents, "gate mesh").await;
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stdout
            .contains("udp-51820-blocked-inbound: home-worker"),
        "{run:?}"
    );
    let run = ask_all(&agents, "status").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.stdout
            .contains("PROBLEM 1: udp-51820-blocked-inbound at home-worker"),
        "{run:?}"
    );
}

#[tokio::test]
async fn who_was_asked_and_is_gone_shuts_the_gate_by_name() {
    let mut agents = agents::all(&Lab::healthy());
    let all = targets(&agents);
    let gone = agents.remove(1);
    let address = gone.address.to_string();
    gone.stop();
    let run = ask(&format!("gate mesh --look 1s --direct {all}")).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stdout
            .contains(&format!("asked, and not heard: {address} (")),
        "{run:?}"
    );
    let run = ask(&format!("gate cni --may-start --look 1s --direct {all}")).await;
    assert_ne!(run.code, 0, "{run:?}");
    let run = ask(&format!("wait mesh --wait-timeout 1s --direct {all}")).await;
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.stdout.contains(&address), "{run:?}");
}

#[tokio::test]
async fn a_node_that_is_expected_and_not_asked_shuts_the_gate() {
    let agents = agents::all(&Lab::healthy());
    let run = ask_all(&agents, "gate mesh --look 1s --expect vps-1,vps-9").await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stdout.contains("vps-9"), "{run:?}");
    // Three of four: the others know the fourth as a peer.
    let run = ask_all(&agents[..3], "gate mesh --look 1s").await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stdout.contains("without a fresh report: peer AgICAgIC"),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_wait_ends_when_the_last_agent_is_there() {
    let lab = Lab::healthy();
    let mut agents = agents::all(&lab);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    agents.pop().unwrap().stop();
    let all = format!("{},{address}", targets(&agents));
    let arguments = format!("wait mesh --wait-timeout 20s --direct {all}");
    let waiting = tokio::spawn(async move { ask(&arguments).await });
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    drop(free);
    let _last = agents::at(address, &lab, "vps-2");
    let run = waiting.await.unwrap();
    assert_eq!(run.code, 0, "{run:?}");
}

#[tokio::test]
async fn a_level_is_stable_only_after_a_time_without_a_break() {
    let agents = agents::all(&Lab::healthy());
    let begun = Instant::now();
    let run = ask_all(&agents, "wait mesh --stable-for 2s --wait-timeout 15s").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(begun.elapsed().as_secs() >= 2);
    let run = ask_all(&agents, "wait mesh --stable-for 1h --wait-timeout 1s").await;
    assert_eq!(run.code, 4, "{run:?}");
}

#[tokio::test]
async fn pairs_and_evidence_are_those_of_a_collector() {
    let agents = agents::all(&blocked().lab);
    let run = ask_all(&agents, "pairs --broken --look 5s -o json").await;
    assert_eq!(run.code, 0, "{run:?}");
    let pairs = run.json()["verdict"]["pairs"].as_array().unwrap().len();
    assert_eq!(pairs, 2, "{run:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.jsonl");
    let file = file.display();
    let run = ask_all(&agents, &format!("bundle {file} --look 5s")).await;
    assert_eq!(run.code, 0, "{run:?}");
    let run = ask(&format!("replay {file}")).await;
    assert!(
        run.stdout
            .contains("udp-51820-blocked-inbound at home-worker"),
        "{run:?}"
    );
}

#[tokio::test]
async fn the_agent_of_this_machine_is_asked_without_a_key_and_opens_no_gate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    agents::on_socket(&socket, &Lab::healthy(), "vps-1");
    let socket = socket.display();
    let alone = run(&format!("gate mesh --look 1s --direct unix:{socket}"), &[]).await;
    assert_eq!(alone.code, 3, "{alone:?}");
    assert!(
        alone
            .stdout
            .contains("1 node reports, at least 2 are expected"),
        "{alone:?}"
    );
    let others: Vec<Running> = ["vps-2", "home-cp", "home-worker"]
        .map(|node| agents::one(&Lab::healthy(), node))
        .into();
    let all = format!("{},unix:{socket}", targets(&others));
    let together = ask(&format!("gate mesh --direct {all}")).await;
    assert_eq!(together.code, 0, "{together:?}");
}

#[tokio::test]
async fn an_agent_says_to_whom_it_reports_and_what_it_sees() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    agents::on_socket(&socket, &Lab::healthy(), "vps-1");
    let agent = run(&format!("agent unix:{}", socket.display()), &[]).await;
    assert_eq!(agent.code, 0, "{agent:?}");
    for says in [
        "the agent of vps-1, version 0.1.0, running for 1 m 1 s",
        "reports to the collector vps-1:21820 at 203.0.113.11:21820, past the tunnel, for 1 m 0 s",
        "does not report to the collector vps-2:21820, for 1 m 0 s: no answer",
        "kubespan",
    ] {
        assert!(agent.stdout.contains(says), "{says}: {}", agent.stdout);
    }
    let network = agents::one(&Lab::healthy(), "vps-1");
    let agent = ask(&format!("agent {} -o json", network.address)).await;
    assert_eq!(agent.json()["status"]["node"], "vps-1");
    let waits = folder.path().join("waits.sock");
    agents::waiting_on_socket(&waits, "vps-1");
    let agent = run(&format!("agent unix:{}", waits.display()), &[]).await;
    assert_eq!(agent.code, 3, "{agent:?}");
    assert!(
        agent.stdout.contains("it waits for the mesh key"),
        "{agent:?}"
    );
}
