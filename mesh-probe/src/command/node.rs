//! `node`

use std::time::Duration;

use evidence::NodeName;
use mesh_agent::{DiscoveryConfig, Machined, SourcesConfig};

use crate::{
    adhoc::{Facts as _, NodeView},
    args::NodeArgs,
    document::FactsDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

pub(super) async fn run(
    arguments: &NodeArgs,
    patience: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let name = own_name();
    let sources = SourcesConfig {
        machined: Machined {
            socket: arguments.machined_socket.clone(),
            as_admin: arguments.discovery_from_talos,
        },
        ntp_servers: arguments.ntp_servers.clone(),
        discovery: DiscoveryConfig {
            endpoints: arguments.discovery.clone(),
            cluster_id: arguments.cluster_id.clone(),
        },
    };
    let (now, facts) = mesh_agent::look(name.clone(), sources, patience).await;
    let view = NodeView::new(name, &facts, now);
    output.answer(&FactsDocument::new(&view), |style| {
        render::node(&view, style)
    })?;
    Ok(view.exit())
}

/// A host name that cannot name a node is no reason to say nothing.
fn own_name() -> NodeName {
    let name = sources::host::hostname().unwrap_or_default();
    NodeName::parse(&name)
        .or_else(|_| NodeName::parse("this-node"))
        .expect("a constant name is a name")
}
