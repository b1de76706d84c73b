//! All directions at a glance: a matrix by site, or of a large mesh what is not good.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{
    Ladder, NodeRef, PairHealth, Verdict,
    words::{count, human_us},
};

use super::{
    html::Html,
    pair,
    table::{NONE, Table, maybe, plain},
    words::{self, Mood},
};

/// Nodes in a matrix: a verdict tells all ladders of so many, and a person can still see them.
pub(super) const MATRIX: usize = 32;
/// Nodes whose names stand upright over their columns.
const UPRIGHT: usize = 6;
/// Directions in a list.
pub(super) const LISTED: usize = 200;

pub(super) fn draw(html: &mut Html, verdict: &Verdict) {
    html.leaf("p", &[], &format!("{}.", verdict.all_pairs()));
    let sites = sites(verdict);
    let nodes = sites.values().map(BTreeSet::len).sum::<usize>();
    if verdict.pairs.is_empty() && verdict.all_pairs().all() == 0 {
        html.leaf(
            "p",
            &[],
            "No direction is known: no agent has reported peers.",
        );
    } else if nodes <= MATRIX {
        matrix(html, verdict, &sites, nodes);
    } else {
        not_good(html, verdict);
    }
}

/// Nodes by the public address that they are behind; those behind none come first.
type Sites<'a> = BTreeMap<Option<&'a str>, BTreeSet<&'a NodeRef>>;

/// All nodes, also those that only pairs speak of.
fn sites(verdict: &Verdict) -> Sites<'_> {
    let mut site_of: BTreeMap<&NodeRef, Option<&str>> = BTreeMap::new();
    for ladder in &verdict.pairs {
        site_of.insert(&ladder.from, None);
        site_of.insert(&ladder.to, None);
    }
    for state in &verdict.nodes {
        site_of.insert(&state.node, state.site.as_deref());
    }
    let mut sites = Sites::new();
    for (node, site) in site_of {
        sites.entry(site).or_default().insert(node);
    }
    sites
}

fn title(site: Option<&str>) -> String {
    site.map_or_else(
        || "reached at their own addresses".to_owned(),
        |address| format!("site {address}"),
    )
}

fn matrix(html: &mut Html, verdict: &Verdict, sites: &Sites<'_>, nodes: usize) {
    let ladders = verdict.pairs.iter();
    let ladders = ladders.map(|ladder| ((&ladder.from, &ladder.to), ladder));
    let ladders: BTreeMap<_, _> = ladders.collect();
    let class = if nodes <= UPRIGHT {
        "matrix"
    } else {
        "matrix many"
    };
    let scrolls = [
        ("class", "scroll"),
        ("role", "region"),
        ("aria-label", "Matrix of directions"),
        ("tabindex", "0"),
    ];
    html.element("div", &scrolls, |html| {
        html.element("table", &[("class", class)], |html| {
            html.leaf("caption", &[], "Rows send, columns receive; sorted by site");
            html.element("thead", &[], |html| columns(html, sites));
            for (site, members) in sites {
                html.element("tbody", &[], |html| {
                    let wide = (nodes + 1).to_string();
                    html.element("tr", &[("class", "site")], |html| {
                        let group = [("scope", "rowgroup"), ("colspan", wide.as_str())];
                        html.leaf("th", &group, &title(*site));
                    });
                    for from in members {
                        row(html, from, sites, &ladders);
                    }
                });
            }
        });
    });
    legend(html);
}

fn columns(html: &mut Html, sites: &Sites<'_>) {
    html.element("tr", &[], |html| {
        html.leaf("th", &[("scope", "col")], "From \\ to");
        for members in sites.values() {
            for (place, node) in members.iter().enumerate() {
                let class = if place == 0 { "first" } else { "" };
                let attributes = [("scope", "col"), ("class", class)];
                html.element("th", &attributes, |html| {
                    html.leaf("span", &[], &node.to_string());
                });
            }
        }
    });
}

fn row(
    html: &mut Html,
    from: &NodeRef,
    sites: &Sites<'_>,
    ladders: &BTreeMap<(&NodeRef, &NodeRef), &Ladder>,
) {
    html.element("tr", &[], |html| {
        html.leaf("th", &[("scope", "row")], &from.to_string());
        for members in sites.values() {
            for (place, to) in members.iter().enumerate() {
                let first = if place == 0 { "first" } else { "" };
                if from == *to {
                    html.leaf("td", &[("class", first)], "\u{b7}");
                    continue;
                }
                let (mood, word) = ladders
                    .get(&(from, *to))
                    .map_or((Mood::Unknown, "unknown"), |ladder| {
                        words::direction(ladder)
                    });
                let class = format!("{} {first}", mood.class());
                html.element("td", &[("class", class.as_str())], |html| {
                    pair::cell(html, &from.to_string(), &to.to_string(), mood, word);
                });
            }
        }
    });
}

fn legend(html: &mut Html) {
    html.element("p", &[("class", "more")], |html| {
        html.text("Each cell leads to the ladder of its direction. ");
        Mood::Good.write(html, "data arrives and nothing is in doubt");
        html.text("; ");
        Mood::Warn.write(html, "the same, with a warning");
        html.text("; ");
        Mood::Bad.write(html, "the rung at which it breaks, or flapping");
        html.text("; ");
        Mood::Unknown.write(html, "not proved.");
    });
}

fn not_good(html: &mut Html, verdict: &Verdict) {
    let told = verdict.pairs.iter();
    let told = told.filter(|ladder| ladder.health() != PairHealth::Good);
    let listed: Vec<&Ladder> = told.take(LISTED).collect();
    let text = format!("More than {MATRIX} nodes: only what is not good is listed.");
    html.leaf("p", &[("class", "more")], &text);
    let titles = [
        "Direction",
        "Is",
        "Highest proved rung",
        "Round trip",
        "Loss",
    ];
    Table::draw(html, "Directions that are not good", &titles, |table| {
        for ladder in &listed {
            let (mood, word) = words::direction(ladder);
            let (from, to) = (ladder.from.to_string(), ladder.to.to_string());
            let arrow = format!("{from} \u{2192} {to}");
            table.row(&[
                &|html| pair::link(html, &from, &to, &arrow),
                &|html| mood.write(html, word),
                &plain(ladder.highest.map_or(NONE, evidence::Rung::as_str)),
                &maybe(ladder.rtt_us.map(human_us)),
                &maybe(ladder.loss_percent.map(|percent| format!("{percent} %"))),
            ]);
        }
    });
    let tally = verdict.all_pairs();
    let all = usize::try_from(tally.broken + tally.unproved).unwrap_or(usize::MAX);
    let more = all.saturating_sub(listed.len());
    if more > 0 {
        let more = format!("{} left out here.", count(more, "more direction"));
        html.leaf("p", &[("class", "more")], &more);
    }
    ask(html, verdict);
}

/// Of a large mesh most ladders are asked for by name.
fn ask(html: &mut Html, verdict: &Verdict) {
    html.element("form", &[("method", "get")], |html| {
        html.element("datalist", &[("id", "nodes")], |html| {
            for state in &verdict.nodes {
                let name = state.node.to_string();
                html.leaf("option", &[("value", name.as_str())], "");
            }
        });
        for (field, label) in [("from", "Ladder from "), ("to", " to ")] {
            html.element("label", &[], |html| {
                html.text(label);
                let attributes = [("name", field), ("list", "nodes"), ("autocomplete", "off")];
                html.tag("input", &attributes);
            });
        }
        html.text(" ").leaf("button", &[], "show");
    });
}
