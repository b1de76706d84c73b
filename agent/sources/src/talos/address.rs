//! Addresses, moments, texts and lists as Talos writes them into its resources.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use prost_types::Timestamp;
use upstream::talos::{NetIp, NetIpPort, NetIpPrefix};

use super::{ENTRIES, Malformed, TEXT};
use crate::wireguard::AllowedIp;

/// Bytes of an IPv6 zone: the name of a link.
const ZONE: usize = 16;

/// 4 or 16 bytes, or 16 and a zone, which is dropped; none is the zero value.
pub(super) fn ip(field: &'static str, ip: Option<&NetIp>) -> Result<Option<IpAddr>, Malformed> {
    ip.map_or(Ok(None), |ip| bytes(field, &ip.ip))
}

pub(super) fn ips(field: &'static str, list: &[NetIp]) -> Result<Vec<IpAddr>, Malformed> {
    all(field, list, |one| bytes(field, &one.ip))
}

/// An address and a port; none without an address.
pub(super) fn endpoint(
    field: &'static str,
    endpoint: Option<&NetIpPort>,
) -> Result<Option<SocketAddr>, Malformed> {
    endpoint.map_or(Ok(None), |endpoint| one_endpoint(field, endpoint))
}

pub(super) fn endpoints(
    field: &'static str,
    list: &[NetIpPort],
) -> Result<Vec<SocketAddr>, Malformed> {
    all(field, list, |one| one_endpoint(field, one))
}

pub(super) fn prefix(
    field: &'static str,
    prefix: Option<&NetIpPrefix>,
) -> Result<Option<AllowedIp>, Malformed> {
    prefix.map_or(Ok(None), |prefix| one_prefix(field, prefix))
}

pub(super) fn prefixes(
    field: &'static str,
    list: &[NetIpPrefix],
) -> Result<Vec<AllowedIp>, Malformed> {
    all(field, list, |one| one_prefix(field, one))
}

/// The wall-clock time since the Unix epoch; none for Go's zero time, which is that of what never happened.
pub(super) fn wall(time: Option<Timestamp>) -> Option<Duration> {
    let time = time?;
    let whole = u64::try_from(time.seconds)
        .ok()
        .filter(|seconds| *seconds > 0)?;
    let part = u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    Some(Duration::new(whole, part.unwrap_or_default()))
}

/// A text that can be shown to a person.
pub(super) fn text(field: &'static str, text: String) -> Result<String, Malformed> {
    if text.len() > TEXT || text.chars().any(char::is_control) {
        return Err(Malformed::new(
            field,
            "a short text without control characters",
        ));
    }
    Ok(text)
}

/// No more than a list may have.
pub(super) fn bounded<T>(field: &'static str, list: &[T]) -> Result<(), Malformed> {
    if list.len() > ENTRIES {
        return Err(Malformed::new(field, "at most 1024 entries"));
    }
    Ok(())
}

fn all<M, T>(
    field: &'static str,
    list: &[M],
    one: impl Fn(&M) -> Result<Option<T>, Malformed>,
) -> Result<Vec<T>, Malformed> {
    bounded(field, list)?;
    list.iter()
        .filter_map(|entry| one(entry).transpose())
        .collect()
}

fn bytes(field: &'static str, bytes: &[u8]) -> Result<Option<IpAddr>, Malformed> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Some(IpAddr::from(v4)));
    }
    match bytes.split_first_chunk::<16>() {
        Some((v6, zone)) if zone.len() <= ZONE => Ok(Some(Ipv6Addr::from(*v6).into())),
        _ => Err(Malformed::new(field, "4 or 16 bytes of an address")),
    }
}

fn one_endpoint(
    field: &'static str,
    endpoint: &NetIpPort,
) -> Result<Option<SocketAddr>, Malformed> {
    let port = u16::try_from(endpoint.port);
    let port = port.map_err(|_| Malformed::new(field, "a port of 16 bits"))?;
    Ok(bytes(field, &endpoint.ip)?.map(|ip| SocketAddr::new(ip, port)))
}

fn one_prefix(field: &'static str, prefix: &NetIpPrefix) -> Result<Option<AllowedIp>, Malformed> {
    let Some(address) = bytes(field, &prefix.ip)? else {
        return Ok(None);
    };
    u8::try_from(prefix.prefix_length)
        .ok()
        .and_then(|length| AllowedIp::new(address, length))
        .map(Some)
        .ok_or_else(|| Malformed::new(field, "a prefix no longer than its address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_4_or_16_bytes_and_a_zone_is_dropped() {
        assert_eq!(bytes("a", &[]), Ok(None));
        assert_eq!(
            bytes("a", &[192, 168, 3, 4]),
            Ok(Some([192, 168, 3, 4].into()))
        );
        let mut zoned = Ipv6Addr::LOCALHOST.octets().to_vec();
        zoned.extend(b"eth0");
        assert_eq!(bytes("a", &zoned), Ok(Some(Ipv6Addr::LOCALHOST.into())));
        zoned.extend([b'x'; 13]);
        assert!(bytes("a", &zoned).is_err());
        assert!(bytes("a", &[1; 5]).is_err());
    }

    #[test]
    fn a_prefix_is_no_longer_than_its_address_and_a_port_has_16_bits() {
        let prefix = |length| NetIpPrefix {
            ip: vec![10, 0, 0, 0],
            prefix_length: length,
        };
        assert!(one_prefix("p", &prefix(32)).is_ok());
        assert!(one_prefix("p", &prefix(33)).is_err());
        assert!(one_prefix("p", &prefix(-1)).is_err());
        let endpoint = |port| NetIpPort {
            ip: vec![10, 0, 0, 1],
            port,
        };
        assert!(one_endpoint("e", &endpoint(65_535)).is_ok());
        assert!(one_endpoint("e", &endpoint(65_536)).is_err());
    }

    #[test]
    fn the_zero_time_of_go_is_never() {
        let at = |seconds| wall(Some(Timestamp { seconds, nanos: 5 }));
        assert_eq!(at(-62_135_596_800), None);
        assert_eq!(wall(None), None);
        assert_eq!(at(7), Some(Duration::new(7, 5)));
    }

    #[test]
    fn one_entry_over_the_limit_and_a_text_with_an_escape_are_refused() {
        let list = vec![NetIp { ip: vec![1; 4] }; ENTRIES + 1];
        assert!(ips("a", &list).is_err());
        assert!(text("t", "\u{1b}[2J".to_owned()).is_err());
        assert!(text("t", "x".repeat(TEXT + 1)).is_err());
    }
}
