//! What the interfaces of both ends show of a tunnel's data while nothing of it is heard.
//!
//! It judges nothing: where the data goes lost is for the reader to see, and for the handshakes to prove.

use std::time::Duration;

use evidence::{Citation, DataSeen, FactKey, Moment, PublicKey};

use crate::{
    mesh::{Member, Mesh},
    text,
};

/// `WireGuard`'s counters are read each second, and what they say is reported a little later.
const COUNTED: Duration = Duration::from_secs(2);

/// What left A, and what came to B, in looks that were made wholly after the loss began.
pub(super) fn at_the_interfaces(
    mesh: &Mesh<'_>,
    (a, b): (&Member<'_>, &Member<'_>),
    (a_key, b_key): (&PublicKey, &PublicKey),
    loss_since: Moment,
) -> Vec<Citation> {
    let during = |seen: &&DataSeen| seen.since >= loss_since;
    let left = a.data_seen(b_key).filter(during).map(|seen| {
        let text = format!(
            "{} left its interface for {} within {}",
            messages(seen.to_peer.data),
            b.node,
            length(seen)
        );
        mesh.cite(a, FactKey::DataSeen(*b_key), seen.until, text)
    });
    let came = b.data_seen(a_key).filter(during).map(|seen| {
        let text = format!(
            "{} within {}",
            arrived(mesh, (a, b), a_key, seen),
            length(seen)
        );
        mesh.cite(b, FactKey::DataSeen(*a_key), seen.until, text)
    });
    left.into_iter().chain(came).collect()
}

fn arrived(
    mesh: &Mesh<'_>,
    (a, b): (&Member<'_>, &Member<'_>),
    a_key: &PublicKey,
    seen: &DataSeen,
) -> String {
    let from = format!("from the endpoint of {}", a.node);
    match seen.from_peer.data {
        0 if seen.from_peer.keepalives > 0 => format!("only keepalives arrived {from}"),
        0 => format!("{} arrived {from}", messages(0)),
        count => {
            let moved = b.peer(a_key).and_then(|peer| peer.rx_moved);
            let counted = mesh.now.since(seen.until) >= COUNTED;
            let taken = if counted && moved.is_none_or(|at| at < seen.since) {
                ", of which its WireGuard took none,"
            } else {
                ""
            };
            format!("{} arrived at its interface {from}{taken}", messages(count))
        }
    }
}

fn messages(count: u32) -> String {
    match count {
        0 => "no data message".to_owned(),
        1 => "a data message".to_owned(),
        count => format!("{count} data messages"),
    }
}

/// How long the look took, and whether it saw all.
fn length(seen: &DataSeen) -> String {
    let took = text::age(seen.until.since(seen.since));
    match seen.missed {
        0 => took,
        missed => format!("{took} ({missed} messages were missed)"),
    }
}
