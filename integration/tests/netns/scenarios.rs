//! Every scenario file, staged with the programs under test.

use std::{
    fs,
    path::{Path, PathBuf},
};

use integration::lab::programs::Binaries;

use crate::support::{TestLab, is_required, text};

pub(crate) fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn holds(file: &Path) {
    if let Err(missing) = Binaries::beside(Path::new(env!("CARGO_BIN_EXE_lab"))) {
        println!("SKIPPED: {}: {missing}", file.display());
        assert!(!is_required(), "REQUIRE_STAGE says that scenarios must run");
        return;
    }
    let lab = TestLab::new();
    let output = lab.command().arg("run").arg(file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}
