//! `udp`

use std::{net::SocketAddr, time::Duration};

use probe_io::{Heard, Knock, KnockError};
use tokio::time::{Instant, timeout_at};

use super::looking::{asked, micros, open_knock, progress, resolve, show};
use crate::{
    adhoc::{Reply, UdpReach},
    args::{HostPort, UdpArgs},
    error::ProbeError,
    exit::Exit,
    output::Output,
};

/// Sent one after the other: hosts limit how many refusals they send, and datagrams get lost.
const DATAGRAMS: u32 = 3;
/// How long each may be answered.
const PATIENCE: Duration = Duration::from_millis(700);
/// The first byte is none of WireGuard's message types, so it drops them; nor is it a request of any common protocol.
const PAYLOAD: [u8; 16] = [0; 16];

pub(super) async fn run(
    arguments: &UdpArgs,
    within: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let HostPort { host, port } = &arguments.host;
    let address = resolve(host, arguments.path, within).await?;
    let to = SocketAddr::new(address, *port);
    progress(&format!("asking UDP {port} of {address}"));
    let (knock, marking) = open_knock(to, arguments.path)?;
    let (sent, reply) = ask(&knock).await.map_err(ProbeError::Knock)?;
    let facts = UdpReach {
        asked: asked(host, address, marking),
        port: *port,
        sent,
        reply,
    };
    show(&facts, output)
}

/// How many datagrams it took, and what was heard first.
pub(super) async fn ask(knock: &Knock) -> Result<(u32, Reply), KnockError> {
    let begun = Instant::now();
    for number in 1..=DATAGRAMS {
        let sent_at = Instant::now();
        let refused = |refused| Reply::Refused {
            refused,
            after_us: micros(sent_at.elapsed()),
        };
        if let Err(refusal) = knock.send(&PAYLOAD) {
            return Ok((number, refused(refusal.into())));
        }
        if let Ok(heard) = timeout_at(sent_at + PATIENCE, knock.next()).await {
            let reply = match heard? {
                Heard::Answer(bytes) => Reply::Answer {
                    bytes: bytes.len(),
                    after_us: micros(sent_at.elapsed()),
                },
                Heard::Refused(refusal) => refused(refusal.into()),
            };
            return Ok((number, reply));
        }
    }
    let within_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
    Ok((DATAGRAMS, Reply::Nothing { within_ms }))
}
