//! The outer packets of a host, as a packet socket sees them: `lab __tap` prints one line of JSON for each.

use std::{
    fs,
    io::{self, Write as _},
    net::Ipv4Addr,
    num::NonZeroU32,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket};
use serde::{Deserialize, Serialize};

use crate::{
    facts::pair::wait_until,
    lab::{Lab, LabError},
};

/// What the tap prints when it hears.
const READY: &str = "ready";
/// How long it may take to hear.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// Every kind of packet, sent ones too.
const ETH_P_ALL: u16 = 3;
const UDP: u8 = 17;
const UDP_HEADER: u16 = 8;
/// Largest packet that is looked at.
const MAX_PACKET: usize = 2048;
/// Most packets that one tap prints.
const MAX_PACKETS: usize = 10_000;
/// The ports of `WireGuard` in these measurements.
const PORTS: RangeInclusive<u16> = 51820..=51829;

/// An outer packet, or a fragment of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    pub at_ms: u64,
    pub from: Ipv4Addr,
    pub df: bool,
    pub fragment: bool,
    /// UDP payload as its header says, and its first byte, the type of `WireGuard`'s message. None in a later fragment.
    pub length: Option<u16>,
    pub kind: Option<u8>,
}

/// A tap that is running on a host.
#[derive(Debug)]
pub struct Tap {
    process: Child,
    file: PathBuf,
}

impl Tap {
    /// Hears from now on.
    pub fn start(lab: &Lab, host: &str) -> Result<Self, LabError> {
        let file = lab.log(host, "tap");
        forget(&file)?;
        let own = Path::new("/proc/self/exe");
        let process = lab.host(host)?.spawn(own, &["__tap"], &file)?;
        let tap = Self { process, file };
        wait_until("a tap that hears", host, READY_LIMIT, || {
            Ok(fs::read_to_string(&tap.file).is_ok_and(|text| text.starts_with(READY)))
        })?;
        Ok(tap)
    }

    /// What was heard until now.
    pub fn stop(mut self) -> Result<Vec<Packet>, LabError> {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        ended.map_err(LabError::io("stop", "a tap"))?;
        let text = fs::read_to_string(&self.file);
        let text = text.map_err(LabError::io("read", self.file.display()))?;
        // The last line may have been cut by the end of the process.
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }
}

/// `lab __tap`: prints until it is killed.
pub fn serve() -> Result<(), LabError> {
    let protocol = NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).map(Protocol::from_raw);
    let socket = socket(AddressFamily::PACKET, SocketType::DGRAM, protocol)
        .map_err(LabError::io("open", "a packet socket"))?;
    let begin = Instant::now();
    let mut out = io::stdout().lock();
    let mut buffer = [0; MAX_PACKET];
    writeln!(out, "{READY}").map_err(LabError::io("report", READY))?;
    let mut printed = 0;
    while printed < MAX_PACKETS {
        let (length, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())
            .map_err(LabError::io("read", "a packet socket"))?;
        let at_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if let Some(packet) = Packet::parse(at_ms, &buffer[..length]) {
            let line = serde_json::to_string(&packet).map_err(io::Error::from);
            let line = line.map_err(LabError::io("describe", "a packet"))?;
            writeln!(out, "{line}").map_err(LabError::io("report", "a packet"))?;
            printed += 1;
        }
    }
    Ok(())
}

/// A second tap on a host begins anew.
fn forget(file: &Path) -> Result<(), LabError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(LabError::io("remove", file.display())),
    }
}

impl Packet {
    /// Reads an IPv4 packet; none if it is something else or of no port of `WireGuard`.
    fn parse(at_ms: u64, bytes: &[u8]) -> Option<Self> {
        let first = *bytes.first()?;
        if first >> 4 != 4 || *bytes.get(9)? != UDP {
            return None;
        }
        let flags = word(bytes, 6)?;
        let from = Ipv4Addr::from(*bytes.get(12..)?.first_chunk::<4>()?);
        let df = flags & 0x4000 != 0;
        let (offset, more) = (flags & 0x1fff, flags & 0x2000 != 0);
        let header = usize::from(first & 0xf) * 4;
        if offset > 0 {
            return Some(Self {
                at_ms,
                from,
                df,
                fragment: true,
                length: None,
                kind: None,
            });
        }
        let ports = [word(bytes, header)?, word(bytes, header + 2)?];
        let length = word(bytes, header + 4)?.checked_sub(UDP_HEADER);
        ports
            .iter()
            .any(|port| PORTS.contains(port))
            .then_some(Self {
                at_ms,
                from,
                df,
                fragment: more,
                length,
                kind: bytes.get(header + usize::from(UDP_HEADER)).copied(),
            })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*two))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handshake response of 92 bytes, cut after its type; the flags are those of the IPv4 header.
    fn response(flags: u16) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 120, 0, 1, 0, 0, 64, UDP, 0, 0];
        bytes[6..8].copy_from_slice(&flags.to_be_bytes());
        bytes.extend([203, 0, 113, 11, 203, 0, 113, 12]);
        bytes.extend([0xca, 0x6c, 0xca, 0x6c, 0, 100, 0, 0, 2]);
        bytes
    }

    #[test]
    fn a_handshake_response_is_known_by_its_type_and_length() {
        let packet = Packet::parse(7, &response(0x4000)).unwrap();
        assert_eq!((packet.kind, packet.length), (Some(2), Some(92)));
        assert!(packet.df && !packet.fragment);
        assert_eq!(packet.from.to_string(), "203.0.113.11");
    }

    #[test]
    fn fragments_are_told_from_whole_packets() {
        assert!(Packet::parse(0, &response(0x2000)).unwrap().fragment);
        let later = Packet::parse(0, &response(0x0010)).unwrap();
        assert!(later.fragment && later.kind.is_none());
    }

    #[test]
    fn other_ports_and_cut_packets_are_no_packets_of_wireguard() {
        let mut other = response(0);
        other[20..24].copy_from_slice(&[0, 53, 0, 53]);
        assert_eq!(Packet::parse(0, &other), None);
        for length in 0..24 {
            assert_eq!(Packet::parse(0, &response(0)[..length]), None, "{length}");
        }
    }
}
