//! What is on the page, and that nothing of what nodes say is obeyed.

use diagnosis::hold::Hold;
use evidence::{
    Change, Citation, Confidence, Dated, Earlier, Finding, Fix, Moment, NodeName, NodeRef,
    NodeState, Outcome, PairRef, Phase, Reporter, Rung, RungState, Subject, Tally, Verdict,
    limits as evidence_limits,
};
use proptest::prelude::*;

use super::*;

fn node(name: &str) -> NodeRef {
    NodeRef::named(&NodeName::parse(name).unwrap())
}

fn ladder(from: &NodeRef, to: &NodeRef, broken: bool, said: &str) -> Ladder {
    let state = |rung| RungState {
        rung,
        outcome: if broken { Outcome::Fail } else { Outcome::Pass },
        method: said.to_owned(),
        evidence: vec![citation(said)],
    };
    Ladder {
        from: from.clone(),
        to: to.clone(),
        rungs: [Rung::Underlay, Rung::Tunnel].map(state).to_vec(),
        highest: None,
        broken_at: broken.then_some(Rung::Underlay),
        rtt_us: Some(700),
        loss_percent: None,
        handshake_age_ms: None,
        endpoint: None,
        flapping: None,
    }
}

fn citation(said: &str) -> Citation {
    Citation {
        reporter: Reporter::Node(NodeName::parse("node-0").unwrap()),
        fact: "echo".to_owned(),
        age_ms: 1600,
        text: said.to_owned(),
    }
}

fn finding(code: &str, said: &str, under: Option<&str>) -> Finding {
    Finding {
        code: code.to_owned(),
        subject: Subject::Cluster,
        subject_text: said.to_owned(),
        confidence: Confidence::Certain,
        summary: said.to_owned(),
        evidence: vec![citation(said)],
        fixes: vec![Fix {
            who: said.to_owned(),
            action: said.to_owned(),
            command: Some(said.to_owned()),
        }],
        could_also_be: vec![said.to_owned()],
        decided_by: Some(said.to_owned()),
        explains: vec![PairRef {
            from: node("node-0"),
            to: node("node-1"),
        }],
        explains_more: 0,
        suppressed_by: under.map(str::to_owned),
    }
}

/// A mesh of so many nodes in two sites of which nobody reaches anybody, and whatever can be said, is `said`.
fn collapsed(nodes: usize, said: &str) -> Judged {
    let all: Vec<NodeRef> = (0..nodes).map(|n| node(&format!("node-{n}"))).collect();
    let pairs = all.iter().flat_map(|from| {
        let others = all.iter().filter(move |to| *to != from);
        others.map(move |to| (from, to))
    });
    let told = pairs.take(evidence_limits::LADDERS);
    let state = |(place, node): (usize, &NodeRef)| NodeState {
        node: node.clone(),
        reporting: place % 2 == 0,
        report_age_ms: Some(400),
        version: Some(said.to_owned()),
        kubespan_address: Some(said.to_owned()),
        site: (place % 2 == 0).then(|| said.to_owned()),
        gaps: vec![said.to_owned()],
    };
    Judged {
        verdict: Verdict {
            nodes: all.iter().enumerate().map(state).collect(),
            pairs: told
                .map(|(from, to)| ladder(from, to, true, said))
                .collect(),
            tally: Tally {
                broken: u64::try_from(nodes * nodes.saturating_sub(1)).unwrap(),
                ..Tally::default()
            },
            findings: vec![
                finding("path-broken", said, None),
                finding("tunnel-silent", said, Some("path-broken")),
                finding("agent-silent", said, Some("elsewhere")),
            ],
            findings_left_out: 0,
            gates: vec![Gate {
                level: "mesh".to_owned(),
                phase: Phase::NotReady,
                may_start: Phase::Unknown,
                depends_on: vec!["wireguard".to_owned()],
                reasons: vec![said.to_owned()],
                terminal: true,
            }],
        },
        at: Moment::from_millis(500_000_000),
        revision: 1,
        hold: Hold::new(Duration::ZERO),
    }
}

