//! A socket on this machine. Its file is for its owner alone: who may open it may read what the agent sees.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt as _, FileTypeExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use proto::limits;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::sleep,
};

use super::{ACCEPT_AGAIN, Answers, Refused, bound, failed, spawn_connection};

/// Connections that the kernel holds for us.
const BACKLOG: i32 = 16;

/// A bound socket; its file goes with it.
pub(super) struct Bound {
    listener: UnixListener,
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        // What cannot be removed is found dead, and replaced, by the next agent.
        drop(fs::remove_file(&self.path));
    }
}

/// Answers there until it cannot; says why.
pub(super) async fn serve(path: &Path, answers: &Answers) -> Box<Refused> {
    let socket = match bind(path).await {
        Ok(socket) => socket,
        Err(error) => return error,
    };
    bound(&path.display(), "whoever may open this socket can ask");
    let places = Arc::new(Semaphore::new(limits::AGENT_CONNECTIONS));
    // Over the limit connections wait in the kernel.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = socket.listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        spawn_connection(Box::new(stream), answers.clone(), place);
    }
    failed("go on", io::ErrorKind::Other.into())
}

pub(super) async fn bind(path: &Path) -> Result<Bound, Box<Refused>> {
    if let Some(folder) = path.parent() {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make the folder of the socket", error));
            }
            _ => {}
        }
    }
    clear(path).await?;
    let listener = listen(path).map_err(|source| failed("bind the socket", source))?;
    let path = path.to_owned();
    Ok(Bound { listener, path })
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The file gets the rights that the socket has when it is bound: at no moment may anybody else open it.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    UnixListener::from_std(socket.into())
}

/// What an agent that is gone has left is taken away. A live one, or what is no socket, stays.
async fn clear(path: &Path) -> Result<(), Box<Refused>> {
    let Ok(there) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !there.file_type().is_socket() {
        let what = io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something that is no socket",
        );
        return Err(failed("take the place of the socket", what));
    }
    match UnixStream::connect(path).await {
        Ok(_) => {
            let what = io::Error::new(io::ErrorKind::AddrInUse, "another agent answers there");
            Err(failed("take the place of the socket", what))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|source| failed("remove the socket of an agent that is gone", source)),
        Err(source) => Err(failed("take the place of the socket", source)),
    }
}
