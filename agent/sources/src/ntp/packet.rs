//! The 48 bytes of an NTP message (RFC 5905, section 7.3), as much of them as a client without state needs.
//!
//! A codec of our own: the message is one of fixed fields, and the crates for it bring a client with its own idea of time
//! and sockets.

use std::fmt;

use thiserror::Error;

/// Bytes of a message without extensions.
pub const LENGTH: usize = 48;

const VERSION: u8 = 4;
const MODE_CLIENT: u8 = 3;
const MODE_SERVER: u8 = 4;
/// The leap indicator of a clock that is not synchronized.
const LEAP_UNKNOWN: u8 = 3;
/// From here on a stratum says "not synchronized".
const STRATUM_MAX: u8 = 16;
/// Seconds from the first era of NTP to the Unix epoch.
const UNIX_EPOCH: i64 = 2_208_988_800;
/// Seconds of an era.
const ERA: i64 = 1 << 32;

/// What a server told, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its clock when the question came.
    pub received_micros: i64,
    /// Its clock when the answer left.
    pub sent_micros: i64,
    /// How far it may be from the clock of reference, by its own word: half of the root delay, and the root dispersion.
    pub distance_micros: u64,
    /// How many servers stand between.
    pub stratum: u8,
}

/// A server's word that it does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A kiss-o'-death with its code, such as `RATE` or `DENY`.
    Kiss([u8; 4]),
    /// It does not know the time itself; with its stratum.
    Unsynchronized(u8),
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Too short.
    #[error("{0} bytes, expected at least {LENGTH}")]
    Length(usize),
    /// Of a version that is none of 3 and 4.
    #[error("version {0}, expected 3 or 4")]
    Version(u8),
    /// Not what a server sends to a client.
    #[error("mode {0}, expected {MODE_SERVER}")]
    Mode(u8),
    /// It repeats not what was asked.
    #[error("it does not repeat what was asked")]
    NotOurs,
    /// It tells no time.
    #[error("it tells no time")]
    NoTime,
    /// Its two times cannot both be true.
    #[error("its times contradict each other")]
    Contradiction,
}

/// A question that an answer must repeat the nonce of.
pub fn question(nonce: u64) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[0] = (VERSION << 3) | MODE_CLIENT;
    bytes[40..].copy_from_slice(&nonce.to_be_bytes());
    bytes
}

/// Reads what may be the answer to the question with this nonce. What follows the 48 bytes is left alone.
pub fn read(bytes: &[u8], nonce: u64) -> Result<Result<Told, Refused>, PacketError> {
    let short = PacketError::Length(bytes.len());
    let message: &[u8; LENGTH] = bytes.first_chunk().ok_or(short)?;
    let [first, stratum, ..] = *message;
    let (leap, version, mode) = (first >> 6, (first >> 3) & 7, first & 7);
    if !(3..=VERSION).contains(&version) {
        return Err(PacketError::Version(version));
    }
    if mode != MODE_SERVER {
        return Err(PacketError::Mode(mode));
    }
    if field::<8>(message, 24) != nonce.to_be_bytes() {
        return Err(PacketError::NotOurs);
    }
    if stratum == 0 {
        return Ok(Err(Refused::Kiss(field(message, 12))));
    }
    if leap == LEAP_UNKNOWN || stratum >= STRATUM_MAX {
        return Ok(Err(Refused::Unsynchronized(stratum)));
    }
    told(message, stratum).map(Ok)
}

fn told(message: &[u8; LENGTH], stratum: u8) -> Result<Told, PacketError> {
    let delay = short_micros(field(message, 4));
    let dispersion = short_micros(field(message, 8));
    Ok(Told {
        received_micros: micros(field(message, 32)).ok_or(PacketError::NoTime)?,
        sent_micros: micros(field(message, 40)).ok_or(PacketError::NoTime)?,
        distance_micros: delay / 2 + dispersion,
        stratum,
    })
}

/// `N` bytes from a place that the length of the message has room for.
fn field<const N: usize>(message: &[u8; LENGTH], at: usize) -> [u8; N] {
    let bytes = message.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().unwrap_or([0; N])
}

/// 16 bits of seconds and 16 of their fraction.
fn short_micros(bytes: [u8; 4]) -> u64 {
    (u64::from(u32::from_be_bytes(bytes)) * 1_000_000) >> 16
}

