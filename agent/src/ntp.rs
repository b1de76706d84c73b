//! Asks the configured time servers, each in a task of its own: one that hangs delays no other.

use std::{net::IpAddr, time::Duration};

use evidence::{Moment, NtpServer, NtpStage, limits};
use probe_core::{Stamp, Wall};
use probe_io::clock;
use sources::{
    dns::{NameError, Resolver},
    ntp::{self, Answer, NtpError, packet::Refused},
};
use tokio::{sync::watch, time::sleep};

use crate::{clock::reading, readers::chain};

/// Pace of asking a server that answers, or fails for sure. It is the least pace that a server of the public pool may expect of a client (RFC 5905's
/// `MINPOLL`).
const ASK_EVERY: Duration = Duration::from_secs(64);
/// Pause after a question that nobody answered; other clients ask each two seconds at the start (`iburst`).
const ASK_AGAIN: Duration = Duration::from_secs(8);
/// Longest name of the domain name system.
const MAX_NAME: usize = 253;

/// The newest of each server, in the order in which they were given; `None` before the first try has ended.
pub(crate) type Servers = watch::Receiver<Vec<Option<NtpServer>>>;

/// Checks the name of a time server that a user gave.
pub fn server_name(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_graphic();
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(plain) {
        return Err(format!(
            "expected a host name or an address of at most {MAX_NAME} bytes"
        ));
    }
    Ok(text.to_owned())
}

/// Starts a task for each of the first [`limits::NTP_SERVERS`].
pub(crate) fn start(mut names: Vec<String>) -> Servers {
    names.truncate(limits::NTP_SERVERS);
    let (sender, servers) = watch::channel(vec![None; names.len()]);
    for (place, name) in names.into_iter().enumerate() {
        tokio::spawn(follow(name, place, sender.clone()));
    }
    servers
}

/// When a server was last asked; without servers there is a gap that says so.
pub(crate) fn tried(servers: &Servers, now: Moment) -> Option<(Moment, Option<String>)> {
    let servers = servers.borrow();
    if servers.is_empty() {
        let gap = "the time servers of this node are not known: give them with --ntp-server";
        return Some((now, Some(gap.to_owned())));
    }
    let asked = servers.iter().flatten().map(|server| server.asked);
    Some((asked.max()?, None))
}

async fn follow(name: String, place: usize, sender: watch::Sender<Vec<Option<NtpServer>>>) {
    let mut last = None;
    for turn in 0_usize.. {
        if sender.is_closed() {
            return;
        }
        let asked = clock::moment();
        let tried = question(&name, turn).await;
        let server = told(&name, asked, tried, last.as_ref());
        last = Some(server.clone());
        sender.send_modify(|servers| {
            if let Some(newest) = servers.get_mut(place) {
                *newest = Some(server);
            }
        });
        sleep(pause(last.as_ref())).await;
    }
}

/// A question without an answer may have been lost: it is asked again sooner, twice.
fn pause(last: Option<&NtpServer>) -> Duration {
    let is_lost = |server: &&NtpServer| {
        let stages = [NtpStage::Silent, NtpStage::NameUnanswered];
        stages.contains(&server.stage) && server.failed_in_a_row <= 2
    };
    last.filter(is_lost).map_or(ASK_EVERY, |_| ASK_AGAIN)
}

/// How one question went.
struct Tried {
    address: Option<IpAddr>,
    outcome: Result<Answer, (NtpStage, String)>,
}

/// Looks the name up and asks one of its addresses, another at each turn.
async fn question(name: &str, turn: usize) -> Tried {
    let addresses = match lookup(name).await {
        Ok(addresses) => addresses,
        Err(failed) => {
            return Tried {
                address: None,
                outcome: Err(failed),
            };
        }
    };
    let address = turn
        .checked_rem(addresses.len())
        .and_then(|place| addresses.get(place).copied());
    let outcome = match address {
        Some(address) => ntp::ask(address, rand::random()).await,
        None => {
            return Tried {
                address,
                outcome: Err((NtpStage::NoSuchName, "the name has no address".to_owned())),
            };
        }
    };
    Tried {
        address,
        outcome: outcome.map_err(|error| (stage(&error), detail(&error))),
    }
}

