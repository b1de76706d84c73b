//! `mtu`

use std::{net::IpAddr, time::Duration};

use probe_core::sweep::Swept;
use probe_io::{PathSocket, PathSocketError, Way};
use sources::links;

use super::looking::{asked, open_marked, progress, resolve, show};
use crate::{
    adhoc::{Marking, PathMtu},
    args::{Host, MtuArgs, PathArgs},
    error::ProbeError,
    exit::Exit,
    output::Output,
};

pub(super) async fn run(
    arguments: &MtuArgs,
    within: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let MtuArgs { host, path } = arguments;
    let address = resolve(host, *path, within).await?;
    show(&measure(host, address, *path).await?, output)
}

/// By echo requests if they are answered, and by closed ports otherwise.
pub(super) async fn measure(
    host: &Host,
    address: IpAddr,
    path: PathArgs,
) -> Result<PathMtu, ProbeError> {
    progress(&format!("measuring the path to {address}"));
    match sweep(address, Way::Echo, path).await {
        Ok((swept, marking)) if swept.passed.is_some() => {
            let facts = PathMtu::new(asked(host, address, marking), true, &swept);
            return Ok(facts.seen_by(&own_addresses().await));
        }
        // Echo requests are often forbidden, here or there; what a host says of a closed port measures the same.
        Ok(_) | Err(PathSocketError::Permission { .. }) => {}
        Err(error) => return Err(ProbeError::Path(error)),
    }
    progress("no answer to echo requests; trying closed UDP ports");
    let (swept, marking) = sweep(address, Way::ClosedPort, path)
        .await
        .map_err(ProbeError::Path)?;
    let facts = PathMtu::new(asked(host, address, marking), false, &swept);
    Ok(facts.seen_by(&own_addresses().await))
}

/// Without them a limit of this node bears its address, which is true too.
async fn own_addresses() -> Vec<IpAddr> {
    let links = links::read().await.map(|snapshot| snapshot.links);
    let addresses = links.into_iter().flatten().flat_map(|link| link.addresses);
    addresses.map(|address| address.ip).collect()
}

async fn sweep(to: IpAddr, way: Way, path: PathArgs) -> Result<(Swept, Marking), PathSocketError> {
    let open = |mark| PathSocket::open(to, way, mark, rand::random());
    let lacks_mark = |error: &PathSocketError| matches!(error, PathSocketError::Mark { .. });
    let (mut socket, marking) = open_marked(path, open, lacks_mark)?;
    Ok((socket.sweep().await?, marking))
}
