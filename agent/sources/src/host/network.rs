//! What the network stack of this namespace counts, filters and has bound. Read from `/proc`; what cannot be read is not
//! known.

use std::{collections::BTreeMap, fs};

const DEVICES: &str = "/proc/net/dev";
const SNMP: &str = "/proc/net/snmp";
const SNMP6: &str = "/proc/net/snmp6";
const NETSTAT: &str = "/proc/net/netstat";
const SOCKSTAT: &str = "/proc/net/sockstat";
const UDP_MEMORY: &str = "/proc/sys/net/ipv4/udp_mem";
const UDP_TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";
/// Most links whose counters are kept; a node has one or two per pod.
const MAX_DEVICES: usize = 2048;

/// One reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// By the names of links.
    pub devices: BTreeMap<String, Device>,
    /// `rp_filter` of all links, and whether it looks at marks.
    pub filter: Option<(u8, bool)>,
    /// Packets that the reverse path filter dropped.
    pub filtered: Option<u64>,
    /// Datagrams for which sockets had no room.
    pub no_room: Option<u64>,
    /// Datagrams that the kernel had no memory to send.
    pub not_sent: Option<u64>,
    /// Segments and datagrams with a wrong checksum.
    pub checksum_errors: Option<u64>,
    /// Pages of memory of UDP sockets, and from which on there are no more.
    pub udp_pages: Option<(u32, u32)>,
}

/// One link's counters and filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Packets that came spoiled.
    pub rx_errors: u64,
    /// Packets that came and were dropped.
    pub rx_dropped: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets that were to leave and were dropped.
    pub tx_dropped: u64,
    /// The link's own `rp_filter`.
    pub rp_filter: Option<u8>,
}

/// Reads what there is.
pub fn read() -> Network {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let setting =
        |link: &str, name: &str| number::<u8>(&text(&format!("{SETTINGS}/{link}/{name}")));
    let (snmp, snmp6, netstat) = (text(SNMP), text(SNMP6), text(NETSTAT));
    let mut devices = devices(&text(DEVICES));
    for (name, device) in &mut devices {
        device.rp_filter = setting(name, "rp_filter");
    }
    let marks = setting("all", "src_valid_mark").map(|mark| mark != 0);
    let both = |table: &str, field: &str, name6: &str| {
        Some(column(&snmp, table, field)?.saturating_add(row(&snmp6, name6).unwrap_or(0)))
    };
    let tcp = column(&snmp, "Tcp", "InCsumErrors");
    Network {
        devices,
        filter: setting("all", "rp_filter").zip(marks),
        filtered: column(&netstat, "TcpExt", "IPReversePathFilter"),
        no_room: both("Udp", "RcvbufErrors", "Udp6RcvbufErrors"),
        not_sent: both("Udp", "SndbufErrors", "Udp6SndbufErrors"),
        checksum_errors: both("Udp", "InCsumErrors", "Udp6InCsumErrors")
            .zip(tcp)
            .map(|(udp, tcp)| udp.saturating_add(tcp)),
        udp_pages: udp_pages(&text(SOCKSTAT)).zip(last(&text(UDP_MEMORY))),
    }
}

/// How many UDP sockets are bound to a port, the kernel's own among them; none if no table can be read.
pub fn bound_sockets(port: u16) -> Option<u32> {
    let tables = UDP_TABLES
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    tables
        .map(|table| bound(&table, port))
        .reduce(u32::saturating_add)
}

/// One line per socket after a heading; the second field is `address:port` in hexadecimal.
fn bound(table: &str, port: u16) -> u32 {
    let port = format!(":{port:04X}");
    let ours = |line: &&str| {
        let local = line.split_ascii_whitespace().nth(1);
        local.is_some_and(|local| local.ends_with(&port))
    };
    u32::try_from(table.lines().skip(1).filter(ours).count()).unwrap_or(u32::MAX)
}

/// One line per link after two headings: eight numbers of what came, eight of what left.
fn devices(table: &str) -> BTreeMap<String, Device> {
    let device = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers
            .split_ascii_whitespace()
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()?;
        let device = Device {
            rx_errors: *numbers.get(2)?,
            rx_dropped: *numbers.get(3)?,
            tx_errors: *numbers.get(10)?,
            tx_dropped: *numbers.get(11)?,
            rp_filter: None,
        };
        Some((name.trim().to_owned(), device))
    };
    let lines = table.lines().skip(2);
    lines.filter_map(device).take(MAX_DEVICES).collect()
}

/// Tables of two lines each: the names of the columns, and their values.
fn column(text: &str, table: &str, field: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let (_, names) = lines.find(|(name, _)| *name == table)?;
    let (_, values) = lines.next().filter(|(name, _)| *name == table)?;
    let place = names
        .split_ascii_whitespace()
        .position(|name| name == field)?;
    values.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// One name and its value per line.
fn row(text: &str, name: &str) -> Option<u64> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace));
    lines
        .find(|(known, _)| *known == name)
        .and_then(|(_, value)| number(value))
}

/// The number behind `mem` in the line of UDP.
fn udp_pages(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.strip_prefix("UDP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "mem")?;
    number(words.next()?)
}

fn last(text: &str) -> Option<u32> {
    number(text.split_ascii_whitespace().next_back()?)
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_links_are_told_by_name() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop\n  \
                     eth0: 100 2 3 4 0 0 0 0 200 5 6 7 0 0 0 0\nodd: 1 2\n";
        let read = devices(table);
        let expected = Device {
            rx_errors: 3,
            rx_dropped: 4,
            tx_errors: 6,
            tx_dropped: 7,
            rp_filter: None,
        };
        assert_eq!(read, BTreeMap::from([("eth0".to_owned(), expected)]));
    }

    #[test]
    fn a_column_is_found_by_its_name_and_not_by_its_place() {
        let text = "Ip: a b\nIp: 1 2\nUdp: NoPorts RcvbufErrors\nUdp: 7 9\nUdpLite: RcvbufErrors\nUdpLite: 5\n";
        assert_eq!(column(text, "Udp", "RcvbufErrors"), Some(9));
        assert_eq!(column(text, "Udp", "SndbufErrors"), None);
        assert_eq!(column("Udp: NoPorts\n", "Udp", "NoPorts"), None);
        assert_eq!(
            row(
                "Udp6InDatagrams   \t 4\nUdp6RcvbufErrors  3\n",
                "Udp6RcvbufErrors"
            ),
            Some(3)
        );
    }

    #[test]
    fn sockets_on_a_port_are_counted_whatever_their_address() {
        let table =
            "head\n 1: 00000000:CA6C 00000000:0000 07\n 2: 0100007F:0035 0:0 07\n 3: 0:CA6C x 07\n";
        assert_eq!(bound(table, 51_820), 2);
        assert_eq!(bound(table, 8472), 0);
    }

    #[test]
    fn this_machine_tells_of_loopback_and_of_a_socket_of_ours() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(bound_sockets(port).unwrap() >= 1);
        let network = read();
        assert!(network.devices.contains_key("lo"), "{network:?}");
        assert!(
            network.no_room.is_some() && network.udp_pages.is_some(),
            "{network:?}"
        );
    }

    #[test]
    fn what_is_no_table_is_not_known_and_never_zero() {
        assert_eq!(column("", "Udp", "NoPorts"), None);
        assert_eq!(udp_pages("TCP: mem 1\n"), None);
        assert_eq!(last(""), None);
    }
}
