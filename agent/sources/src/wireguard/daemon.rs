//! Asks a userspace daemon over its UAPI socket. The only request that is ever sent is `get=1`.

use std::{io, path::Path};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::error::WireGuardError;
use crate::wiped::Wiped;

/// Most bytes of one reply.
const MAX_REPLY: usize = 4 << 20;

const FIRST_BUFFER: usize = 64 << 10;
const DIRECTORIES: [&str; 2] = ["/var/run/wireguard", "/run/wireguard"];
const CONNECT: &str = "connect to the UAPI socket";
const ASK: &str = "ask over the UAPI socket";

/// The whole reply to `get=1`; none if no daemon has a socket for this interface.
pub(super) async fn reply(interface: &str) -> Result<Option<Wiped>, WireGuardError> {
    for directory in DIRECTORIES {
        let path = Path::new(directory).join(format!("{interface}.sock"));
        match UnixStream::connect(&path).await {
            Ok(stream) => return converse(interface, stream).await.map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(explain(interface, CONNECT, error)),
        }
    }
    Ok(None)
}

async fn converse(interface: &str, mut stream: UnixStream) -> Result<Wiped, WireGuardError> {
    let failed = |error| explain(interface, ASK, error);
    stream.write_all(b"get=1\n\n").await.map_err(failed)?;
    let mut buffer = Wiped::zeros(FIRST_BUFFER);
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer = larger(interface, &buffer)?;
        }
        let read = stream.read(&mut buffer[filled..]).await.map_err(failed)?;
        filled += read;
        if read == 0 || buffer[..filled].ends_with(b"\n\n") {
            buffer.truncate(filled);
            return Ok(buffer);
        }
    }
}

/// Growing in place would leave the keys in the memory that the vector gives back; the old buffer is overwritten here.
fn larger(interface: &str, buffer: &[u8]) -> Result<Wiped, WireGuardError> {
    if buffer.len() >= MAX_REPLY {
        return Err(WireGuardError::TooLarge {
            interface: interface.to_owned(),
            limit: MAX_REPLY,
        });
    }
    let mut larger = Wiped::zeros((2 * buffer.len()).min(MAX_REPLY));
    larger[..buffer.len()].copy_from_slice(buffer);
    Ok(larger)
}

fn explain(interface: &str, operation: &'static str, source: io::Error) -> WireGuardError {
    let interface = interface.to_owned();
    match source.kind() {
        io::ErrorKind::ConnectionRefused => WireGuardError::DaemonGone { interface },
        io::ErrorKind::PermissionDenied => WireGuardError::NoPermission {
            operation,
            interface,
        },
        _ => WireGuardError::Io {
            operation,
            interface,
            source,
        },
    }
}
