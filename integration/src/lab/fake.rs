//! Servers for scenarios that do not do what they should: time servers and resolvers.
//!
//! A step starts one with `$LAB __fake NAME ADDRESS >/dev/null 2>&1 &`; it ends with the lab. A closed port needs no server.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, UdpSocket},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::lab::LabError;

const NTP_PORT: u16 = 123;
const DNS_PORT: u16 = 53;
const TUNNEL_PORT: u16 = 51_820;
/// Bytes of an NTP message.
const MESSAGE: usize = 48;
/// Seconds from 1900, where NTP begins, to the Unix epoch.
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;
/// Datagrams that a flood answers one question with.
const FLOOD: usize = 10_000;
/// Response codes of the domain name system.
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// What a server does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fake {
    /// Tells the time, shifted if so asked.
    NtpAnswers,
    /// Says nothing.
    NtpSilent,
    /// Tells whoever asks to go away.
    NtpKiss,
    /// Says that it does not know the time.
    NtpUnsynchronized,
    /// Answers what is no NTP.
    NtpGarbage,
    /// Answers a question with thousands of datagrams that nobody asked for.
    NtpFlood,
    /// Knows no name.
    DnsNxdomain,
    /// Cannot find out.
    DnsServfail,
    /// Has the tunnel's port, and says nothing.
    TunnelPort,
}

impl Fake {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::NtpAnswers,
        Self::NtpSilent,
        Self::NtpKiss,
        Self::NtpUnsynchronized,
        Self::NtpGarbage,
        Self::NtpFlood,
        Self::DnsNxdomain,
        Self::DnsServfail,
        Self::TunnelPort,
    ];

    /// As scenarios name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NtpAnswers => "ntp-answers",
            Self::NtpSilent => "ntp-silent",
            Self::NtpKiss => "ntp-kiss",
            Self::NtpUnsynchronized => "ntp-unsynchronized",
            Self::NtpGarbage => "ntp-garbage",
            Self::NtpFlood => "ntp-flood",
            Self::DnsNxdomain => "dns-nxdomain",
            Self::DnsServfail => "dns-servfail",
            Self::TunnelPort => "tunnel-port",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fake| fake.name() == name)
    }

    const fn port(self) -> u16 {
        match self {
            Self::DnsNxdomain | Self::DnsServfail => DNS_PORT,
            Self::TunnelPort => TUNNEL_PORT,
            _ => NTP_PORT,
        }
    }

    /// What it answers at a time, in microseconds since the Unix epoch, and how often.
    fn answer(self, question: &[u8], micros: i64) -> (Vec<u8>, usize) {
        match self {
            Self::NtpAnswers => (ntp(question, 0x24, 2, *b"LAB\0", micros), 1),
            Self::NtpSilent | Self::TunnelPort => (Vec::new(), 0),
            Self::NtpKiss => (ntp(question, 0xe4, 0, *b"DENY", micros), 1),
            Self::NtpUnsynchronized => (ntp(question, 0xe4, 16, [0; 4], micros), 1),
            Self::NtpGarbage => (b"this is no time".to_vec(), 1),
            Self::NtpFlood => (vec![0x24; MESSAGE], FLOOD),
            Self::DnsNxdomain => (dns(question, NXDOMAIN), 1),
            Self::DnsServfail => (dns(question, SERVFAIL), 1),
        }
    }
}

/// Serves on an address until the lab ends; its clock is so many milliseconds ahead.
pub fn serve(fake: Fake, address: Ipv4Addr, ahead_ms: i64) -> Result<Infallible, LabError> {
    // The one address: an answer from another would not be taken for one.
    let socket =
        UdpSocket::bind((address, fake.port())).map_err(LabError::io("bind", fake.name()))?;
    let mut bytes = [0; 1500];
    loop {
        // A client that went away shows as an error of the socket, and is nobody's trouble.
        let Ok((length, from)) = socket.recv_from(&mut bytes) else {
            continue;
        };
        let question = bytes.get(..length).unwrap_or_default();
        let (answer, times) = fake.answer(question, now_micros(ahead_ms));
        for _ in 0..times {
            drop(socket.send_to(&answer, from));
        }
    }
}

fn now_micros(ahead_ms: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = now.map_or(0, |now| i64::try_from(now.as_micros()).unwrap_or(i64::MAX));
    micros.saturating_add(ahead_ms.saturating_mul(1000))
}

/// An answer that repeats what the question has in the place of a time.
fn ntp(question: &[u8], first: u8, stratum: u8, reference: [u8; 4], micros: i64) -> Vec<u8> {
    let since_epoch = u64::try_from(micros).unwrap_or(0);
    let seconds = (since_epoch / 1_000_000).saturating_add(UNIX_EPOCH_IN_NTP);
    let fraction = ((since_epoch % 1_000_000) << 32) / 1_000_000;
    let time = ((seconds << 32) | fraction).to_be_bytes();
    let asked = question.get(40..48).unwrap_or(&[0; 8]);
    let head = [first, stratum, 6, 0xec];
    [&head[..], &[0; 8], &reference, &time, asked, &time, &time].concat()
}

/// The question again, with the bits of an answer and a response code.
fn dns(question: &[u8], code: u8) -> Vec<u8> {
    let mut answer = question.to_vec();
    if let Some([flags, codes]) = answer.get_mut(2..4) {
        *flags |= 0x80;
        *codes = 0x80 | code;
    }
    answer
}

#[cfg(test)]
mod tests {
    use sources::ntp::packet::{Refused, question, read};

    use super::*;

    const NONCE: u64 = 99;
    const MICROS: i64 = 1_795_000_000_250_000;

    #[test]
    fn the_time_that_is_told_is_the_time_that_is_read() {
        let (answer, _) = Fake::NtpAnswers.answer(&question(NONCE), MICROS);
        let told = read(&answer, NONCE).unwrap().unwrap();
        assert!(told.sent_micros.abs_diff(MICROS) <= 1, "{told:?}");
    }

    #[test]
    fn each_way_to_tell_nothing_is_read_as_such() {
        let read = |fake: Fake| read(&fake.answer(&question(NONCE), MICROS).0, NONCE);
        assert_eq!(read(Fake::NtpKiss), Ok(Err(Refused::Kiss(*b"DENY"))));
        let unsynchronized = read(Fake::NtpUnsynchronized);
        assert_eq!(unsynchronized, Ok(Err(Refused::Unsynchronized(16))));
        for odd in [Fake::NtpSilent, Fake::NtpGarbage, Fake::NtpFlood] {
            assert!(read(odd).is_err(), "{}", odd.name());
        }
    }

    #[test]
    fn every_server_has_a_name_of_its_own() {
        for fake in Fake::ALL {
            assert_eq!(Fake::named(fake.name()), Some(fake));
        }
        assert_eq!(Fake::named("ntp"), None);
    }
}
