//! The agent's reader and `wg` on one device with many peers: the same answer, and how long each takes.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sources::wireguard::{self, Device, Peer};
use tokio::runtime::{Builder, Runtime};
use wireguard_control::Key;

use crate::{
    facts::{
        Fact,
        pair::{NEAR, Pair},
    },
    lab::{LabError, kubespan::LINK, sandbox, stage_kind::StageKind},
};

/// The device with many peers, beside `kubespan`.
const MANY: &str = "many";
const PEERS: u16 = 1000;
/// Enough that the kernel's answer splits peers between its messages.
const ALLOWED_IPS: u16 = 6;
/// How often each way of reading is timed, in turn.
const ROUNDS: usize = 9;
const CONFIGURATION: &str = "many.conf";
/// What `wg` prints for nothing.
const NONE: &str = "(none)";
const OFF: &str = "off";

pub(super) fn measure(pair: &Pair, stage: StageKind) -> Result<Vec<Fact>, LabError> {
    if stage != StageKind::Kernel {
        let problem = "a userspace device answers `wg` and the reader over one socket: only the kernel is measured";
        return Err(LabError::Impossible(problem.to_owned()));
    }
    // A live peer, whose counters then stand still.
    pair.forget()?;
    pair.ping("-c 1 -W 5")?;
    fill(pair)?;
    let ours = own(pair, "__read")?;
    let theirs = comparable(&pair.shell(NEAR, "wg show all dump")?);
    let agreement = agreement(&ours, &theirs)?;
    let how = "a device of 1,000 peers with 6 allowed IPs each (so that the kernel splits its answer) and the live kubespan, \
               read by the agent's reader and by `wg show all dump`; every field that is no secret, line by line";
    let timed = own(pair, "__time-reads")?;
    Ok(vec![
        Fact::new("the agent's reader and wg", agreement, how),
        Fact::new(
            "time to read 1,000 peers",
            timed.trim(),
            "medians of 9 rounds in turn; peer: a process of `wg show all dump`; ours: the reader in a running process, as the agent \
             has it, and (-process) a whole process of the lab's program, which starts slower than the small `wg`",
        ),
    ])
}

/// `lab __read`: both devices in the words of `wg show all dump`, without the secrets.
pub fn print() -> Result<(), LabError> {
    let runtime = runtime()?;
    let mut text = String::new();
    for name in [LINK, MANY] {
        text.push_str(&lines(name, &read(&runtime, name)?));
    }
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .map_err(LabError::io("print", "a device"))
}

/// `lab __time-reads`: how long a process of each kind takes, and the reader alone as the agent has it.
pub fn time() -> Result<(), LabError> {
    let runtime = runtime()?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        times[0].push(timed(&mut sandbox::own_program("__read"))?);
        times[1].push(timed(Command::new("wg").args(["show", "all", "dump"]))?);
        let begin = Instant::now();
        for name in [LINK, MANY] {
            read(&runtime, name)?;
        }
        times[2].push(begin.elapsed());
    }
    let [ours, peer, alone] = times.map(median);
    let as_process = bench("-process", ours, peer);
    let line = format!("{}\n{as_process}\n", bench("", alone, peer));
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .map_err(LabError::io("print", "times"))
}

/// One line of `./dev bench`'s form: above one means that ours is the faster.
fn bench(suffix: &str, ours: Duration, peer: Duration) -> String {
    let ratio = peer.as_secs_f64() / ours.as_secs_f64().max(f64::MIN_POSITIVE);
    let verdict = if ratio >= 1.0 { "ok" } else { "short" };
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    format!(
        "bench wireguard-read-1000-kernel{suffix} ours={:.1}ms peer={:.1}ms ratio={ratio:.2} goal=>=1.0 {verdict}",
        millis(ours),
        millis(peer)
    )
}

fn timed(command: &mut Command) -> Result<Duration, LabError> {
    let begin = Instant::now();
    let status = command.stdout(Stdio::null()).status();
    let status = status.map_err(LabError::io("time", "a reader"))?;
    let time = begin.elapsed();
    if status.success() {
        return Ok(time);
    }
    Err(LabError::Impossible(format!(
        "a timed reader ended with {status}"
    )))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn fill(pair: &Pair) -> Result<(), LabError> {
    let path = pair.lab.host(NEAR)?.run_file(CONFIGURATION);
    fs::write(&path, configuration()).map_err(LabError::io("write", path.display()))?;
    let script =
        format!("ip link add {MANY} type wireguard && wg setconf {MANY} /run/{CONFIGURATION}");
    pair.shell(NEAR, &script).map(drop)
}

/// Every third peer has no endpoint and every fourth no keepalive, so that the words for nothing are compared too.
fn configuration() -> String {
    let mut text = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = 51900\nFwMark = 0x20\n",
        Key::generate_private().to_base64()
    );
    for number in 0..PEERS {
        let key = Key::generate_private().get_public().to_base64();
        let [high, low] = number.to_be_bytes();
        let ips = (0..ALLOWED_IPS)
            .map(|subnet| format!("10.{}.{low}.{}/30", 64 + u16::from(high), subnet * 4));
        let ips = ips.collect::<Vec<_>>().join(", ");
        let mut peer = format!("[Peer]\nPublicKey = {key}\nAllowedIPs = {ips}\n");
        if number % 3 > 0 {
            writeln!(peer, "Endpoint = [2001:db8::{number:x}]:51820")
                .expect("writing to a string cannot fail");
        }
        if number % 4 > 0 {
            peer.push_str("PersistentKeepalive = 0\n");
        }
        text.push_str(&peer);
    }
    text
}

