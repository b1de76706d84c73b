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
pub(super) fn device(interface: &str, reply: &[u8]) -> Result<Device, WireGuardError> {
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
pub(super) fn preshared_key(interface: &str, reply: &[u8]) -> Result<Key, WireGuardError> {
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
