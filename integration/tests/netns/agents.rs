//! The real programs in a lab: what they must never do, and what they say to bad input.

use std::{
    path::Path,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use integration::lab::programs::Binaries;

use crate::support::{TestLab, eventually, is_required, text};

pub(crate) const NODES: [&str; 4] = ["vps-1", "vps-2", "home-cp", "home-worker"];
pub(crate) const COLLECTOR: &str =
    "mesh-collector --listen 0.0.0.0:21820 --mesh-key-file /run/mesh.key";
pub(crate) const AGENT: &str = "mesh-agent --collector 203.0.113.11:21820";
/// The same beside a Talos that can be asked.
pub(crate) const AGENT_OF_TALOS: &str =
    "mesh-agent --collector 203.0.113.11:21820 --machined-socket /run/machined/machine.sock";
const PROBE: &str = "mesh-probe --collector 203.0.113.11:21820 --mesh-key-file /run/mesh.key";
/// Everything of a node that the programs could change and must not: WireGuard without what traffic moves, the
/// firewall, rules, routes, links, the settings that steer packets.
const STATE: &str = "wg show all dump | awk -F'\\t' 'NF==5{print} NF==9{print $1,$2,$3,$4,$5,$9}' | sort
    nft list ruleset; ip rule; ip -6 rule; ip route show table all; ip -6 route show table all
    ip -d -o link; ip -o addr; cat /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/src_valid_mark";

/// Whether the programs are there; a machine where they must be fails.
pub(crate) fn staged() -> bool {
    let missing = Binaries::beside(Path::new(env!("CARGO_BIN_EXE_lab"))).err();
    if let Some(missing) = &missing {
        println!("SKIPPED: {missing}");
        assert!(
            !is_required(),
            "REQUIRE_STAGE says that the programs must be built"
        );
    }
    missing.is_none()
}

/// A lab whose programs this module starts itself, with the mesh key where the collector looks for it.
pub(crate) fn bare() -> TestLab {
    let lab = TestLab::up();
    lab.shell(
        "vps-1",
        "umask 077; wg show kubespan preshared-keys | awk '{print $2; exit}' > /run/mesh.key",
    );
    lab
}

pub(crate) fn start(lab: &TestLab, host: &str, program: &str, log: &str) {
    lab.shell(
        host,
        &format!("setsid {program} > /run/{log} 2>&1 < /dev/null &"),
    );
}

/// Kills the one process of a name in one host; hosts of a lab share their process ids.
pub(crate) fn kill(lab: &TestLab, host: &str, name: &str) {
    let here = "[ \"$(readlink /proc/$p/ns/net)\" = \"$(readlink /proc/self/ns/net)\" ]";
    let script =
        format!("for p in $(pgrep -x {name}); do {here} && kill -9 $p && echo killed; done; true");
    assert_eq!(
        lab.shell(host, &script).trim(),
        "killed",
        "{name} on {host}"
    );
}

fn start_all(lab: &TestLab) {
    start(lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(lab, node, AGENT, "agent.log");
    }
}

pub(crate) fn probe(lab: &TestLab, arguments: &str) -> Output {
    lab.enter("vps-1", &["sh", "-c", &format!("{PROBE} {arguments}")])
}

pub(crate) fn gate(lab: &TestLab) -> Option<i32> {
    probe(lab, "gate mesh").status.code()
}

pub(crate) fn wait_until_ready(lab: &TestLab) {
    let output = probe(lab, "gate mesh --wait-timeout 60s");
    assert!(output.status.success(), "{}", text(&output));
}

pub(crate) fn agents_change_nothing_and_show_no_key() {
    if !staged() {
        return;
    }
    let lab = bare();
    let read_all = |lab: &TestLab| NODES.map(|node| lab.shell(node, STATE));
    // An address is new for a second or two, until the kernel has seen that nobody else has it.
    for node in NODES {
        eventually("addresses settle", || {
            lab.shell(node, "ip -6 -o addr show tentative").is_empty()
        });
    }
    let before = read_all(&lab);
    start_all(&lab);
    wait_until_ready(&lab);
    // A pair in doubt is probed harder: that must change nothing either.
    lab.shell("internet", "nft 'table inet fault { chain forward { type filter hook forward priority filter; ip daddr 203.0.113.12 udp dport 51820 drop; }; }'");
    eventually("the gate closes", || gate(&lab) == Some(1));
    let status = probe(&lab, "status -o json");
    lab.shell("internet", "nft delete table inet fault");
    wait_until_ready(&lab);
    for (node, (before, after)) in NODES.iter().zip(before.iter().zip(read_all(&lab))) {
        let new: Vec<&str> = after
            .lines()
            .filter(|line| !before.contains(line))
            .collect();
        assert_eq!(*before, after, "the state of {node} has changed: {new:#?}");
    }
    for node in NODES {
        let sockets = lab.shell(
            node,
            "ss -H -a -n -p | grep -e mesh-agent -e mesh-collector",
        );
        assert!(!sockets.contains(":51820 "), "{sockets}");
        assert!(!sockets.contains(":8472 "), "{sockets}");
    }
    no_key_in(&lab, &text(&status));
    for node in NODES {
        only_needed_privileges(&lab, node);
    }
}

/// The agent was started by root with all capabilities. It keeps two (bits 12 and 13) and can gain none.
fn only_needed_privileges(lab: &TestLab, node: &str) {
    let status = lab.shell(
        node,
        "for p in $(pgrep -x mesh-agent); do cat /proc/$p/task/*/status; done",
    );
    let field = |name: &str| -> Vec<&str> {
        let lines = status.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::trim).collect()
    };
    for (name, expected) in [
        ("CapInh:", "0000000000000000"),
        ("CapPrm:", "0000000000003000"),
        ("CapEff:", "0000000000003000"),
        ("CapBnd:", "0000000000003000"),
        ("CapAmb:", "0000000000000000"),
        ("NoNewPrivs:", "1"),
    ] {
        let found = field(name);
        assert!(
            found.len() > 1,
            "{node}: a thread for each worker, got {found:?}"
        );
        assert!(
            found.iter().all(|value| *value == expected),
            "{node}: {name} {found:?}"
        );
    }
}

