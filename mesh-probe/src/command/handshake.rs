//! `handshake`

use std::{net::SocketAddr, time::Duration};

use probe_io::{Heard, Knock, KnockError};
use tokio::time::{Instant, timeout_at};

use super::looking::{asked, micros, open_knock, progress, resolve, show};
use crate::{
    adhoc::{HandshakeTest, Outcome},
    args::{HandshakeArgs, HostPort},
    error::ProbeError,
    exit::Exit,
    initiator::{Initiator, Received},
    output::Output,
    own_keys,
    secret::SecretKey,
};

/// Initiations of one run, at most; `WireGuard` itself would send one in five seconds.
const INITIATIONS: u32 = 3;
/// Time from one to the next, and for the last to be answered. All of them together stay within five seconds.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(super) async fn run(
    arguments: &HandshakeArgs,
    within: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let own = SecretKey::load(&arguments.key_file).map_err(ProbeError::Secret)?;
    let preshared = arguments.psk_file.as_deref().map(SecretKey::load);
    let preshared = preshared.transpose().map_err(ProbeError::Secret)?;
    let own_key = Initiator::public_key(&own);
    if own_key == arguments.peer_key {
        return Err(ProbeError::PeerIsSelf);
    }
    own_keys::refuse_own(own_key)
        .await
        .map_err(ProbeError::OwnKey)?;
    let HostPort { host, port } = &arguments.host;
    let address = resolve(host, arguments.path, within).await?;
    progress(&format!("shaking hands with {address}"));
    let (knock, marking) = open_knock(SocketAddr::new(address, *port), arguments.path)?;
    let initiator = Initiator::new(&own, arguments.peer_key, preshared.as_ref());
    let (initiations, outcome) = shake(&knock, initiator).await.map_err(ProbeError::Knock)?;
    let facts = HandshakeTest {
        asked: asked(host, address, marking),
        port: *port,
        peer_key: arguments.peer_key,
        own_key,
        with_preshared_key: preshared.is_some(),
        initiations,
        outcome,
    };
    show(&facts, output)
}

/// How many initiations it took, and what came of them.
async fn shake(knock: &Knock, mut initiator: Initiator) -> Result<(u32, Outcome), KnockError> {
    let begun = Instant::now();
    let mut cookies = 0_u32;
    let mut sent = 0;
    while sent < INITIATIONS {
        let Some(initiation) = initiator.initiation() else {
            break;
        };
        let sent_at = Instant::now();
        sent += 1;
        if let Err(refusal) = knock.send(&initiation) {
            let refused = refusal.into();
            return Ok((sent, Outcome::Refused { refused }));
        }
        while let Ok(heard) = timeout_at(sent_at + PATIENCE, knock.next()).await {
            if let Some(outcome) = judge(&mut initiator, heard?, sent_at, &mut cookies) {
                return Ok((sent, outcome));
            }
        }
    }
    let within_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
    let outcome = match cookies {
        0 => Outcome::Silent { within_ms },
        _ => Outcome::UnderLoad,
    };
    Ok((sent, outcome))
}

/// `None` if more may come.
fn judge(
    initiator: &mut Initiator,
    heard: Heard,
    sent_at: Instant,
    cookies: &mut u32,
) -> Option<Outcome> {
    let bytes = match heard {
        Heard::Answer(bytes) => bytes,
        Heard::Refused(refusal) => {
            let refused = refusal.into();
            return Some(Outcome::Refused { refused });
        }
    };
    match initiator.receive(&bytes) {
        Received::Response => Some(Outcome::Completed {
            after_us: micros(sent_at.elapsed()),
        }),
        Received::OtherPresharedKey => Some(Outcome::OtherPresharedKey),
        Received::Cookie => {
            *cookies = cookies.saturating_add(1);
            None
        }
        Received::Stray => None,
    }
}
