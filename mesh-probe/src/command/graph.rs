//! `gate graph`

use crate::{
    args::{Cli, Format, GraphArgs},
    collector::Collector,
    error::ProbeError,
    exit::Exit,
    graph::{GateGraph, GraphDocument, read},
    output::Output,
    render,
};

const BUILT_IN: &str =
    "no collector is given: this is the built-in graph, as a collector without --gates has it";

pub(super) async fn run(
    cli: &Cli,
    arguments: &GraphArgs,
    output: Output,
) -> Result<Exit, ProbeError> {
    let graph = graph(cli, arguments).await?;
    let levels = &graph.levels;
    match output.format() {
        Format::Mermaid => Output::text(&render::mermaid(levels))?,
        Format::Dot => Output::text(&render::dot(levels))?,
        Format::Name => {
            let names = levels.iter().map(|level| format!("gate/{}", level.name));
            Output::text(&render::lines(names))?;
        }
        _ => output.answer(&GraphDocument::new(&graph), |style| {
            render::graph(&graph, style)
        })?,
    }
    Ok(Exit::Ready)
}

async fn graph(cli: &Cli, arguments: &GraphArgs) -> Result<GateGraph, ProbeError> {
    if let Some(path) = &arguments.file {
        return read(path);
    }
    if cli.connection.collector.is_empty() {
        Output::progress(BUILT_IN);
        return Ok(GateGraph::built_in());
    }
    let asking = Collector::new(&cli.connection)?.connect().await?;
    asking.graph().await
}
