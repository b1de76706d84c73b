//! `vxlan`

use std::{net::SocketAddr, time::Duration};

use sources::links;

use super::{
    looking::{asked, open_knock, progress, resolve, show},
    mtu::measure,
    udp::ask,
};
use crate::{
    adhoc::{Limiter, PathMtu, VXLAN_PORT, VxlanDevice, VxlanReach},
    args::{PathArgs, VxlanArgs},
    error::ProbeError,
    exit::Exit,
    output::Output,
};

const VXLAN: &str = "vxlan";

pub(super) async fn run(
    arguments: &VxlanArgs,
    within: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let path = PathArgs {
        ipv4: arguments.ipv4,
        ipv6: arguments.ipv6,
        mark: Some(0),
    };
    let host = &arguments.host;
    let address = resolve(host, path, within).await?;
    progress(&format!("asking UDP {VXLAN_PORT} of {address}"));
    let (knock, marking) = open_knock(SocketAddr::new(address, VXLAN_PORT), path)?;
    let (_, reply) = ask(&knock).await.map_err(ProbeError::Knock)?;
    let measured = measure(host, address, path).await?;
    let facts = VxlanReach::new(
        asked(host, address, marking),
        reply,
        known(&measured),
        devices().await?,
    );
    show(&facts, output)
}

/// A path that became unsteady has no MTU to reckon with.
fn known(measured: &PathMtu) -> Option<(u16, Limiter)> {
    let limiter = measured
        .limiter
        .filter(|limiter| *limiter != Limiter::Unknown);
    measured.passed.zip(limiter)
}

async fn devices() -> Result<Vec<VxlanDevice>, ProbeError> {
    let snapshot = links::read().await.map_err(ProbeError::Links)?;
    let vxlan = snapshot
        .links
        .into_iter()
        .filter(|link| link.kind.as_deref() == Some(VXLAN));
    let device = |link: links::Link| VxlanDevice {
        name: link.name,
        mtu: link.mtu,
    };
    Ok(vxlan.map(device).collect())
}