/// 32 bits of seconds since 1900 or, without the highest bit, since 2036 (RFC 4330, section 3), and 32 of their fraction.
/// All zero is no time.
fn micros(bytes: [u8; 8]) -> Option<i64> {
    let both = u64::from_be_bytes(bytes);
    if both == 0 {
        return None;
    }
    let [a, b, c, d, rest @ ..] = bytes;
    let seconds = i64::from(u32::from_be_bytes([a, b, c, d]));
    let fraction = (u64::from(u32::from_be_bytes(rest)) * 1_000_000) >> 32;
    let era = if a & 0x80 == 0 { ERA } else { 0 };
    let whole = (seconds + era - UNIX_EPOCH) * 1_000_000;
    whole.checked_add_unsigned(fraction)
}

impl fmt::Display for Refused {
    /// Only letters and digits of a kiss code are shown: it comes from outside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kiss(code) => {
                let letter = |byte: &u8| {
                    let letter = char::from(*byte);
                    if letter.is_ascii_alphanumeric() {
                        letter
                    } else {
                        '?'
                    }
                };
                let code: String = code.iter().map(letter).collect();
                write!(f, "kiss code {code}")
            }
            Self::Unsynchronized(stratum) => write!(f, "not synchronized, stratum {stratum}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: u64 = 0x0123_4567_89ab_cdef;

    /// An answer of the year 2023: 1,700,000,000 seconds after the epoch, and a half.
    fn answer() -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0] = (VERSION << 3) | MODE_SERVER;
        bytes[1] = 2;
        bytes[4..8].copy_from_slice(&[0, 0, 0x80, 0]);
        bytes[8..12].copy_from_slice(&[0, 1, 0, 0]);
        bytes[24..32].copy_from_slice(&NONCE.to_be_bytes());
        let seconds = u32::try_from(1_700_000_000 + UNIX_EPOCH).unwrap();
        for at in [32, 40] {
            bytes[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
            bytes[at + 4] = 0x80;
        }
        bytes
    }

    fn with(at: usize, value: u8) -> Result<Result<Told, Refused>, PacketError> {
        let mut bytes = answer();
        bytes[at] = value;
        read(&bytes, NONCE)
    }

    #[test]
    fn an_answer_tells_time_and_how_far_the_server_may_be_off() {
        let told = read(&answer(), NONCE).unwrap().unwrap();
        assert_eq!(told.sent_micros, 1_700_000_000_500_000);
        assert_eq!(told.received_micros, told.sent_micros);
        // Half of half a second on the way to its reference, and a second that it does not know.
        assert_eq!((told.distance_micros, told.stratum), (1_250_000, 2));
    }

    #[test]
    fn each_way_to_be_no_answer_has_its_error() {
        assert_eq!(read(&answer()[1..], NONCE), Err(PacketError::Length(47)));
        assert_eq!(read(&answer(), NONCE + 1), Err(PacketError::NotOurs));
        assert_eq!(with(0, (2 << 3) | 4), Err(PacketError::Version(2)));
        assert_eq!(with(0, (4 << 3) | 5), Err(PacketError::Mode(5)));
        let question = question(NONCE);
        assert_eq!(read(&question, NONCE), Err(PacketError::Mode(3)));
        let mut timeless = answer();
        timeless[40..].fill(0);
        assert_eq!(read(&timeless, NONCE), Err(PacketError::NoTime));
    }

    #[test]
    fn a_server_that_does_not_tell_says_so_in_two_ways() {
        assert_eq!(
            with(0, (3 << 6) | (4 << 3) | 4),
            Ok(Err(Refused::Unsynchronized(2)))
        );
        assert_eq!(with(1, 16), Ok(Err(Refused::Unsynchronized(16))));
        let mut kiss = answer();
        kiss[1] = 0;
        kiss[12..16].copy_from_slice(b"RATE");
        let refused = read(&kiss, NONCE).unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "kiss code RATE");
        let wild = Refused::Kiss(*b"\x1b[2J");
        assert_eq!(wild.to_string(), "kiss code ??2J");
    }

    #[test]
    fn the_second_era_begins_in_2036() {
        assert_eq!(
            micros([0, 0, 0, 1, 0, 0, 0, 0]),
            Some(2_085_978_497_000_000)
        );
        assert_eq!(
            micros([0x80, 0, 0, 0, 0, 0, 0, 0]),
            Some(-61_505_152_000_000)
        );
    }

    #[test]
    fn a_question_says_nothing_of_who_asks() {
        let bytes = question(NONCE);
        assert_eq!(bytes[0], 0x23);
        assert!(bytes[1..40].iter().all(|byte| *byte == 0));
    }
}
