//! `handshake` against boringtun on loopback, in a namespace without any device of this machine.

use std::{fs, os::unix::net::UnixListener, path::PathBuf};

use boringtun::{
    noise::{Tunn, TunnResult},
    x25519,
};
use insta::assert_snapshot;
use mesh_probe::{
    adhoc::{Asked, HandshakeTest, Marking, Outcome},
    render::{Style, facts},
};
use tokio::{
    net::UdpSocket,
    process::{Child, Command},
    task::JoinHandle,
};

use crate::{
    namespace::{inside, sh},
    program::{Run, bare, run},
};

const OWN: [u8; 32] = [0x11; 32];
const PEER: [u8; 32] = [0x22; 32];
const PRESHARED: [u8; 32] = [0x33; 32];

fn public(secret: [u8; 32]) -> evidence::PublicKey {
    let secret = x25519::StaticSecret::from(secret);
    evidence::PublicKey::from_bytes(x25519::PublicKey::from(&secret).to_bytes())
}

/// Files with the diagnostic key and the preshared key.
struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let keys = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(keys.path("own"), base64(OWN)).unwrap();
        fs::write(keys.path("psk"), base64(PRESHARED)).unwrap();
        keys
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn handshake(&self, port: u16, with_preshared_key: bool) -> Run {
        let mut command = bare();
        command
            .args(["handshake", &format!("127.0.0.1:{port}"), "--mark", "0"])
            .args(["--peer-key", &public(PEER).to_string()])
            .arg("--key-file")
            .arg(self.path("own"));
        if with_preshared_key {
            command.arg("--psk-file").arg(self.path("psk"));
        }
        let run = run(command).await;
        let printed = format!("{}{}", run.stdout, run.stderr);
        assert!(!printed.contains(&base64(OWN)), "{printed}");
        assert!(!printed.contains(&base64(PRESHARED)), "{printed}");
        run
    }
}

fn base64(key: [u8; 32]) -> String {
    evidence::PublicKey::from_bytes(key).to_string()
}

/// Answers initiations of the diagnostic key, and counts what came.
struct Responder {
    port: u16,
    task: JoinHandle<usize>,
}

impl Responder {
    /// `expected` datagrams are read, then it ends.
    async fn start(expected: usize) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = socket.local_addr().unwrap().port();
        let known = x25519::PublicKey::from(*public(OWN).as_bytes());
        let own = x25519::StaticSecret::from(PEER);
        let mut tunnel = Box::new(Tunn::new(own, known, Some(PRESHARED), None, 7, None));
        let task = tokio::spawn(async move {
            let mut buffer = [0; 2048];
            for _ in 0..expected {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                assert_eq!(length, 148, "initiations only");
                let mut answer = [0; 256];
                let result = tunnel.decapsulate(None, &buffer[..length], &mut answer);
                let TunnResult::WriteToNetwork(bytes) = result else {
                    panic!("{result:?}")
                };
                socket.send_to(bytes, from).await.unwrap();
            }
            expected
        });
        Self { port, task }
    }
}

/// A device `wg0`, set as `wg set` takes it.
fn device(settings: &str) -> Child {
    let mut daemon = Command::new("wireguard-go");
    let daemon = daemon.args(["-f", "wg0"]).kill_on_drop(true).spawn();
    // The device is there soon after its daemon; the wait is bounded.
    sh(&format!(
        "for attempt in $(seq 100); do wg set wg0 {settings} && exit 0; sleep 0.05; done; exit 1"
    ));
    daemon.unwrap()
}

#[test]
fn a_handshake_completes_with_the_right_keys_and_names_a_wrong_preshared_one() {
    inside(
        "handshake::a_handshake_completes_with_the_right_keys_and_names_a_wrong_preshared_one",
        &[],
        async {
            let keys = Keys::new();
            let responder = Responder::start(2).await;
            let right = keys.handshake(responder.port, true).await;
            assert_eq!(right.code, 0, "{right:?}");
            assert!(right.stdout.contains("conclusion: works"), "{right:?}");
            let wrong = keys.handshake(responder.port, false).await;
            assert_eq!(wrong.code, 1, "{wrong:?}");
            assert!(
                wrong.stdout.contains("the preshared key differs"),
                "{wrong:?}"
            );
            assert_eq!(responder.task.await.unwrap(), 2);
        },
    );
}

