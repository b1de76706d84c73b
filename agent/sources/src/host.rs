//! Facts about the host and this process: name, boot, clocks, memory, rights, what tells the machine from a clone, and what its
//! network stack counts.

pub mod identity;
pub mod kernel_log;
pub mod network;
pub mod offload;

use std::{fs, io, time::Duration};

use rustix::{
    param::page_size,
    system::uname,
    time::{ClockId, Timespec, clock_gettime},
};
use thiserror::Error;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const STATM: &str = "/proc/self/statm";
const STATUS: &str = "/proc/self/status";

const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_NET_RAW: u64 = 1 << 13;

/// Why a fact of the host is missing.
#[derive(Debug, Error)]
pub enum HostError {
    /// The file could not be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The content is not what the kernel writes there.
    #[error("decode {path}: expected {what}")]
    Malformed {
        /// Which file.
        path: &'static str,
        /// What was expected.
        what: &'static str,
    },
    /// The kernel's node name is not text.
    #[error("read the host name: it is not UTF-8")]
    HostName,
}

impl HostError {
    /// What a person can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Read { .. } => "mount /proc where this process runs",
            Self::Malformed { .. } => "report it with the kernel version",
            Self::HostName => "give the node a host name of letters, digits and '-'",
        }
    }
}

/// Both clocks, read one right after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The wall clock since the Unix epoch, right or wrong; zero if it stands before the epoch.
    pub wall: Duration,
    /// Time since boot, sleep included (`CLOCK_BOOTTIME`): never set, never stepped.
    pub boot: Duration,
}

/// The rights this process has now (effective capabilities).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Raw and packet sockets.
    pub net_raw: bool,
    /// Reading `WireGuard`, and marked sockets.
    pub net_admin: bool,
}

/// The kernel's node name, as `uname -n` prints it.
pub fn hostname() -> Result<String, HostError> {
    let name = uname();
    let name = name.nodename().to_str().map_err(|_| HostError::HostName)?;
    Ok(name.to_owned())
}

/// A random text that lasts from boot to boot: another one means that the node was restarted.
pub fn boot_id() -> Result<String, HostError> {
    let text = read_file(BOOT_ID)?;
    let id = text.trim_end();
    let is_uuid = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !is_uuid {
        return Err(malformed(BOOT_ID, "a UUID"));
    }
    Ok(id.to_owned())
}

/// Reads the wall clock and the time since boot.
pub fn clocks() -> Clocks {
    Clocks {
        wall: duration(clock_gettime(ClockId::Realtime)),
        boot: duration(clock_gettime(ClockId::Boottime)),
    }
}

/// The resident memory of this process in bytes.
pub fn resident_memory() -> Result<u64, HostError> {
    let pages = resident_pages(&read_file(STATM)?)?;
    let page = u64::try_from(page_size()).unwrap_or(u64::MAX);
    Ok(pages.saturating_mul(page))
}

/// The effective capabilities of this process that matter here.
pub fn capabilities() -> Result<Capabilities, HostError> {
    effective(&read_file(STATUS)?)
}

fn read_file(path: &'static str) -> Result<String, HostError> {
    fs::read_to_string(path).map_err(|source| HostError::Read { path, source })
}

const fn malformed(path: &'static str, what: &'static str) -> HostError {
    HostError::Malformed { path, what }
}

fn duration(time: Timespec) -> Duration {
    let whole = u64::try_from(time.tv_sec).map(Duration::from_secs);
    let part = u64::try_from(time.tv_nsec).map(Duration::from_nanos);
    whole.unwrap_or_default() + part.unwrap_or_default()
}

/// The second number of `statm`.
fn resident_pages(statm: &str) -> Result<u64, HostError> {
    let second = statm.split_ascii_whitespace().nth(1);
    second
        .and_then(|text| text.parse().ok())
        .ok_or(malformed(STATM, "a number of resident pages"))
}

/// The hexadecimal mask in the line `CapEff:`.
fn effective(status: &str) -> Result<Capabilities, HostError> {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|text| u64::from_str_radix(text.trim(), 16).ok())
        .ok_or(malformed(STATUS, "CapEff with a hexadecimal mask"))?;
    Ok(Capabilities {
        net_raw: mask & CAP_NET_RAW != 0,
        net_admin: mask & CAP_NET_ADMIN != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tells_its_name_boot_memory_and_clocks() {
        assert!(!hostname().unwrap().is_empty());
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert!(resident_memory().unwrap() > 100_000);
        let first = clocks();
        assert!(first.wall > Duration::from_secs(1_600_000_000));
        assert!(first.boot <= clocks().boot);
    }

    #[test]
    fn capabilities_are_the_effective_ones() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000002000\n";
        let raw_only = Capabilities {
            net_raw: true,
            net_admin: false,
        };
        assert_eq!(effective(status).unwrap(), raw_only);
        assert!(capabilities().is_ok());
    }

    #[test]
    fn text_that_the_kernel_does_not_write_is_an_error() {
        assert!(matches!(
            effective("CapEff:\tzz"),
            Err(HostError::Malformed { .. })
        ));
        assert!(matches!(effective(""), Err(HostError::Malformed { .. })));
        assert!(matches!(
            resident_pages("12"),
            Err(HostError::Malformed { .. })
        ));
    }

    #[test]
    fn a_wall_clock_before_the_epoch_reads_as_zero() {
        let before = Timespec {
            tv_sec: -5,
            tv_nsec: 0,
        };
        assert_eq!(duration(before), Duration::ZERO);
    }
}
