//! Asks the time servers, those that were given or else those of Talos, each in a task of its own: one that hangs delays no
//! other.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use evidence::{Moment, NtpServer, NtpStage, limits};
use probe_core::{Stamp, Wall};
use probe_io::clock;
use sources::{
    dns::{NameError, Resolver},
    ntp::{self, Answer, NtpError, packet::Refused},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

use crate::{
    clock::reading,
    readers::{Reading, chain},
    talos::TalosReading,
};

/// Pace of asking a server that answers, or fails for sure. It is the least pace that a server of the public pool may expect of a client (RFC 5905's
/// `MINPOLL`).
const ASK_EVERY: Duration = Duration::from_secs(64);
/// Pause after a question that nobody answered; other clients ask each two seconds at the start (`iburst`).
const ASK_AGAIN: Duration = Duration::from_secs(8);
/// Longest name of the domain name system.
const MAX_NAME: usize = 253;

/// Talos takes the path of a clock device for a time server, such as that of a hypervisor.
const DEVICE: &str = "/dev/";

/// Who is asked, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    /// In their order; none as long as nobody has said which there are.
    servers: Option<Vec<(String, Option<NtpServer>)>>,
    /// Why there are none.
    gap: Option<&'static str>,
}

pub(crate) type Servers = watch::Receiver<Asked>;

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

impl Asked {
    /// The newest of each.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &NtpServer> {
        let all = self.servers.iter().flatten();
        all.filter_map(|(_, server)| server.as_ref())
    }

    /// Whether each was tried once, or there is none to try.
    pub(crate) fn is_tried(&self) -> bool {
        let mut all = self.servers.iter().flatten();
        self.servers.is_some() && all.all(|(_, server)| server.is_some())
    }

    /// When a server was last asked; without servers there is a gap that says why.
    pub(crate) fn tried(&self, now: Moment) -> Option<(Moment, Option<String>)> {
        if let Some(gap) = self.gap {
            return Some((now, Some(gap.to_owned())));
        }
        let asked = self.servers().map(|server| server.asked);
        Some((asked.max()?, None))
    }

    /// Another list: who was on the last one keeps what it told.
    fn list(&mut self, names: Result<Vec<String>, &'static str>) {
        let mut before: BTreeMap<String, Option<NtpServer>> =
            self.servers.take().into_iter().flatten().collect();
        self.gap = names.as_ref().err().copied();
        let names = names.unwrap_or_default().into_iter();
        let kept = names.map(|name| {
            let known = before.remove(&name).flatten();
            (name, known)
        });
        self.servers = Some(kept.collect());
    }

    fn note(&mut self, server: NtpServer) {
        let mut all = self.servers.iter_mut().flatten();
        if let Some((_, newest)) = all.find(|(name, _)| *name == server.name) {
            *newest = Some(server);
        }
    }
}

/// Starts a task for each of the servers that were given, or that Talos has as long as it says so.
pub(crate) fn start(
    given: Vec<String>,
    talos: watch::Receiver<Option<Reading<TalosReading>>>,
) -> Servers {
    let (sender, servers) = watch::channel(Asked::default());
    tokio::spawn(follow_list(given, talos, sender));
    servers
}

async fn follow_list(
    given: Vec<String>,
    mut talos: watch::Receiver<Option<Reading<TalosReading>>>,
    sender: watch::Sender<Asked>,
) {
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    let mut last = None;
    while !sender.is_closed() {
        let names = names(&given, talos.borrow_and_update().as_ref(), last.as_ref());
        if let Some(names) = names.filter(|names| last.as_ref() != Some(names)) {
            let wanted = names.clone().unwrap_or_default();
            running.retain(|name, task| {
                let stays = wanted.contains(name);
                if !stays {
                    task.abort();
                }
                stays
            });
            sender.send_modify(|asked| asked.list(names.clone()));
            for name in wanted {
                running
                    .entry(name.clone())
                    .or_insert_with(|| tasks.spawn(follow(name, sender.clone())));
            }
            last = Some(names);
        }
        while tasks.try_join_next().is_some() {}
        tokio::select! {
            () = sender.closed() => {}
            Ok(()) = talos.changed() => {}
            else => sender.closed().await,
        }
    }
}

