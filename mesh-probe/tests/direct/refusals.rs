//! What is refused, by which exit code, and with which word of help.

use std::{fs, net::TcpListener};

use crate::{
    agents::{self, key},
    program::{ask, run},
    support::Lab,
};

#[tokio::test]
async fn another_mesh_key_is_5_however_many_have_the_same() {
    let lab = Lab::healthy();
    let stranger = agents::proving("vps-1", 8, &lab, "vps-1");
    let friend = agents::one(&lab, "vps-2");
    let all = format!("{},{}", friend.address, stranger.address);
    let run = ask(&format!("gate mesh --direct {all}")).await;
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.stderr.contains("not the agent's"), "{run:?}");
    let run = ask(&format!("agent {}", stranger.address)).await;
    assert_eq!(run.code, 5, "{run:?}");
}

#[tokio::test]
async fn nobody_answers_in_the_name_of_another_node() {
    let lab = Lab::healthy();
    let mut targets = Vec::new();
    for node in ["home-cp", "home-worker", "vps-1"] {
        targets.push(agents::one(&lab, node).address.to_string());
    }
    let liar = agents::proving("vps-3", 7, &lab, "vps-2");
    targets.push(liar.address.to_string());
    let all = targets.join(",");
    let run = ask(&format!("gate mesh --look 1s --direct {all}")).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(
        run.stdout
            .contains("certificate is for vps-3, the report claims vps-2"),
        "{run:?}"
    );
    let run = ask(&format!("agent {}", liar.address)).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stderr.contains("proves to be of vps-3"), "{run:?}");
}

#[tokio::test]
async fn one_agent_under_two_addresses_is_no_two_and_two_machines_under_one_name_are_told() {
    let lab = Lab::healthy();
    let mut targets = Vec::new();
    for node in ["home-cp", "home-worker", "vps-1", "vps-2", "vps-2"] {
        targets.push(agents::one(&lab, node).address.to_string());
    }
    let all = targets.join(",");
    let run = ask(&format!("gate mesh --look 1s --direct {all}")).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stdout.contains("it is vps-2, as 127.0.0.1:"), "{run:?}");
    assert!(run.stdout.contains("asked twice"), "{run:?}");
    targets.pop();
    let clone = agents::of_machine("vps-2", 7, b"another machine", &lab, "vps-2");
    targets.push(clone.address.to_string());
    let all = targets.join(",");
    let run = ask(&format!("status --look 3s --direct {all}")).await;
    assert!(run.stdout.contains("second-machine"), "{run:?}");
}

#[tokio::test]
async fn nobody_there_is_3_and_says_how_agents_are_made_to_listen() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let nobody = ask(&format!("gate mesh --look 1s --direct {address}")).await;
    assert_eq!(nobody.code, 3, "{nobody:?}");
    assert!(
        nobody.stderr.contains("mesh-agent --listen [::]:21821"),
        "{nobody:?}"
    );
    let nowhere = run("agent unix:/nowhere/agent.sock", &[]).await;
    assert_eq!(nowhere.code, 3, "{nowhere:?}");
    assert!(
        nowhere.stderr.contains("is mesh-agent running"),
        "{nowhere:?}"
    );
}

#[tokio::test]
async fn credentials_of_a_reader_do_and_those_from_before_say_what_they_lack() {
    let lab = Lab::healthy();
    let agents = agents::all(&lab);
    let addresses: Vec<String> = agents.iter().map(|one| one.address.to_string()).collect();
    let all = addresses.join(",");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reader.pem");
    let text = key(7).reader_credentials().unwrap();
    fs::write(&file, text.as_str()).unwrap();
    let arguments = format!("gate mesh --credentials {} --direct {all}", file.display());
    let reader = run(&arguments, &[]).await;
    assert_eq!(reader.code, 0, "{reader:?}");
    fs::write(&file, &text[..text.rfind("-----BEGIN CERT").unwrap()]).unwrap();
    let before = run(&arguments, &[]).await;
    assert_eq!(before.code, 2, "{before:?}");
    assert!(before.stderr.contains("mesh-probe key"), "{before:?}");
}

#[tokio::test]
async fn wrong_usage_is_2() {
    let many = vec!["127.0.0.1"; 257].join(",");
    for arguments in [
        "gate mesh --direct unix:agent.sock".to_owned(),
        "gate mesh --direct a:0".to_owned(),
        "gate mesh --direct 127.0.0.1 --look 0s".to_owned(),
        "gate mesh --direct 127.0.0.1 --gates /nowhere".to_owned(),
        "history --direct 127.0.0.1".to_owned(),
        "gate graph --direct 127.0.0.1".to_owned(),
        format!("gate mesh --direct {many}"),
    ] {
        let run = ask(&arguments).await;
        assert_eq!(run.code, 2, "{arguments}: {run:?}");
    }
    let lab = Lab::healthy();
    let agents = agents::all(&lab);
    let run = ask(&format!("gate nonsense --direct {}", agents[0].address)).await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("kubernetes-api"), "{run:?}");
    let run = run_without_key(&agents[0].address.to_string()).await;
    assert_eq!(run.code, 2, "{run:?}");
}

async fn run_without_key(target: &str) -> crate::program::Run {
    run(&format!("gate mesh --direct {target}"), &[]).await
}
