//! Follows the VXLAN devices of this node.

use evidence::{Moment, Vxlan, VxlanDevice, limits};
use sources::links::{Link, Snapshot};

/// The devices of the newest reading, with the moment since which they are so.
#[derive(Debug, Default)]
pub(crate) struct VxlanDevices {
    fact: Option<Vxlan>,
}

impl VxlanDevices {
    /// Takes in a reading; without one nothing is known.
    pub(crate) fn follow(&mut self, links: Option<&Snapshot>, now: Moment) {
        let last = self.fact.take();
        self.fact = links.map(|links| {
            let read = read(links, now);
            let same =
                |last: &Vxlan| (&last.devices, last.left_out) == (&read.devices, read.left_out);
            last.filter(same).unwrap_or(read)
        });
    }

    pub(crate) const fn fact(&self) -> Option<&Vxlan> {
        self.fact.as_ref()
    }
}

fn read(links: &Snapshot, now: Moment) -> Vxlan {
    let mut devices: Vec<VxlanDevice> = links.links.iter().filter_map(device).collect();
    let left_out = devices.len().saturating_sub(limits::VXLAN_DEVICES);
    devices.truncate(limits::VXLAN_DEVICES);
    Vxlan {
        since: now,
        devices,
        left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
    }
}

fn device(link: &Link) -> Option<VxlanDevice> {
    let settings = link.vxlan?;
    Some(VxlanDevice {
        name: link.name.clone(),
        id: settings.id,
        port: settings.port,
        external: settings.external,
        local: settings.local,
        remote: settings.remote,
        mtu: link.mtu,
        up: link.up,
    })
}

#[cfg(test)]
mod tests {
    use sources::links::{OperState, VxlanSettings};

    use super::*;

    fn snapshot(count: u32, up: bool) -> Snapshot {
        let link = |index| Link {
            index,
            name: format!("vxlan{index}"),
            mtu: 1370,
            up,
            oper_state: OperState::Unknown,
            kind: Some("vxlan".to_owned()),
            vxlan: Some(VxlanSettings::default()),
            hardware_address: None,
            addresses: Vec::new(),
        };
        Snapshot {
            links: (0..count).map(link).collect(),
            dropped: 0,
        }
    }

    #[test]
    fn what_stays_as_it_is_keeps_its_moment_and_what_changes_gets_a_new_one() {
        let mut devices = VxlanDevices::default();
        let since = |devices: &VxlanDevices| devices.fact().map(|fact| fact.since.as_millis());
        devices.follow(Some(&snapshot(1, true)), Moment::from_millis(1));
        devices.follow(Some(&snapshot(1, true)), Moment::from_millis(2));
        assert_eq!(since(&devices), Some(1));
        devices.follow(Some(&snapshot(1, false)), Moment::from_millis(3));
        assert_eq!(since(&devices), Some(3));
        devices.follow(None, Moment::from_millis(4));
        assert_eq!(since(&devices), None);
    }

    #[test]
    fn more_devices_than_are_told_are_counted() {
        let mut devices = VxlanDevices::default();
        devices.follow(Some(&snapshot(18, true)), Moment::ZERO);
        let fact = devices.fact().unwrap();
        assert_eq!((fact.devices.len(), fact.left_out), (16, 2));
    }
}
