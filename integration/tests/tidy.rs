//! The tree itself: documents that are there and true, files that stay readable, tests that cannot be switched off.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod tree;

use std::collections::BTreeSet;

const README_LINES: usize = 60;
const ROOT_README_LINES: usize = 150;
const RUST_LINES: usize = 500;

/// Folders without a crate that have a README all the same.
const OTHER_FOLDERS: [&str; 1] = ["vagrant"];

/// A generator, not a part of any program: the README of the folder above says how to use it.
const DESCRIBED_ABOVE: &str = "proto/schema";

/// Longer files, and why they are.
const LONG_FILES: [(&str, &str); 2] = [
    (
        "proto/src/convert/facts.rs",
        "each fact's way out and back stand side by side",
    ),
    (
        "proto/src/convert/verdict.rs",
        "each noun's way out and back stand side by side",
    ),
];

/// Paths and hosts of whoever worked on this, which mean nothing to anybody else. In two parts each, so that this file
/// does not contain what it looks for.
const PRIVATE: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!(".lib", "rary"),
    concat!("static.", "crates.io"),
    concat!("index.", "crates.io"),
    concat!("deb.", "debian.org"),
];

#[test]
fn every_folder_with_a_crate_says_what_it_never_does() {
    let crates = tree::manifests().into_keys();
    let crates = crates.filter(|folder| folder != DESCRIBED_ABOVE);
    for folder in crates.chain(OTHER_FOLDERS.map(str::to_owned)) {
        let file = format!("{folder}/README.md");
        let text = tree::read(&file);
        let lines = text.lines().count();
        assert!(lines <= README_LINES, "{file} has {lines} lines");
        assert!(
            text.contains("never"),
            "{file} does not say what it never does"
        );
    }
}

/// Nobody could run the machines so far; whoever does changes what is said of them, and this.
#[test]
fn what_was_never_run_says_so() {
    let text = tree::read("vagrant/README.md");
    assert!(text.contains("never run on virtual machines"));
    assert!(text.contains("**not run**"));
}

#[test]
fn the_first_page_is_short() {
    let lines = tree::read("README.md").lines().count();
    assert!(lines < ROOT_README_LINES, "README.md has {lines} lines");
}

#[test]
fn no_file_is_too_long_to_read() {
    let excused: BTreeSet<_> = LONG_FILES.iter().map(|(file, _)| *file).collect();
    for file in tree::rust_files() {
        let lines = tree::read(&file).lines().count();
        assert!(
            lines <= RUST_LINES || excused.contains(file.as_str()),
            "{file} has {lines} lines"
        );
    }
}

#[test]
fn what_is_left_to_do_says_what_follows_from_it() {
    let (todo, fixme) = (concat!("TO", "DO"), concat!("FIX", "ME"));
    for (file, number, line) in lines() {
        assert!(!line.contains(fixme), "{file}:{number}: {line}");
        let rest = line.split_once(todo).map(|(_, rest)| rest);
        let bare = rest.is_some_and(|rest| rest.split_whitespace().count() < 4);
        assert!(
            !bare,
            "{file}:{number} does not say what is missing: {line}"
        );
    }
}

#[test]
fn no_test_can_be_switched_off() {
    let words = [concat!("#[ig", "nore"), concat!("should_", "panic")];
    for (file, number, line) in lines().filter(|(file, ..)| tree::is_rust(file)) {
        let found = words.iter().find(|word| line.contains(**word));
        assert!(found.is_none(), "{file}:{number}: {line}");
    }
}

/// A pause is only right inside of a wait that ends, and the comment says where it ends.
#[test]
fn a_pause_in_a_test_names_its_bound() {
    let pause = concat!("thread::", "sleep(");
    for file in tree::rust_files()
        .iter()
        .filter(|file| file.contains("/tests/"))
    {
        let text = tree::read(file);
        let lines: Vec<_> = text.lines().collect();
        for (number, _) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.contains(pause))
        {
            let near = &lines[number.saturating_sub(3)..=number];
            let bounded = near
                .iter()
                .any(|line| line.contains("//") && line.contains("ound"));
            assert!(bounded, "{file}:{}: a pause without a bound", number + 1);
        }
    }
}

