//! A userspace daemon's reply about its `WireGuard` device.

use std::fmt::Write as _;

use evidence::PublicKey;
use sources::{
    decode::{preshared_key_in_reply, wireguard_reply},
    wireguard::{Backend, Device, Peer},
};

use super::wireguard_dump::check;
use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "wireguard-reply",
    run,
    seeds,
};

/// So many digits of a key would be a leak and no coincidence.
const TELLING: usize = 16;

fn run(bytes: &[u8]) {
    let shared = preshared_key_in_reply(bytes);
    let read = wireguard_reply(bytes);
    let mut said = format!("{read:?}");
    if let Err(error) = &read {
        said += &error.to_string();
    }
    if let Err(error) = &shared {
        write!(said, "{error:?} {error}").expect("a string takes all that is written");
    }
    shows_no_key(bytes, &said);
    if let Ok(device) = read {
        check(&device);
        assert_eq!(device.source, Backend::Userspace);
        assert_eq!(
            wireguard_reply(reply(&device).as_bytes()).ok(),
            Some(device)
        );
    }
}

fn shows_no_key(bytes: &[u8], said: &str) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(line) = std::str::from_utf8(line) else {
            continue;
        };
        let secrets = ["private_key=", "preshared_key="].map(|key| line.strip_prefix(key));
        for secret in secrets
            .into_iter()
            .flatten()
            .filter(|text| text.len() >= TELLING)
        {
            assert!(!said.contains(secret), "a key is shown");
        }
    }
}

/// What a daemon with this device says.
fn reply(device: &Device) -> String {
    let mut lines = vec![
        format!("listen_port={}", device.listen_port),
        format!("fwmark={}", device.fwmark),
    ];
    let own = device.public_key.iter();
    lines.extend(own.map(|own| format!("own_public_key={}", hex(own))));
    lines.extend(device.peers.iter().flat_map(peer_lines));
    lines.push("errno=0\n\n".to_owned());
    lines.join("\n")
}

fn peer_lines(peer: &Peer) -> Vec<String> {
    let handshake = peer.last_handshake.unwrap_or_default();
    let mut lines = vec![
        format!("public_key={}", hex(&peer.public_key)),
        format!("last_handshake_time_sec={}", handshake.as_secs()),
        format!("last_handshake_time_nsec={}", handshake.subsec_nanos()),
        format!("rx_bytes={}", peer.rx_bytes),
        format!("tx_bytes={}", peer.tx_bytes),
        format!(
            "persistent_keepalive_interval={}",
            peer.keepalive.unwrap_or(0)
        ),
    ];
    lines.extend(peer.endpoint.map(|endpoint| format!("endpoint={endpoint}")));
    lines.extend(
        peer.allowed_ips
            .iter()
            .map(|allowed| format!("allowed_ip={allowed}")),
    );
    lines
}

fn hex(key: &PublicKey) -> String {
    let digits = key.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

fn seeds() -> Vec<Vec<u8>> {
    let [own, shared] = ["b05e", "7777"].map(|part| part.repeat(16));
    let peer = |digit: &str, more: &str| {
        format!(
            "public_key={}\npreshared_key={shared}\nprotocol_version=1\n{more}",
            digit.repeat(64)
        )
    };
    let live = "endpoint=[2001:db8::2]:51820\nlast_handshake_time_sec=1700000000\n\
        last_handshake_time_nsec=5\ntx_bytes=180\nrx_bytes=92\npersistent_keepalive_interval=25\n\
        allowed_ip=10.244.3.0/25\nallowed_ip=fd7f::1/128\n";
    let device = format!("private_key={own}\nlisten_port=51820\nfwmark=32\n");
    let whole = [
        &device,
        &peer("1", live),
        &peer("2", ""),
        &peer("1", live),
        "errno=0\n\n",
    ]
    .concat();
    let texts = [
        whole.clone(),
        whole.replace("7777", "77g7"),
        whole.replace("51820", "99999"),
        whole.replace("/25", "/33"),
        format!(
            "own_public_key={own}\n{}errno=0\n\n",
            peer("3", "endpoint=192.0.2.1:1\n")
        ),
        format!("{device}errno=-22\n\n"),
        device,
        "errno=0\n\n".to_owned(),
    ];
    texts.map(String::into_bytes).to_vec()
}
