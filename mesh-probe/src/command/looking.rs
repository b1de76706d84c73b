//! What the commands without a collector have in common: names become addresses, marks are tried.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use probe_io::{Knock, KnockError, UNDERLAY_MARK};
use tokio::{net::lookup_host, time::timeout};

use crate::{
    adhoc::{Asked, Facts, Marking},
    args::{Host, PathArgs},
    document::FactsDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

/// The first address of a host that the arguments allow.
pub(super) async fn resolve(
    host: &Host,
    path: PathArgs,
    within: Duration,
) -> Result<IpAddr, ProbeError> {
    let unknown = |source| ProbeError::UnknownHost {
        host: host.to_string(),
        source,
    };
    let lookup = timeout(within, lookup_host((host.as_str(), 0))).await;
    let addresses = lookup
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(unknown)?;
    let mut allowed = addresses
        .map(|address: SocketAddr| address.ip().to_canonical())
        .filter(|address| (address.is_ipv4() || !path.ipv4) && (address.is_ipv6() || !path.ipv6));
    allowed
        .next()
        .ok_or_else(|| unknown(std::io::ErrorKind::AddrNotAvailable.into()))
}

/// Opens a socket with the mark that was asked for, or with `KubeSpan`'s if that is permitted.
pub(super) fn open_marked<S, E>(
    path: PathArgs,
    open: impl Fn(Option<u32>) -> Result<S, E>,
    lacks_mark: impl Fn(&E) -> bool,
) -> Result<(S, Marking), E> {
    match path.mark {
        Some(0) => Ok((open(None)?, Marking::Unmarked)),
        Some(mark) => Ok((open(Some(mark))?, Marking::Marked { mark })),
        None => match open(Some(UNDERLAY_MARK)) {
            Ok(socket) => Ok((
                socket,
                Marking::Marked {
                    mark: UNDERLAY_MARK,
                },
            )),
            Err(error) if lacks_mark(&error) => Ok((open(None)?, Marking::NotPermitted)),
            Err(error) => Err(error),
        },
    }
}

pub(super) fn open_knock(to: SocketAddr, path: PathArgs) -> Result<(Knock, Marking), ProbeError> {
    let lacks_mark = |error: &KnockError| matches!(error, KnockError::Mark { .. });
    open_marked(path, |mark| Knock::open(to, mark), lacks_mark).map_err(ProbeError::Knock)
}

pub(super) fn asked(host: &Host, address: IpAddr, marking: Marking) -> Asked {
    Asked {
        host: host.to_string(),
        address,
        marking,
    }
}

/// Prints facts and ends as they say.
pub(super) fn show<F: Facts>(facts: &F, output: Output) -> Result<Exit, ProbeError> {
    output.answer(&FactsDocument::new(facts), |style| {
        render::facts(facts, style)
    })?;
    Ok(facts.exit())
}

pub(super) fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// One line for who watches.
pub(super) fn progress(line: &str) {
    if Output::is_watched() {
        Output::progress(line);
    }
}
