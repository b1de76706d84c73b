//! The userspace text protocol: the reply to `get=1` as a [`Device`] or as the key that its peers share.
//!
//! A reply is lines of `key=value`: first the device, then one block per peer that starts with `public_key`, then
//! `errno`, then an empty line. Keys that are not known are skipped, as new daemons may add some.

use std::time::Duration;

use evidence::PublicKey;
use zeroize::Zeroizing;

use super::{
    assembly::Assembly,
    device::{AllowedIp, Backend, Device, Peer},
    error::WireGuardError,
    secrets::{self, Agreement, Key},
};

/// Reads a device out of a whole reply. Private and preshared keys do not leave this function.
pub(crate) fn device(interface: &str, reply: &[u8]) -> Result<Device, WireGuardError> {
    let mut assembly = Assembly::new(Backend::Userspace);
    let mut current: Option<Peer> = None;
    each_line(interface, reply, |key, value| {
        if key == "public_key" {
            let next = Peer::new(parse_public_key(value)?);
            if let Some(finished) = current.replace(next) {
                assembly.merge(finished);
            }
            return Ok(());
        }
        match &mut current {
            None => device_line(&mut assembly.device, key, value),
            Some(peer) => peer_line(peer, key, value),
        }
    })?;
    if let Some(last) = current {
        assembly.merge(last);
    }
    Ok(assembly.finish())
}

/// The preshared key that all peers in a whole reply share.
pub(crate) fn preshared_key(interface: &str, reply: &[u8]) -> Result<Key, WireGuardError> {
    let mut agreement = Agreement::default();
    let mut current = None;
    each_line(interface, reply, |key, value| {
        match (key, current) {
            ("public_key", _) => {
                let peer = parse_public_key(value)?;
                agreement.peer(peer);
                current = Some(peer);
            }
            ("preshared_key", Some(peer)) => {
                agreement.preshared_key(peer, &*parse_key(value)?);
            }
            _ => {}
        }
        Ok(())
    })?;
    agreement.finish(interface)
}

type Line = Result<(), &'static str>;

/// Hands over each line before `errno`, and requires that the reply ends with `errno=0`.
fn each_line(
    interface: &str,
    reply: &[u8],
    mut each: impl FnMut(&str, &str) -> Line,
) -> Result<(), WireGuardError> {
    let mut line = 0;
    for text in reply.split(|byte| *byte == b'\n') {
        line += 1;
        let malformed = |what| WireGuardError::Malformed { line, what };
        let text = std::str::from_utf8(text).map_err(|_| malformed("UTF-8 text"))?;
        if text.is_empty() {
            break;
        }
        let (key, value) = text.split_once('=').ok_or_else(|| malformed("key=value"))?;
        if key == "errno" {
            let errno = value.parse().map_err(|_| malformed("errno is a number"))?;
            return verdict(interface, errno);
        }
        each(key, value).map_err(malformed)?;
    }
    let what = "the reply ends with errno";
    Err(WireGuardError::Malformed { line, what })
}

fn verdict(interface: &str, errno: i64) -> Result<(), WireGuardError> {
    if errno == 0 {
        return Ok(());
    }
    Err(WireGuardError::DaemonRefused {
        interface: interface.to_owned(),
        errno,
    })
}

fn device_line(device: &mut Device, key: &str, value: &str) -> Line {
    match key {
        "private_key" => device.public_key = secrets::public_key(&parse_key(value)?),
        // boringtun shows its public key and keeps the private one to itself.
        "own_public_key" => device.public_key = Some(parse_public_key(value)?),
        "listen_port" => device.listen_port = number(value, "listen_port is a port")?,
        "fwmark" => device.fwmark = number(value, "fwmark is a number of 32 bits")?,
        _ => {}
    }
    Ok(())
}

fn peer_line(peer: &mut Peer, key: &str, value: &str) -> Line {
    match key {
        "endpoint" => {
            let endpoint = value.parse();
            peer.endpoint = Some(endpoint.map_err(|_| "endpoint is address:port")?);
        }
        "allowed_ip" => {
            let allowed: Result<AllowedIp, _> = value.parse();
            let allowed = allowed.map_err(|_| "allowed_ip is address/prefix length")?;
            peer.allowed_ips.push(allowed);
        }
        "last_handshake_time_sec" => {
            let seconds = number(value, "last_handshake_time_sec is a number")?;
            add_handshake(peer, Duration::from_secs(seconds));
        }
        "last_handshake_time_nsec" => {
            let nanos: u32 = number(value, "last_handshake_time_nsec is a number")?;
            add_handshake(peer, Duration::from_nanos(nanos.into()));
        }
        "rx_bytes" => peer.rx_bytes = number(value, "rx_bytes is a number")?,
        "tx_bytes" => peer.tx_bytes = number(value, "tx_bytes is a number")?,
        "persistent_keepalive_interval" => {
            let seconds = number(value, "persistent_keepalive_interval is a number")?;
            peer.keepalive = (seconds != 0).then_some(seconds);
        }
        _ => {}
    }
    Ok(())
}

/// Seconds and nanoseconds come in two lines, in either order; both zero means never.
fn add_handshake(peer: &mut Peer, part: Duration) {
    if !part.is_zero() {
        let sum = peer.last_handshake.unwrap_or_default().saturating_add(part);
        peer.last_handshake = Some(sum);
    }
}

fn number<T: std::str::FromStr>(value: &str, what: &'static str) -> Result<T, &'static str> {
    value.parse().map_err(|_| what)
}

fn parse_key(value: &str) -> Result<Zeroizing<[u8; 32]>, &'static str> {
    secrets::from_hex(value).ok_or("a key is 64 hexadecimal digits")
}

