//! Asks the kernel's `wireguard` family. The only command that is ever sent is `GET_DEVICE`.

use netlink_packet_generic::GenlMessage;
use netlink_packet_wireguard::{WireguardAttribute, WireguardCmd, WireguardMessage};
use netlink_sys::protocols::NETLINK_GENERIC;
use rustix::io::Errno;

use super::{
    assembly::Assembly,
    device::{Backend, Device},
    dump,
    error::WireGuardError,
    secrets::{Agreement, Key},
};
use crate::netlink::{self, Filter, MAX_ATTEMPTS, MAX_DUMP, NetlinkError};

const OPERATION: &str = "netlink dump";
const FAMILY: &[u8] = b"wireguard\0";

pub(super) async fn device(interface: &str) -> Result<Device, WireGuardError> {
    let (assembly, _) = consistent_dump(interface).await?;
    Ok(assembly.finish())
}

pub(super) async fn preshared_key(interface: &str) -> Result<Key, WireGuardError> {
    let (_, agreement) = consistent_dump(interface).await?;
    agreement.finish(interface)
}

/// Reads a dump that is already there.
pub(crate) fn decode(interface: &str, messages: &mut [u8]) -> Result<Device, WireGuardError> {
    let mut assembly = Assembly::new(Backend::Kernel);
    let mut agreement = Agreement::default();
    netlink::take_apart(messages, |_, payload| {
        dump::absorb(payload, &mut assembly, &mut agreement)
    })
    .map_err(|error| explain(interface, error))?;
    Ok(assembly.finish())
}

/// Starts again when the device changed during the dump: a mixture of two states must not be judged.
async fn consistent_dump(interface: &str) -> Result<(Assembly, Agreement), WireGuardError> {
    let family = netlink::family(FAMILY).await;
    let family = family.map_err(|error| explain(interface, error))?;
    let family = family.ok_or_else(|| WireGuardError::NoFamilyNoSocket {
        interface: interface.to_owned(),
    })?;
    for _ in 0..MAX_ATTEMPTS {
        let mut assembly = Assembly::new(Backend::Kernel);
        let mut agreement = Agreement::default();
        let each = |kind, payload: &mut [u8]| {
            if kind == family {
                dump::absorb(payload, &mut assembly, &mut agreement)
            } else {
                Ok(())
            }
        };
        let request = get_device(interface, family);
        match netlink::dump(NETLINK_GENERIC, Filter::Nothing, request, each).await {
            Ok(()) => return Ok((assembly, agreement)),
            Err(NetlinkError::Interrupted) => {}
            Err(error) => return Err(explain(interface, error)),
        }
    }
    Err(explain(interface, NetlinkError::Interrupted))
}

fn get_device(interface: &str, family: u16) -> GenlMessage<WireguardMessage> {
    let mut message = GenlMessage::from_payload(WireguardMessage {
        cmd: WireguardCmd::GetDevice,
        attributes: vec![WireguardAttribute::IfName(interface.to_owned())],
    });
    message.set_resolved_family_id(family);
    message
}

fn explain(interface: &str, error: NetlinkError) -> WireGuardError {
    let interface = interface.to_owned();
    match error {
        NetlinkError::Io { operation, source } => WireGuardError::Io {
            operation,
            interface,
            source,
        },
        NetlinkError::Refused(source) => match Errno::from_io_error(&source) {
            Some(Errno::NODEV) => WireGuardError::NoSuchInterface { interface },
            Some(Errno::OPNOTSUPP) => WireGuardError::NotWireGuard { interface },
            Some(Errno::PERM | Errno::ACCESS) => WireGuardError::NoPermission {
                operation: OPERATION,
                interface,
            },
            _ => WireGuardError::Io {
                operation: OPERATION,
                interface,
                source,
            },
        },
        NetlinkError::Malformed { message, what } => WireGuardError::Malformed {
            line: message,
            what,
        },
        NetlinkError::TooLarge => WireGuardError::TooLarge {
            interface,
            limit: MAX_DUMP,
        },
        NetlinkError::Interrupted => WireGuardError::KeptChanging {
            interface,
            attempts: MAX_ATTEMPTS,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: Errno) -> WireGuardError {
        explain("kubespan", NetlinkError::Refused(errno.into()))
    }

    #[test]
    fn each_refusal_of_the_kernel_has_its_own_error() {
        use WireGuardError as E;
        assert!(matches!(refused(Errno::NODEV), E::NoSuchInterface { .. }));
        assert!(matches!(refused(Errno::OPNOTSUPP), E::NotWireGuard { .. }));
        assert!(matches!(refused(Errno::PERM), E::NoPermission { .. }));
        assert!(matches!(refused(Errno::NOMEM), E::Io { .. }));
    }
}
