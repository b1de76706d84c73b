//! The runbook: a page for every code that a finding can have, and every page of one shape.

use std::collections::BTreeSet;

use diagnosis::pages;

/// Where findings are made.
const SOURCES: &[&str] = &[
    include_str!("../src/findings.rs"),
    include_str!("../src/findings/affiliates.rs"),
    include_str!("../src/findings/candidates.rs"),
    include_str!("../src/findings/discovery.rs"),
    include_str!("../src/findings/flapping.rs"),
    include_str!("../src/findings/host.rs"),
    include_str!("../src/findings/keys.rs"),
    include_str!("../src/findings/nodes.rs"),
    include_str!("../src/findings/observer.rs"),
    include_str!("../src/findings/overlay.rs"),
    include_str!("../src/findings/session.rs"),
    include_str!("../src/findings/sizes.rs"),
    include_str!("../src/findings/steering.rs"),
    include_str!("../src/findings/time.rs"),
    include_str!("../src/findings/underlay.rs"),
    include_str!("../src/findings/uplink.rs"),
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
    let named: BTreeSet<&str> = SOURCES.iter().copied().flat_map(codes).collect();
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
    ];
    for page in pages() {
        let quoted = page.text.split('`').skip(1).step_by(2);
        for name in quoted.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))) {
            assert!(known.contains(name), "{} speaks of {name}", page.code);
        }
    }
}
