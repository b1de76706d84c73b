//! Gives up every privilege that the agent does not need.
//!
//! It needs two capabilities, now and whenever a socket has to be opened again: `CAP_NET_ADMIN` reads `WireGuard` and the
//! chains, and sets the mark of the underlay; `CAP_NET_RAW` opens the tap and the raw sockets. On a Talos node it needs a third:
//! machined's socket belongs to another user, and connecting means writing (`CAP_DAC_OVERRIDE`). Whatever else a service
//! manager or root gave is dropped for good, before there is a second thread.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{
    io,
    process::{getegid, geteuid},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};
use thiserror::Error;

/// All that is kept on any node, of what was there.
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
    /// `CAP_DAC_OVERRIDE`
    pub dac_override: bool,
}

/// Drops all capabilities of this thread but the needed ones; threads that it starts have no more than it has.
pub fn give_up(machined: &Path) -> Result<Kept, PrivilegeError> {
    let needed = needed(machined);
    let failed = |step| move |source| PrivilegeError { step, source };
    let had = capabilities(None).map_err(failed("read the capabilities"))?;
    let kept = had.permitted & needed;
    clear_ambient_capability_set().map_err(failed("clear the ambient capabilities"))?;
    // Only who has CAP_SETPCAP may lower the bounding set; without it no program that is started could gain any, either.
    if had.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(needed).iter() {
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
        dac_override: kept.contains(CapabilitySet::DAC_OVERRIDE),
    })
}

/// Only where machined's socket is there and would otherwise be shut.
fn needed(machined: &Path) -> CapabilitySet {
    let me = (geteuid().as_raw(), getegid().as_raw());
    match fs::metadata(machined) {
        Ok(socket) if !may_write(socket.mode(), (socket.uid(), socket.gid()), me) => {
            NEEDED.union(CapabilitySet::DAC_OVERRIDE)
        }
        _ => NEEDED,
    }
}

/// What the mode of a file allows to who has no capability.
const fn may_write(mode: u32, owner: (u32, u32), me: (u32, u32)) -> bool {
    let bit = if owner.0 == me.0 {
        0o200
    } else if owner.1 == me.1 {
        0o020
    } else {
        0o002
    };
    mode & bit != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_of_another_user_is_shut_unless_everybody_may_write() {
        let (root, apid) = ((0, 0), (50, 50));
        assert!(may_write(0o755, root, root));
        assert!(!may_write(0o755, apid, root));
        assert!(may_write(0o777, apid, root));
        assert!(!may_write(0o770, apid, root));
        assert!(may_write(0o770, (50, 0), root));
        assert_eq!(needed(Path::new("/nowhere/machine.sock")), NEEDED);
    }
}
