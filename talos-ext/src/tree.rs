//! A file tree in memory: what an image holds, without owners and times, which Talos does not keep either.

use std::collections::{BTreeMap, btree_map};

/// Most entries of a tree. The largest official extensions have some thousand.
pub const MOST_ENTRIES: usize = 20_000;

/// Files by path; paths are relative, with `/` between their parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
}

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The permission bits, with set-user-id and the like.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A regular file.
    File(Vec<u8>),
    /// A symbolic link to there.
    Link(String),
    /// Something that no extension may have; the name of the kind.
    Other(&'static str),
}

impl Tree {
    /// A file, and the folders above it where they are missing.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        let kind = Kind::File(bytes.into());
        self.insert(path, Entry { mode, kind });
    }

    /// Any entry, and the folders above it where they are missing.
    pub fn insert(&mut self, path: &str, entry: Entry) {
        let mut above = path;
        while let Some((folder, _)) = above.rsplit_once('/') {
            self.entries.entry(folder.to_owned()).or_insert(Entry {
                mode: 0o755,
                kind: Kind::Folder,
            });
            above = folder;
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Takes away an entry and all below it, as a later layer does.
    pub fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        self.entries
            .retain(|known, _| known != path && !known.starts_with(&below));
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The bytes of a regular file.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        match &self.get(path)?.kind {
            Kind::File(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// All entries, by path.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Entry> {
        self.entries.iter()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a Tree {
    type Item = (&'a String, &'a Entry);
    type IntoIter = btree_map::Iter<'a, String, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Entry {
    /// The word for what it is.
    pub fn kind_name(&self) -> &'static str {
        match &self.kind {
            Kind::Folder => "folder",
            Kind::File(_) => "file",
            Kind::Link(_) => "symbolic link",
            Kind::Other(name) => name,
        }
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_above_a_file_are_made_and_go_with_what_is_removed() {
        let mut tree = Tree::default();
        tree.file("a/b/c", 0o644, *b"x");
        tree.file("a/bc", 0o644, *b"y");
        assert!(tree.get("a").unwrap().is_folder());
        assert_eq!(tree.bytes("a/b/c"), Some(&b"x"[..]));
        assert_eq!(tree.bytes("a/b"), None);
        tree.remove("a/b");
        let left: Vec<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(left, ["a", "a/bc"]);
    }
}
