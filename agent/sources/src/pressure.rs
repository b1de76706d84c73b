//! What the kernel had to drop or put off on this node. Read from `/proc`; what cannot be read is not known.

use std::fs;

const UDP6: &str = "/proc/net/udp6";
const SOFTNET: &str = "/proc/net/softnet_stat";
const CONNTRACK_COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
const CONNTRACK_MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Datagrams for which the IPv6 sockets of a port on one address had no room; none if there is no such socket.
    pub socket_drops: Option<u64>,
    /// Packets dropped for want of room in the queues of all processors.
    pub backlog_drops: Option<u64>,
    /// Times that a processor left packets waiting after it had worked on others for long enough.
    pub squeezed: Option<u64>,
    /// Entries of the table of tracked connections, and how many it holds; none without connection tracking.
    pub conntrack: Option<(u32, u32)>,
}

/// Reads what there is. `port` is that of the socket whose drops are asked for.
pub fn read(port: u16) -> Pressure {
    let text = |path| fs::read_to_string(path).ok();
    let softnet = text(SOFTNET).and_then(|text| softnet(&text));
    let number = |path| text(path)?.trim().parse().ok();
    Pressure {
        socket_drops: text(UDP6).and_then(|text| socket_drops(&text, port)),
        backlog_drops: softnet.map(|(dropped, _)| dropped),
        squeezed: softnet.map(|(_, squeezed)| squeezed),
        conntrack: number(CONNTRACK_COUNT).zip(number(CONNTRACK_MAX)),
    }
}

/// One line per socket after a heading: the second field is `address:port`, both in hexadecimal, the last the drops.
///
/// Sockets of all addresses are not meant: what strangers send there and a filter refuses counts as dropped too, and would make a node
/// look overloaded to whoever believes it.
fn socket_drops(table: &str, port: u16) -> Option<u64> {
    let port = format!(":{port:04X}");
    let drops = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.nth(1)?.strip_suffix(&port);
        let ours = address.is_some_and(|address| address.bytes().any(|digit| digit != b'0'));
        let drops = fields.next_back().filter(|_| ours)?;
        drops.parse::<u64>().ok()
    });
    drops.reduce(u64::saturating_add)
}

/// One line per processor: how many packets it took, how many it dropped, how often it put some off, in hexadecimal.
fn softnet(table: &str) -> Option<(u64, u64)> {
    let each = table.lines().map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut number = || u64::from_str_radix(fields.next()?, 16).ok();
        Some((number()?, number()?))
    });
    let sum = |(a, b): (u64, u64), (c, d)| (a.saturating_add(c), b.saturating_add(d));
    each.reduce(|all, one| Some(sum(all?, one?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  131: 00000000000000000000000000000000:14E9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   107        0 13205 2 0000000000000000 9
  742: 5A177FFD0256CB97FFB61A2C6981FEFF:553C 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21561 2 0000000000000000 17
  742: 00000000000000000000000000000000:553C 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21562 2 0000000000000000 4000
  131: 5A177FFD0256CB97FFB61A2C6981FEFF:14E9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000   107        0 13206 2 0000000000000000 9
";

    #[test]
    fn the_drops_of_the_port_are_told_from_those_of_others_and_of_strangers() {
        assert_eq!(socket_drops(SOCKETS, 21_820), Some(17));
        assert_eq!(socket_drops(SOCKETS, 5353), Some(9));
        assert_eq!(socket_drops(SOCKETS, 51_820), None);
    }

    #[test]
    fn what_processors_dropped_and_put_off_is_added_up() {
        let table = "0000272d 00000000 0000000b 00000000\n0000001b 00000010 00000001 00000000\n";
        assert_eq!(softnet(table), Some((16, 12)));
    }

    #[test]
    fn what_is_no_table_is_not_known_and_never_zero() {
        assert_eq!(softnet("not hexadecimal\n"), None);
        assert_eq!(softnet(""), None);
        assert_eq!(socket_drops("", 21_820), None);
        assert_eq!(socket_drops("head\n1: x:553C y many\n", 21_820), None);
    }
}
