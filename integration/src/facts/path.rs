//! The DF bit of outer packets, inner packets that are too large for the path, and those whose checksums are wrong.

use crate::{
    facts::{
        Fact,
        pair::{FAR, NEAR, Pair},
        tap::{Packet, Tap},
    },
    lab::{LabError, kubespan::LINK, topology::INTERNET, underlay::NODE_LINK},
};

/// MTU of the link to the far node, below the 1480 of a full outer packet.
const NARROW: u16 = 1400;
/// ICMP payload that fills the tunnel's 1420 bytes.
const FULL: u16 = 1420 - 40 - 8;
const REQUESTS: usize = 3;
/// A port that nobody listens on.
const CLOSED: u16 = 9;

pub(super) fn measure(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    let df = df(pair)?;
    let sums = spoiled(pair)?;
    pair.shell(INTERNET, &format!("ip link set {FAR} mtu {NARROW}"))?;
    pair.shell(FAR, &format!("ip link set {NODE_LINK} mtu {NARROW}"))?;
    let silence = "table inet silent { chain output { type filter hook output priority filter; \
                   icmp type destination-unreachable drop; }; }";
    pair.shell(INTERNET, &format!("nft '{silence}'"))?;
    let hole = narrow(pair, "full inner packets, narrow path without errors")?;
    pair.shell(INTERNET, "nft delete table inet silent")?;
    let told = narrow(pair, "full inner packets, narrow path with errors")?;
    Ok(vec![df, hole, told, sums])
}

fn df(pair: &Pair) -> Result<Fact, LabError> {
    pair.forget()?;
    let tap = Tap::start(&pair.lab, FAR)?;
    pair.ping(&format!("-c {REQUESTS} -i 0.2 -W 5"))?;
    let packets = tap.stop()?;
    let how = "a handshake and echo requests; tap at the receiver";
    Ok(Fact::new(
        "DF of outer IPv4 packets",
        df_by_type(&packets),
        how,
    ))
}

/// The far node has no listener there, so what its kernel takes for whole counts as for a closed port.
fn spoiled(pair: &Pair) -> Result<Fact, LabError> {
    let rule = format!(
        "table inet spoil {{ chain input {{ type filter hook prerouting priority raw; \
         iifname {LINK} udp dport {CLOSED} udp checksum set 0xdead; }}; }}"
    );
    pair.shell(FAR, &format!("nft '{rule}'"))?;
    let counters = || pair.shell(FAR, "cat /proc/net/snmp6");
    let before = counters()?;
    let address = pair.far_address();
    pair.shell(
        NEAR,
        &format!(
            "bash -c 'for i in $(seq {REQUESTS}); do echo x >/dev/udp/{address}/{CLOSED}; sleep 0.2; done'; sleep 1"
        ),
    )?;
    let after = counters()?;
    pair.shell(FAR, "nft delete table inet spoil")?;
    let grown = |name| count(&after, name).saturating_sub(count(&before, name));
    let seen = format!(
        "of {REQUESTS}: {} dropped and counted as wrong, {} taken for whole",
        grown("Udp6InCsumErrors"),
        grown("Udp6NoPorts")
    );
    let how = "datagrams through the tunnel to a closed port, whose checksums a rule of the receiver spoils behind the tunnel; \
               Udp6InCsumErrors and Udp6NoPorts of the receiver";
    Ok(Fact::new("wrong checksums inside of the tunnel", seen, how))
}

/// A line of `/proc/net/snmp6`; zero where the kernel does not know it.
fn count(counters: &str, name: &str) -> u64 {
    let mut lines = counters.lines().map(str::split_whitespace);
    let value =
        lines.find_map(|mut line| (line.next() == Some(name)).then(|| line.next()).flatten());
    value.and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// What the sender learns of the path it keeps, so the silent path comes before the one with errors.
fn narrow(pair: &Pair, what: &str) -> Result<Fact, LabError> {
    let tap = Tap::start(&pair.lab, FAR)?;
    let before = pair.read(NEAR)?;
    let answered = pair.ping(&format!("-M do -s {FULL} -c {REQUESTS} -i 1 -W 3"))?;
    let after = pair.read(NEAR)?;
    let packets = tap.stop()?;
    let from_near = pair.lab.node(NEAR)?.address;
    let arrived = packets.iter().filter(|packet| packet.from == from_near);
    let (fragments, whole): (Vec<_>, Vec<_>) = arrived.partition(|packet| packet.fragment);
    let seen = format!(
        "{answered} of {REQUESTS} answered; at the receiver {} fragments and {} whole packets; sender's tx +{}",
        fragments.len(),
        whole.len(),
        after.tx - before.tx
    );
    let how = format!(
        "a routed link of MTU {NARROW} to the far node, whose router may or may not send \"fragmentation needed\"; \
         echo requests with inner packets of 1420 bytes and DF; tap at the far node"
    );
    Ok(Fact::new(what, seen, &how))
}

fn df_by_type(packets: &[Packet]) -> String {
    let types = [(1, "initiation"), (2, "response"), (4, "data")];
    let words = types.map(|(kind, name)| {
        let of_kind = packets.iter().filter(|packet| packet.kind == Some(kind));
        let (set, clear): (Vec<_>, Vec<_>) = of_kind.partition(|packet| packet.df);
        format!("{name} {} with, {} without", set.len(), clear.len())
    });
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_read_by_its_whole_name() {
        let text = "Udp6NoPortsX \t7\nUdp6NoPorts                     \t3\nUdp6InErrors \t4\n";
        assert_eq!(count(text, "Udp6NoPorts"), 3);
        assert_eq!(count(text, "Udp6InCsumErrors"), 0);
    }
}
