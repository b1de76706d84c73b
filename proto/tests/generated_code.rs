//! The committed code in `src/generated` is what the schema gives: drift fails here.
//!
//! After a change of the schema: `UPDATE_GENERATED=1 cargo test -p proto --test generated_code`.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{env, fs, path::Path};

const SCHEMAS: [&str; 4] = ["facts.proto", "report.proto", "gate.proto", "mesh.proto"];
const GENERATED: &str = "mesh.v1.rs";

#[test]
fn the_generated_code_is_what_the_schema_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = generate(root);
    let committed = root.join("src/generated").join(GENERATED);
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, &fresh).unwrap();
    }
    let present = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        present == fresh,
        "src/generated/{GENERATED} differs from schema/v1; run with UPDATE_GENERATED=1 and commit the result"
    );
}

/// Compiles the schema without a system protoc and returns the code.
fn generate(root: &Path) -> String {
    let schema = root.join("schema/v1");
    let descriptors = protox::compile(SCHEMAS, [&schema]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .build_transport(false)
        .btree_map(".")
        .compile_fds(descriptors)
        .unwrap();
    fs::read_to_string(out.path().join(GENERATED)).unwrap()
}
