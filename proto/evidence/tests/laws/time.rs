//! Facts about clocks and hosts with all fields set.

use evidence::{
    Clock, Complaint, ComplaintKind, Drops, Fingerprint, HardwareAddress, Host, HostLink,
    KernelClock, Moment, Ntp, NtpServer, NtpStage, Offload, Ports, ReversePath, Step, Udp,
    WallReading,
};

pub(crate) fn clock(after: impl Fn(i64) -> Moment) -> Clock {
    Clock {
        reading: reading(after(1)),
        booted: after(2),
        kernel: Some(KernelClock {
            synchronized: true,
            max_error_us: 1,
            estimated_error_us: 2,
        }),
        stepped: Some(Step {
            at: after(3),
            by_ms: -4,
        }),
    }
}

pub(crate) fn ntp(after: impl Fn(i64) -> Moment) -> Ntp {
    let server = NtpServer {
        name: "time.example.org".to_owned(),
        asked: after(1),
        address: Some([192, 0, 2, 1].into()),
        stage: NtpStage::Answered,
        detail: None,
        failed_in_a_row: 0,
        told: Some(reading(after(2))),
        stratum: Some(2),
    };
    Ntp {
        servers: vec![server],
    }
}

pub(crate) fn host(after: impl Fn(i64) -> Moment) -> Host {
    let drops = |millis| Drops {
        count: 1,
        last: Some(after(millis)),
    };
    Host {
        machine_id: Some(Fingerprint([1; 16])),
        system_uuid: Some(Fingerprint([2; 16])),
        links: vec![HostLink {
            name: "eth0".to_owned(),
            kind: None,
            address: Some(HardwareAddress([2; 6])),
            up: true,
            mtu: 1500,
            rp_filter: Some(1),
            offload: Some(Offload::default()),
            rx_dropped: Some(drops(1)),
            tx_dropped: Some(drops(2)),
            rx_errors: Some(drops(3)),
            tx_errors: Some(drops(4)),
        }],
        left_out: 0,
        reverse_path: Some(ReversePath {
            all: 1,
            src_valid_mark: false,
            dropped: Some(drops(5)),
        }),
        ports: Some(Ports {
            tunnel_sockets: 2,
            overlay_sockets: 1,
            other_wireguard: vec!["wg0".to_owned()],
        }),
        udp: Some(Udp {
            no_room: drops(6),
            not_sent: drops(7),
            pages: Some(1),
            pages_max: Some(2),
        }),
        checksum_errors: Some(drops(8)),
        address_changes: drops(9),
        checksum_errors_lately: Some(3),
        route_changes: drops(10),
        complaints: Some(vec![Complaint {
            kind: ComplaintKind::DeadLoop,
            link: Some("vx0".to_owned()),
            seen: drops(11),
        }]),
    }
}

fn reading(at: Moment) -> WallReading {
    WallReading {
        at,
        wall_ms: 1_700_000_000_000,
        error_us: 850,
    }
}
