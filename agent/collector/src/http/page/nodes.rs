//! The nodes: who reports, and what each cannot see.

use evidence::{
    NodeState, Verdict,
    words::{count, human_ms},
};

use super::{
    html::Html,
    table::{Table, list, maybe, plain},
    words::Mood,
};

/// Meshes of at most so many nodes are shown whole; of larger ones only nodes of which there is something to say.
const WHOLE: usize = 32;
/// Nodes on one page.
const LISTED: usize = 100;

pub(super) fn draw(html: &mut Html, verdict: &Verdict) {
    let whole = verdict.nodes.len() <= WHOLE;
    let worth = |node: &&NodeState| whole || !node.reporting || !node.gaps.is_empty();
    let mut shown: Vec<&NodeState> = verdict.nodes.iter().filter(worth).collect();
    shown.sort_by_key(|node| (&node.site, &node.node));
    let well = verdict.nodes.len() - shown.len();
    let more = shown.len().saturating_sub(LISTED);
    shown.truncate(LISTED);
    if !shown.is_empty() {
        table(html, &shown);
    }
    for (number, which) in [
        (well, "reporting, and nothing hidden from it"),
        (more, "left out here"),
    ] {
        if number > 0 {
            let text = format!("{} {which}.", count(number, "more node"));
            html.leaf("p", &[("class", "more")], &text);
        }
    }
}

fn table(html: &mut Html, shown: &[&NodeState]) {
    let titles = [
        "Node",
        "Reports",
        "Last report",
        "Site",
        "KubeSpan address",
        "Agent",
        "Cannot see",
    ];
    Table::draw(html, "Nodes, by site", &titles, |table| {
        for node in shown {
            let (mood, word) = if node.reporting {
                (Mood::Good, "yes")
            } else {
                (Mood::Bad, "no")
            };
            let age = node.report_age_ms.map_or_else(
                || "never".to_owned(),
                |age| format!("{} ago", human_ms(age)),
            );
            table.row(&[
                &plain(&node.node.to_string()),
                &|html| mood.write(html, word),
                &plain(&age),
                &maybe(node.site.clone()),
                &maybe(node.kubespan_address.clone()),
                &maybe(node.version.clone()),
                &list(&node.gaps),
            ]);
        }
    });
}
