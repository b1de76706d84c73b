//! The committed code in `proto/src/generated` and `proto/upstream/src/generated` is what the schema gives: drift fails here.
//!
//! After a change of the schema: `UPDATE_GENERATED=1 cargo test -p proto-schema`.

use std::{env, fs, path::Path};

#[test]
fn the_generated_code_is_what_the_schema_gives() {
    let fresh = proto_schema::code().unwrap();
    same("../src/generated/mesh.v1.rs", &fresh);
}

#[test]
fn the_code_of_the_contracts_of_others_is_what_their_schema_gives() {
    let fresh = proto_schema::upstream_code().unwrap();
    for (file, code) in proto_schema::UPSTREAM_GENERATED.iter().zip(&fresh) {
        same(&format!("../upstream/src/generated/{file}"), code);
    }
}

#[test]
fn what_reflection_serves_is_the_schema() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/generated/mesh.v1.bin");
    let fresh = proto_schema::descriptor_set().unwrap();
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, &fresh).expect("the checkout can be written");
    }
    let present = fs::read(&committed).unwrap_or_default();
    assert!(
        present == fresh,
        "mesh.v1.bin differs from the schema; run UPDATE_GENERATED=1 cargo test -p proto-schema and commit the result"
    );
}

fn same(file: &str, fresh: &str) {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, fresh).expect("the checkout can be written");
    }
    let present = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        present == fresh,
        "{file} differs from its schema; run UPDATE_GENERATED=1 cargo test -p proto-schema and commit the result"
    );
}
