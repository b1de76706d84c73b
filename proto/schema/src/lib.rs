//! The schema seen as data: the code that it gives, and the list of what it promises.
//!
//! Nothing depends on this crate. It stands apart from `proto` so that code can be made anew while the conversions in
//! `proto` do not compile against the old one.

mod inventory;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use protox::prost_reflect::{
    DescriptorError, DescriptorPool, prost::Message as _, prost_types::FileDescriptorSet,
};
use thiserror::Error;

/// The contracts of others, in `../upstream/schema`.
const UPSTREAM: [&str; 4] = [
    "cosi.proto",
    "talos.proto",
    "discovery.proto",
    "affiliate.proto",
];
/// The files that the generator makes of them.
pub const UPSTREAM_GENERATED: [&str; 4] = [
    "cosi.resource.rs",
    "talos.rs",
    "sidero.discovery.server.rs",
    "sidero.discovery.client.rs",
];
/// The files of the schema, in `v1`.
const SCHEMAS: &[&str] = &[
    "data.proto",
    "facts.proto",
    "node_echo.proto",
    "steering.proto",
    "talos.proto",
    "vxlan.proto",
    "health.proto",
    "discovery.proto",
    "clock.proto",
    "host.proto",
    "report.proto",
    "agent.proto",
    "gate.proto",
    "mesh.proto",
];
/// The file that the generator makes of the package `mesh.v1`.
const GENERATED: &str = "mesh.v1.rs";

/// Why the schema gives nothing.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The files do not compile.
    #[error("failed to compile {folder}")]
    Compile {
        /// The folder of the schema.
        folder: PathBuf,
        /// Why.
        #[source]
        source: protox::Error,
    },
    /// The code could not be made.
    #[error("failed to generate the code")]
    Generate(#[source] io::Error),
    /// The compiled files contradict each other.
    #[error("failed to list the schema")]
    List(#[source] DescriptorError),
}

/// The Rust code of messages, clients and servers. Needs no protoc on the machine.
pub fn code() -> Result<String, SchemaError> {
    let made = generate(descriptors()?, &[GENERATED]);
    made.map(|files| files.concat())
        .map_err(SchemaError::Generate)
}

/// The Rust code of the contracts of others, one text for each of [`UPSTREAM_GENERATED`].
pub fn upstream_code() -> Result<Vec<String>, SchemaError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../upstream/schema");
    let descriptors = compile(&UPSTREAM, folder)?;
    generate(descriptors, &UPSTREAM_GENERATED).map_err(SchemaError::Generate)
}

/// The schema as data, which reflection serves: without comments, in the encoding of `FileDescriptorSet`. Files have their
/// package before their names: whoever serves other schemas beside this one has a `health.proto` too.
pub fn descriptor_set() -> Result<Vec<u8>, SchemaError> {
    let mut set = descriptors()?;
    let ours = |name: &mut String| {
        if SCHEMAS.contains(&name.as_str()) {
            name.insert_str(0, "mesh/v1/");
        }
    };
    for file in &mut set.file {
        file.source_code_info = None;
        file.name.iter_mut().for_each(ours);
        file.dependency.iter_mut().for_each(ours);
    }
    Ok(set.encode_to_vec())
}

/// One sorted line per field, enum value and call: what a released version has promised to others.
pub fn inventory() -> Result<Vec<String>, SchemaError> {
    let pool =
        DescriptorPool::from_file_descriptor_set(descriptors()?).map_err(SchemaError::List)?;
    Ok(inventory::lines(&pool))
}

fn descriptors() -> Result<FileDescriptorSet, SchemaError> {
    compile(SCHEMAS, Path::new(env!("CARGO_MANIFEST_DIR")).join("v1"))
}

fn compile(files: &[&str], folder: PathBuf) -> Result<FileDescriptorSet, SchemaError> {
    protox::compile(files, [&folder]).map_err(|source| SchemaError::Compile { folder, source })
}

fn generate(descriptors: FileDescriptorSet, files: &[&str]) -> io::Result<Vec<String>> {
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .build_transport(false)
        .btree_map(".")
        .skip_debug([".cosi.resource.Spec"])
        .compile_fds(descriptors)?;
    files
        .iter()
        .map(|file| fs::read_to_string(out.path().join(file)))
        .collect()
}
