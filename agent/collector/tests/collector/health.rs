//! grpc.health.v1 and reflection, as their protocols have them.

use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{
    v1::{self, server_reflection_client::ServerReflectionClient},
    v1alpha,
};

use crate::{
    fixture::{API, Collector, MESH, soon},
    surfaces::plain,
};

fn request(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn an_unknown_service_is_not_found_by_check_and_service_unknown_by_watch() {
    let collector = Collector::start();
    for channel in [collector.reader().await, plain(collector.bare).await] {
        let mut health = HealthClient::new(channel);
        let long = "x".repeat(100_000);
        for service in ["mseh", "may-start/mseh", "may-start/", long.as_str()] {
            let checked = soon(health.check(request(service))).await.unwrap_err();
            assert_eq!(checked.code(), Code::NotFound);
            assert!(checked.message().len() < 300);
            let mut watched = soon(health.watch(request(service)))
                .await
                .unwrap()
                .into_inner();
            let first = soon(watched.message()).await.unwrap().unwrap();
            assert_eq!(first.status(), ServingStatus::ServiceUnknown);
        }
    }
}

#[tokio::test]
async fn a_watch_tells_each_change_and_ends_when_the_collector_stops() {
    let collector = Collector::start();
    let mut health = HealthClient::new(plain(collector.bare).await);
    let mut watched = soon(health.watch(request(MESH)))
        .await
        .unwrap()
        .into_inner();
    let mut statuses = vec![soon(watched.message()).await.unwrap().unwrap().status()];
    let _first = collector.reporting("vps-1").await;
    let second = collector.reporting("vps-2").await;
    statuses.push(soon(watched.message()).await.unwrap().unwrap().status());
    drop(second);
    statuses.push(soon(watched.message()).await.unwrap().unwrap().status());
    assert_eq!(
        statuses,
        [
            ServingStatus::NotServing,
            ServingStatus::Serving,
            ServingStatus::NotServing
        ]
    );
    collector.stop().await.unwrap();
    let ended = soon(watched.message()).await;
    assert!(ended.is_err() || ended.unwrap().is_none());
}

#[tokio::test]
async fn a_level_that_nobody_measures_never_serves_though_it_may_start() {
    let collector = Collector::start();
    let _agents = [
        collector.reporting("vps-1").await,
        collector.reporting("vps-2").await,
    ];
    let mut health = HealthClient::new(plain(collector.bare).await);
    let started = format!("may-start/{API}");
    let mut watched = soon(health.watch(request(&started)))
        .await
        .unwrap()
        .into_inner();
    while soon(watched.message()).await.unwrap().unwrap().status() != ServingStatus::Serving {}
    let own = soon(health.check(request(API))).await.unwrap().into_inner();
    assert_eq!(own.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn reflection_lists_the_services_that_are_there() {
    let collector = Collector::start();
    let all = [
        "grpc.health.v1.Health",
        "mesh.v1.Gate",
        "mesh.v1.Mesh",
        "mesh.v1.Report",
    ];
    for (channel, wanted) in [
        (collector.reader().await, &all[..]),
        (plain(collector.bare).await, &all[..1]),
    ] {
        let mut named = services_v1(channel.clone()).await;
        let own = "grpc.reflection.v1.ServerReflection";
        assert!(named.contains(&own.to_owned()), "{named:?}");
        named.retain(|name| !name.starts_with("grpc.reflection"));
        assert_eq!(named, wanted);
        let mut older = services_v1alpha(channel).await;
        older.retain(|name| !name.starts_with("grpc.reflection"));
        assert_eq!(older, wanted);
    }
}

async fn services_v1(channel: tonic::transport::Channel) -> Vec<String> {
    use v1::{
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let mut client = ServerReflectionClient::new(channel);
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = soon(client.server_reflection_info(tokio_stream::once(request))).await;
    let answer = soon(answers.unwrap().into_inner().message())
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<String> = listed.service.into_iter().map(|one| one.name).collect();
    names.sort();
    names
}

async fn services_v1alpha(channel: tonic::transport::Channel) -> Vec<String> {
    use v1alpha::{
        server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let mut client = ServerReflectionClient::new(channel);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = soon(client.server_reflection_info(tokio_stream::once(request))).await;
    let answer = soon(answers.unwrap().into_inner().message())
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let mut names: Vec<String> = listed.service.into_iter().map(|one| one.name).collect();
    names.sort();
    names
}
