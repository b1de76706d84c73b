//! Turns of those who ask by gRPC and by HTTP.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use axum::{
    extract::State,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header};
use tonic::{Status, body::Body, codegen::BoxFuture, server::NamedService};
use tower::{Service, ServiceExt as _};

use super::Desk;
use crate::{connections::Remote, http::error};

/// A gRPC service whose callers wait for their turn.
#[derive(Clone, Debug)]
pub(crate) struct Paced<S> {
    service: S,
    desk: Desk<IpAddr>,
}

impl<S> Paced<S> {
    pub(crate) const fn new(service: S, desk: Desk<IpAddr>) -> Self {
        Self { service, desk }
    }
}

impl<S: NamedService> NamedService for Paced<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Paced<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Each call has a clone of its own, and waits for it.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (service, desk) = (self.service.clone(), self.desk.clone());
        Box::pin(async move {
            let remote = request.extensions().get::<Remote>();
            let from = remote.and_then(|remote| remote.address);
            match desk.turn_of(from).await {
                Ok(()) => service.oneshot(request).await,
                Err(often) => Ok(Status::from(often).into_http()),
            }
        })
    }
}

/// Where a connection of HTTP comes from; every request carries it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From(pub(crate) SocketAddr);

/// The same for paths of HTTP.
pub(crate) async fn path(
    State(desk): State<Desk<IpAddr>>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let from = request.extensions().get::<From>().map(|from| from.0);
    match desk.turn_of(from).await {
        Ok(()) => next.run(request).await,
        Err(often) => {
            let seconds = (often.after.as_secs() + 1).to_string();
            let refused = error(StatusCode::TOO_MANY_REQUESTS, &often.to_string());
            ([(header::RETRY_AFTER, seconds)], refused).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{Extension, Router, middleware::from_fn_with_state, routing::get};
    use proto::{limits::Rate, trust::Callers};
    use tonic::Code;
    use tower::service_fn;

    use super::*;
    use crate::counters::Counters;

    /// One question in an hour.
    const ONCE: Rate = Rate {
        every: Duration::from_hours(1),
        at_once: 1,
    };

    fn desk(counters: &Arc<Counters>) -> Desk<IpAddr> {
        Desk::new("questions", ONCE, counters)
    }

    fn at(host: u8) -> SocketAddr {
        ([192, 0, 2, host], 5_000).into()
    }

    #[tokio::test]
    async fn who_asks_too_often_by_grpc_is_told_so_and_another_is_answered() {
        let counters = Arc::new(Counters::default());
        let service = service_fn(|_: http::Request<Body>| async {
            Ok::<_, Infallible>(http::Response::new(Body::empty()))
        });
        let service = Paced::new(service, desk(&counters));
        let ask = async |address| {
            let mut request = http::Request::new(Body::empty());
            request.extensions_mut().insert(Remote {
                address,
                certificate: None,
                callers: Arc::new(Callers::Derived),
            });
            let answer = service.clone().oneshot(request).await.unwrap();
            Status::from_header_map(answer.headers())
        };
        assert!(ask(Some(at(1))).await.is_none());
        let refused = ask(Some(at(1))).await.unwrap();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert!(refused.message().contains("ask again in 36"), "{refused}");
        assert!(ask(Some(at(2))).await.is_none());
        // Where nobody knows who asks, nobody is kept waiting for another.
        for _ in 0..3 {
            assert!(ask(None).await.is_none());
        }
        assert_eq!(counters.turns_refused.get(), 1);
    }

    #[tokio::test]
    async fn who_asks_too_often_by_http_is_told_when_to_ask_again() {
        let counters = Arc::new(Counters::default());
        let router: Router = Router::new()
            .route("/", get(async || "here"))
            .route_layer(from_fn_with_state(desk(&counters), path));
        let ask = async |host| {
            let router = router.clone().layer(Extension(From(at(host))));
            let request = axum::extract::Request::new(axum::body::Body::empty());
            router.oneshot(request).await.unwrap()
        };
        assert_eq!(ask(1).await.status(), StatusCode::OK);
        let refused = ask(1).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let after = refused.headers()[header::RETRY_AFTER].to_str().unwrap();
        assert!((3_590..=3_601).contains(&after.parse::<u64>().unwrap()));
        assert_eq!(ask(2).await.status(), StatusCode::OK);
    }
}
