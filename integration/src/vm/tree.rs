//! A root file system as data, written in the "new ASCII" form of cpio(5), which kernels unpack at boot.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

/// What each entry begins with.
const MAGIC: &str = "070701";
const FOLDER: u32 = 0o040_755;
const SCRATCH: u32 = 0o041_777;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;
/// What ends the archive.
const TRAILER: &str = "TRAILER!!!";
/// Names and contents begin at multiples of this.
const ALIGNMENT: usize = 4;

/// Paths without the leading slash. Ordered, so that a folder comes before what is in it.
#[derive(Debug, Default)]
pub struct Tree(BTreeMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    mode: u32,
    device: (u32, u32),
    content: Vec<u8>,
}

impl Tree {
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.add(path, FILE, content.into());
    }

    pub fn program(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.add(path, PROGRAM, content.into());
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, LINK, target.into());
    }

    pub fn folder(&mut self, path: &str) {
        self.add(path, FOLDER, Vec::new());
    }

    /// A folder that every user may write to.
    pub fn scratch(&mut self, path: &str) {
        self.add(path, SCRATCH, Vec::new());
    }

    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, CHARACTER_DEVICE, Vec::new());
        if let Some(entry) = self.0.get_mut(relative(path)) {
            entry.device = (major, minor);
        }
    }

    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(relative(path))
    }

    pub fn write_cpio(&self, out: &mut dyn Write) -> io::Result<()> {
        for (inode, (path, entry)) in (1..).zip(&self.0) {
            entry.write(out, inode, path)?;
        }
        Entry::new(0, Vec::new()).write(out, 0, TRAILER)
    }

    fn add(&mut self, path: &str, mode: u32, content: Vec<u8>) {
        let path = relative(path);
        for (end, _) in path.match_indices('/') {
            let folder = self.0.entry(path[..end].to_owned());
            folder.or_insert_with(|| Entry::new(FOLDER, Vec::new()));
        }
        self.0.insert(path.to_owned(), Entry::new(mode, content));
    }
}

impl Entry {
    fn new(mode: u32, content: Vec<u8>) -> Self {
        Self {
            mode,
            device: (0, 0),
            content,
        }
    }

    fn write(&self, out: &mut dyn Write, inode: u32, path: &str) -> io::Result<()> {
        let size = size(self.content.len())?;
        let name = size_with_end(path)?;
        let (major, minor) = self.device;
        let (mode, links) = (self.mode, 1);
        let fields = [
            inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, name, 0,
        ];
        let fields = fields.map(|field| format!("{field:08x}")).concat();
        let header = format!("{MAGIC}{fields}{path}\0");
        write_padded(out, header.as_bytes())?;
        write_padded(out, &self.content)
    }
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

fn size(length: usize) -> io::Result<u32> {
    u32::try_from(length).map_err(|_| io::Error::other("a file of 4 GiB does not fit this archive"))
}

fn size_with_end(path: &str) -> io::Result<u32> {
    size(path.len() + 1)
}

fn write_padded(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let padding = bytes.len().next_multiple_of(ALIGNMENT) - bytes.len();
    out.write_all(bytes)?;
    out.write_all(&[0; ALIGNMENT][..padding])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        tree.write_cpio(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_brings_the_folders_above_it_and_they_come_first() {
        let mut tree = Tree::default();
        tree.program("/a/b/run", "#!/bin/sh\n");
        tree.file("a.txt", "");
        let names: Vec<_> = tree.0.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a.txt", "a/b", "a/b/run"]);
        assert_eq!(tree.0["a/b"].mode, FOLDER);
        assert!(tree.has("/a/b") && !tree.has("b"));
    }

    #[test]
    fn the_archive_is_aligned_and_ends_with_its_trailer() {
        let mut tree = Tree::default();
        tree.file("f", "12345");
        let bytes = written(&tree);
        // 110 bytes of header and "f\0" make 112; five bytes of content are padded to eight.
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000081a4");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[110..117], b"f\x0012345");
        assert_eq!(&bytes[120..126], b"070701");
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        assert!(String::from_utf8_lossy(&bytes).contains(TRAILER));
    }

    #[test]
    fn a_device_keeps_its_numbers() {
        let mut tree = Tree::default();
        tree.character_device("dev/console", 5, 1);
        let bytes = written(&tree);
        let entry = &bytes[bytes.len() - 2 * 124..];
        let text = String::from_utf8_lossy(entry);
        assert!(text.contains("0000000500000001"), "{text}");
    }
}
