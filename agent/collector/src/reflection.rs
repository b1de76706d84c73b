//! Reflection v1 and v1alpha, so that grpcurl needs no schema. It tells what calls there are, and nothing of the mesh.

use axum::Router;
use proto::wire::{gate_server, mesh_server, report_server};
use tonic_reflection::server::{
    Builder, Error,
    v1::{ServerReflection, ServerReflectionServer},
    v1alpha,
};

const HEALTH: &str = tonic_health::pb::health_server::SERVICE_NAME;
const V1: &str = tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME;
const V1ALPHA: &str = tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME;

/// All services of the main listener.
pub(crate) fn v1() -> Result<ServerReflectionServer<impl ServerReflection>, Error> {
    everything().build_v1()
}

/// The same for older clients.
pub(crate) fn v1alpha()
-> Result<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>, Error> {
    everything().build_v1alpha()
}

/// What a collector serves: the contract has what agents serve, too.
fn everything<'b>() -> Builder<'b> {
    let served = [
        HEALTH,
        report_server::SERVICE_NAME,
        gate_server::SERVICE_NAME,
        mesh_server::SERVICE_NAME,
    ];
    let all = Builder::configure()
        .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let both = [V1, V1ALPHA].into_iter();
    both.chain(served).fold(all, Builder::with_service_name)
}

/// What the HTTP listeners have of gRPC: health.
fn health<'b>() -> Builder<'b> {
    Builder::configure().register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Adds reflection of the services that are there to the paths of a listener.
pub(crate) fn mount<S: Clone + Send + Sync + 'static>(mut router: Router<S>) -> Router<S> {
    // What is registered is part of this program, and a test asks for it: neither fails.
    if let Ok(service) = health().build_v1() {
        router = router.route_service("/grpc.reflection.v1.ServerReflection/{call}", service);
    }
    if let Ok(service) = health().build_v1alpha() {
        router = router.route_service("/grpc.reflection.v1alpha.ServerReflection/{call}", service);
    }
    router
}