async fn lookup(name: &str) -> Result<Vec<IpAddr>, (NtpStage, String)> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let unanswered = |error| (NtpStage::NameUnanswered, chain(&error));
    // Read anew each time: the file may have changed.
    let resolver = Resolver::system().map_err(unanswered)?;
    let answer = resolver.addresses(name).await;
    match answer.failure() {
        None => Ok(answer.all()),
        Some(error) => Err((name_stage(error), error.to_string())),
    }
}

const fn name_stage(error: &NameError) -> NtpStage {
    match error {
        NameError::NotAName(_) | NameError::NoSuchName | NameError::NoAddress => {
            NtpStage::NoSuchName
        }
        _ => NtpStage::NameUnanswered,
    }
}

const fn stage(error: &NtpError) -> NtpStage {
    match error {
        NtpError::NoRoute { .. } => NtpStage::NoRoute,
        NtpError::PortClosed(_) => NtpStage::PortClosed,
        NtpError::Silent(_) => NtpStage::Silent,
        NtpError::Malformed { .. } => NtpStage::Malformed,
        NtpError::Refused {
            why: Refused::Kiss(_),
            ..
        } => NtpStage::Refused,
        NtpError::Refused { .. } => NtpStage::Unsynchronized,
    }
}

fn detail(error: &NtpError) -> String {
    let mut text = chain(error);
    text.truncate(text.floor_char_boundary(limits::TEXT));
    text
}

/// What is known of the server after a try. What it told before stays, with its moment.
fn told(name: &str, asked: Moment, tried: Tried, last: Option<&NtpServer>) -> NtpServer {
    let mut server = NtpServer {
        name: name.to_owned(),
        asked,
        address: tried.address,
        stage: NtpStage::Answered,
        detail: None,
        failed_in_a_row: 0,
        told: last.and_then(|last| last.told),
        stratum: last.and_then(|last| last.stratum),
    };
    match tried.outcome {
        Ok(answer) => {
            let at = Stamp::from_micros(answer.at_micros);
            let wall = Wall::from_micros(answer.wall_micros);
            server.told = Some(reading(at, wall, answer.error_micros));
            server.stratum = Some(answer.stratum);
        }
        Err((stage, detail)) => {
            server.stage = stage;
            server.detail = Some(detail);
            server.failed_in_a_row = last.map_or(1, |last| last.failed_in_a_row + 1);
        }
    }
    server
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(outcome: Result<Answer, (NtpStage, String)>) -> Tried {
        Tried {
            address: Some([192, 0, 2, 1].into()),
            outcome,
        }
    }

    #[test]
    fn a_server_that_falls_silent_keeps_what_it_told_and_counts_what_failed() {
        let answer = Answer {
            at_micros: 5_000,
            wall_micros: 1_700_000_000_000_000,
            error_micros: 900,
            stratum: 2,
        };
        let well = told("time", Moment::ZERO, tried(Ok(answer)), None);
        assert_eq!((well.stage, well.failed_in_a_row), (NtpStage::Answered, 0));
        let silent = || tried(Err((NtpStage::Silent, "silent".to_owned())));
        let once = told("time", Moment::ZERO, silent(), Some(&well));
        let twice = told("time", Moment::ZERO, silent(), Some(&once));
        assert_eq!((twice.stage, twice.failed_in_a_row), (NtpStage::Silent, 2));
        assert_eq!((twice.told, twice.stratum), (well.told, Some(2)));
    }

    #[test]
    fn names_that_cannot_be_names_are_refused_before_anything_is_asked() {
        assert!(server_name("time.cloudflare.com").is_ok());
        assert!(server_name("2001:db8::1").is_ok());
        for odd in ["", "a b", "a\u{1b}[2J", &"x".repeat(254)] {
            assert!(server_name(odd).is_err(), "{odd:?}");
        }
    }

    #[tokio::test]
    async fn an_address_is_asked_without_a_resolver_and_a_closed_port_is_called_so() {
        // Nobody serves time at this address of loopback, unless the machine does for all of them.
        let tried = question("127.0.0.77", 0).await;
        assert_eq!(tried.address, Some([127, 0, 0, 77].into()));
        if let Err((stage, detail)) = tried.outcome {
            assert_eq!(stage, NtpStage::PortClosed, "{detail}");
        }
    }
}
