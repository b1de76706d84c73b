//! Gives up every privilege that the agent does not need.
//!
//! It needs two capabilities, now and whenever a socket has to be opened again: `CAP_NET_ADMIN` reads `WireGuard` and the
//! chains, and sets the mark of the underlay; `CAP_NET_RAW` opens the tap and the raw sockets. Whatever else a service
//! manager or root gave is dropped for good, before there is a second thread.

use rustix::{
    io,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};
use thiserror::Error;

/// All that is kept, of what was there.
const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// A step that the kernel refused.
#[derive(Debug, Error)]
#[error("give up privileges: {step}")]
pub struct PrivilegeError {
    step: &'static str,
    #[source]
    source: io::Errno,
}

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `CAP_NET_ADMIN`
    pub net_admin: bool,
    /// `CAP_NET_RAW`
    pub net_raw: bool,
}

/// Drops all capabilities of this thread but the needed ones; threads that it starts have no more than it has.
pub fn give_up() -> Result<Kept, PrivilegeError> {
    let failed = |step| move |source| PrivilegeError { step, source };
    let had = capabilities(None).map_err(failed("read the capabilities"))?;
    let kept = had.permitted & NEEDED;
    clear_ambient_capability_set().map_err(failed("clear the ambient capabilities"))?;
    // Only who has CAP_SETPCAP may lower the bounding set; without it no program that is started could gain any, either.
    if had.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(NEEDED).iter() {
            match remove_capability_from_bounding_set(capability) {
                // The kernel does not know of this one.
                Ok(()) | Err(io::Errno::INVAL) => {}
                Err(source) => return Err(failed("lower the bounding set")(source)),
            }
        }
    }
    set_no_new_privs(true).map_err(failed("refuse new privileges"))?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).map_err(failed("lower the capabilities"))?;
    Ok(Kept {
        net_admin: kept.contains(CapabilitySet::NET_ADMIN),
        net_raw: kept.contains(CapabilitySet::NET_RAW),
    })
}
