//! Who may depend on whom, and what pure means; read from the manifests and sources of this checkout.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// Every edge between crates of this workspace, and what it is for. A new one belongs into ARCHITECTURE.md too.
const EDGES: &[(&str, &str, &str)] = &[
    ("probe-core", "evidence", "keys and moments"),
    ("diagnosis", "evidence", "facts come in, verdicts go out"),
    ("proto", "evidence", "the nouns that the wire carries"),
    ("probe-io", "evidence", "moments of its clock"),
    ("probe-io", "probe-core", "the headers that filters match"),
    ("sources", "evidence", "keys of peers"),
    ("sources", "upstream", "what Talos and discovery say"),
    ("mesh-agent", "evidence", "the facts it states"),
    ("mesh-agent", "probe-core", "the machines it drives"),
    ("mesh-agent", "probe-io", "the sockets it drives them with"),
    ("mesh-agent", "sources", "what the node says of itself"),
    ("mesh-agent", "proto", "its reports"),
    ("mesh-collector", "evidence", "the view it holds"),
    ("mesh-collector", "diagnosis", "the judgement"),
    ("mesh-collector", "proto", "what it serves"),
    ("mesh-probe", "evidence", "the verdict it prints"),
    (
        "mesh-probe",
        "diagnosis",
        "the pages of explain, the judgement of a bundle, and a gate graph of a file",
    ),
    ("mesh-probe", "proto", "the questions it asks"),
    (
        "mesh-probe",
        "mesh-collector",
        "the view of --direct, joined by a collector's own code; tests: the command line against every other surface",
    ),
    (
        "mesh-probe",
        "mesh-agent",
        "what a node says of itself, read once",
    ),
    ("mesh-probe", "probe-core", "the size sweep of mtu"),
    (
        "mesh-probe",
        "probe-io",
        "the sockets of mtu, udp, handshake and tap",
    ),
    (
        "mesh-probe",
        "sources",
        "steering, what Talos says, and that a key of handshake is none of a device here",
    ),
    ("mesh-probe", "upstream", "tests: what fake apids say"),
    ("integration", "evidence", "names and keys of the lab"),
    ("integration", "mesh-agent", "simulator: what agents do"),
    ("integration", "mesh-collector", "simulator: the view"),
    ("integration", "diagnosis", "simulator: what is expected"),
    ("integration", "upstream", "what the fakes say"),
    (
        "integration",
        "sources",
        "its reader against wg, in a real kernel",
    ),
    ("integration", "upstream", "what the fakes say"),
    (
        "integration",
        "proto",
        "simulator: reports; tests: the keys that must not show",
    ),
    (
        "integration",
        "upstream",
        "what the fakes say, and what the real ones do",
    ),
    (
        "integration",
        "talos-ext",
        "tests: the services of the extension, started as their files say",
    ),
    ("integration", "sources", "benches: a reader"),
    (
        "integration",
        "probe-core",
        "simulator: what taps see; benches: a prober",
    ),
    (
        "integration",
        "probe-io",
        "simulator: what sockets hand over; benches",
    ),
    ("integration", "fuzz", "tests: the corpora to replay"),
    ("fuzz", "evidence", "keys, moments, nouns"),
    (
        "fuzz",
        "diagnosis",
        "the view in a bundle, and the reader of gate graphs",
    ),
    ("fuzz", "mesh-probe", "the reader of bundles"),
    ("fuzz", "probe-core", "decoders of probes and packets"),
    ("fuzz", "probe-io", "the decoder of error queues"),
    ("fuzz", "sources", "decoders of what the node says"),
    ("fuzz", "upstream", "resources as Talos sends them"),
    ("fuzz", "proto", "decoders of messages, keys, certificates"),
    ("fuzz", "upstream", "affiliates to be sealed"),
    ("fuzz", "integration", "the reader of scenario files"),
];

/// Folders of the crates without clock, socket, file, environment or async.
const PURE: [&str; 3] = ["proto/evidence", "mesh-probe/probe-core", "agent/diagnosis"];

/// All that pure crates may use from outside: encodings, hashes, derives. Nothing of these can wait, open or look around.
/// `humantime` reads and writes lengths of time; `serde-saphyr` reads YAML from a text, without its features that open files.
const PURE_DEPENDENCIES: [&str; 10] = [
    "base64",
    "blake2",
    "hmac",
    "humantime",
    "serde",
    "serde-saphyr",
    "sha2",
    "subtle",
    "thiserror",
    "zeroize",
];