fn parse_public_key(value: &str) -> Result<PublicKey, &'static str> {
    Ok(PublicKey::from_bytes(*parse_key(value)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shape of a reply of wireguard-go 0.0.20220316 with one peer that never shook hands and one that did.
    /// The private key is the one of the public test vector in Talos' identity test.
    const REPLY: &str = "\
private_key=b05e39bb978f6aee7c59e782518dd3f03f5fa0429a43c3a9c787060bc8385c4e
listen_port=51820
fwmark=32
public_key=1111111111111111111111111111111111111111111111111111111111111111
preshared_key=7777777777777777777777777777777777777777777777777777777777777777
protocol_version=1
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=148
rx_bytes=0
persistent_keepalive_interval=25
allowed_ip=10.244.3.0/25
allowed_ip=fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169/128
public_key=2222222222222222222222222222222222222222222222222222222222222222
preshared_key=7777777777777777777777777777777777777777777777777777777777777777
protocol_version=1
endpoint=[2001:db8::2]:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=5
tx_bytes=180
rx_bytes=92
persistent_keepalive_interval=0
some_new_key=1
errno=0

";

    fn malformed(reply: &str) -> (usize, &'static str) {
        match device("kubespan", reply.as_bytes()) {
            Err(WireGuardError::Malformed { line, what }) => (line, what),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_reply_becomes_a_device() {
        let device = device("kubespan", REPLY.as_bytes()).unwrap();
        let own = device.public_key.unwrap().to_string();
        assert_eq!(own, "Oak2fBEWngBhwslBxDVgnRNHXs88OAp4kjroSX0uqUE=");
        assert_eq!((device.listen_port, device.fwmark), (51820, 0x20));
        assert_eq!(device.source, Backend::Userspace);
        let [quiet, live] = &device.peers[..] else {
            panic!("{device:?}")
        };
        assert_eq!((quiet.endpoint, quiet.last_handshake), (None, None));
        assert_eq!((quiet.tx_bytes, quiet.rx_bytes), (148, 0));
        assert_eq!(quiet.keepalive, Some(25));
        assert_eq!(quiet.allowed_ips.len(), 2);
        assert_eq!(live.endpoint, Some("[2001:db8::2]:51820".parse().unwrap()));
        assert_eq!(live.last_handshake, Some(Duration::new(1_700_000_000, 5)));
        assert_eq!(live.keepalive, None);
    }

    #[test]
    fn the_preshared_key_of_all_peers_is_the_mesh_key() {
        let key = preshared_key("kubespan", REPLY.as_bytes()).unwrap();
        assert_eq!(*key, [0x77; 32]);
    }

    #[test]
    fn a_peer_without_the_preshared_key_line_does_not_share_it() {
        let (before, after) = REPLY.rsplit_once("preshared_key=").unwrap();
        let (_, after) = after.split_once('\n').unwrap();
        let error = preshared_key("kubespan", format!("{before}{after}").as_bytes());
        let error = error.unwrap_err();
        assert!(matches!(
            error,
            WireGuardError::DifferentPresharedKeys { .. }
        ));
    }

    #[test]
    fn no_key_shows_in_the_debug_text_of_a_device_or_an_error() {
        let device = device("kubespan", REPLY.as_bytes()).unwrap();
        let broken = REPLY.replace("77", "xx");
        let error = preshared_key("kubespan", broken.as_bytes()).unwrap_err();
        for text in [format!("{device:?}"), format!("{error:?} {error}")] {
            assert!(!text.contains("7777") && !text.contains("xxxx"), "{text}");
            assert!(!text.contains("b05e39bb"), "{text}");
        }
    }

    #[test]
    fn a_device_without_a_private_key_has_no_public_key() {
        let zero = format!("private_key={}\nerrno=0\n\n", "0".repeat(64));
        for reply in [zero.as_str(), "errno=0\n\n"] {
            let device = device("kubespan", reply.as_bytes()).unwrap();
            assert_eq!(device.public_key, None);
        }
    }

    #[test]
    fn a_malformed_reply_is_refused_with_its_line() {
        assert_eq!(malformed("listen_port=99999\nerrno=0\n\n").0, 1);
        assert_eq!(
            malformed("fwmark=1\nnonsense\nerrno=0\n\n"),
            (2, "key=value")
        );
        assert_eq!(malformed("private_key=00\n").0, 1);
        assert_eq!(malformed("fwmark=1\n").1, "the reply ends with errno");
        assert_eq!(malformed("").1, "the reply ends with errno");
    }

    #[test]
    fn the_daemons_own_error_is_handed_on() {
        let error = device("kubespan", b"errno=-22\n\n").unwrap_err();
        assert!(matches!(
            error,
            WireGuardError::DaemonRefused { errno: -22, .. }
        ));
    }

    fn line() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec![
            "private_key",
            "public_key",
            "preshared_key",
            "endpoint",
            "allowed_ip",
            "errno",
            "last_handshake_time_sec",
            "last_handshake_time_nsec",
            "rx_bytes",
            "listen_port",
        ]);
        let value = prop_oneof![
            "[0-9a-f]{64}",
            any::<u64>().prop_map(|n| n.to_string()),
            Just("10.0.0.0/8".to_owned()),
            "\\PC{0,20}",
        ];
        (key, value).prop_map(|(key, value)| format!("{key}={value}\n"))
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(device("kubespan", &bytes));
            drop(preshared_key("kubespan", &bytes));
        }

        #[test]
        fn any_lines_are_read_or_refused(lines in prop::collection::vec(line(), 0..30)) {
            let text = lines.concat() + "errno=0\n\n";
            drop(device("kubespan", text.as_bytes()));
            drop(preshared_key("kubespan", text.as_bytes()));
        }
    }
}
