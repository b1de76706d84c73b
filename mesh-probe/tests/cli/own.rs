//! `--tls-cert`: own certificates instead of derived ones.

use diagnosis::Expectation;
use mesh_collector::{Config, Proof, run as collect};
use proto::{transport::listen, trust::OwnFiles};

use crate::{
    authority::Authority,
    program::{Run, bare, run},
    server::KEY_TEXT,
};

/// `gate mesh` at a collector with own certificates, with these files.
async fn gate(target: &str, files: &OwnFiles) -> Run {
    let mut command = bare();
    command.args(["gate", "mesh", "--collector", target]);
    command.arg("--tls-cert").arg(&files.certificate);
    command.arg("--tls-key").arg(&files.key);
    command.arg("--tls-ca").arg(&files.authorities);
    run(command).await
}

#[tokio::test]
async fn a_reader_with_own_certificates_is_answered_and_strangers_are_not() {
    let authority = Authority::new();
    let own = |role: &str| authority.issue(&format!("spiffe://example.org/mesh/{role}"));
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let proof = Proof::Own(own("collector"));
    let config = Config::proving(proof, Expectation::default());
    tokio::spawn(collect(listener, config, std::future::pending()));

    // Nobody reports, so nobody can tell.
    let answered = gate(&target, &own("reader")).await;
    assert_eq!(answered.code, 3, "{answered:?}");
    assert!(answered.stdout.contains("0 nodes report"), "{answered:?}");
    let strangers = Authority::new();
    let stranger = strangers.issue("spiffe://example.org/mesh/reader");
    let refused = gate(&target, &stranger).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    // Of the same authority, and another trust domain.
    let elsewhere = authority.issue("spiffe://example.com/mesh/reader");
    for refused in [refused, gate(&target, &elsewhere).await] {
        assert_eq!(refused.code, 5, "{refused:?}");
        let says = format!(
            "error: {target} was reached, but is no collector of this authority and trust domain\n"
        );
        assert!(refused.stderr.starts_with(&says), "{refused:?}");
        let help = refused.stderr.lines().last().unwrap();
        assert!(help.contains("of one trust domain"), "{refused:?}");
        assert!(!help.contains("this mesh key"), "{refused:?}");
    }
    let mut command = bare();
    command.env("MESH_KEY", KEY_TEXT);
    command.args(["gate", "mesh", "--collector", &target]);
    let refused = run(command).await;
    assert_eq!(refused.code, 5, "the mesh key: {refused:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_a_usage_error_that_names_them() {
    let authority = Authority::new();
    let collector = authority.issue("spiffe://example.org/mesh/collector");
    let refused = gate("127.0.0.1:9", &collector).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    let says = "has the role collector, expected reader";
    assert!(refused.stderr.contains(says), "{refused:?}");
    let mut command = bare();
    command.args([
        "gate",
        "mesh",
        "--collector",
        "127.0.0.1:9",
        "--tls-cert",
        "x",
    ]);
    let refused = run(command).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--tls-key"), "{refused:?}");
}
