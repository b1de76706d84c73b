//! `agent`

use evidence::{Facts, Moment};
use proto::{
    convert::{Incoming, incoming},
    wire::ReportRequest,
};

use crate::{
    adhoc::NodeView,
    args::{AgentArgs, AgentTarget, Cli},
    direct::{Agent, Seen, credentials},
    document::AgentDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

pub(super) async fn run(
    cli: &Cli,
    arguments: &AgentArgs,
    output: Output,
) -> Result<Exit, ProbeError> {
    let target = &arguments.agent;
    let tls = credentials(std::slice::from_ref(target), &cli.connection)?;
    let proof = cli.connection.proof_to_agents();
    let agent = Agent::new(target.clone(), (proof, &tls), cli.connection.timeout);
    let mut asking = agent.connect().await?;
    let status = asking.status().await?;
    // One that waits for something has nothing to show, and says for what.
    let view = if status.waits_for.is_some() {
        None
    } else {
        let (seen, _) = asking.watch().await?;
        let (now, facts) = told(target, seen)?;
        Some(NodeView::new(status.node.clone(), &facts, now))
    };
    output.answer(&AgentDocument::new(&status, view.as_ref()), |style| {
        render::agent(&status, view.as_ref(), style)
    })?;
    let is_whole = view.is_some_and(|view| view.is_whole());
    Ok(if is_whole {
        Exit::Ready
    } else {
        Exit::CannotTell
    })
}

/// Facts on the agent's own timeline, and its present.
fn told(target: &AgentTarget, seen: Seen) -> Result<(Moment, Facts), ProbeError> {
    let Seen::Opened { snapshot, .. } = seen else {
        return Ok((Moment::ZERO, Facts::new()));
    };
    let ReportRequest {
        sequence: _,
        now_ms,
        body,
    } = snapshot;
    // What a later agent says and this version does not know is left out, as a collector of this version leaves it out.
    let facts = match incoming(body).map(|taken| taken.said) {
        Ok(Incoming::Snapshot(facts)) => facts,
        Ok(Incoming::Delta(delta)) => delta.upserts.into_iter().collect(),
        Err(source) => {
            return Err(ProbeError::AgentAnswer {
                target: target.clone(),
                source,
            });
        }
    };
    Ok((Moment::from_millis(now_ms), facts))
}
