//! `status`

use crate::{
    collector::Collector, document::VerdictDocument, error::ProbeError, exit::Exit, output::Output,
    render,
};

pub(super) async fn run(collector: &Collector, output: Output) -> Result<Exit, ProbeError> {
    let verdict = collector.connect().await?.verdict().await?;
    output.answer(&VerdictDocument::status(&verdict), |style| {
        render::status(&verdict, style)
    })?;
    Ok(Exit::Ready)
}
