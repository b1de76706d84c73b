//! One connection that was accepted.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// A connection of TCP that can go over to another runtime.
///
/// The runtime in which a socket is opened tells whoever reads it that there is something to read. When that is somebody on the threads of
/// another one, the first is busy with waking the second.
#[derive(Debug)]
pub struct Accepted {
    /// None if it was lost on the way from one runtime to another.
    stream: Option<TcpStream>,
}

impl Accepted {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self {
            stream: Some(stream),
        }
    }

    /// From now on the runtime in which this is called looks after it.
    ///
    /// # Errors
    ///
    /// If that runtime cannot; then the connection is closed.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, or in one without I/O.
    pub fn go_over(&mut self) -> io::Result<()> {
        if let Some(stream) = self.stream.take() {
            self.stream = Some(TcpStream::from_std(stream.into_std()?)?);
        }
        Ok(())
    }

    /// The connection itself.
    ///
    /// # Errors
    ///
    /// If it was lost when it went over.
    pub fn tcp(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(lost)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(lost)
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream()?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Connected for Accepted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        let nothing = || TcpConnectInfo {
            local_addr: None,
            remote_addr: None,
        };
        self.stream
            .as_ref()
            .map_or_else(nothing, Connected::connect_info)
    }
}
