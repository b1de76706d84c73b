//! `pairs`

use crate::{
    collector::Collector, document::VerdictDocument, error::ProbeError, exit::Exit, output::Output,
    render,
};

pub(super) async fn run(collector: &Collector, output: Output) -> Result<Exit, ProbeError> {
    let verdict = collector.connect().await?.verdict().await?;
    output.answer(&VerdictDocument::pairs(&verdict), |style| {
        render::pairs(&verdict, style)
    })?;
    Ok(Exit::Ready)
}
