//! `steering`

use sources::{
    links::{self, KUBESPAN},
    wireguard,
};

use super::looking::show;
use crate::{
    adhoc::{Device, Steering},
    error::ProbeError,
    exit::Exit,
    output::Output,
};

pub(super) async fn run(output: Output) -> Result<Exit, ProbeError> {
    let snapshot = links::read().await.map_err(ProbeError::Links)?;
    let read = links::read_steering(&snapshot)
        .await
        .map_err(ProbeError::Links)?;
    let device = wireguard::read(KUBESPAN).await;
    let unreadable = device.as_ref().err().map(ToString::to_string);
    let facts = Steering {
        interface: KUBESPAN,
        mtu: snapshot.link(KUBESPAN).map(|link| link.mtu),
        ipv4: read.ipv4.into(),
        ipv6: read.ipv6.into(),
        undecoded: read.undecoded,
        device: device.ok().map(Device::from),
        unreadable,
    };
    show(&facts, output)
}
