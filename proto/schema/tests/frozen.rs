//! Version 1 of the schema only grows: whoever runs a released version must go on understanding us.
//!
//! After something was added: `UPDATE_GENERATED=1 cargo test -p proto-schema`. That adds lines to the golden file and
//! never takes one out; a line that was never in a release may be taken out by hand.

use std::{env, fs, path::PathBuf};

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/schema-v1.txt")
}

fn missing<'a>(from: &[&str], lines: &[&'a str]) -> Vec<&'a str> {
    let gone = |line: &&&str| !from.contains(*line);
    lines.iter().filter(gone).copied().collect()
}

#[test]
fn version_1_promises_what_it_has_promised_and_additions_are_written_down() {
    let inventory = proto_schema::inventory().unwrap();
    let present: Vec<_> = inventory.iter().map(String::as_str).collect();
    let promised = fs::read_to_string(golden()).unwrap_or_default();
    let promised: Vec<_> = promised.lines().collect();

    let broken = missing(&present, &promised);
    assert!(
        broken.is_empty(),
        "v1 is frozen for released fields: numbers, names and types stay, new ones may be added. \
         These are gone or changed:\n{}",
        broken.join("\n")
    );
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(golden(), present.join("\n") + "\n").unwrap();
        return;
    }
    let added = missing(&promised, &present);
    assert!(
        added.is_empty(),
        "new in the schema, and not yet in proto/tests/golden/schema-v1.txt; \
         run UPDATE_GENERATED=1 cargo test -p proto-schema and commit the result:\n{}",
        added.join("\n")
    );
}
