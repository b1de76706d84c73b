//! What makes a graph, what does not, and what is said of it.

use std::time::Duration;

use super::*;

fn chain(edges: &[(&str, &[(&str, u32)])]) -> Vec<Level> {
    let level = |(name, below): &(&str, &[(&str, u32)])| Level {
        depends_on: below
            .iter()
            .map(|(level, cost)| Dependency {
                level: (*level).to_owned(),
                cost: *cost,
            })
            .collect(),
        ..Level::new(name, &[], Check::None)
    };
    edges.iter().map(level).collect()
}

fn flaws(edges: &[(&str, &[(&str, u32)])]) -> Vec<String> {
    let flaws = Graph::new(chain(edges)).unwrap_err();
    flaws.iter().map(ToString::to_string).collect()
}

fn problems(text: &str) -> Vec<String> {
    let problems = parse("gates.yaml", text).unwrap_err();
    problems.0.iter().map(ToString::to_string).collect()
}

#[test]
fn a_circle_is_a_path_with_its_cheapest_edge() {
    let told = flaws(&[
        ("api", &[("cni", 5)]),
        ("cni", &[("secrets", 2), ("mesh", 9)]),
        ("secrets", &[("api", 7)]),
        ("mesh", &[]),
    ]);
    assert_eq!(
        told,
        ["circular: api -> cni -> secrets -> api; cheapest to cut: cni -> secrets (cost 2)"]
    );
}

#[test]
fn every_circle_is_told_and_of_equal_edges_the_one_declared_last_is_cut() {
    let told = flaws(&[
        ("a", &[("b", 1)]),
        ("b", &[("a", 1)]),
        ("c", &[("c", 3)]),
        ("d", &[("a", 1)]),
    ]);
    assert_eq!(
        told,
        [
            "circular: a -> b -> a; cheapest to cut: b -> a (cost 1)",
            "circular: c -> c; cheapest to cut: c -> c (cost 3)",
        ]
    );
}

#[test]
fn two_circles_through_one_edge_are_one_cut() {
    let told = flaws(&[
        ("a", &[("b", 9), ("c", 9)]),
        ("b", &[("d", 9)]),
        ("c", &[("d", 9)]),
        ("d", &[("a", 1)]),
    ]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].ends_with("cheapest to cut: d -> a (cost 1)"),
        "{told:?}"
    );
}

#[test]
fn a_deep_graph_without_a_circle_has_none() {
    let names: Vec<String> = (0..LEVELS).map(|n| format!("l{n}")).collect();
    // Each on all above it: as many ways as there are subsets, and still quick.
    let levels = names.iter().enumerate().map(|(at, name)| {
        let below: Vec<&str> = names.iter().skip(at + 1).map(String::as_str).collect();
        Level::new(name, &below, Check::None)
    });
    let graph = Graph::new(levels.collect()).unwrap();
    let first = graph.level("l0").unwrap();
    assert_eq!(graph.below(first).len(), LEVELS - 1);
}

#[test]
fn a_file_says_all_that_a_level_can_have() {
    let text = "\
# a comment
expect: {min_nodes: 4, nodes: [home-cp, vps-1]}
levels:
  - name: mesh
    title: the tunnel carries
    check: mesh
    stable_for: 30s
    fresh_within: 3s
    expect:
      min_nodes: 3
      nodes: [vps-1]
  - name: api
    needs_clocks: true
    depends_on:
      - level: mesh
        cost: 7
";
    let file = parse("gates.yaml", text).unwrap();
    assert_eq!(file.min_nodes, Some(4));
    assert_eq!(
        file.nodes,
        ["home-cp", "vps-1"].map(|name| NodeName::parse(name).unwrap())
    );
    let mesh = file.graph.level("mesh").unwrap();
    assert_eq!(mesh.check, Check::Mesh);
    assert_eq!(mesh.stable_for, Duration::from_secs(30));
    assert_eq!(mesh.fresh_within, Some(Duration::from_secs(3)));
    assert_eq!((mesh.min_nodes, mesh.nodes.len()), (3, 1));
    let api = file.graph.level("api").unwrap();
    assert_eq!((api.check, api.needs_clocks), (Check::None, true));
    assert_eq!(api.depends_on[0].cost, 7);
}