/// Neither logs, nor command lines, nor environments, nor what a reader gets may hold a key, as bytes, in base64 or in hex.
fn no_key_in(lab: &TestLab, status: &str) {
    for node in NODES {
        let said = lab.shell(
            node,
            "cat /run/*.log; for p in $(pgrep mesh-); do tr '\\0' ' ' < /proc/$p/cmdline; tr '\\0' ' ' < /proc/$p/environ; done",
        );
        let keys = lab.shell(
            node,
            "(wg show kubespan private-key; wg show kubespan preshared-keys | awk '{print $2}') | sort -u | while read k; do echo $k; echo $k | base64 -d | od -An -v -tx1 | tr -d ' \\n'; echo; done",
        );
        for key in keys.lines().filter(|line| !line.is_empty()) {
            assert!(!said.contains(key), "a key is shown on {node}");
            assert!(!status.contains(key), "a key of {node} is shown by status");
        }
        // Talos shows the preshared key to every reader: machined really does, and nobody passes it on.
        let raw = lab.shell(
            node,
            "for k in $(wg show kubespan private-key; wg show kubespan preshared-keys | awk '{print $2}'); do \
             h=$(echo $k | base64 -d | od -An -v -tx1 | tr -d ' \\n'); \
             for f in /run/*.log; do od -An -v -tx1 $f | tr -d ' \\n' | grep -q $h && echo $f; done; done; true",
        );
        assert_eq!(raw, "", "the bytes of a key are in a log of {node}");
    }
}

