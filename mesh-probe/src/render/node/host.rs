//! A node's host: links, filters, ports, what was lost.

use evidence::{Complaint, Host, HostLink, Moment};

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
    let changes = drops(Some(host.route_changes), now);
    lines.push(format!("changes of routes: {changes}"));
    lines.extend(kernel_log(host, now));
    lines
}

fn kernel_log(host: &Host, now: Moment) -> Vec<String> {
    let Some(complaints) = &host.complaints else {
        return vec!["the kernel's log: may not be read".to_owned()];
    };
    let one = |complaint: &Complaint| {
        let link = complaint.link.as_ref();
        let link = link.map_or_else(String::new, |link| format!(" ({link})"));
        let seen = drops(Some(complaint.seen), now);
        format!(
            "the kernel complains of {}{link}: {seen}",
            complaint.kind.as_str()
        )
    };
    complaints.iter().map(one).collect()
}

/// What a card does of the kernel's work.
fn offload(link: &HostLink) -> String {
    let Some(offload) = link.offload.filter(|_| link.is_hardware()) else {
        return String::new();
    };
    let done = [
        (offload.checksum, "checksums"),
        (offload.tunnel_segmentation, "segments of tunnels"),
        (offload.tunnel_checksum, "their outer checksums"),
    ];
    let done: Vec<_> = done
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, what)| *what)
        .collect();
    match done.as_slice() {
        [] => "; its card makes no checksums".to_owned(),
        done => format!("; its card makes {}", done.join(", ")),
    }
}

fn link(link: &HostLink, now: Moment) -> String {
    let kind = link.kind.as_deref().unwrap_or("hardware");
    let state = if link.up { "up" } else { "down" };
    let address = link
        .address
        .map_or_else(String::new, |address| format!(", {address}"));
    let both = |rx, tx| format!("{} in, {} out", drops(rx, now), drops(tx, now));
    format!(
        "{} ({kind}, {state}, MTU {}{address}): dropped {}; errors {}{}",
        link.name,
        link.mtu,
        both(link.rx_dropped, link.tx_dropped),
        both(link.rx_errors, link.tx_errors),
        offload(link)
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
    use evidence::{ComplaintKind, Drops, HardwareAddress, Offload, Ports, ReversePath};

    use super::*;

    #[test]
    fn what_is_known_is_told_and_what_is_not_is_said_to_be_unknown() {
        let seen = Drops {
            count: 69,
            last: Some(Moment::from_millis(7_000)),
        };
        let some = Some(seen);
        let link = HostLink {
            name: "eth0".to_owned(),
            kind: None,
            address: Some(HardwareAddress([2, 0, 0, 0, 0, 1])),
            up: true,
            mtu: 1500,
            rp_filter: Some(0),
            offload: Some(Offload {
                checksum: true,
                ..Offload::default()
            }),
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
            complaints: Some(vec![Complaint {
                kind: ComplaintKind::DeadLoop,
                link: Some("vx0".to_owned()),
                seen,
            }]),
            ..Host::default()
        };
        let expected = [
            "eth0 (hardware, up, MTU 1500, 02:00:00:00:00:01): dropped 69 (last 3.0 s ago) in, 0 out; errors not known in, not known out; its card makes checksums",
            "reverse path filter: strict for all links, looks at no marks, dropped 69 (last 3.0 s ago)",
            "sockets: 2 on UDP 51820, 0 on UDP 8472; other WireGuard links: wg0",
            "datagrams: not known",
            "wrong checksums: not known",
            "addresses that came or went: 0",
            "changes of routes: 0",
            "the kernel complains of dead loop on a virtual device (vx0): 69 (last 3.0 s ago)",
        ];
        assert_eq!(host(&told, Moment::from_millis(10_000)), expected);
    }
}
