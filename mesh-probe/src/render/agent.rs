//! What an agent says of itself, and who was asked where there is no collector.

use evidence::{AgentStatus, Moment, Uplink, UplinkState};

use super::{
    Style, node,
    screen::{Paint, Screen},
    text::{human, human_ms},
};
use crate::{adhoc::NodeView, direct::Basis};

/// Agents that are named one by one; of more only those that were not heard.
const NAMED: usize = 8;

/// The screen of `agent`: to whom it reports, what it sees, what it cannot see.
pub fn agent(status: &AgentStatus, view: Option<&NodeView>, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let age = human(status.now.since(status.started));
    let title = format!(
        "the agent of {}, version {}, running for {age}",
        status.node, status.version
    );
    screen.put(Paint::Bold, &title).end();
    if let Some(waits_for) = &status.waits_for {
        screen
            .put(Paint::Bad, "  it waits for ")
            .line(&format!("{waits_for}, and sees nothing before"));
    }
    if status.uplinks.is_empty() && status.waits_for.is_none() {
        screen.line(
            "  it reports to no collector: none was given, and Talos has named no control plane",
        );
    }
    for uplink in &status.uplinks {
        report(&mut screen, uplink, status.now);
    }
    if let Some(view) = view {
        node::groups(&mut screen, view);
        screen.end();
        for gap in view.gaps() {
            screen.put(Paint::Bold, "conclusion: ").line(&gap);
        }
        screen.put(Paint::Plain, "method: ").line(
            "the agent was asked for what it sees; whether that is right, a judgement of all nodes tells (status)",
        );
    }
    screen.finish()
}

fn report(screen: &mut Screen, uplink: &Uplink, now: Moment) {
    let Uplink {
        collector,
        since,
        state,
    } = uplink;
    let since = human(now.since(*since));
    match state {
        UplinkState::Reporting { to, way } => {
            let at = if *collector == to.to_string() {
                String::new()
            } else {
                format!(" at {to}")
            };
            screen.put(Paint::Good, "  reports").line(&format!(
                " to the collector {collector}{at}, {way}, for {since}"
            ));
        }
        UplinkState::NotReporting { reason } => {
            let why = if reason.is_empty() {
                String::new()
            } else {
                format!(": {reason}")
            };
            screen
                .put(Paint::Bad, "  does not report")
                .line(&format!(" to the collector {collector}, for {since}{why}"));
        }
    }
}

/// What an answer that no collector gave rests on.
pub fn basis(basis: &Basis, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let heard = basis.agents.iter().filter(|asked| asked.node.is_some());
    let (heard, all) = (heard.count(), basis.agents.len());
    let watched = human_ms(basis.watched_ms);
    screen.line(&format!(
        "  asked directly, without a collector: {heard} of {all} agents answered, watched for {watched}"
    ));
    for asked in &basis.agents {
        match (&asked.node, &asked.error) {
            (Some(node), _) if style.wide && all <= NAMED => {
                screen.line(&format!("    {} is {node}", asked.agent));
            }
            (None, Some(error)) => {
                screen.line(&format!("    {}: {error}", asked.agent));
            }
            _ => {}
        }
    }
    screen.line(
        "  what came and went before is not known here: only a collector watches for long enough",
    );
    screen.finish()
}
