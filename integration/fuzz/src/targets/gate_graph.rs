//! The gate graph of an operator's file.

use std::collections::BTreeSet;

use diagnosis::graph::{LEVELS, parse};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "gate-graph",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match parse("s", text) {
        Ok(file) => {
            let levels = file.graph.levels();
            assert!((1..=LEVELS).contains(&levels.len()));
            let names: BTreeSet<&str> = levels.iter().map(|level| &*level.name).collect();
            assert_eq!(names.len(), levels.len(), "names are unique");
            for level in levels {
                let below = file.graph.below(level);
                assert!(below.iter().all(|lower| lower.name != level.name));
                for dependency in &level.depends_on {
                    assert!(names.contains(&*dependency.level));
                }
            }
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in problems.0 {
                assert!(!problem.text.is_empty() && problem.file == "s");
            }
        }
    }
}

const GRAPH: &str = "\
expect: {min_nodes: 4, nodes: [home-cp, vps-1]}
levels:
  - name: mesh
    title: the tunnel carries
    check: mesh
    stable_for: 30s
    fresh_within: 3s
    expect: {min_nodes: 3, nodes: [vps-1]}
  - name: api
    needs_clocks: true
    depends_on: [{level: mesh, cost: 7}]
  - {name: cni, depends_on: [api, mesh]}
";

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        GRAPH.to_owned(),
        GRAPH.replace("check: mesh", "depends_on: [cni]"),
        GRAPH.replace("cost: 7", "cost: -1.5e3"),
        "levels: [&a {name: x, depends_on: [*a]}]\n".to_owned(),
        "a: &a [x, x]\nb: &b [*a, *a]\nlevels: [*b, *b]\n".to_owned(),
        "levels:\n- name: a\n  name: b\n- [a]\n- 3\n- {? [x] : y}\n".to_owned(),
        format!("levels: {}{}\n", "[".repeat(200), "]".repeat(200)),
        "levels: []\n---\nlevels: []\n".to_owned(),
        String::new(),
    ];
    texts.map(String::into_bytes).to_vec()
}
