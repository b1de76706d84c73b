//! The runbook: a page for every code that a finding can have, and every page of one shape.

use std::{collections::BTreeSet, env, fmt::Write as _, fs, path::Path};

use diagnosis::pages;

/// Where findings are made, and the layer that a family is of. A host's causes come last: their file names what they fold, too.
const SOURCES: &[(&str, &str)] = &[
    ("discovery", include_str!("../src/findings/affiliates.rs")),
    ("underlay", include_str!("../src/findings/candidates.rs")),
    ("discovery", include_str!("../src/findings/discovery.rs")),
    ("underlay", include_str!("../src/findings/elsewhere.rs")),
    ("tunnel", include_str!("../src/findings/keys.rs")),
    ("underlay", include_str!("../src/findings/nat.rs")),
    ("node", include_str!("../src/findings/nodes.rs")),
    ("node", include_str!("../src/findings/observer.rs")),
    ("overlay", include_str!("../src/findings/overlay.rs")),
    ("tunnel", include_str!("../src/findings/session.rs")),
    ("mtu", include_str!("../src/findings/sizes.rs")),
    ("steering", include_str!("../src/findings/steering.rs")),
    ("time", include_str!("../src/findings/time.rs")),
    ("underlay", include_str!("../src/findings/underlay.rs")),
    ("mtu", include_str!("../src/findings/uplink.rs")),
    ("overlay", include_str!("../src/findings/encapsulation.rs")),
    ("node", include_str!("../src/findings/node_address.rs")),
    ("tunnel", include_str!("../src/findings/flapping.rs")),
    ("node", include_str!("../src/findings/host.rs")),
];

/// The layers, bottom up.
const LAYERS: [&str; 8] = [
    "node",
    "time",
    "discovery",
    "underlay",
    "tunnel",
    "steering",
    "mtu",
    "overlay",
];

const SECTIONS: [&str; 5] = [
    "What it means",
    "What proves it",
    "Often confused with",
    "What to do",
    "Who can do it",
];

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let named: BTreeSet<&str> = SOURCES
        .iter()
        .flat_map(|(_, source)| codes(source))
        .collect();
    let paged: BTreeSet<&str> = pages().iter().map(|page| page.code).collect();
    assert_eq!(named, paged);
}

/// The string literals that are codes: lower-case words joined by `-`.
fn codes(source: &str) -> impl Iterator<Item = &str> {
    let is_code = |text: &&str| {
        let word = |word: &str| {
            let mut letters = word.bytes();
            !word.is_empty() && letters.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        text.contains('-') && text.split('-').all(word)
    };
    source.split('"').filter(is_code)
}

#[test]
fn every_page_has_its_title_its_sections_in_order_and_room_on_one_screen() {
    for page in pages() {
        let (code, lines) = (page.code, page.text.lines().count());
        assert!((15..=40).contains(&lines), "{code} has {lines} lines");
        let titles = page.text.lines().filter(|line| line.starts_with("# "));
        assert_eq!(titles.count(), 1, "{code}: one title");
        assert!(page.text.starts_with("# "), "{code}: the title comes first");
        let heads = page
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("## "));
        assert_eq!(heads.collect::<Vec<_>>(), SECTIONS, "{code}");
    }
}

/// `docs/findings.md`, made of the pages. After a change: `UPDATE_GENERATED=1 cargo test -p diagnosis --test runbook`.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the crate reads and writes no file; what checks a file beside it must"
)]
fn the_reference_of_all_findings_is_what_the_pages_give() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/findings.md");
    let fresh = reference();
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&file, &fresh).expect("the checkout can be written");
    }
    let present = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        present == fresh,
        "docs/findings.md differs from the pages; run UPDATE_GENERATED=1 cargo test -p diagnosis --test runbook and commit the result"
    );
}

fn reference() -> String {
    let mut listed: Vec<_> = pages().iter().collect();
    listed.sort_by_key(|page| {
        (
            LAYERS.iter().position(|one| *one == layer(page.code)),
            page.code,
        )
    });
    let mut text = String::from(
        "# Findings\n\n\
         Generated from `agent/diagnosis/pages` (`UPDATE_GENERATED=1 cargo test -p diagnosis --test runbook`); do not edit.\n\
         Bottom up: what stands first is to be cured first. `mesh-probe explain CODE` prints a page, offline.\n\n\
         | code | layer | title | what it means |\n|---|---|---|---|\n",
    );
    for page in listed {
        let (code, title, line) = (page.code, page.title, meaning(page.text));
        let layer = layer(code);
        writeln!(
            text,
            "| [{code}](../agent/diagnosis/pages/{code}.md) | {layer} | {title} | {line} |"
        )
        .expect("writing to a string cannot fail");
    }
    text
}

/// That of the first family that makes it.
fn layer(code: &str) -> &'static str {
    let made = |(_, source): &&(&str, &str)| codes(source).any(|other| other == code);
    SOURCES.iter().find(made).map_or("node", |(layer, _)| layer)
}

/// The first sentence under "What it means".
fn meaning(page: &str) -> String {
    let body = page.split("## What it means\n").nth(1).unwrap_or_default();
    let paragraph = body.trim_start().split("\n\n").next().unwrap_or_default();
    let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    paragraph[..end].replace('|', "/")
}

/// Its fix is to be done, not read about: a command, a line of configuration, or a document, each indented as such.
#[test]
fn what_to_do_has_exact_commands_or_configuration() {
    for page in pages() {
        let todo = page
            .text
            .split("## What to do\n")
            .nth(1)
            .unwrap_or_default();
        let todo = todo.split("\n## ").next().unwrap_or_default();
        let exact = todo.lines().any(|line| line.starts_with("    ")) || todo.contains('`');
        assert!(exact, "{}: no command and no configuration", page.code);
    }
}

/// What it is often confused with: a name of another finding, or how the other thing differs.
#[test]
fn each_confusion_says_how_the_two_differ() {
    for page in pages() {
        let others = page
            .text
            .split("## Often confused with\n")
            .nth(1)
            .unwrap_or_default();
        let others = others.split("\n## ").next().unwrap_or_default();
        for line in others.lines().filter(|line| line.starts_with("- ")) {
            assert!(line.len() > 30, "{}: {line}", page.code);
        }
        assert!(
            others.contains("- "),
            "{}: nothing to tell apart",
            page.code
        );
    }
}

#[test]
fn no_section_of_a_page_is_empty() {
    for page in pages() {
        for section in page.text.split("\n## ").skip(1) {
            let (head, body) = section.split_once('\n').unwrap_or((section, ""));
            assert!(
                !body.trim().is_empty(),
                "{}: {head} says nothing",
                page.code
            );
        }
    }
}

#[test]
fn a_page_names_other_findings_by_codes_that_exist() {
    let known: BTreeSet<&str> = pages().iter().map(|page| page.code).collect();
    let prefixes = [
        "udp-51820-",
        "peer-",
        "reports-",
        "tunnel-",
        "agent-not-",
        "steering-",
        "nft-",
        "allowed-",
        "vxlan-",
        "clock-",
        "machine-",
        "address-",
        "reverse-",
        "port-",
        "ntp-",
        "endpoint-",
        "nat-",
    ];
    for page in pages() {
        let quoted = page.text.split('`').skip(1).step_by(2);
        for name in quoted.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))) {
            assert!(known.contains(name), "{} speaks of {name}", page.code);
        }
    }
}