#[test]
fn silence_ends_within_five_seconds_and_a_closed_port_at_once() {
    inside(
        "handshake::silence_ends_within_five_seconds_and_a_closed_port_at_once",
        &[],
        async {
            let keys = Keys::new();
            let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let begun = std::time::Instant::now();
            let run = keys
                .handshake(silent.local_addr().unwrap().port(), true)
                .await;
            assert_eq!(run.code, 3, "{run:?}");
            assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
            let mut buffer = [0; 2048];
            let mut initiations = 0;
            while let Ok((length, _)) = silent.try_recv_from(&mut buffer) {
                assert_eq!((length, buffer[0]), (148, 1));
                initiations += 1;
            }
            assert_eq!(initiations, 3);
            let closed = keys.handshake(9, true).await;
            assert_eq!(closed.code, 1, "{closed:?}");
            assert!(closed.stdout.contains("port unreachable"), "{closed:?}");
        },
    );
}

#[test]
fn the_key_of_a_device_of_this_node_is_refused_before_anything_is_sent() {
    inside(
        "handshake::the_key_of_a_device_of_this_node_is_refused_before_anything_is_sent",
        &["wireguard-go", "wg"],
        async {
            let keys = Keys::new();
            let own = keys.path("own").display().to_string();
            let mut daemon = device(&format!("private-key {own}"));
            let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let run = keys
                .handshake(silent.local_addr().unwrap().port(), true)
                .await;
            assert_eq!(run.code, 2, "{run:?}");
            assert!(run.stderr.contains("wg0 of this node"), "{run:?}");
            assert!(
                silent.try_recv_from(&mut [0; 2048]).is_err(),
                "nothing was sent"
            );
            daemon.kill().await.unwrap();
        },
    );
}

#[test]
fn wireguard_go_answers_and_its_session_is_left_alone() {
    inside(
        "handshake::wireguard_go_answers_and_its_session_is_left_alone",
        &["wireguard-go", "wg"],
        async {
            let keys = Keys::new();
            fs::write(keys.path("peer"), base64(PEER)).unwrap();
            let mut daemon = device(&format!(
                "private-key {} listen-port 51820 peer {} preshared-key {} allowed-ips 192.0.2.1/32",
                keys.path("peer").display(),
                public(OWN),
                keys.path("psk").display()
            ));
            sh("ip link set wg0 up");
            let run = keys.handshake(51820, true).await;
            assert_eq!(run.code, 0, "{run:?}");
            // It took one initiation and answered it; nothing confirmed the session, so it never used it.
            sh(
                "wg show wg0 transfer | grep -q '148\t92$'; wg show wg0 latest-handshakes | grep -q '\t0$'",
            );
            daemon.kill().await.unwrap();
        },
    );
}

#[test]
fn a_device_that_cannot_be_read_forbids_the_handshake() {
    inside(
        "handshake::a_device_that_cannot_be_read_forbids_the_handshake",
        &[],
        async {
            let keys = Keys::new();
            fs::create_dir("/run/wireguard").unwrap();
            let mute = UnixListener::bind("/run/wireguard/wg9.sock").unwrap();
            let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let port = silent.local_addr().unwrap().port();
            let run = keys.handshake(port, true).await;
            assert_eq!(run.code, 2, "{run:?}");
            assert!(run.stderr.contains("WireGuard device wg9"), "{run:?}");
            assert!(run.stderr.contains("help: run it where"), "{run:?}");
            assert!(
                silent.try_recv_from(&mut [0; 2048]).is_err(),
                "nothing was sent"
            );
            drop(mute);
        },
    );
}

#[tokio::test]
async fn keys_that_are_none_are_usage_errors() {
    let keys = Keys::new();
    fs::write(keys.path("own"), "not a key").unwrap();
    let run = keys.handshake(9, false).await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.stderr.contains("expected base64 of 32 bytes"),
        "{run:?}"
    );
    fs::write(keys.path("own"), base64(PEER)).unwrap();
    assert_eq!(keys.handshake(9, false).await.code, 2);
}

#[test]
fn silence_of_a_handshake_lists_what_it_can_mean() {
    let silent = HandshakeTest {
        asked: Asked {
            host: "vps-1".to_owned(),
            address: "203.0.113.11".parse().unwrap(),
            marking: Marking::Unmarked,
        },
        port: 51820,
        peer_key: public(PEER),
        own_key: public(OWN),
        with_preshared_key: false,
        initiations: 3,
        outcome: Outcome::Silent { within_ms: 4500 },
    };
    assert_snapshot!(facts(&silent, Style::default()));
}
