//! The commands of a collector, answered by agents that are asked here.

use std::time::Duration;

use diagnosis::{PairFilter, pairs};
use evidence::{Gate, Ladder, Phase, Verdict, document::VerdictDocument};
use tokio::time::Instant;
use tonic::Status;

use super::{collectors::Outcome, pairs as listing, waiting::Progress};
use crate::{
    args::{Cli, Format, LevelArgs, PairsArgs},
    bundle::Bundle,
    collector::LevelQuestion,
    direct::{Basis, Looking},
    document::{DirectDocument, GateDocument},
    error::ProbeError,
    exit::Exit,
    output::Output,
    render::{self, Asked, brief},
};

/// The answer of a level, as soon as it is yes, when waiting cannot make it so, or when the time is over. Without a time to wait,
/// it is watched for as long as causes need to show.
pub(super) async fn gate(
    cli: &Cli,
    level: &LevelArgs,
    question: &LevelQuestion,
    time: Duration,
    output: Output,
) -> Result<Outcome, ProbeError> {
    let mut looking = Looking::begin(&cli.direct, &cli.connection)?;
    let deadline = Instant::now() + time;
    let look = cli.direct.look + question.stable;
    let mut watching = Watching {
        question,
        output,
        is_wait: !time.is_zero(),
        last: None,
        progress: Progress::default(),
    };
    loop {
        let verdict = looking.judge().await?;
        let gate = answer(&verdict, question)?;
        let is_ready = question.asked().answer(&gate) == Phase::Ready;
        let is_stable = looking.is_stable(&question.level, question.may_start, question.stable);
        let yes = is_ready && is_stable;
        let is_hopeless = watching.is_wait && gate.terminal && !level.no_fail_fast;
        let is_over = if watching.is_wait {
            Instant::now() >= deadline
        } else {
            looking.has_watched(look)
        };
        if is_over && let Some(error) = looking.nobody() {
            return Err(error);
        }
        if yes || is_hopeless || is_over {
            return Ok(Outcome {
                gate,
                // Ready, and not for as long as was asked, is told as timed out.
                timed_out: !yes && !is_hopeless && (watching.is_wait || is_ready),
                yes,
                voices: Vec::new(),
                direct: Some(looking.basis()),
            });
        }
        watching.note(&gate)?;
    }
}

/// Whoever watches a wait is told each change.
struct Watching<'a> {
    question: &'a LevelQuestion,
    output: Output,
    is_wait: bool,
    last: Option<Gate>,
    progress: Progress,
}

impl Watching<'_> {
    fn note(&mut self, gate: &Gate) -> Result<(), ProbeError> {
        if !self.is_wait || self.last.as_ref() == Some(gate) {
            return Ok(());
        }
        self.last = Some(gate.clone());
        let asked = Asked {
            may_start: self.question.may_start,
            timed_out: None,
            unstable: None,
            direct: true,
        };
        self.progress.show(brief(gate, asked));
        if self.output.format() != Format::Jsonl {
            return Ok(());
        }
        let document = GateDocument::new(gate, self.question.asked(), false);
        self.output.answer(&document, |_| String::new())
    }
}

fn answer(verdict: &Verdict, question: &LevelQuestion) -> Result<Gate, ProbeError> {
    let gate = verdict.answer(&question.level, question.asked());
    gate.ok_or_else(|| {
        let known: Vec<&str> = verdict
            .gates
            .iter()
            .map(|gate| gate.level.as_str())
            .collect();
        let known = format!("known levels: {}", known.join(", "));
        ProbeError::UnknownLevel {
            level: question.level.clone(),
            target: None,
            source: Status::not_found(known).into(),
        }
    })
}

pub(super) async fn status(cli: &Cli, output: Output) -> Result<Exit, ProbeError> {
    let (verdict, _, basis) = look(cli).await?;
    let document = DirectDocument::new(VerdictDocument::status(&verdict), &basis);
    output.answer(&document, |style| {
        render::status(&verdict, style) + &render::basis(&basis, style)
    })?;
    Ok(Exit::Ready)
}

pub(super) async fn pairs_of(
    cli: &Cli,
    wanted: &PairsArgs,
    output: Output,
) -> Result<Exit, ProbeError> {
    let (mut verdict, bundle, basis) = look(cli).await?;
    let all = wanted.is_all();
    if !all || !verdict.tells_all_pairs() {
        listing::known(&verdict, wanted)?;
        verdict.pairs = some(&bundle, wanted, all);
    }
    let document = DirectDocument::new(VerdictDocument::pairs(&verdict), &basis);
    output.answer(&document, |style| {
        let shown = if all {
            render::pairs(&verdict, style)
        } else {
            render::some_pairs(&verdict, style)
        };
        shown + &render::basis(&basis, style)
    })?;
    Ok(Exit::Ready)
}

/// As a collector gives them, page by page.
fn some(bundle: &Bundle, wanted: &PairsArgs, all: bool) -> Vec<Ladder> {
    let PairsArgs {
        node,
        from,
        to,
        broken,
    } = wanted.clone();
    let mut filter = PairFilter {
        node,
        from,
        to,
        not_good: broken || all,
        after: None,
    };
    let mut found: Vec<Ladder> = Vec::new();
    while found.len() < listing::FETCHED {
        let page = pairs(&bundle.view, &filter, bundle.at);
        let more = page.more;
        found.extend(page.pairs);
        filter.after = found.last().map(Ladder::pair);
        if !more {
            break;
        }
    }
    found
}

/// All evidence of a look, to be judged again.
pub(super) async fn bundle(cli: &Cli) -> Result<Bundle, ProbeError> {
    let (_, bundle, _) = look(cli).await?;
    Ok(bundle)
}

/// Watches until all is well, or for as long as causes need to show.
async fn look(cli: &Cli) -> Result<(Verdict, Bundle, Basis), ProbeError> {
    let mut looking = Looking::begin(&cli.direct, &cli.connection)?;
    loop {
        let verdict = looking.judge().await?;
        let is_over = looking.has_watched(cli.direct.look);
        if is_over && let Some(error) = looking.nobody() {
            return Err(error);
        }
        if is_over || looking.is_all_well(&verdict) {
            let (view, at) = looking.evidence();
            let version = env!("CARGO_PKG_VERSION");
            let bundle = Bundle {
                made_by: format!("mesh-probe {version}"),
                collector: version.to_owned(),
                redacted: false,
                at,
                view,
            };
            return Ok((verdict, bundle, looking.basis()));
        }
    }
}
