//! What the network says of a connected socket.

use std::io;

use tokio::{io::Interest, net::UdpSocket};

/// Waits until the network says something bad of a socket, such as that nobody listens at its far end. An error alone does
/// not make a socket readable, so who only reads would wait in vain.
pub(crate) async fn of(socket: &UdpSocket) -> io::Error {
    loop {
        if let Err(error) = socket.ready(Interest::ERROR).await {
            return error;
        }
        let said = socket.try_io(Interest::ERROR, || {
            let error = socket.take_error()?;
            Err::<(), _>(error.unwrap_or_else(|| io::ErrorKind::WouldBlock.into()))
        });
        match said {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return error,
            _ => {}
        }
    }
}
