//! Evidence in a file that somebody sent.

use std::{collections::BTreeMap, time::Duration};

use diagnosis::{
    Conflict, Expectation, History, NodeView, Stream, View,
    graph::{Graph, Level},
    levels::Check,
};
use evidence::{Fact, Facts, Moment, NodeName, limits};
use mesh_probe::bundle::{Bundle, parse, redact};
use proto::{
    convert::{Incoming, incoming},
    wire::{self, report_request::Body},
};

use super::wire_facts;
use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "bundle",
    run,
    seeds,
};

/// Facts in one seed.
const FACTS: usize = 2;

fn run(bytes: &[u8]) {
    let bundle = match parse(bytes) {
        Err(error) => return drop(error.to_string()),
        Ok(bundle) => bundle,
    };
    assert!(bundle.view.nodes.len() <= limits::NODES);
    let text = bundle.to_text().expect("what was read can be written");
    let again = parse(text.as_bytes()).expect("what was written can be read");
    assert_eq!(again, bundle);
    assert_eq!(again.judge(), bundle.judge());
    if let Ok(redacted) = redact(&bundle) {
        assert_eq!(redacted.view.nodes.len(), bundle.view.nodes.len());
        drop(redacted.judge());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let facts = wire_facts::all();
    let whole = Body::Snapshot(wire::Snapshot { facts });
    let said = incoming(Some(whole)).map(|taken| taken.said);
    let Ok(Incoming::Snapshot(facts)) = said else {
        panic!("the facts of the seeds are well-formed");
    };
    let conflict = Conflict {
        at: Moment::from_millis(900),
        what: "another boot id, from 192.0.2.9".to_owned(),
    };
    // A few facts in each, so that each is found quickly.
    let facts: Vec<Fact> = facts.iter().cloned().collect();
    let parts = facts
        .chunks(FACTS)
        .map(|part| part.iter().cloned().collect());
    let parts = parts.map(|facts| bundle(facts, None));
    let bare = [
        bundle(Facts::new(), None),
        bundle(Facts::new(), Some(conflict)),
    ];
    bare.into_iter()
        .chain(parts)
        .map(|bundle| bundle.to_text().expect("seeds are small").into_bytes())
        .collect()
}

fn bundle(facts: Facts, conflict: Option<Conflict>) -> Bundle {
    let name = NodeName::parse("vps-1").expect("a host name");
    let node = NodeView {
        facts,
        stream: Stream::Open,
        since: Moment::from_millis(500),
        last_report: Moment::from_millis(990),
        steady_since: Moment::from_millis(500),
        conflict,
    };
    Bundle {
        made_by: "mesh-probe 0.1.0".to_owned(),
        collector: "0.1.0".to_owned(),
        redacted: false,
        at: Moment::from_millis(1000),
        view: View {
            started: Moment::ZERO,
            nodes: BTreeMap::from([(name.clone(), node)]),
            expectation: Expectation {
                min_nodes: 2,
                names: vec![name],
                graph: graph(),
            },
            history: History::default(),
        },
    }
}

/// A small one, so that the header leaves room for facts.
fn graph() -> Graph {
    let mut upper = Level::new("api", &["wires"], Check::None);
    upper.stable_for = Duration::from_secs(30);
    upper.fresh_within = Some(Duration::from_secs(3));
    upper.nodes = vec![NodeName::parse("vps-1").expect("a host name")];
    let levels = vec![Level::new("wires", &[], Check::Underlay), upper];
    Graph::new(levels).expect("a sound graph")
}
