//! `install`: printed, never applied.

use crate::{
    args::{InstallArgs, InstallCommand},
    document::PlanDocument,
    error::ProbeError,
    exit::Exit,
    install::plan,
    output::Output,
    render,
};

pub(super) fn run(arguments: &InstallArgs, output: Output) -> Result<Exit, ProbeError> {
    let InstallCommand::Plan(arguments) = &arguments.command;
    let plan = plan(&arguments.wanted());
    output.answer(&PlanDocument::new(&plan), |style| {
        render::install(&plan, style)
    })?;
    Ok(Exit::Ready)
}
