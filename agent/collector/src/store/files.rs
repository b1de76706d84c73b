//! The files of the store. A file is either appended to, or written anew beside and moved into its place: whenever the
//! process or the machine stops, what was there before is still there, at most with a half line at its end.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::record::{Contents, FORMAT, contents};

/// The journal.
const JOURNAL: &str = "history";
/// The last verdict.
const LAST: &str = "last-verdict.json";
/// The one that the run before this one left.
const BEFORE: &str = "last-verdict.before.json";
/// What a file is called besides while it is written anew.
const ANEW: &str = ".new";
/// What a damaged journal is called from then on, with a number.
const DAMAGED: &str = "history.damaged";
/// Damaged journals that are set aside. They are never deleted, so a disk that goes on damaging them must not be filled.
const SET_ASIDE: u32 = 8;
/// Bytes of a journal that are read; none that this program writes has as many.
pub(super) const LARGEST: u64 = 16 * 1024 * 1024;

/// Why there is no store.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("failed to make the folder {}", path.display())]
    Make { path: PathBuf, source: io::Error },
    #[error("failed to open the folder {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("another collector uses {}", .0.display())]
    Used(PathBuf),
    #[error("failed to lock the folder {}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no regular file", .0.display())]
    Kind(PathBuf),
    #[error("{} has format {found} of a later version; this one knows {FORMAT}. It is left as it is", path.display())]
    Later { path: PathBuf, found: u32 },
    #[error("{} is damaged, and cannot be set aside", path.display())]
    Stuck { path: PathBuf, source: io::Error },
    #[error(
        "{} is damaged, and {SET_ASIDE} damaged ones are there already: look at the disk, and remove them",
        .0.display()
    )]
    Full(PathBuf),
}

/// Where lines go. The seam at which a test puts a disk that is slow or full.
pub(super) trait Journal: Send + 'static {
    /// Writes at the end: from then on a kill loses nothing of it.
    fn append(&mut self, text: &str) -> io::Result<()>;
    /// Waits until what was appended is on the disk: from then on a loss of power does not, either.
    fn sync(&mut self) -> io::Result<()>;
    /// Writes the whole anew, and waits for it.
    fn replace(&mut self, text: &str) -> io::Result<()>;
    /// Writes the last verdict anew.
    fn last(&mut self, text: &str) -> io::Result<()>;
}

/// The journal in its folder, locked for this process.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// Holds the lock, which ends with the process however that ends.
    lock: File,
    open: Option<File>,
    /// The last verdict there is of this run.
    last_is_ours: bool,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) files: Files,
    pub(super) contents: Contents,
    /// Where a damaged journal is now.
    pub(super) set_aside: Option<PathBuf>,
}

impl Files {
    /// Locks and reads a folder; it is made if it is not there. A damaged journal is set aside before anything is written.
    pub(super) fn open(folder: &Path) -> Result<Found, StoreError> {
        let path = || folder.to_owned();
        // One that is there keeps its mode: it may be shared with others, and nobody else can read the files.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| StoreError::Make {
                path: path(),
                source,
            })?;
        let lock = File::open(folder).map_err(|source| StoreError::Folder {
            path: path(),
            source,
        })?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Used(path()),
            TryLockError::Error(source) => StoreError::Lock {
                path: path(),
                source,
            },
        })?;
        let files = Self {
            folder: path(),
            lock,
            open: None,
            last_is_ours: false,
        };
        let contents = files.read()?;
        let set_aside = (contents.damaged > 0).then(|| files.set_aside());
        Ok(Found {
            set_aside: set_aside.transpose()?,
            files,
            contents,
        })
    }

    fn read(&self) -> Result<Contents, StoreError> {
        let path = self.folder.join(JOURNAL);
        let failed = |source| StoreError::Read {
            path: path.clone(),
            source,
        };
        // Opening a pipe would wait for its writer.
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Contents::default());
            }
            Err(source) => return Err(failed(source)),
            Ok(about) if !about.is_file() => return Err(StoreError::Kind(path)),
            Ok(_) => {}
        }
        let file = File::open(&path).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(LARGEST + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
            bytes.truncate(usize::try_from(LARGEST).unwrap_or(0));
            // Whatever wrote it, it was not this program; what is whole in it is taken all the same.
            bytes.extend_from_slice(b"\n\n\n");
        }
        contents(&bytes).map_err(|found| StoreError::Later {
            path: path.clone(),
            found,
        })
    }

    /// Gives the journal a second name, so that what is written in its place does not replace it.
    fn set_aside(&self) -> Result<PathBuf, StoreError> {
        let from = self.folder.join(JOURNAL);
        for number in 1..=SET_ASIDE {
            let to = self.folder.join(format!("{DAMAGED}-{number}"));
            if fs::symlink_metadata(&to).is_ok() {
                continue;
            }
            // Some file systems know no second names.
            fs::hard_link(&from, &to)
                .or_else(|_| fs::rename(&from, &to))
                .map_err(|source| StoreError::Stuck { path: from, source })?;
            return Ok(to);
        }
        Err(StoreError::Full(from))
    }
}

impl Journal for Files {
    fn append(&mut self, text: &str) -> io::Result<()> {
        let file = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
        file.write_all(text.as_bytes())
    }

    fn sync(&mut self) -> io::Result<()> {
        let file = self.open.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.sync_data()
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.open = None;
        self.open = Some(self.write_anew(JOURNAL, text)?);
        Ok(())
    }

    fn last(&mut self, text: &str) -> io::Result<()> {
        if !self.last_is_ours {
            match fs::rename(self.folder.join(LAST), self.folder.join(BEFORE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.last_is_ours = true,
            }
        }
        self.write_anew(LAST, text).map(drop)
    }
}

impl Files {
    /// Writes a file beside, and moves it into its place when it is on the disk.
    fn write_anew(&self, name: &str, text: &str) -> io::Result<File> {
        let anew = self.folder.join(format!("{name}{ANEW}"));
        match fs::remove_file(&anew) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&anew)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&anew, self.folder.join(name))?;
        // The new name is on the disk only when the folder is.
        self.lock.sync_all()?;
        Ok(file)
    }
}
