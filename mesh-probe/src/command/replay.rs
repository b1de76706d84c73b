//! `replay`

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{
    args::ReplayArgs,
    bundle::{BUNDLE_BYTES, parse},
    document::ReplayDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

pub(super) fn run(arguments: &ReplayArgs, output: Output) -> Result<Exit, ProbeError> {
    let path = arguments.file.clone();
    let bytes = read(&path).map_err(|source| ProbeError::ReadFile {
        path: path.clone(),
        source,
    })?;
    let bundle = parse(&bytes).map_err(|source| ProbeError::Bundle { path, source })?;
    let verdict = bundle.judge();
    output.answer(&ReplayDocument::new(&bundle, &verdict), |style| {
        render::replay(&bundle, &verdict, arguments.pairs, style)
    })?;
    Ok(Exit::Ready)
}

/// One byte more than a bundle may have, so that a longer one is noticed and not read whole.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(BUNDLE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