#[test]
fn all_problems_are_told_at_once_each_with_its_line_and_path() {
    let text = "\
expect:
  min_nodes: 0
levles: []
levels:
  - name: mesh
    check: mash
    stable_for: 30
  - name: Mesh
    depends_on: [mseh, mesh, mesh]
    fresh_within: 1s
  - title: no name
  - name: a
    depends_on: [{level: b, cost: 0}]
  - name: b
    depends_on: a
    expect: {nodes: [\"no name\"], least: 3}
  - name: graph
  - name: a
    needs_clocks: maybe
";
    assert_eq!(
        problems(text),
        [
            "gates.yaml:2: expect.min_nodes: expected a number from 1 to 1024, got 0",
            "gates.yaml:3: levles: no such key; known keys: expect, levels",
            "gates.yaml:6: levels[0].check: expected one of underlay, wireguard, mesh, mtu, discovery, none, got \"mash\"",
            "gates.yaml:7: levels[0].stable_for: expected a time up to 1h, as 30s or 5m, got 30",
            "gates.yaml:8: levels[1].name: expected 1 to 63 lower-case letters, digits and -, and no - first, got \"Mesh\"",
            "gates.yaml:9: levels[1].depends_on[0]: there is no level \"mseh\"; known levels: mesh, Mesh, a, b, graph, a",
            "gates.yaml:9: levels[1].depends_on[2]: \"mesh\" is named already",
            "gates.yaml:10: levels[1].fresh_within: expected a time from 2s to 4m, as 3s, got \"1s\"",
            "gates.yaml:11: levels[2].name: is missing: expected a name",
            "gates.yaml:13: levels[3].depends_on[0].cost: expected a number from 1 to 1000, got 0",
            "gates.yaml:15: levels[4].depends_on: expected a list, got \"a\"",
            "gates.yaml:16: levels[4].expect.least: no such key; known keys: min_nodes, nodes",
            "gates.yaml:16: levels[4].expect.nodes[0]: expected a node name, got \"no name\"",
            "gates.yaml:17: levels[5].name: \"graph\" is a command of `mesh-probe gate`",
            "gates.yaml:18: levels[6].name: there is a level \"a\" already",
            "gates.yaml:19: levels[6].needs_clocks: expected true or false, got \"maybe\"",
        ]
    );
}

#[test]
fn a_circle_in_a_file_is_told_at_the_line_to_cut() {
    let text = "levels:\n- name: a\n  depends_on: [b]\n- name: b\n  depends_on:\n  - level: a\n    cost: 1\n";
    assert_eq!(
        problems(text),
        [
            "gates.yaml:6: levels[1].depends_on[0]: circular: a -> b -> a; cheapest to cut: b -> a (cost 1)"
        ]
    );
}

#[test]
fn what_is_no_graph_at_all_is_refused_with_what_was_expected() {
    for (text, wanted) in [
        ("", "expected a map of expect, levels"),
        ("- a", "expected a map of expect, levels, got a list"),
        ("levels: 3", "gates.yaml:1: levels: expected a list, got 3"),
        ("levels: []", "expected a list of levels, got an empty list"),
        ("expect: {}", "levels: is missing"),
        ("levels: [", "expected YAML"),
        ("levels: []\nlevels: []", "uplicate"),
        ("levels: [&a {name: x, depends_on: [*a]}]", ""),
    ] {
        let told = problems(text);
        assert!(
            told.iter().any(|told| told.contains(wanted)),
            "{text:?}: {told:?}"
        );
    }
    let many: String = (0..=LEVELS).fold("levels:\n".to_owned(), |text, n| {
        text + &format!("- name: l{n}\n")
    });
    assert_eq!(
        problems(&many),
        ["gates.yaml:2: levels: expected at most 64 levels, got 65"]
    );
    let long = " ".repeat(LARGEST_FILE + 1);
    assert!(problems(&long)[0].contains("expected at most 262144 bytes"));
}

#[test]
fn what_is_nested_deeply_or_in_itself_is_refused() {
    let nested = |depth| format!("levels: {}{}\n", "[".repeat(depth), "]".repeat(depth));
    for text in [
        nested(9),
        nested(200),
        nested(20_000),
        "levels: [&a {name: x, depends_on: [*a]}]\n".to_owned(),
        "a: &a [x]\nb: &b [*a]\nc: &c [*b]\nd: &d [*c]\nlevels: [*d, *d]\n".to_owned(),
    ] {
        assert!(!problems(&text).is_empty());
    }
}

#[test]
fn every_documented_field_is_taken_and_no_other() {
    for field in FIELDS {
        let last = field
            .path
            .rsplit('.')
            .next()
            .unwrap()
            .trim_end_matches("[]");
        let source = include_str!("file.rs");
        assert!(source.contains(&format!("\"{last}\"")), "{}", field.path);
    }
}