fn drawn(judged: &Judged, asked: &Asked, details: Details, said: &str) -> String {
    let ladder = asked
        .direction
        .as_ref()
        .map(|_| match judged.verdict.pairs.first() {
            Some(ladder) => Ok(Cow::Borrowed(ladder)),
            None => Err(Status::not_found(said)),
        });
    let opened = |hours: u64| Transition {
        at: judged.at.minus(Duration::from_hours(hours)),
        change: Change::Opened {
            code: format!("found-{hours}-hours-ago"),
            subject: said.to_owned(),
            summary: said.to_owned(),
        },
        earlier: (hours > 1).then_some(Earlier {
            run: 7,
            wall_ms: 0,
            dated: Dated::ByWallClock,
        }),
    };
    page(&Content {
        judged,
        details,
        asked,
        ladder,
        history: vec![opened(25), opened(2), opened(1)],
        age: Duration::from_millis(300),
    })
    .finish()
}

fn pair_of(from: &str, to: &str) -> Asked {
    Asked {
        direction: Some((from.to_owned(), to.to_owned())),
        still: false,
    }
}

fn whole(judged: &Judged, said: &str) -> String {
    drawn(judged, &pair_of(said, "node-1"), Details::Told, said)
}

/// The values of an attribute.
fn values<'p>(page: &'p str, attribute: &str) -> Vec<&'p str> {
    let begin = format!(" {attribute}=\"");
    let found = page.split(begin.as_str()).skip(1);
    found.filter_map(|rest| rest.split('"').next()).collect()
}

