//! Two words over HTTP, for whoever restarts agents: nothing of the node is told, so nobody has to prove who he is.
//!
//! The head of one request is read, and its first line is all that counts. That takes no library of HTTP, which would be a part of
//! every agent, and most of these answers.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use probe_io::clock;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::{ACCEPT_AGAIN, Own, Refused, bound, failed};

/// Connections at a time; over it they wait in the kernel.
const CONNECTIONS: usize = 16;
/// Bytes of the head of a request. No path reads a body.
const HEAD_BYTES: usize = 8 * 1024;
/// Time for one question and its answer; each has a connection of its own.
const LIFETIME: Duration = Duration::from_secs(5);

/// What the first line of a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Alive,
    Ready,
    Other,
    /// By another method than GET.
    Method,
    /// It is no request.
    Nothing,
}

/// Answers there until it cannot; says why.
pub(super) async fn serve(address: SocketAddr, own: &Own) -> Box<Refused> {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return failed("listen", error),
    };
    bound(&address, "/livez and /readyz can be asked by everybody");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let own = own.clone();
        tokio::spawn(async move {
            one(stream, own).await;
            drop(place);
        });
    }
    failed("go on", io::ErrorKind::Other.into())
}

async fn one(stream: TcpStream, own: Own) {
    // However it ended, it concerns whoever asked alone.
    drop(timeout(LIFETIME, exchange(stream, &own)).await);
}

async fn exchange(mut stream: TcpStream, own: &Own) -> io::Result<()> {
    let mut head = Vec::with_capacity(512);
    let mut part = [0; 512];
    while !is_whole(&head) {
        let read = stream.read(&mut part).await?;
        head.extend_from_slice(part.get(..read).unwrap_or_default());
        // Whoever has so much to say does not ask how the agent is.
        if read == 0 || head.len() > HEAD_BYTES {
            return Ok(());
        }
    }
    let now = clock::moment();
    let word = |good| {
        if good {
            ("200 OK", "ok\n")
        } else {
            ("503 Service Unavailable", "no\n")
        }
    };
    let (status, text) = match question(&head) {
        Question::Alive => word(own.is_alive(now)),
        Question::Ready => word(own.is_ready(now)),
        Question::Other => ("404 Not Found", "expected /livez or /readyz\n"),
        Question::Method => ("405 Method Not Allowed", "expected GET\n"),
        Question::Nothing => ("400 Bad Request", ""),
    };
    stream.write_all(said(status, text).as_bytes()).await?;
    stream.shutdown().await
}

fn said(status: &str, text: &str) -> String {
    let length = text.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}")
}

fn is_whole(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n")
}

fn question(head: &[u8]) -> Question {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(target), Some(version)) = (method, target, version) else {
        return Question::Nothing;
    };
    if !version.starts_with(b"HTTP/1.") || words.next().is_some() {
        return Question::Nothing;
    }
    if method != b"GET" {
        return Question::Method;
    }
    let path = target.split(|byte| *byte == b'?').next();
    match path {
        Some(b"/livez") => Question::Alive,
        Some(b"/readyz") => Question::Ready,
        _ => Question::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_is_asked() {
        for (line, asked) in [
            ("GET /livez HTTP/1.1", Question::Alive),
            ("GET /readyz?verbose HTTP/1.0", Question::Ready),
            ("GET /livez/ HTTP/1.1", Question::Other),
            ("GET / HTTP/1.1", Question::Other),
            ("DELETE /livez HTTP/1.1", Question::Method),
            ("GET /livez", Question::Nothing),
            ("GET /livez HTTP/2.0", Question::Nothing),
            ("GET /livez HTTP/1.1 more", Question::Nothing),
            ("", Question::Nothing),
        ] {
            let head = format!("{line}\r\nHost: a\r\n\r\n");
            assert_eq!(question(head.as_bytes()), asked, "{line}");
        }
    }

    #[test]
    fn whatever_bytes_come_are_taken_or_refused() {
        let head = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n";
        for end in 0..head.len() {
            assert!(!is_whole(&head[..end]), "{end}");
            question(&head[..end]);
            let mut other = head.to_vec();
            other[end] ^= 0xff;
            question(&other);
        }
        assert!(is_whole(head));
        assert_eq!(question(&[0xff; 100]), Question::Nothing);
    }
}
