//! Each exit code, by running the program.

use std::{io::Write as _, net::TcpListener};

use evidence::Phase;
use tonic::Status;

use crate::{
    fixture::{gate, healthy},
    program::{Run, ask, bare, run},
    server::{Canned, KEY, KEY_TEXT, key, serve, serve_at},
};

async fn ask_gate(phase: Phase) -> Run {
    let address = serve(Canned::with_gate(gate("mesh", phase)));
    ask(address, "gate mesh").await
}

#[tokio::test]
async fn ready_is_0() {
    let run = ask_gate(Phase::Ready).await;
    assert_eq!((run.code, run.stdout.as_str()), (0, "mesh: ready\n"));
    assert_eq!(run.stderr, "");
}

#[tokio::test]
async fn status_and_pairs_are_0_whenever_an_answer_came() {
    let address = serve(Canned::saying(crate::fixture::blocked_inbound()));
    for command in ["status", "pairs", "status -o wide", "pairs -o wide"] {
        let run = ask(address, command).await;
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{command}");
        assert!(run.stdout.contains("home-worker"), "{run:?}");
    }
}

#[tokio::test]
async fn judged_and_not_ready_is_1_and_says_why() {
    let run = ask_gate(Phase::NotReady).await;
    assert_eq!(run.code, 1);
    assert!(
        run.stdout
            .contains("because: 2 of 12 directions fail at underlay"),
        "{run:?}"
    );
}

#[tokio::test]
async fn the_question_decides_which_phase_counts() {
    let address = serve(Canned::with_gate(gate("mesh", Phase::NotReady)));
    assert_eq!(ask(address, "gate mesh --may-start").await.code, 0);
}

#[tokio::test]
async fn wrong_usage_is_2() {
    for arguments in [
        "",
        "nonsense",
        "gate",
        "gate mesh --wait-timeout 60",
        "explain",
        "status --timeout 0s",
        "status -o xml",
        "status -o name",
        "pairs -o terraform-external",
        "gate mesh -o dot",
        "gate graph -o terraform-external",
        "gate mesh --stable-for 3",
        "gate mesh --require",
        "wait mesh --require -o name",
    ] {
        let run = ask("127.0.0.1:1", arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments}");
        assert!(!run.stderr.is_empty(), "{arguments}");
    }
}

#[tokio::test]
async fn no_collector_is_2_and_says_how_to_give_one() {
    let mut command = bare();
    command.arg("status");
    let run = run(command).await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--collector HOST:PORT"), "{run:?}");
}

#[tokio::test]
async fn no_key_or_a_malformed_one_is_2() {
    let ask = |key: Option<&'static str>| async move {
        let mut command = bare();
        command.args(["status", "--collector", "127.0.0.1:1"]);
        command.envs(key.map(|key| ("MESH_KEY", key)));
        run(command).await
    };
    let missing = ask(None).await;
    assert_eq!(missing.code, 2);
    assert!(
        missing.stderr.contains("--mesh-key-file FILE"),
        "{missing:?}"
    );
    let malformed = ask(Some("c2VjcmV0IHRleHQ=")).await;
    assert_eq!(malformed.code, 2);
    assert!(!malformed.stderr.contains("c2Vj"), "{malformed:?}");
}

#[tokio::test]
async fn an_unknown_level_is_2_and_the_known_ones_are_listed() {
    let address = serve(Canned::saying(healthy()));
    for arguments in ["gate mash", "wait mash"] {
        let run = ask(address, arguments).await;
        assert_eq!(run.code, 2, "{run:?}");
        assert!(run.stderr.contains("underlay, wireguard, mesh"), "{run:?}");
    }
}

#[tokio::test]
async fn an_unknown_finding_code_is_2_and_a_known_one_is_0_without_any_collector() {
    let mut command = bare();
    command.args(["explain", "no-such-code-at-all"]);
    let unknown = run(command).await;
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("known codes:"), "{unknown:?}");

    let mut command = bare();
    command.args(["explain", "--all"]);
    let all = run(command).await;
    assert_eq!(all.code, 0);
    for page in diagnosis::pages() {
        assert!(all.stdout.contains(page.title), "{}", page.code);
        let mut command = bare();
        command.args(["explain", page.code]);
        let explained = run(command).await;
        assert_eq!(explained.code, 0);
        assert!(explained.stdout.starts_with(page.code), "{explained:?}");
    }
}

