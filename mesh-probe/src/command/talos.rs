//! `talos`

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rustls::ClientConfig;
use sources::talosconfig::{Lookup, Talosconfig};
use tokio::task::JoinSet;

use super::looking::progress;
use crate::{
    adhoc::{
        Facts as _,
        talos::{Answer, TalosMesh},
    },
    apid::{self, Target},
    args::TalosArgs,
    document::FactsDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
    render::text::count,
};

/// Nodes that are asked at a time.
const AT_A_TIME: usize = 32;

pub(super) async fn run(
    arguments: &TalosArgs,
    within: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let config = load(arguments).map_err(ProbeError::Talosconfig)?;
    let client = config.credentials.client();
    let client = client.map_err(|source| ProbeError::Talosconfig(config.no_tls(source)))?;
    let tls = Arc::new(client);
    let targets = Box::pin(targets(arguments, &config, &tls, within)).await?;
    progress(&format!("asking {}", count(targets.len(), "node")));
    let answers = ask_all(targets, &tls, within).await;
    let mesh = TalosMesh::new(config.context, config.proxy, &answers);
    output.answer(&FactsDocument::new(&mesh), |style| {
        render::talos(&mesh, style)
    })?;
    Ok(mesh.exit())
}

fn load(arguments: &TalosArgs) -> Result<Talosconfig, sources::talosconfig::TalosconfigError> {
    let path = Lookup::from_environment(arguments.talosconfig.clone()).find()?;
    Talosconfig::load(&path, arguments.context.as_deref())
}

/// Those that were typed, or those of the talosconfig, or all members.
async fn targets(
    arguments: &TalosArgs,
    config: &Talosconfig,
    tls: &Arc<ClientConfig>,
    within: Duration,
) -> Result<Vec<Target>, ProbeError> {
    let named = [&arguments.nodes, &config.nodes];
    if let Some(nodes) = named.into_iter().find(|nodes| !nodes.is_empty()) {
        return Ok(nodes.iter().map(Target::typed).collect());
    }
    discovered(arguments, config, tls, within).await
}

/// The members, told by the first endpoint that answers.
async fn discovered(
    arguments: &TalosArgs,
    config: &Talosconfig,
    tls: &Arc<ClientConfig>,
    within: Duration,
) -> Result<Vec<Target>, ProbeError> {
    let typed = Some(&arguments.endpoints).filter(|typed| !typed.is_empty());
    let endpoints = typed.unwrap_or(&config.endpoints);
    if endpoints.is_empty() {
        return Err(ProbeError::NoEndpoint {
            context: config.context.clone(),
            path: config.path.clone(),
        });
    }
    let (mut tried, mut refused) = (Vec::new(), true);
    for endpoint in endpoints {
        progress(&format!("asking {endpoint} for the members"));
        match apid::members(endpoint, Arc::clone(tls), within).await {
            Ok(members) if !members.is_empty() => return Ok(members),
            // A cluster without discovery has no members, and its endpoints are what there is.
            Ok(_) => return Ok(endpoints.iter().map(Target::typed).collect()),
            Err(silence) => {
                refused &= silence.refused;
                tried.push(format!("{endpoint}: {}: {}", silence.stage, silence.why));
            }
        }
    }
    Err(ProbeError::NoMembers { tried, refused })
}

/// In the order of the targets, whoever answers first.
async fn ask_all(targets: Vec<Target>, tls: &Arc<ClientConfig>, within: Duration) -> Vec<Answer> {
    let mut waiting: VecDeque<_> = targets.into_iter().enumerate().collect();
    let mut asking = JoinSet::new();
    let mut answers = Vec::new();
    loop {
        while asking.len() < AT_A_TIME
            && let Some((index, target)) = waiting.pop_front()
        {
            let tls = Arc::clone(tls);
            asking.spawn(async move { (index, apid::ask(target, tls, within).await) });
        }
        match asking.join_next().await {
            Some(Ok(answer)) => answers.push(answer),
            // A task that is not cancelled ends by a panic only, which its thread has reported.
            Some(Err(_)) => {}
            None => break,
        }
    }
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