fn agreement(ours: &str, theirs: &str) -> Result<String, LabError> {
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (ours, theirs) = (sorted(ours), sorted(theirs));
    let differing = ours
        .iter()
        .zip(&theirs)
        .find(|(ours, theirs)| ours != theirs);
    if let Some((ours, theirs)) = differing {
        let problem = format!("the reader says `{ours}`, wg says `{theirs}`");
        return Err(LabError::Impossible(problem));
    }
    if ours.len() == theirs.len() && ours.len() > usize::from(PEERS) {
        return Ok(format!("{} lines, all the same", ours.len()));
    }
    Err(LabError::Impossible(format!(
        "the reader has {} lines, wg has {}",
        ours.len(),
        theirs.len()
    )))
}

/// `wg`'s lines without private and preshared keys.
fn comparable(dump: &str) -> String {
    let mut text = String::new();
    for line in dump.lines() {
        let mut fields: Vec<_> = line.split('\t').collect();
        // A device has five fields with its private key second, a peer nine with its preshared key third.
        let secret = if fields.len() == 5 { 1 } else { 2 };
        if secret < fields.len() {
            fields.remove(secret);
        }
        text.push_str(&fields.join("\t"));
        text.push('\n');
    }
    text
}

fn lines(name: &str, device: &Device) -> String {
    let key = device
        .public_key
        .map_or_else(|| NONE.to_owned(), |key| key.to_string());
    let mark = match device.fwmark {
        0 => OFF.to_owned(),
        mark => format!("{mark:#x}"),
    };
    let mut text = format!("{name}\t{key}\t{}\t{mark}\n", device.listen_port);
    for peer in &device.peers {
        writeln!(text, "{name}\t{}", fields(peer)).expect("writing to a string cannot fail");
    }
    text
}

fn fields(peer: &Peer) -> String {
    let endpoint = peer
        .endpoint
        .map_or_else(|| NONE.to_owned(), |endpoint| endpoint.to_string());
    let ips: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
    let ips = if ips.is_empty() {
        NONE.to_owned()
    } else {
        ips.join(",")
    };
    let handshake = peer.last_handshake.map_or(0, |time| time.as_secs());
    let keepalive = peer
        .keepalive
        .map_or_else(|| OFF.to_owned(), |seconds| seconds.to_string());
    let (key, rx, tx) = (peer.public_key, peer.rx_bytes, peer.tx_bytes);
    format!("{key}\t{endpoint}\t{ips}\t{handshake}\t{rx}\t{tx}\t{keepalive}")
}

/// Runs a command of this program on the near node.
fn own(pair: &Pair, command: &str) -> Result<String, LabError> {
    pair.shell(NEAR, &format!("lab {command}"))
}

fn runtime() -> Result<Runtime, LabError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(LabError::io("start", "a runtime"))
}

fn read(runtime: &Runtime, name: &str) -> Result<Device, LabError> {
    let device = runtime.block_on(wireguard::read(name));
    let device = device.map_err(|error| LabError::Impossible(format!("read {name}: {error}")))?;
    if device.is_complete() {
        return Ok(device);
    }
    Err(LabError::Impossible(format!(
        "the reading of {name} is not whole: {:?}",
        device.dropped
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::PublicKey;

    #[test]
    fn the_secrets_of_wg_are_left_out_of_the_comparison() {
        let device = "many\tPRIVATE\tpublic\t51900\t0x20";
        let peer = "many\tpublic\tPRESHARED\t(none)\t10.0.0.0/8\t0\t92\t148\toff";
        let shown = comparable(&format!("{device}\n{peer}\n"));
        assert_eq!(
            shown,
            "many\tpublic\t51900\t0x20\nmany\tpublic\t(none)\t10.0.0.0/8\t0\t92\t148\toff\n"
        );
    }

    #[test]
    fn a_peer_is_printed_in_the_words_of_wg() {
        let key = PublicKey::from_bytes([1; 32]);
        let mut peer = Peer::new(key);
        assert_eq!(
            fields(&peer),
            format!("{key}\t(none)\t(none)\t0\t0\t0\toff")
        );
        peer.endpoint = Some("[2001:db8::1]:51820".parse().unwrap());
        peer.allowed_ips = vec![
            "10.0.0.0/30".parse().unwrap(),
            "fd00::1/128".parse().unwrap(),
        ];
        peer.keepalive = Some(25);
        let shown = fields(&peer);
        assert_eq!(
            shown,
            format!("{key}\t[2001:db8::1]:51820\t10.0.0.0/30,fd00::1/128\t0\t0\t0\t25")
        );
    }

    #[test]
    fn one_differing_field_is_no_agreement() {
        let error = agreement("a\t1\n", "a\t2\n").unwrap_err().to_string();
        assert!(error.contains("a\t1") && error.contains("a\t2"), "{error}");
        assert!(
            agreement("a\n", "a\n").is_err(),
            "one line is no device of a thousand peers"
        );
    }

    #[test]
    fn a_slower_reader_is_short_of_its_goal() {
        let line = |ours, peer| bench("", Duration::from_millis(ours), Duration::from_millis(peer));
        assert!(line(10, 20).ends_with("ours=10.0ms peer=20.0ms ratio=2.00 goal=>=1.0 ok"));
        assert!(line(20, 10).ends_with("ratio=0.50 goal=>=1.0 short"));
    }
}
