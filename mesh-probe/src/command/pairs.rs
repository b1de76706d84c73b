//! `pairs`

use evidence::{Ladder, Verdict};

use crate::{
    args::PairsArgs,
    collector::{Asking, Collector},
    document::VerdictDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

/// Ladders that are fetched at most; who wants all of a large mesh asks node by node.
pub(super) const FETCHED: usize = 4096;

pub(super) async fn run(
    collector: &Collector,
    arguments: &PairsArgs,
    output: Output,
) -> Result<Exit, ProbeError> {
    let asking = collector.connect().await?;
    let mut verdict = asking.verdict().await?;
    let all = arguments.is_all();
    if !all || !verdict.tells_all_pairs() {
        let wanted = PairsArgs {
            broken: arguments.broken || all,
            ..arguments.clone()
        };
        known(&verdict, &wanted)?;
        verdict.pairs = fetch(&asking, &wanted).await?;
    }
    output.answer(&VerdictDocument::pairs(&verdict), |style| {
        if all {
            render::pairs(&verdict, style)
        } else {
            render::some_pairs(&verdict, style)
        }
    })?;
    Ok(Exit::Ready)
}

async fn fetch(asking: &Asking, wanted: &PairsArgs) -> Result<Vec<Ladder>, ProbeError> {
    let mut pairs: Vec<Ladder> = Vec::new();
    loop {
        let (page, more) = asking.pairs(wanted, pairs.last()).await?;
        let nothing = page.is_empty();
        pairs.extend(page);
        if !more || nothing || pairs.len() >= FETCHED {
            return Ok(pairs);
        }
    }
}

/// A name that no node has is a slip of the finger, and no pair of it would look like good news.
pub(super) fn known(verdict: &Verdict, wanted: &PairsArgs) -> Result<(), ProbeError> {
    let names = [&wanted.node, &wanted.from, &wanted.to];
    for name in names.into_iter().flatten() {
        if verdict
            .nodes
            .iter()
            .all(|state| state.node.to_string() != *name)
        {
            let text = format!("there is no node {name:?}; `status` lists them");
            return Err(ProbeError::Usage(text));
        }
    }
    Ok(())
}
