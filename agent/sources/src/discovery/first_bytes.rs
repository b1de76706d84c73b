//! A stream that notes how the far end begins: HTTP/2 must begin with its settings, and nothing else proves that it is spoken.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;
const SETTINGS: u8 = 4;

/// How the far end begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With the settings of HTTP/2.
    Settings,
    /// With something else: its first bytes.
    Other(Vec<u8>),
    /// Not at all: it hung up.
    End,
}

/// Notes the first bytes, and passes everything on.
#[derive(Debug)]
pub(super) struct FirstBytes<S> {
    stream: S,
    first: Vec<u8>,
    told: Option<oneshot::Sender<Beginning>>,
}

impl<S> FirstBytes<S> {
    /// The stream, and where the beginning is told.
    pub(super) fn new(stream: S) -> (Self, oneshot::Receiver<Beginning>) {
        let (told, beginning) = oneshot::channel();
        let stream = Self {
            stream,
            first: Vec::with_capacity(HEAD),
            told: Some(told),
        };
        (stream, beginning)
    }

    fn note(&mut self, new: &[u8]) {
        if self.told.is_none() {
            return;
        }
        let missing = HEAD.saturating_sub(self.first.len());
        self.first.extend(new.iter().take(missing));
        if new.is_empty() || self.first.len() == HEAD {
            let beginning = beginning(std::mem::take(&mut self.first));
            // Nobody may wait any more.
            let _unheard = self.told.take().map(|told| told.send(beginning));
        }
    }
}

/// A frame of settings on the connection itself.
fn beginning(first: Vec<u8>) -> Beginning {
    match first.as_slice() {
        [] => Beginning::End,
        [_, _, _, SETTINGS, 0, 0, 0, 0, 0] => Beginning::Settings,
        _ => Beginning::Other(first),
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let new = buffer.filled().get(before..).unwrap_or_default().to_vec();
        self.note(&new);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn read(pieces: &[&[u8]]) -> (Vec<u8>, Beginning) {
        let (near, mut far) = tokio::io::duplex(64);
        let (mut near, beginning) = FirstBytes::new(near);
        for piece in pieces {
            far.write_all(piece).await.unwrap();
        }
        drop(far);
        let mut all = Vec::new();
        near.read_to_end(&mut all).await.unwrap();
        (all, beginning.await.unwrap())
    }

    #[tokio::test]
    async fn settings_are_known_however_they_come_and_passed_on_whole() {
        let frame = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        let (all, beginning) = read(&[&frame[..3], &frame[3..]]).await;
        assert_eq!(all, frame);
        assert_eq!(beginning, Beginning::Settings);
    }

    #[tokio::test]
    async fn what_begins_otherwise_is_told_by_its_first_bytes() {
        let (_, beginning) = read(&[b"HTTP/1.1 400 Bad Request"]).await;
        assert_eq!(beginning, Beginning::Other(b"HTTP/1.1 ".to_vec()));
        assert_eq!(read(&[]).await.1, Beginning::End);
        assert_eq!(read(&[b"x"]).await.1, Beginning::Other(b"x".to_vec()));
    }
}