#[test]
fn no_file_names_a_private_path() {
    for (file, number, line) in lines() {
        let found = PRIVATE.iter().find(|word| line.contains(**word));
        assert!(found.is_none(), "{file}:{number}: {line}");
    }
}

#[test]
fn the_paths_of_the_architecture_exist() {
    let missing = missing_paths(&tree::read("ARCHITECTURE.md"));
    assert!(missing.is_empty(), "ARCHITECTURE.md names {missing:?}");
}

#[test]
fn every_invariant_is_held_by_a_test_that_exists() {
    let text = tree::read("ARCHITECTURE.md");
    let unheld = unheld_invariants(&text);
    assert!(unheld.is_empty(), "{unheld:?}");
}

#[test]
fn a_path_or_test_that_is_not_there_is_found() {
    let text = "`integration/tests/tidy.rs` `integration/nowhere.rs` `a b/c` `/run/x` `proto`";
    assert_eq!(missing_paths(text), ["integration/nowhere.rs"]);
    let invariants = "## Invariants\n\
        1. One. Held by: `integration/tests/tidy.rs::no_test_can_be_switched_off`.\n\
        2. Two.\n   Held by: `integration/tests/tidy.rs::nothing_of_this_name`.\n\
        3. Three.\n## Next\n";
    let unheld = unheld_invariants(invariants);
    assert_eq!(unheld.len(), 2, "{unheld:?}");
    assert!(unheld[0].contains("nothing_of_this_name") && unheld[1].starts_with("3."));
}

/// What stands in backticks, has a slash and no space, and does not begin at the root of a machine.
fn missing_paths(text: &str) -> Vec<String> {
    let paths = quoted(text).filter(|word| word.contains('/') && !word.starts_with('/'));
    let paths = paths.filter(|word| !word.contains(char::is_whitespace));
    let paths = paths.map(|word| word.split("::").next().unwrap_or(word));
    paths
        .filter(|path| !tree::root().join(path).exists())
        .map(str::to_owned)
        .collect()
}

fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The invariants that name no test, or one that is not there.
fn unheld_invariants(text: &str) -> Vec<String> {
    let invariants = invariants(text);
    assert!(!invariants.is_empty(), "there are invariants");
    let unheld = invariants.into_iter().filter(|invariant| {
        let Some((_, held)) = invariant.split_once("Held by:") else {
            return true;
        };
        let mut tests = quoted(held).peekable();
        tests.peek().is_none() || !tests.all(exists)
    });
    unheld.collect()
}

/// The numbered paragraphs under the heading.
fn invariants(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let lines = text.lines().skip_while(|line| *line != "## Invariants");
    for line in lines.skip(1).take_while(|line| !line.starts_with("## ")) {
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            found.push(line.to_owned());
        } else if let Some(last) = found.last_mut() {
            last.push('\n');
            last.push_str(line);
        }
    }
    found
}

/// A file, or `file::item` with a function or a constant of that name in it.
fn exists(held_by: &str) -> bool {
    let (file, item) = match held_by.split_once("::") {
        Some((file, item)) => (file, Some(item)),
        None => (held_by, None),
    };
    if !tree::root().join(file).exists() {
        return false;
    }
    let Some(item) = item.map(|item| item.rsplit("::").next().unwrap_or(item)) else {
        return true;
    };
    let text = tree::read(file);
    ["fn ", "const "]
        .iter()
        .any(|kind| defines(&text, &format!("{kind}{item}")))
}

/// Whether `definition` is there and its last word is a whole one.
fn defines(text: &str, definition: &str) -> bool {
    let mut ends = text
        .match_indices(definition)
        .map(|(at, found)| at + found.len());
    ends.any(|end| {
        let next = text[end..].chars().next();
        next.is_some_and(|next| !next.is_alphanumeric() && next != '_')
    })
}

/// All lines of all tracked text.
fn lines() -> impl Iterator<Item = (String, usize, String)> {
    tree::files().into_iter().flat_map(|file| {
        let text = tree::read(&file);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let numbered = lines.into_iter().enumerate();
        numbered.map(move |(number, line)| (file.clone(), number + 1, line))
    })
}
