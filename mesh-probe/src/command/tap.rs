//! `tap`

use std::collections::BTreeMap;

use probe_io::{Sighted, Tap, clock};
use sources::links;
use tokio::time::{Instant, timeout_at};

use super::looking::{progress, show};
use crate::{adhoc::TapView, args::TapArgs, error::ProbeError, exit::Exit, output::Output};

pub(super) async fn run(arguments: &TapArgs, output: Output) -> Result<Exit, ProbeError> {
    let mut tap = Tap::open(arguments.port).map_err(ProbeError::Tap)?;
    let names = interface_names().await;
    progress(&format!(
        "watching UDP {}; interrupt it to see the summary at once",
        arguments.port
    ));
    let begun = Instant::now();
    let mut view = TapView::new(arguments.port);
    let watched = watch(&mut tap, &mut view, &names, arguments, output);
    tokio::select! {
        watched = watched => watched?,
        // Whoever interrupts has seen enough, and wants the summary.
        _ = tokio::signal::ctrl_c() => {}
    }
    view.lasted_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    view.lost = tap.statistics().map_err(ProbeError::Tap)?.dropped;
    show(&view, output)
}

/// Until the time is over, or as many messages passed as were asked for.
async fn watch(
    tap: &mut Tap,
    view: &mut TapView,
    names: &BTreeMap<u32, String>,
    arguments: &TapArgs,
    output: Output,
) -> Result<(), ProbeError> {
    let begun = clock::stamp();
    let deadline = Instant::now() + arguments.duration;
    while arguments.count.is_none_or(|count| view.seen() < count) {
        let Ok(sighted) = timeout_at(deadline, tap.next()).await else {
            return Ok(());
        };
        let sighted = sighted.map_err(ProbeError::Tap)?;
        let after_ms = sighted.seen_at.micros_since(begun) / 1000;
        if let Some(line) = see(view, names, &sighted, after_ms) {
            output.live(&line)?;
        }
    }
    Ok(())
}

fn see(
    view: &mut TapView,
    names: &BTreeMap<u32, String>,
    sighted: &Sighted,
    after_ms: u64,
) -> Option<String> {
    // The filter passes whole datagrams only: another is none of ours.
    let datagram = sighted.datagram().ok()?;
    let number = || format!("interface {}", sighted.interface);
    let name = names.get(&sighted.interface).cloned();
    view.see(
        sighted.direction,
        &name.unwrap_or_else(number),
        &datagram,
        after_ms,
    )
}

/// Names are for people: without them numbers do.
async fn interface_names() -> BTreeMap<u32, String> {
    let links = links::read().await.map(|snapshot| snapshot.links);
    let named = links.into_iter().flatten();
    named.map(|link| (link.index, link.name)).collect()
}