/// The page without its own style: names of its tags, in order.
fn tags(page: &str) -> Vec<String> {
    let inside = page.split('<').skip(1);
    let names = inside.filter_map(|rest| rest.split([' ', '>']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_section_is_there_with_what_belongs_into_it() {
    let page = whole(&collapsed(3, "something"), "something");
    for (id, title) in SECTIONS {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
        assert!(page.contains(&format!(">{title}</h2>")), "{title}");
        assert!(page.contains(&format!("<a href=\"#{id}\">")), "{id}");
    }
    for text in [
        "1 problem",
        "0.3 s before it was sent",
        "waiting cannot cure this",
        "1. path-broken",
        "(certain)",
        "<td data-title=\"Ago\">1.6 s</td>",
        "What follows from it (1)",
        "tunnel-silent at something",
        "Effects of what is not shown",
        "mesh-probe explain path-broken",
        "site something",
        "reached at their own addresses",
        "<a href=\"?from=node-0&amp;to=node-1\"",
        "broken at underlay",
        "found-1-hours-ago at something",
        "about 2 h 0 m, in run 7 of the collector",
        "400 ms",
    ] {
        let found = page.contains(text) || text == "400 ms" && page.contains("0.4 s ago");
        assert!(found, "{text}: {page}");
    }
    assert!(!page.contains("found-25-hours-ago"), "older than a day");
    let at = |text| page.find(text).unwrap();
    assert!(
        at("found-1-hours-ago") < at("found-2-hours-ago"),
        "newest first"
    );
}

#[test]
fn the_matrix_is_sorted_by_site() {
    let mut judged = collapsed(4, "-");
    for (state, site) in judged.verdict.nodes.iter_mut().zip(["b", "a", "b", "a"]) {
        state.site = Some(site.to_owned());
    }
    let page = drawn(&judged, &Asked::default(), Details::Told, "-");
    let order: Vec<usize> = [">site a<", "row\">node-1<", "row\">node-3<", ">site b<"]
        .iter()
        .map(|text| page.find(text).unwrap())
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn nothing_is_loaded_from_elsewhere_and_nothing_runs() {
    let page = whole(
        &collapsed(3, "https://example.org//x"),
        "https://example.org//x",
    );
    for value in values(&page, "href") {
        let own = value.starts_with(['?', '#']) || value == "data:,";
        assert!(own && !value.contains("//"), "{value}");
    }
    assert!(values(&page, "src").is_empty());
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    let allowed = ["script", "iframe", "object", "embed", "img", "svg", "base"];
    for tag in tags(&page) {
        assert!(!allowed.contains(&tag.as_str()), "{tag}");
    }
}

#[test]
fn without_details_nothing_but_phases_is_told() {
    let judged = collapsed(3, "secret");
    let page = drawn(&judged, &Asked::default(), Details::Hidden, "secret");
    assert!(
        page.contains("not ready") && page.contains("mesh"),
        "{page}"
    );
    for hidden in ["secret", "node-0", "path-broken", "3 nodes", "problem"] {
        assert!(!page.contains(hidden), "{hidden}: {page}");
    }
}

#[test]
fn a_browser_reloads_unless_it_is_told_to_stay() {
    let judged = collapsed(2, "-");
    let page = drawn(&judged, &pair_of("a", "b"), Details::Told, "-");
    assert!(page.contains("http-equiv=\"refresh\" content=\"10\""));
    assert!(page.contains("?from=a&amp;to=b&amp;refresh=off"));
    let still = Asked {
        still: true,
        ..Asked::default()
    };
    let page = drawn(&judged, &still, Details::Told, "-");
    assert!(!page.contains("http-equiv"));
    assert!(page.contains("<a href=\"?\">reload it by itself</a>"));
}

#[test]
fn a_mesh_of_1024_nodes_that_has_collapsed_has_a_page_within_the_bound() {
    let said = "\"".repeat(evidence_limits::TEXT);
    let mut judged = collapsed(1024, &said);
    judged.verdict.findings = (0..evidence_limits::FINDINGS)
        .map(|_| finding("path-broken", &said, None))
        .collect();
    judged.verdict.findings_left_out = 7;
    let page = whole(&judged, &said);
    assert!(page.len() <= limits::PAGE_BYTES, "{}", page.len());
    let left_out = 1024 * 1023 - directions::LISTED;
    for text in [
        format!("{left_out} more directions left out here"),
        format!(
            "{} findings left out here",
            evidence_limits::FINDINGS - 20 + 7
        ),
        "924 more nodes left out here".to_owned(),
        "<form method=\"get\">".to_owned(),
    ] {
        assert!(page.contains(&text), "{text}");
    }
}

#[test]
fn a_section_that_is_too_long_is_left_out_and_that_is_said() {
    let mut judged = collapsed(32, "-");
    for state in &mut judged.verdict.nodes {
        state.gaps = vec!["<".repeat(4096); 64];
    }
    let page = drawn(&judged, &Asked::default(), Details::Told, "-");
    assert!(page.len() <= limits::PAGE_BYTES, "{}", page.len());
    let nodes = page.split("<section id=\"nodes\"").nth(1).unwrap();
    let nodes = nodes.split("</section>").next().unwrap();
    assert!(nodes.contains("Too long for this page"), "{nodes}");
    assert!(
        page.contains("id=\"history\""),
        "what comes after it is there"
    );
}

#[test]
fn what_is_no_query_is_told_with_what_was_expected() {
    let parse = |fields: &[(&str, &str)]| {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Asked::parse(&fields.iter().map(own).collect()).unwrap_err()
    };
    assert_eq!(
        parse(&[("from", "a")]),
        "fields from and to: expected both or neither"
    );
    assert_eq!(parse(&[("refresh", "1")]), "field refresh: expected off");
    assert!(parse(&[("form", "a")]).contains("known fields: from, to, refresh"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is said, the page has the same elements and attributes: a text is a text.
    #[test]
    fn no_text_becomes_markup(said in "[<>&\"'=/ a-z\u{0}-\u{1f}\u{202e}\u{2028}]{1,40}|\\PC{2,40}") {
        let harmless = whole(&collapsed(3, "x"), "x");
        let page = whole(&collapsed(3, &said), &said);
        prop_assert_eq!(tags(&page), tags(&harmless));
        for attribute in ["class", "scope", "id", "name", "http-equiv", "data-title"] {
            prop_assert_eq!(values(&page, attribute), values(&harmless, attribute));
        }
        for text in page.split("</style>").skip(1) {
            prop_assert!(!text.chars().any(|c| c != '\n' && evidence::words::is_unsafe(c)));
        }
    }
}