/// Whatever machined does, its agent goes on reporting everything else, and nobody else is disturbed.
pub(crate) fn a_talos_that_misbehaves_costs_its_own_facts_and_nothing_else() {
    const MOODS: [(&str, &str); 6] = [
        ("hang", "no answer within"),
        ("flood", "more than"),
        ("garbage", "decode"),
        ("deny", "not authorized"),
        ("overrun", "buffer overrun"),
        ("die", "talos: "),
    ];
    if !staged() {
        return;
    }
    let lab = bare();
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(&lab, node, AGENT_OF_TALOS, "agent.log");
    }
    wait_until_ready(&lab);
    let status = || text(&probe(&lab, "status"));
    let heard = |status: &str| !status.contains("talos: ");
    eventually("Talos is heard everywhere", || heard(&status()));
    for (mood, gap) in MOODS {
        lab.shell("vps-2", &format!("echo {mood} > /run/machined/mood"));
        long_eventually(mood, || {
            let status = status();
            status.contains("talos: ") && status.contains(gap)
        });
        assert_eq!(
            gate(&lab),
            Some(0),
            "{mood}: the mesh is as ready as before"
        );
        assert!(!status().contains("PROBLEM"), "{mood}: {}", status());
        lab.shell("vps-2", "rm /run/machined/mood");
        long_eventually("Talos is heard again", || heard(&status()));
    }
    no_key_in(&lab, &text(&probe(&lab, "status -o json")));
}

/// A pause after trouble may last half a minute.
pub(crate) fn long_eventually(what: &str, mut condition: impl FnMut() -> bool) {
    const LIMIT: Duration = Duration::from_mins(1);
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LIMIT, "{what} not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(200)); // Bounded by LIMIT, above.
    }
}

pub(crate) fn probes_stay_within_their_budget() {
    /// Echo requests and answers of three peers in two seconds each, those to their node addresses in five, full-size packets, reports
    /// and their acknowledgements: far below.
    const AT_MOST: u64 = 40;
    /// A full-size packet to three peers on two layers in five seconds is 1.8 kB a second; the rest is short.
    const BYTES_AT_MOST: u64 = 15_000;
    const SECONDS: u64 = 10;
    if !staged() {
        return;
    }
    let lab = bare();
    start_all(&lab);
    wait_until_ready(&lab);
    let sent = || -> (u64, u64) {
        let text = lab.shell(
            "vps-2",
            "awk '$1 == \"eth0:\" { print $10, $11 }' /proc/net/dev",
        );
        let (bytes, packets) = text.trim().split_once(' ').unwrap();
        (bytes.parse().unwrap(), packets.parse().unwrap())
    };
    let before = sent();
    thread::sleep(Duration::from_secs(SECONDS)); // Bounded: a measurement over this long.
    let after = sent();
    let (bytes, packets) = (after.0 - before.0, after.1 - before.1);
    assert!(
        packets <= AT_MOST * SECONDS,
        "{packets} packets in {SECONDS} s"
    );
    assert!(
        bytes <= BYTES_AT_MOST * SECONDS,
        "{bytes} bytes in {SECONDS} s"
    );
}

pub(crate) fn no_gate_opens_while_a_pair_is_broken() {
    if !staged() {
        return;
    }
    let lab = bare();
    start_all(&lab);
    wait_until_ready(&lab);
    lab.shell("home-router", "nft 'table inet fault { chain forward { type filter hook forward priority filter; ip daddr 192.168.50.12 udp dport 51820 drop; }; }'");
    eventually("the gate closes", || gate(&lab) == Some(1));
    for victim in NODES {
        kill(&lab, victim, "mesh-agent");
        never_open_for(&lab, Duration::from_secs(3));
        start(&lab, victim, AGENT, "agent.log");
        never_open_for(&lab, Duration::from_secs(3));
    }
    kill(&lab, "vps-1", "mesh-collector");
    never_open_for(&lab, Duration::from_secs(2));
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    never_open_for(&lab, Duration::from_secs(8));
    lab.shell("home-router", "nft delete table inet fault");
    wait_until_ready(&lab);
}