#[tokio::test]
async fn an_unknown_phase_is_3() {
    let run = ask_gate(Phase::Unknown).await;
    assert_eq!(run.code, 3);
    assert!(
        run.stdout.contains("cannot tell whether it is ready"),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_3_with_the_chain_printed_once() {
    let nobody = nobody();
    for command in ["status", "pairs", "gate mesh"] {
        let run = ask(nobody, command).await;
        assert_eq!((run.code, run.stdout.as_str()), (3, ""), "{run:?}");
        let expected = format!(
            "error: failed to reach the collector at {nobody}\n  \
             because: failed to connect to {nobody}\n  \
             because: Connection refused (os error 111)\n  \
             help: is mesh-collector running there, and does every firewall on the way pass TCP to {nobody}? \
             gate, wait, status, pairs and bundle can ask agents instead, where these run with --listen: --direct NODE,..\n"
        );
        assert_eq!(run.stderr, expected);
    }
}

#[tokio::test]
async fn a_collector_that_accepts_and_stays_silent_is_3_within_the_timeout() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let run = ask(address, "status --timeout 300ms").await;
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains("did not answer within 0.3 s"),
        "{run:?}"
    );
}

#[tokio::test]
async fn something_else_that_listens_there_is_3_and_not_blamed_on_the_key() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let run = ask(address, "status").await;
    other.join().unwrap();
    assert_eq!(run.code, 3, "{run:?}");
}

#[tokio::test]
async fn a_collector_in_trouble_is_3() {
    let address = serve(Canned::refusing(Status::unavailable("starting")));
    let run = ask(address, "status").await;
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("because: starting"), "{run:?}");
}

#[tokio::test]
async fn a_wait_in_vain_is_4_and_prints_the_last_state() {
    let address = serve(Canned::with_gate(gate("mesh", Phase::NotReady)));
    let run = ask(address, "wait mesh --wait-timeout 1s").await;
    assert_eq!(run.code, 4);
    assert!(
        run.stdout
            .starts_with("mesh: NOT READY (timed out after 1.0 s"),
        "{run:?}"
    );
    assert!(run.stdout.contains("2 of 12 directions fail"), "{run:?}");
}

#[tokio::test]
async fn another_mesh_key_is_5() {
    let address = serve(Canned::saying(healthy()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), KEY_TEXT.replacen("Bw", "CA", 1)).unwrap();
    for arguments in ["status", "wait mesh"] {
        let mut command = bare();
        command.args(arguments.split(' '));
        command.arg("--collector").arg(address.to_string());
        command.arg("--mesh-key-file").arg(file.path());
        let run = run(command).await;
        assert_eq!(run.code, 5, "{run:?}");
        assert!(
            run.stderr.contains("this mesh key is not the collector's"),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn a_role_that_may_not_ask_is_5() {
    let refusal = Status::permission_denied("the role agent may not read, reader is needed");
    let address = serve(Canned::refusing(refusal));
    for arguments in ["status", "pairs", "gate mesh", "wait mesh"] {
        let run = ask(address, arguments).await;
        assert_eq!(run.code, 5, "{run:?}");
        assert!(run.stderr.contains("reader is needed"), "{run:?}");
    }
}

/// In TLS 1.3 such a refusal reaches the client after its own handshake is done.
#[tokio::test]
async fn a_client_certificate_that_the_collector_refuses_is_5() {
    let mut tls = key(KEY + 1).server_config().unwrap();
    tls.cert_resolver = key(KEY).server_config().unwrap().cert_resolver;
    let address = serve_at(
        "127.0.0.1:0".parse().unwrap(),
        Canned::saying(healthy()),
        tls,
    );
    let run = ask(address, "status").await;
    assert_eq!(run.code, 5, "{run:?}");
}

#[tokio::test]
async fn a_reader_that_closes_the_pipe_is_no_error_and_opens_no_gate() {
    for (phase, code) in [(Phase::Ready, 0), (Phase::NotReady, 1)] {
        let address = serve(Canned::with_gate(gate("mesh", phase)));
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = bare();
        command
            .env("MESH_KEY", KEY_TEXT)
            .args(["gate", "mesh", "--collector", &address.to_string()])
            .stdout(writer)
            .stderr(std::process::Stdio::piped());
        let child = command.spawn().unwrap().wait_with_output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(20), child)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(output.stderr, b"");
    }
}

/// An address at which nobody listens.
pub(crate) fn nobody() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
