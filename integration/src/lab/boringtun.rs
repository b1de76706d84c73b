//! A second implementation of the `kubespan` device, as a program: `boringtun` ships a library, and no Debian package has its
//! command.

use boringtun::device::{DeviceConfig, DeviceHandle};

use crate::lab::LabError;

/// Carries one lab's traffic; more threads only compete for its two cores.
const THREADS: usize = 1;

/// Serves the device until the lab ends. One socket for all peers, so that the port is this device's as it is the kernel's.
pub fn serve(link: &str) -> Result<(), LabError> {
    let config = DeviceConfig {
        n_threads: THREADS,
        use_connected_socket: false,
        use_multi_queue: false,
        ..DeviceConfig::default()
    };
    let device = DeviceHandle::new(link, config);
    let mut device =
        device.map_err(|error| LabError::Impossible(format!("create device {link}: {error}")))?;
    device.wait();
    Ok(())
}