/// Whom to ask. A Talos that is not heard for a while has not changed its mind.
fn names(
    given: &[String],
    talos: Option<&Reading<TalosReading>>,
    last: Option<&Result<Vec<String>, &'static str>>,
) -> Option<Result<Vec<String>, &'static str>> {
    if !given.is_empty() {
        return Some(Ok(distinct(given.iter().cloned())));
    }
    let told = match &talos?.value {
        Ok(reading) => reading.told.time_servers.as_ref(),
        Err(_) if last.is_some_and(Result::is_ok) => return None,
        Err(_) => None,
    };
    Some(match told {
        None => Err("the time servers of this node are not known: give them with --ntp-server"),
        Some(told) if told.is_empty() => Err("Talos has no time server"),
        Some(told) => {
            let asked = told.iter().filter(|name| !name.starts_with(DEVICE));
            let asked = distinct(asked.filter_map(|name| server_name(name).ok()));
            let device =
                "Talos takes the time from a clock device of this machine, which is not asked";
            (!asked.is_empty()).then_some(asked).ok_or(device)
        }
    })
}

/// The first [`limits::NTP_SERVERS`], each once.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut list = Vec::new();
    for name in names {
        if !list.contains(&name) && list.len() < limits::NTP_SERVERS {
            list.push(name);
        }
    }
    list
}

async fn follow(name: String, sender: watch::Sender<Asked>) {
    let mut last = None;
    for turn in 0_usize.. {
        if sender.is_closed() {
            return;
        }
        let asked = clock::moment();
        let tried = question(&name, turn).await;
        let server = told(&name, asked, tried, last.as_ref());
        last = Some(server.clone());
        sender.send_modify(|asked| asked.note(server));
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
    use crate::talos::Told;

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

    fn talos(servers: &[&str]) -> Reading<TalosReading> {
        let servers = servers.iter().map(|name| (*name).to_owned());
        Reading {
            at: Moment::ZERO,
            value: Ok(TalosReading::telling(Told {
                time_servers: Some(servers.collect()),
                ..Told::default()
            })),
        }
    }

    #[test]
    fn the_servers_of_talos_are_asked_where_none_was_given() {
        let told = talos(&["time.test", "/dev/ptp0", "a b", "time.test", "192.0.2.1"]);
        let own = ["time.test".to_owned(), "192.0.2.1".to_owned()];
        let found = names(&[], Some(&told), None);
        assert_eq!(found, Some(Ok(own.to_vec())));
        let given = ["mine.test".to_owned()];
        assert_eq!(
            names(&given, Some(&told), None),
            Some(Ok(given.to_vec())),
            "what was given wins"
        );
        assert_eq!(names(&[], None, None), None, "not told yet");
        let silent = Reading {
            at: Moment::ZERO,
            value: Err("not heard".to_owned()),
        };
        assert!(names(&[], Some(&silent), None).unwrap().is_err());
        assert_eq!(names(&[], Some(&silent), found.as_ref()), None);
    }

    #[test]
    fn without_a_server_to_ask_the_reason_is_told() {
        let mut asked = Asked::default();
        assert!(!asked.is_tried() && asked.tried(Moment::ZERO).is_none());
        for (servers, part) in [
            (&["/dev/ptp0"][..], "clock device"),
            (&[], "no time server"),
        ] {
            asked.list(names(&[], Some(&talos(servers)), None).unwrap());
            let (_, gap) = asked.tried(Moment::ZERO).unwrap();
            assert!(gap.unwrap().contains(part));
            assert!(asked.is_tried());
        }
    }

    #[test]
    fn another_list_keeps_what_a_server_told_that_is_on_both() {
        let list = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        let mut asked = Asked::default();
        asked.list(list(&["one", "two"]));
        let silent = tried(Err((NtpStage::Silent, String::new())));
        asked.note(told("two", Moment::ZERO, silent, None));
        asked.list(list(&["two", "three"]));
        let known: Vec<_> = asked.servers().map(|server| server.name.as_str()).collect();
        assert_eq!(known, ["two"]);
        assert!(!asked.is_tried());
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
