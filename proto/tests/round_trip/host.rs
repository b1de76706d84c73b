//! The fact about the host.

use evidence::{
    Complaint, ComplaintKind, Drops, Fact, Fingerprint, HardwareAddress, Host, HostLink, Offload,
    Ports, ReversePath, Udp, limits,
};
use proptest::prelude::*;

use super::maybe;

pub(crate) fn host() -> impl Strategy<Value = Fact> {
    let names = any::<(Option<[u8; 16]>, Option<[u8; 16]>)>();
    let links = (
        prop::collection::vec(link(), 0..=limits::HOST_LINKS),
        any::<u32>(),
    );
    let other = prop::collection::vec("[a-z0-9]{1,15}", 0..4);
    let ports = (any::<(u32, u32)>(), other).prop_map(
        |((tunnel_sockets, overlay_sockets), other_wireguard)| Ports {
            tunnel_sockets,
            overlay_sockets,
            other_wireguard,
        },
    );
    (
        names,
        links,
        prop::option::of(reverse_path()),
        prop::option::of(ports),
        prop::option::of(udp()),
        (prop::option::of(drops()), any::<Option<u32>>()),
        (drops(), drops(), prop::option::of(complaints())),
    )
        .prop_map(
            |(
                (machine_id, system_uuid),
                (links, left_out),
                reverse_path,
                ports,
                udp,
                (checksum_errors, checksum_errors_lately),
                (address_changes, route_changes, complaints),
            )| {
                Fact::Host(Box::new(Host {
                    machine_id: machine_id.map(Fingerprint),
                    system_uuid: system_uuid.map(Fingerprint),
                    links,
                    left_out,
                    reverse_path,
                    ports,
                    udp,
                    checksum_errors,
                    checksum_errors_lately,
                    address_changes,
                    route_changes,
                    complaints,
                }))
            },
        )
}

fn complaints() -> impl Strategy<Value = Vec<Complaint>> {
    let kinds = [ComplaintKind::DeadLoop, ComplaintKind::OverlayChecksum];
    let link = prop::option::of("[a-z0-9.-]{1,15}");
    let one = (prop::sample::select(kinds.to_vec()), link, drops());
    let one = one.prop_map(|(kind, link, seen)| Complaint { kind, link, seen });
    prop::collection::vec(one, 0..=limits::COMPLAINTS)
}

fn drops() -> impl Strategy<Value = Drops> {
    (any::<u64>(), maybe()).prop_map(|(count, last)| Drops { count, last })
}

fn link() -> impl Strategy<Value = HostLink> {
    let drops = || prop::option::of(drops());
    (
        "[a-z0-9.-]{1,15}",
        prop::option::of("[a-z]{1,10}"),
        any::<(Option<[u8; 6]>, bool, u32, Option<u8>, Option<[bool; 3]>)>(),
        [drops(), drops(), drops(), drops()],
    )
        .prop_map(
            |(name, kind, (address, up, mtu, rp_filter, offload), drops)| {
                let [rx_dropped, tx_dropped, rx_errors, tx_errors] = drops;
                HostLink {
                    name,
                    kind,
                    address: address.map(HardwareAddress),
                    up,
                    mtu,
                    rp_filter,
                    offload: offload.map(|[checksum, tunnel_segmentation, tunnel_checksum]| {
                        Offload {
                            checksum,
                            tunnel_segmentation,
                            tunnel_checksum,
                        }
                    }),
                    rx_dropped,
                    tx_dropped,
                    rx_errors,
                    tx_errors,
                }
            },
        )
}

fn reverse_path() -> impl Strategy<Value = ReversePath> {
    let settings = any::<(u8, bool)>();
    (settings, prop::option::of(drops())).prop_map(|((all, src_valid_mark), dropped)| ReversePath {
        all,
        src_valid_mark,
        dropped,
    })
}

fn udp() -> impl Strategy<Value = Udp> {
    let pages = any::<(Option<u32>, Option<u32>)>();
    (drops(), drops(), pages).prop_map(|(no_room, not_sent, (pages, pages_max))| Udp {
        no_room,
        not_sent,
        pages,
        pages_max,
    })
}
