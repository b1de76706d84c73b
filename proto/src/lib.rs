//! The contract between agents, collectors and their readers.
//!
//! - [`wire`]: code generated from `schema/v1`; a test of `proto-schema` fails when it drifts.
//! - [`convert`]: between wire types and the nouns of [`evidence`]; all checks of what comes in.
//! - [`trust`]: keys and certificates, all derived from the one mesh key.
//! - [`transport`]: marked TCP, TLS 1.3.
//! - [`limits`]: every bound of the transport.

pub mod convert;
pub mod limits;
pub mod transport;
pub mod trust;

/// Generated from `schema/v1` by the crate `proto-schema`.
#[expect(
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code is not ours to style"
)]
pub mod wire {
    include!("generated/mesh.v1.rs");
}

/// The schema as data, for reflection: an encoded `FileDescriptorSet`. A test of `proto-schema` fails when it drifts.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/mesh.v1.bin");
