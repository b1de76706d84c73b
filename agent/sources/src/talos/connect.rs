//! The connection to machined on the node itself.

use std::{io, path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{CALL_TIMEOUT, Talos, TalosError};

/// Where machined listens, as an extension service sees it (`MachineSocketPath` of Talos, the same in 1.9 to 1.14).
pub const MACHINED_SOCKET: &str = "/system/run/machined/machine.sock";

/// A machined that is stopped does not answer these; one that is idle does.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Connects to machined as a reader: plaintext HTTP/2 on its socket, with the role that may read and nothing more.
///
/// One channel over one stream: when it ends, whoever asks learns it and connects again.
pub async fn connect(path: &Path) -> Result<Talos<Channel>, TalosError> {
    let failed = |source| TalosError::Connect {
        path: path.to_owned(),
        source,
    };
    let late = |_| failed(io::ErrorKind::TimedOut.into());
    let stream = timeout(CALL_TIMEOUT, UnixStream::connect(path));
    let stream = stream.await.map_err(late)?.map_err(failed)?;
    let channel = timeout(CALL_TIMEOUT, over(stream)).await.map_err(late)?;
    channel
        .map(Talos::as_reader)
        .map_err(|source| TalosError::Http {
            path: path.to_owned(),
            source,
        })
}

async fn over(stream: UnixStream) -> Result<Channel, tonic::transport::Error> {
    let mut stream = Some(stream);
    let connector = service_fn(move |_: Uri| {
        let next = stream
            .take()
            .ok_or_else(|| io::Error::other("the connection has ended"));
        async move { next.map(TokioIo::new) }
    });
    Endpoint::from_static("http://machined.internal")
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CALL_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
