//! `bundle`

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::direct;
use crate::{
    args::{BundleArgs, Cli},
    bundle::{Bundle, redact},
    collector::Collector,
    document::BundleDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

pub(super) async fn run(
    cli: &Cli,
    arguments: &BundleArgs,
    output: Output,
) -> Result<Exit, ProbeError> {
    let bundle = if cli.direct.is_asked() {
        direct::bundle(cli).await?
    } else {
        let collector = Collector::new(&cli.connection)?;
        collector.connect().await?.evidence().await?
    };
    let bundle = if arguments.redact {
        redact(&bundle).map_err(ProbeError::Redact)?
    } else {
        bundle
    };
    let text = bundle.to_text().map_err(ProbeError::WriteBundle)?;
    match &arguments.file {
        None => Output::raw(&text)?,
        Some(path) => written(&bundle, &text, path, output)?,
    }
    Ok(Exit::Ready)
}

fn written(bundle: &Bundle, text: &str, path: &Path, output: Output) -> Result<(), ProbeError> {
    write(path, text).map_err(|source| ProbeError::WriteFile {
        path: PathBuf::from(path),
        source,
    })?;
    let file = path.display().to_string();
    output.answer(&BundleDocument::new(&file, text.len(), bundle), |style| {
        render::bundle(bundle, &file, text.len(), style)
    })
}

/// Who wrote it may read it: it tells addresses and versions. What is there already is not replaced.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
