//! A node's host: links, filters, ports, what was lost.

use evidence::{Host, HostLink, Moment};

use super::drops;

/// All that the host says, in lines.
pub fn host(host: &Host, now: Moment) -> Vec<String> {
    let mut lines: Vec<String> = host.links.iter().map(|one| link(one, now)).collect();
    if host.left_out > 0 {
        lines.push(format!("and {} more links", host.left_out));
    }
    lines.push(reverse_path(host, now));
    lines.push(ports(host));
    lines.push(udp(host, now));
    lines.push(format!(
        "wrong checksums: {}",
        drops(host.checksum_errors, now)
    ));
    let changes = drops(Some(host.address_changes), now);
    lines.push(format!("addresses that came or went: {changes}"));
    lines
}

fn link(link: &HostLink, now: Moment) -> String {
    let kind = link.kind.as_deref().unwrap_or("hardware");
    let state = if link.up { "up" } else { "down" };
    let address = link
        .address
        .map_or_else(String::new, |address| format!(", {address}"));
    let both = |rx, tx| format!("{} in, {} out", drops(rx, now), drops(tx, now));
    format!(
        "{} ({kind}, {state}, MTU {}{address}): dropped {}; errors {}",
        link.name,
        link.mtu,
        both(link.rx_dropped, link.tx_dropped),
        both(link.rx_errors, link.tx_errors)
    )
}

fn reverse_path(host: &Host, now: Moment) -> String {
    let Some(filter) = host.reverse_path else {
        return "reverse path filter: not known".to_owned();
    };
    let mode = match filter.all {
        0 => "off",
        1 => "strict",
        _ => "loose",
    };
    let marks = if filter.src_valid_mark {
        "looks at marks"
    } else {
        "looks at no marks"
    };
    let dropped = drops(filter.dropped, now);
    format!("reverse path filter: {mode} for all links, {marks}, dropped {dropped}")
}

fn ports(host: &Host) -> String {
    let Some(ports) = &host.ports else {
        return "sockets: not known".to_owned();
    };
    let others = match ports.other_wireguard.as_slice() {
        [] => String::new(),
        names => format!("; other WireGuard links: {}", names.join(", ")),
    };
    format!(
        "sockets: {} on UDP 51820, {} on UDP 8472{others}",
        ports.tunnel_sockets, ports.overlay_sockets
    )
}

fn udp(host: &Host, now: Moment) -> String {
    let Some(udp) = host.udp else {
        return "datagrams: not known".to_owned();
    };
    let pages = udp.pages.zip(udp.pages_max);
    let pages = pages.map_or_else(String::new, |(used, max)| {
        format!(", {used} of {max} pages in use")
    });
    format!(
        "datagrams: no room for {}, not sent {}{pages}",
        drops(Some(udp.no_room), now),
        drops(Some(udp.not_sent), now)
    )
}

#[cfg(test)]
mod tests {
    use evidence::{Drops, HardwareAddress, Ports, ReversePath};

    use super::*;

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_said_to_be_unknown() {
        let some = Some(Drops {
            count: 69,
            last: Some(Moment::from_millis(7_000)),
        });
        let link = HostLink {
            name: "eth0".to_owned(),
            kind: None,
            address: Some(HardwareAddress([2, 0, 0, 0, 0, 1])),
            up: true,
            mtu: 1500,
            rp_filter: Some(0),
            rx_dropped: some,
            tx_dropped: Some(Drops::default()),
            rx_errors: None,
            tx_errors: None,
        };
        let told = Host {
            links: vec![link],
            reverse_path: Some(ReversePath {
                all: 1,
                src_valid_mark: false,
                dropped: some,
            }),
            ports: Some(Ports {
                tunnel_sockets: 2,
                overlay_sockets: 0,
                other_wireguard: vec!["wg0".to_owned()],
            }),
            ..Host::default()
        };
        let expected = [
            "eth0 (hardware, up, MTU 1500, 02:00:00:00:00:01): dropped 69 (last 3.0 s ago) in, 0 out; errors not known in, not known out",
            "reverse path filter: strict for all links, looks at no marks, dropped 69 (last 3.0 s ago)",
            "sockets: 2 on UDP 51820, 0 on UDP 8472; other WireGuard links: wg0",
            "datagrams: not known",
            "wrong checksums: not known",
            "addresses that came or went: 0",
        ];
        assert_eq!(host(&told, Moment::from_millis(10_000)), expected);
    }
}
