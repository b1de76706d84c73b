//! The files of this checkout, for tests that look at the sources themselves.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use toml::Table;

/// The top folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap().to_owned()
}

/// The tracked files that are there, relative to the top folder; all files but `target` where there is no git.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root())
        .output();
    let mut files = match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => {
            let text = String::from_utf8(output.stdout).unwrap();
            let names = text.split_terminator('\0').map(str::to_owned);
            names.collect()
        }
        _ => walk(&root(), ""),
    };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    assert!(files.len() > 100, "the files of the workspace are found");
    files
}

fn walk(folder: &Path, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.path().is_file() {
            found.push(path);
        } else if ![".git", "target"].contains(&name.as_str()) {
            found.extend(walk(&entry.path(), &format!("{path}/")));
        }
    }
    found
}

pub(crate) fn read(file: &str) -> String {
    let path = root().join(file);
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Rust files that people write.
pub(crate) fn rust_files() -> Vec<String> {
    let mut files = files();
    files.retain(|file| is_rust(file) && !file.contains("/generated/"));
    files
}

pub(crate) fn is_rust(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end == "rs")
}

/// The manifests of all members, by folder.
pub(crate) fn manifests() -> BTreeMap<String, Table> {
    let workspace: Table = read("Cargo.toml").parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let folders = members.iter().map(|member| member.as_str().unwrap());
    folders
        .map(|folder| {
            let manifest = read(&format!("{folder}/Cargo.toml"));
            (folder.to_owned(), manifest.parse().unwrap())
        })
        .collect()
}
