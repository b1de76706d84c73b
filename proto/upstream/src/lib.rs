//! The contracts of others that we read: COSI's state API, the resources of Talos, and its discovery service.
//!
//! All of it is generated from `schema`; a test of `proto-schema` fails when it drifts.

/// COSI's state API, as machined and apid serve it.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code is not ours to style"
)]
pub mod cosi {
    include!("generated/cosi.resource.rs");
}

/// The bodies of Talos' resources.
#[expect(
    missing_docs,
    clippy::pedantic,
    reason = "generated code is not ours to style"
)]
pub mod talos {
    include!("generated/talos.rs");
}

/// The discovery service.
#[expect(
    missing_docs,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    unused_qualifications,
    reason = "generated code is not ours to style"
)]
pub mod discovery {
    include!("generated/sidero.discovery.server.rs");
}

/// A discovery affiliate once it is decrypted.
#[expect(missing_docs, reason = "generated code is not ours to style")]
pub mod affiliate {
    include!("generated/sidero.discovery.client.rs");
}

impl std::fmt::Debug for cosi::Spec {
    /// Lengths alone: a body may hold keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (proto, yaml) = (self.proto_spec.len(), self.yaml_spec.len());
        write!(f, "Spec {{ {proto} bytes of proto, {yaml} of yaml }}")
    }
}
