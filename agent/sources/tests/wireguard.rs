//! Readings of a real userspace device, compared with what `wg` says about it.

mod namespace;

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use namespace::{BOUND, inside, sh};
use sources::{
    Gap, READ_TIMEOUT,
    wireguard::{Backend, Device, Peer, WireGuardError, preshared_key, read},
};

const TOOLS: &[&str] = &["wireguard-go", "wg"];

/// Waits until `condition` gives a value.
async fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < BOUND, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A wireguard-go daemon that ends with this value.
struct Daemon(Child);

impl Daemon {
    /// Starts the daemon of a new device and waits for its socket.
    async fn start(interface: &str) -> Self {
        let daemon = Command::new("wireguard-go")
            .args(["-f", interface])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let daemon = Self(daemon.expect("wireguard-go starts"));
        let socket = format!("/run/wireguard/{interface}.sock");
        until("the daemon has a socket", || {
            Path::new(&socket).exists().then_some(())
        })
        .await;
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Killed rather than asked, so that the socket file stays behind: one test needs that.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// `kubespan` with a live session to `far` over loopback, and 31 silent peers with 6 allowed IPs each.
async fn live_pair() -> [Daemon; 2] {
    let daemons = [Daemon::start("kubespan").await, Daemon::start("far").await];
    sh("
        cd /run; umask 077
        wg genkey > near.key; wg pubkey < near.key > near.pub
        wg genkey > far.key; wg pubkey < far.key > far.pub
        wg genpsk > mesh.psk
        wg set far listen-port 51821 private-key far.key \\
            peer $(cat near.pub) preshared-key mesh.psk allowed-ips fd00::1/128
        wg set kubespan listen-port 51820 fwmark 0x20 private-key near.key \\
            peer $(cat far.pub) preshared-key mesh.psk endpoint 127.0.0.1:51821 \\
            allowed-ips fd00::2/128,10.1.0.0/16 persistent-keepalive 25
        for p in $(seq 1 31); do
            wg set kubespan peer $(wg genkey | wg pubkey) preshared-key mesh.psk \\
                allowed-ips 10.2.$p.0/28,10.2.$p.16/28,10.2.$p.32/28,fd00:$p::/64,fd00:$p:1::/64,fd00:$p:2::1/128
        done
        ip link set far up; ip link set kubespan up
    ");
    until("the two devices have a session", || {
        sh("wg show kubespan latest-handshakes")
            .lines()
            .any(|l| !l.ends_with("\t0"))
            .then_some(())
    })
    .await;
    daemons
}

/// Our reading in the words of `wg show <interface> dump`, secrets left out.
fn as_wg_says(device: &Device) -> String {
    let none = || "(none)".to_owned();
    let off = |text: Option<String>| text.unwrap_or_else(|| "off".to_owned());
    let mark = off((device.fwmark != 0).then(|| format!("{:#x}", device.fwmark)));
    let own = device.public_key.map_or_else(none, |key| key.to_string());
    let mut lines = vec![format!("{own}\t{}\t{mark}", device.listen_port)];
    lines.extend(device.peers.iter().map(|peer: &Peer| {
        let endpoint = peer.endpoint.map_or_else(none, |e| e.to_string());
        let allowed: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        let handshake = peer.last_handshake.map_or(0, |time| time.as_secs());
        let keepalive = off(peer.keepalive.map(|seconds| seconds.to_string()));
        let (key, allowed) = (peer.public_key, allowed.join(","));
        let (rx, tx) = (peer.rx_bytes, peer.tx_bytes);
        format!("{key}\t{endpoint}\t{allowed}\t{handshake}\t{rx}\t{tx}\t{keepalive}")
    }));
    sorted(lines)
}

/// wireguard-go gives its peers in another order each time.
fn sorted(mut lines: Vec<String>) -> String {
    lines.sort_unstable();
    lines.join("\n")
}

/// The same words from `wg` itself: without the private key of the device and the preshared keys of the peers.
fn wg_says(interface: &str) -> String {
    let dump = sh(&format!("wg show {interface} dump"));
    let without = |(number, line): (usize, &str)| {
        let secret = usize::from(number > 0);
        let fields = line.split('\t').enumerate();
        let kept: Vec<_> = fields
            .filter(|(at, _)| *at != secret)
            .map(|(_, f)| f)
            .collect();
        kept.join("\t")
    };
    sorted(dump.lines().enumerate().map(without).collect())
}

#[test]
fn a_reading_says_field_by_field_what_wg_says() {
    inside("a_reading_says_field_by_field_what_wg_says", TOOLS, async {
        let _daemons = live_pair().await;
        for interface in ["kubespan", "far"] {
            // A packet between the two readings may move a counter, so the reading must match one of its neighbours.
            let before = wg_says(interface);
            let device = read(interface).await.unwrap();
            let after = wg_says(interface);
            let ours = as_wg_says(&device);
            assert!(ours == before || ours == after, "{ours}\n\nwg:\n{after}");
            assert_eq!(device.source, Backend::Userspace);
            assert!(device.is_complete());
            assert!(
                device
                    .peers
                    .iter()
                    .any(|peer| peer.last_handshake.is_some())
            );
        }
    });
}

#[test]
fn reading_changes_nothing_on_the_device() {
    inside("reading_changes_nothing_on_the_device", TOOLS, async {
        let _daemons = live_pair().await;
        sh("wg set kubespan peer $(cat /run/far.pub) persistent-keepalive 0");
        let dump = || sorted(sh("wg show all dump").lines().map(str::to_owned).collect());
        let before = dump();
        for _ in 0..50 {
            read("kubespan").await.unwrap();
            preshared_key("kubespan").await.unwrap();
        }
        assert_eq!(dump(), before);
    });
}

#[test]
fn the_mesh_key_is_the_preshared_key_that_wg_shows() {
    inside(
        "the_mesh_key_is_the_preshared_key_that_wg_shows",
        TOOLS,
        async {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let _daemons = live_pair().await;
            let key = preshared_key("kubespan").await.unwrap();
            assert_eq!(STANDARD.encode(*key), sh("cat /run/mesh.psk").trim());
            sh("wg genpsk > /run/other.psk
            wg set far peer $(wg genkey | wg pubkey) preshared-key /run/other.psk");
            let error = preshared_key("far").await.unwrap_err();
            assert!(matches!(
                error,
                WireGuardError::DifferentPresharedKeys { .. }
            ));
        },
    );
}

#[test]
fn a_device_without_keys_or_peers_is_read_as_such() {
    inside(
        "a_device_without_keys_or_peers_is_read_as_such",
        TOOLS,
        async {
            let _daemon = Daemon::start("kubespan").await;
            let device = read("kubespan").await.unwrap();
            assert_eq!((device.public_key, device.peers.len()), (None, 0));
            let error = preshared_key("kubespan").await.unwrap_err();
            assert!(matches!(error, WireGuardError::NoPeers { .. }));
            sh("wg set kubespan peer $(wg genkey | wg pubkey)");
            let error = preshared_key("kubespan").await.unwrap_err();
            assert!(matches!(error, WireGuardError::NoPresharedKey { .. }));
        },
    );
}

#[test]
fn a_socket_whose_daemon_died_is_told_apart_from_a_missing_device() {
    inside(
        "a_socket_whose_daemon_died_is_told_apart_from_a_missing_device",
        TOOLS,
        async {
            drop(Daemon::start("kubespan").await);
            let error = read("kubespan").await.unwrap_err();
            assert!(
                matches!(error, WireGuardError::DaemonGone { .. }),
                "{error:?}"
            );
            assert!(
                Path::new("/run/wireguard/kubespan.sock").exists(),
                "we must not tidy up"
            );
            fs::remove_file("/run/wireguard/kubespan.sock").unwrap();
            let error = read("kubespan").await.unwrap_err();
            assert!(
                matches!(error, WireGuardError::NoSuchInterface { .. }),
                "{error:?}"
            );
            let error = read("lo").await.unwrap_err();
            let other_kind = matches!(
                error,
                WireGuardError::NoFamilyNoSocket { .. } | WireGuardError::NotWireGuard { .. }
            );
            assert!(other_kind, "{error:?}");
        },
    );
}

/// A daemon of the test's own: answers the first caller with `reply` again and again, or never if it is empty.
fn false_daemon(interface: &str, reply: &'static [u8]) {
    let listener = UnixListener::bind(format!("/run/wireguard/{interface}.sock"));
    let listener = listener.expect("nobody else has this socket");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the reader connects");
        while !reply.is_empty() && stream.write_all(reply).is_ok() {}
        // Holds the connection open until the caller gives up.
        stream.read_to_end(&mut Vec::new()).ok();
    });
}

#[test]
fn a_daemon_that_hangs_costs_no_more_than_the_bound() {
    inside(
        "a_daemon_that_hangs_costs_no_more_than_the_bound",
        &[],
        async {
            false_daemon("hung", b"");
            let start = Instant::now();
            let error = read("hung").await.unwrap_err();
            assert!(
                matches!(error, WireGuardError::TimedOut { .. }),
                "{error:?}"
            );
            assert!(start.elapsed() < READ_TIMEOUT + Duration::from_secs(1));
            assert!(Gap::from(&error).reason.contains("no answer within 2s"));
        },
    );
}

#[test]
fn a_daemon_that_never_stops_talking_is_cut_off() {
    inside("a_daemon_that_never_stops_talking_is_cut_off", &[], async {
        false_daemon("endless", b"rx_bytes=1\n");
        let error = read("endless").await.unwrap_err();
        assert!(
            matches!(error, WireGuardError::TooLarge { .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_name_that_is_no_interface_name_is_never_used_as_a_path() {
    inside(
        "a_name_that_is_no_interface_name_is_never_used_as_a_path",
        &[],
        async {
            for name in ["", ".", "..", "../x", "a b", "sixteen-letters-", "é"] {
                let error = read(name).await.unwrap_err();
                assert!(
                    matches!(error, WireGuardError::BadInterfaceName { .. }),
                    "{name}"
                );
            }
        },
    );
}