/// The only file with `unsafe`.
const UNSAFE: &str = "mesh-probe/probe-io/src/sys.rs";

/// How a dependency is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Dev,
}

/// Name of a member, and its dependencies.
struct Member {
    folder: String,
    manifest: Table,
}

impl Member {
    fn all() -> BTreeMap<String, Self> {
        let members = tree::manifests().into_iter().map(|(folder, manifest)| {
            let name = manifest["package"]["name"].as_str().unwrap().to_owned();
            (name, Self { folder, manifest })
        });
        members.collect()
    }

    fn dependencies(&self, kind: Kind) -> BTreeSet<String> {
        let section = match kind {
            Kind::Normal => "dependencies",
            Kind::Dev => "dev-dependencies",
        };
        let table = self.manifest.get(section).and_then(Value::as_table);
        table
            .into_iter()
            .flat_map(Table::keys)
            .map(package)
            .collect()
    }
}

/// The package behind a key of the workspace's dependencies.
fn package(key: &String) -> String {
    let name = if key == "collector" {
        "mesh-collector"
    } else {
        key
    };
    name.to_owned()
}

/// What `name` is built from, through our own crates.
fn closure(members: &BTreeMap<String, Member>, name: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(next) = open.pop() {
        let dependencies = members
            .get(&next)
            .map(|member| member.dependencies(Kind::Normal));
        let new = dependencies.into_iter().flatten();
        open.extend(new.filter(|dependency| found.insert(dependency.clone())));
    }
    found
}

#[test]
fn every_edge_between_our_crates_is_declared_with_its_reason() {
    let members = Member::all();
    let allowed: BTreeSet<_> = EDGES.iter().map(|(from, to, _)| (*from, *to)).collect();
    let mut used = BTreeSet::new();
    for (name, member) in &members {
        let normal = member.dependencies(Kind::Normal);
        for dependency in normal.union(&member.dependencies(Kind::Dev)) {
            if members.contains_key(dependency) {
                used.insert((name.clone(), dependency.clone()));
            }
        }
    }
    for (from, to) in &used {
        assert!(
            allowed.contains(&(from.as_str(), to.as_str())),
            "{from} -> {to} is not in EDGES"
        );
    }
    for (from, to) in allowed {
        assert!(
            used.contains(&(from.to_owned(), to.to_owned())),
            "{from} -> {to} is in EDGES and nobody needs it"
        );
    }
}

#[test]
fn only_a_test_may_depend_on_a_crate_above() {
    let members = Member::all();
    for name in members.keys() {
        assert!(
            !closure(&members, name).contains(name),
            "{name} depends on itself"
        );
        let lab = ["integration", "fuzz"]
            .iter()
            .find(|lab| closure(&members, name).contains(**lab));
        assert!(
            lab.is_none() || name == "fuzz",
            "{name} is built from {lab:?}"
        );
    }
}

/// The lab must not agree with what it tests because both are one code. The simulator drives that very code.
#[test]
fn of_the_lab_only_the_simulator_uses_what_it_tests() {
    let files = tree::rust_files().into_iter().filter(|file| {
        file.starts_with("integration/src/")
            && !file.contains("/sim/")
            && !file.ends_with("/sim.rs")
    });
    for file in files {
        let text = tree::read(&file);
        for product in ["proto::", "mesh_agent::", "mesh_collector::", "diagnosis::"] {
            let used = text.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("use {product}")) || line.contains(&format!(" {product}"))
            });
            assert!(!used, "{file} uses {product}");
        }
    }
}

#[test]
fn pure_crates_use_nothing_that_can_wait_open_or_look_around() {
    let members = Member::all();
    for member in members.values().filter(|member| is_pure(&member.folder)) {
        for dependency in member.dependencies(Kind::Normal) {
            let own = members.get(&dependency);
            assert!(
                own.is_some_and(|own| is_pure(&own.folder))
                    || PURE_DEPENDENCIES.contains(&dependency.as_str()),
                "{} depends on {dependency}",
                member.folder
            );
        }
    }
}

#[test]
fn pure_crates_contain_nothing_async() {
    for file in sources_of_pure_crates() {
        let text = tree::read(&file);
        for word in ["async fn", "async move", "async {", ".await"] {
            assert!(!text.contains(word), "{file} contains {word:?}");
        }
    }
}

