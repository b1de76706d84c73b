//! `gate graph`

use crate::{
    args::{Cli, Format, GraphArgs},
    collector::Collector,
    error::ProbeError,
    exit::Exit,
    graph::{GraphDocument, read},
    output::Output,
    render,
};

pub(super) async fn run(
    cli: &Cli,
    arguments: &GraphArgs,
    output: Output,
) -> Result<Exit, ProbeError> {
    let levels = match &arguments.file {
        Some(path) => read(path)?,
        None => {
            Collector::new(&cli.connection)?
                .connect()
                .await?
                .graph()
                .await?
        }
    };
    match output.format() {
        Format::Mermaid => Output::text(&render::mermaid(&levels))?,
        Format::Dot => Output::text(&render::dot(&levels))?,
        Format::Name => {
            let names = levels.iter().map(|level| format!("gate/{}", level.name));
            Output::text(&render::lines(names))?;
        }
        _ => output.answer(&GraphDocument::new(&levels), |style| {
            render::graph(&levels, style)
        })?,
    }
    Ok(Exit::Ready)
}
