//! Control messages with an entry of a socket's error queue.

use probe_io::Cause;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "error-queue",
    run,
    seeds,
};

/// What the kernel puts before the data of a control message.
const HEADER: usize = size_of::<usize>() + 8;
/// `SO_EE_ORIGIN_LOCAL`, `SO_EE_ORIGIN_ICMP`, `SO_EE_ORIGIN_ICMP6`.
const ORIGINS: [u8; 3] = [1, 2, 3];

fn run(bytes: &[u8]) {
    let Some(cause) = Cause::in_control(bytes) else {
        return;
    };
    assert!(
        bytes.len() >= HEADER + 16,
        "{cause:?} in {} bytes",
        bytes.len()
    );
    // Only a message from the network has somebody who reports it.
    assert!(
        cause.icmp.is_some() || cause.reporter.is_none(),
        "{cause:?}"
    );
}

fn seeds() -> Vec<Vec<u8>> {
    let v4 = [&[2, 0, 0, 0, 203, 0, 113, 1][..], &[0; 8]].concat();
    let v6 = [&[10, 0, 0, 0, 0, 0, 0, 0][..], &[0x20; 16], &[0; 4]].concat();
    let errors = ORIGINS.map(|origin| {
        let v4 = error(libc::SOL_IP, libc::IP_RECVERR, origin, &v4);
        let v6 = error(libc::SOL_IPV6, libc::IPV6_RECVERR, origin, &v6);
        [v4, v6]
    });
    let [local, icmp, icmp6] = errors;
    let other = message(libc::SOL_IP, libc::IP_PKTINFO, &[0; 12]);
    let mut lie = icmp[0].clone();
    lie[..8].copy_from_slice(&u64::MAX.to_ne_bytes());
    let behind_another = [other.clone(), icmp[0].clone()].concat();
    let cut_off = icmp[1][..icmp[1].len() - 20].to_vec();
    [local, icmp, icmp6]
        .concat()
        .into_iter()
        .chain([other, lie, behind_another, cut_off])
        .collect()
}

fn error(level: i32, kind: i32, origin: u8, offender: &[u8]) -> Vec<u8> {
    let errno = libc::ECONNREFUSED.to_ne_bytes();
    let data = [&errno[..], &[origin, 3, 3, 0], &[0; 8], offender].concat();
    message(level, kind, &data)
}

fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
    let length = HEADER + data.len();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(length.next_multiple_of(size_of::<usize>()), 0);
    bytes
}
