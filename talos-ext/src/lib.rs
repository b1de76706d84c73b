//! Talos system extension images: [`assemble`] makes the tree of one, [`image`] writes it as an OCI image, [`read`] reads
//! any, and [`rules`] names everything that Talos would refuse of it.
//!
//! Only bytes go in and out: the same input gives the same image, to the byte. `main` has the files.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod architecture;
pub mod assemble;
pub mod image;
pub mod manifest;
pub mod oci;
pub mod program;
pub mod range;
pub mod read;
pub mod rules;
pub mod sbom;
pub mod service;
pub mod tree;
