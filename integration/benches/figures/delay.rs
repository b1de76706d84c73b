//! A link that takes its time: two TUN devices, and this program between them. A stock kernel has netem for that; the
//! namespaces of a machine without it have not.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use boringtun::device::tun::TunSocket;

/// The longest packet that a device hands over.
const LONGEST: usize = 65_536;
/// Packets under way in one direction; what comes on top waits in the device.
const UNDER_WAY: usize = 4_096;

/// Makes the devices `a` and `b` in this namespace, each packet of the one comes out of the other `delay` later. Any of them may
/// then be moved to another namespace. Ends with the program.
pub(crate) fn link(a: &str, b: &str, delay: Duration) -> anyhow::Result<()> {
    let (a, b) = (Arc::new(TunSocket::new(a)?), Arc::new(TunSocket::new(b)?));
    one_way(Arc::clone(&a), Arc::clone(&b), delay);
    one_way(b, a, delay);
    Ok(())
}

fn one_way(from: Arc<TunSocket>, to: Arc<TunSocket>, delay: Duration) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    thread::spawn(move || take(&from, &sender, delay));
    thread::spawn(move || give(&to, &receiver));
}

/// A device that is not up yet cannot be read: that is no end.
fn take(from: &TunSocket, sender: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; LONGEST];
    loop {
        match from.read(&mut buffer) {
            Ok(packet) => {
                if sender
                    .send((Instant::now() + delay, packet.to_vec()))
                    .is_err()
                {
                    return;
                }
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn give(to: &TunSocket, receiver: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, packet)) = receiver.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match packet.first().map(|byte| byte >> 4) {
            Some(6) => to.write6(&packet),
            _ => to.write4(&packet),
        };
    }
}
