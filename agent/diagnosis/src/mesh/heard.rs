//! Where a peer is heard from, and where it was merely said to be.

use std::net::IpAddr;

use evidence::{EndpointChange, Peer};

/// The change that gave a peer the endpoint which it has, if nothing has come from the peer since.
///
/// `WireGuard` takes the source of what a peer sends for its endpoint. So data that comes after the change shows that the peer is
/// there; without any, somebody may have set what is not the peer's at all. What came in the same reading of the device as the
/// change may have come before it.
pub(crate) fn was_set(peer: &Peer) -> Option<&EndpointChange> {
    let change = peer.endpoint_changes.last()?;
    let silent = peer.rx_moved.is_none_or(|moved| moved <= change.at);
    (silent && Some(change.to) == peer.endpoint).then_some(change)
}

/// The address from which a peer is heard: that of its endpoint, unless another address was set.
pub(crate) fn heard_at(peer: &Peer) -> Option<IpAddr> {
    let other = |change: &EndpointChange| change.from.ip() != change.to.ip();
    let set = was_set(peer).is_some_and(other);
    peer.endpoint.map(|endpoint| endpoint.ip()).filter(|_| !set)
}
