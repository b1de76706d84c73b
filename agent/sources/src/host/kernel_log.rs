//! The few lines of the kernel's log that say something of tunnels. No other line is kept or told.

use std::fs::File;

use evidence::ComplaintKind;
use rustix::{
    fs::{Mode, OFlags, SeekFrom, open, seek},
    io::{Errno, read},
};

const DEVICE: &str = "/dev/kmsg";
/// Longest record that the kernel hands out, its dictionary included (`CONSOLE_EXT_LOG_MAX`).
const RECORD: usize = 8192;
/// Records in one look, so that a log that is written without end holds up nobody.
const RECORDS: usize = 1024;
/// Bytes of a link's name.
const LINK_NAME: usize = 15;

/// A recognised line: what it is about, and the link that it names.
pub type Line = (ComplaintKind, Option<String>);

/// The log from now on.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
}

impl KernelLog {
    /// Opens the log behind its last record. The kernel may keep it to whoever has `CAP_SYSLOG` (`dmesg_restrict`).
    pub fn open() -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(open(DEVICE, flags, Mode::empty()).ok()?);
        seek(&file, SeekFrom::End(0)).ok()?;
        Some(Self { file })
    }

    /// The lines since the last look; `None` if the log cannot be read any more.
    pub fn lines(&mut self) -> Option<Vec<Line>> {
        let mut lines = Vec::new();
        let mut buffer = [0; RECORD];
        for _ in 0..RECORDS {
            match read(&self.file, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => break,
                Ok(length) => lines.extend(buffer.get(..length).and_then(recognise)),
                // Older records were overwritten before they were read, or a signal came.
                Err(Errno::PIPE | Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        Some(lines)
    }
}

/// `priority,number,time,flags;text`, then lines of a dictionary. What user space wrote has another facility than the kernel's 0.
pub(crate) fn recognise(record: &[u8]) -> Option<Line> {
    let text = str::from_utf8(record).ok()?;
    let (head, text) = text.lines().next()?.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    if priority >> 3 != 0 {
        return None;
    }
    if let Some(rest) = text.strip_prefix("Dead loop on virtual device ") {
        let (link, _) = rest.split_once(',')?;
        return Some((ComplaintKind::DeadLoop, Some(named(link)?)));
    }
    let rest = text.strip_prefix("UDP: bad checksum. From ")?;
    let (_, to) = rest.split_once(" to ")?;
    let to = to.split_ascii_whitespace().next()?;
    to.ends_with(":8472")
        .then_some((ComplaintKind::OverlayChecksum, None))
}

fn named(link: &str) -> Option<String> {
    let plain = (1..=LINK_NAME).contains(&link.len())
        && link.chars().all(|letter| letter.is_ascii_graphic());
    plain.then(|| link.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_kernel_that_matter_are_recognised_and_no_others() {
        let dead = b"2,4711,99,-;Dead loop on virtual device cilium_vxlan, fix it urgently!\n SUBSYSTEM=net\n";
        let expected = (ComplaintKind::DeadLoop, Some("cilium_vxlan".to_owned()));
        assert_eq!(recognise(dead), Some(expected));
        let sum = b"7,1,2,-;UDP: bad checksum. From 10.0.0.1:4789 to 10.0.0.2:8472 ulen 58\n";
        assert_eq!(recognise(sum), Some((ComplaintKind::OverlayChecksum, None)));
        let other_port = b"7,1,2,-;UDP: bad checksum. From 10.0.0.1:8472 to 10.0.0.2:53 ulen 58\n";
        let of_user = b"12,1,2,-;Dead loop on virtual device eth0, fix it urgently!\n";
        let too_long = b"2,1,2,-;Dead loop on virtual device aaaaaaaaaaaaaaaaaaaa, fix it\n";
        let secret = b"6,1,2,-;my password is swordfish\n";
        for odd in [
            &other_port[..],
            of_user,
            too_long,
            secret,
            b"",
            b";",
            b"\xff,1;x",
        ] {
            assert_eq!(recognise(odd), None, "{}", String::from_utf8_lossy(odd));
        }
    }

    #[test]
    fn a_log_that_may_be_read_is_read_to_its_end_without_waiting() {
        if let Some(mut log) = KernelLog::open() {
            assert!(log.lines().is_some());
        }
    }
}