#[test]
fn pure_crates_forbid_unsafe_and_carry_the_same_fence() {
    let fences: BTreeSet<_> = PURE
        .iter()
        .map(|folder| tree::read(&format!("{folder}/clippy.toml")))
        .collect();
    assert_eq!(fences.len(), 1, "the clippy.toml of pure crates differ");
    for folder in PURE {
        let library = tree::read(&format!("{folder}/src/lib.rs"));
        for line in [
            "#![forbid(unsafe_code)]",
            "#![warn(missing_docs, clippy::as_conversions)]",
        ] {
            assert!(library.contains(line), "{folder} lacks {line}");
        }
    }
}

#[test]
fn unsafe_code_is_in_one_file() {
    // In two parts, so that this file does not contain what it looks for.
    let words = [
        concat!("unsafe", " {"),
        concat!("unsafe", " fn"),
        concat!("unsafe", " impl"),
        concat!("unsafe", " trait"),
        concat!("unsafe", " extern"),
        concat!("[unsafe", "("),
    ];
    for file in tree::rust_files() {
        let text = tree::read(&file);
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code: Vec<_> = code.collect();
        let is_unsafe = code
            .iter()
            .any(|line| words.iter().any(|word| line.contains(word)));
        assert!(!is_unsafe || file == UNSAFE, "{file} has unsafe code");
        let permits = text.contains(concat!("expect(\n    unsafe", "_code"))
            || text.contains(concat!("expect(unsafe", "_code"))
            || text.contains(concat!("allow(unsafe", "_code"));
        assert!(!permits || file == UNSAFE, "{file} permits unsafe code");
    }
}

#[test]
fn the_collector_can_neither_open_raw_sockets_nor_speak_netlink() {
    let built_from = closure(&Member::all(), "mesh-collector");
    for dependency in &built_from {
        let forbidden = ["sources", "probe-io", "probe-core"].contains(&dependency.as_str())
            || dependency.contains("netlink")
            || dependency.starts_with("pnet");
        assert!(!forbidden, "mesh-collector is built from {dependency}");
    }
    assert!(built_from.contains("diagnosis") && built_from.contains("tonic"));
}

/// An agent is in the memory of every node: what exports to other systems is in the collector alone.
#[test]
fn the_agent_is_not_built_from_what_exports() {
    let members = Member::all();
    let exports = |name: &str| closure(&members, name).contains("opentelemetry-proto");
    assert!(exports("mesh-collector"));
    assert!(!exports("mesh-agent"));
}

#[test]
fn devices_are_configured_by_the_lab_alone() {
    let members = Member::all();
    for (name, member) in members.iter().filter(|(name, _)| *name != "integration") {
        for kind in [Kind::Normal, Kind::Dev] {
            // It could write to a node's device, and its licence is not ours.
            assert!(
                !member.dependencies(kind).contains("wireguard-control"),
                "{name}"
            );
        }
        // `mesh-probe handshake` shakes hands, with a key that it makes sure is no node's. Nothing on a node ever does.
        let normal = member.dependencies(Kind::Normal);
        assert!(
            !normal.contains("boringtun") || name == "mesh-probe",
            "{name} shakes hands with boringtun"
        );
    }
}

#[test]
fn every_member_inherits_lints_version_licence_and_dependencies() {
    for (folder, manifest) in tree::manifests() {
        let package = manifest["package"].as_table().unwrap();
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(inherits(package.get(key)), "{folder}: package.{key}");
        }
        assert!(inherits(manifest.get("lints")), "{folder}: lints");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let table = manifest.get(section).and_then(Value::as_table);
            for (name, dependency) in table.into_iter().flatten() {
                assert!(inherits(Some(dependency)), "{folder}: {section}.{name}");
            }
        }
    }
}

#[test]
fn every_manifest_is_that_of_a_member() {
    let members = tree::manifests();
    for file in tree::files() {
        if let Some(folder) = file.strip_suffix("/Cargo.toml") {
            assert!(members.contains_key(folder), "{folder} is no member");
        }
    }
}

fn inherits(value: Option<&Value>) -> bool {
    let table = value.and_then(Value::as_table);
    table.is_some_and(|table| table.get("workspace") == Some(&Value::Boolean(true)))
}

fn is_pure(folder: &str) -> bool {
    PURE.contains(&folder)
}

fn sources_of_pure_crates() -> Vec<String> {
    let mut files = tree::rust_files();
    files.retain(|file| {
        let owner = PURE
            .iter()
            .find(|folder| file.starts_with(&format!("{folder}/src/")));
        owner.is_some()
    });
    assert!(files.len() > 30, "the sources of pure crates are found");
    files
}