fn never_open_for(lab: &TestLab, long: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < long {
        let output = probe(lab, "gate mesh");
        assert_ne!(
            output.status.code(),
            Some(0),
            "the gate opened: {}",
            text(&output)
        );
        thread::sleep(Duration::from_millis(100)); // Bounded by `long`, above.
    }
}

pub(crate) fn killing_any_one_process_shuts_the_gate_until_it_is_back() {
    if !staged() {
        return;
    }
    let lab = bare();
    start_all(&lab);
    wait_until_ready(&lab);
    for victim in ["vps-2", "home-worker"] {
        kill(&lab, victim, "mesh-agent");
        eventually("the gate closes without the agent", || {
            gate(&lab) != Some(0)
        });
        start(&lab, victim, AGENT, "agent.log");
        wait_until_ready(&lab);
    }
    kill(&lab, "vps-1", "mesh-collector");
    assert_eq!(gate(&lab), Some(3), "without a collector nobody can tell");
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    wait_until_ready(&lab);
}

pub(crate) fn bad_input_is_answered_by_name() {
    if !staged() {
        return;
    }
    let lab = bare();
    let nobody = probe(&lab, "gate mesh");
    assert_eq!(nobody.status.code(), Some(3), "{}", text(&nobody));
    assert!(
        text(&nobody).contains("203.0.113.11:21820"),
        "{}",
        text(&nobody)
    );
    start_all(&lab);
    wait_until_ready(&lab);
    another_mesh_key(&lab);
    another_node_under_the_same_name(&lab);
    wait_until_ready(&lab);
}

/// A reader and an agent with another mesh key are told so, and nobody else is disturbed.
fn another_mesh_key(lab: &TestLab) {
    lab.shell("vps-1", "head -c 32 /dev/urandom | base64 > /run/other.key");
    let reader = lab.enter(
        "vps-1",
        &[
            "mesh-probe",
            "--collector",
            "203.0.113.11:21820",
            "--mesh-key-file",
            "/run/other.key",
            "status",
        ],
    );
    assert_eq!(reader.status.code(), Some(5), "{}", text(&reader));
    start(
        lab,
        "vps-1",
        &format!("{AGENT} --node stranger --mesh-key-file /run/other.key"),
        "stranger.log",
    );
    eventually("the stranger is told", || {
        lab.shell("vps-1", "cat /run/stranger.log")
            .contains("is it the same mesh key?")
    });
    assert_eq!(gate(lab), Some(0), "others are unharmed");
}

/// A second machine under the name of another is refused, and becomes a finding; the first one's facts stand.
fn another_node_under_the_same_name(lab: &TestLab) {
    start(
        lab,
        "vps-1",
        &format!("{AGENT} --node vps-2 --mesh-key-file /run/mesh.key"),
        "impostor.log",
    );
    eventually("the second machine is reported", || {
        text(&probe(lab, "status")).contains("second-machine")
    });
    let pairs = text(&probe(lab, "pairs"));
    assert!(
        pairs.contains("203.0.113.12:51820"),
        "the true vps-2 is still seen: {pairs}"
    );
    lab.shell("vps-1", "pkill -9 -f -- '[-]-node vps-2'; true");
}

pub(crate) fn an_agent_without_raw_sockets_says_so_and_still_reports() {
    if !staged() {
        return;
    }
    let lab = bare();
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in ["vps-1", "home-cp", "home-worker"] {
        start(&lab, node, AGENT, "agent.log");
    }
    let poor = format!("setpriv --bounding-set=-net_raw --inh-caps=-net_raw {AGENT}");
    start(&lab, "vps-2", &poor, "agent.log");
    wait_until_ready(&lab);
    let status = text(&probe(&lab, "status"));
    assert!(
        status.contains("CAP_NET_RAW"),
        "the gap is shown with its cure: {status}"
    );
}
