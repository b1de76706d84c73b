//! `history`

use crate::{
    collector::Collector, document::HistoryDocument, error::ProbeError, exit::Exit, output::Output,
    render,
};

pub(super) async fn run(collector: &Collector, output: Output) -> Result<Exit, ProbeError> {
    let (now, transitions) = collector.connect().await?.history().await?;
    output.answer(&HistoryDocument::new(now, &transitions), |style| {
        render::history(now, &transitions, style)
    })?;
    Ok(Exit::Ready)
}
