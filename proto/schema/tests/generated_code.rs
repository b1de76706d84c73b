//! The committed code in `proto/src/generated` is what the schema gives: drift fails here.
//!
//! After a change of the schema: `UPDATE_GENERATED=1 cargo test -p proto-schema`.

use std::{env, fs, path::Path};

#[test]
fn the_generated_code_is_what_the_schema_gives() {
    let fresh = proto_schema::code().unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/generated/mesh.v1.rs");
    if env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&committed, &fresh).unwrap();
    }
    let present = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        present == fresh,
        "proto/src/generated/mesh.v1.rs differs from proto/schema/v1; \
         run UPDATE_GENERATED=1 cargo test -p proto-schema and commit the result"
    );
}
