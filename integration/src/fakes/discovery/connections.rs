//! Connections to the fake, and how they go wrong.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::fakes::{Mood, MoodFile};

/// How long a hanging connection is held.
const HELD: Duration = Duration::from_mins(2);
/// Bytes of a flood.
const FLOOD: usize = 64 * 1024 * 1024;

pub(super) struct Connections {
    pub(super) mood: MoodFile,
    pub(super) trusted: TlsAcceptor,
    pub(super) untrusted: TlsAcceptor,
    pub(super) http1: TlsAcceptor,
    pub(super) sender: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
}

pub(super) async fn accept(listener: TcpListener, connections: Arc<Connections>) {
    while let Ok((stream, from)) = listener.accept().await {
        let connections = Arc::clone(&connections);
        tokio::spawn(async move {
            // A client that gives up is no trouble of the service.
            drop(Box::pin(connections.take(stream, from)).await);
        });
    }
}

impl Connections {
    async fn take(&self, mut stream: TcpStream, from: SocketAddr) -> io::Result<()> {
        let mut mood = self.mood.read();
        // `ipv6`: only clients of that family meet it.
        if mood.has("ipv6") && from.is_ipv4() {
            mood = Mood::default();
        }
        if mood.has("hang") {
            sleep(HELD).await;
            return Ok(());
        }
        if mood.has("reset") {
            // The end of a connection that has unread bytes is a reset.
            stream.readable().await?;
            return Ok(());
        }
        if mood.has("garbage") {
            stream.write_all(&[0x55; 4096]).await?;
            return Ok(());
        }
        let acceptor = match () {
            () if mood.has("untrusted") => &self.untrusted,
            () if mood.has("http1") => &self.http1,
            () => &self.trusted,
        };
        let mut stream = acceptor.accept(stream).await?;
        if mood.has("flood") {
            return Box::pin(flood(&mut stream)).await;
        }
        if mood.has("http1") {
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await?;
            return Ok(());
        }
        drop(self.sender.send(Ok(stream)).await);
        Ok(())
    }
}

async fn flood(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    let piece = [0xff; 16 * 1024];
    for _ in 0..FLOOD / piece.len() {
        stream.write_all(&piece).await?;
    }
    Ok(())
}
