//! A client of HTTP/1.1 that does nothing behind the back of a test.

use std::{net::SocketAddr, sync::Arc};

use proto::trust::COLLECTOR_NAME;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::fixture::{mesh_key, soon};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &request("GET", path)).await
}

pub(crate) fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
}

/// Sends whatever bytes the test likes.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Answer {
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    exchange(stream, request).await
}

/// As a reader with a derived certificate.
pub(crate) async fn get_tls(address: SocketAddr, path: &str) -> Answer {
    let mut tls = mesh_key(1).reader_config().unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    let name = ServerName::try_from(COLLECTOR_NAME).unwrap();
    let connector = TlsConnector::from(Arc::new(tls));
    let stream = soon(Box::pin(connector.connect(name, stream)))
        .await
        .unwrap();
    exchange(stream, &request("GET", path)).await
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // Whoever is refused may be cut off before the end.
    drop(soon(stream.read_to_end(&mut bytes)).await);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.unwrap_or(0),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
