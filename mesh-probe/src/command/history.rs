//! `history`

use crate::{
    collector::Collector, document::HistoryDocument, error::ProbeError, exit::Exit, output::Output,
    render,
};

pub(super) async fn run(collector: &Collector, output: Output) -> Result<Exit, ProbeError> {
    let history = collector.connect().await?.history().await?;
    output.answer(&HistoryDocument::new(&history), |style| {
        render::history(&history, style)
    })?;
    Ok(Exit::Ready)
}
