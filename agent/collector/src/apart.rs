//! Services whose answers take milliseconds to make, such as the whole verdict of a mesh that has collapsed, answer from other threads.
//!
//! On those that answer gates, one such answer would hold up all that came in meanwhile: a runtime that has one thing to do does it before it
//! looks at its sockets again, however many threads it has.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{extract::State, middleware::Next, response::Response};
use http::StatusCode;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use prost::bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, body::Body, codegen::BoxFuture, server::NamedService};
use tower::{Service, ServiceExt as _};

use crate::http::error;

/// Parts of an answer that are made before the reader has taken the first; of a single message there are two.
const AHEAD: usize = 1;
/// What made the answer has panicked, or the collector ends.
const NO_ANSWER: &str = "the answer could not be made";

/// A gRPC service that answers from other threads: it is called there, and its messages are written there.
#[derive(Clone, Debug)]
pub(crate) struct Apart<S> {
    service: S,
    desk: Handle,
}

impl<S> Apart<S> {
    pub(crate) const fn new(service: S, desk: Handle) -> Self {
        Self { service, desk }
    }
}

impl<S: NamedService> NamedService for Apart<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Apart<S>
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
        // Each call has a clone of its own, and waits for it there.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (service, desk) = (self.service.clone(), self.desk.clone());
        Box::pin(async move {
            let answer = async { service.oneshot(request).await.map(written_here) };
            match made(&desk, answer).await {
                Some(answer) => answer,
                None => Ok(Status::internal(NO_ANSWER).into_http()),
            }
        })
    }
}

/// The same for paths of HTTP. What they answer is made as a whole.
pub(crate) async fn path(
    State(desk): State<Handle>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let made = made(&desk, next.run(request)).await;
    made.unwrap_or_else(|| error(StatusCode::INTERNAL_SERVER_ERROR, NO_ANSWER))
}

/// What the desk makes of it; nothing if that panics, or the desk is closed. Who waits no more needs no answer: then it is given up.
async fn made<T: Send + 'static>(
    desk: &Handle,
    answer: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (mut reply, made) = oneshot::channel();
    desk.spawn(async move {
        tokio::select! {
            () = reply.closed() => (),
            answer = answer => drop(reply.send(answer)),
        }
    });
    made.await.ok()
}

/// The answer with a body that is written by the runtime in which this is called.
fn written_here(answer: http::Response<Body>) -> http::Response<Body> {
    // A refusal has no body, and must end with its head.
    if answer.body().is_end_stream() {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let (sender, frames) = mpsc::channel(AHEAD);
    tokio::spawn(write(body, sender));
    let body = StreamBody::new(ReceiverStream::new(frames));
    http::Response::from_parts(parts, Body::new(body))
}

async fn write(mut body: Body, sender: mpsc::Sender<Result<Frame<Bytes>, Status>>) {
    loop {
        let frame = tokio::select! {
            () = sender.closed() => return,
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { return };
        if sender.send(frame).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use tokio::{sync::mpsc::UnboundedSender, time::timeout};
    use tower::service_fn;

    use super::*;
    use crate::desks::Desks;

    /// Far more than it takes.
    const BOUND: Duration = Duration::from_secs(20);

    type Answered = Result<http::Response<Body>, Infallible>;

    fn here() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    /// A body of two parts that tells on which thread it is written.
    fn telling(threads: UnboundedSender<String>) -> Body {
        let mut left = 3;
        let frames = tokio_stream::iter(std::iter::from_fn(move || {
            drop(threads.send(here()));
            left -= 1;
            (left > 0).then(|| Ok::<_, Status>(Frame::data(Bytes::from_static(b"part"))))
        }));
        Body::new(StreamBody::new(frames))
    }

    #[tokio::test]
    async fn what_takes_long_is_called_and_written_where_documents_are_made() {
        let desks = Desks::start().unwrap();
        let (told, mut threads) = mpsc::unbounded_channel();
        let service = service_fn(move |_: http::Request<Body>| {
            let told = told.clone();
            async move {
                drop(told.send(here()));
                Answered::Ok(http::Response::new(telling(told)))
            }
        });
        let service = Apart::new(service, desks.documents());
        let request = http::Request::new(Body::empty());
        let answer = timeout(BOUND, service.oneshot(request)).await;
        let body = answer.unwrap().unwrap().into_body();
        let body = timeout(BOUND, body.collect()).await.unwrap().unwrap();
        assert_eq!(body.to_bytes(), "partpart");
        let mut count = 0;
        while let Some(thread) = timeout(BOUND, threads.recv()).await.unwrap() {
            assert_eq!(thread, "documents");
            count += 1;
        }
        assert_eq!(count, 4);
    }

    #[tokio::test]
    async fn a_refusal_ends_with_its_head_and_a_panic_is_one() {
        let desks = Desks::start().unwrap();
        let ask = async |refuse: bool| {
            let service = service_fn(move |_: http::Request<Body>| async move {
                assert!(refuse, "this service panics");
                Answered::Ok(Status::not_found("nothing of that name").into_http())
            });
            let service = Apart::new(service, desks.documents());
            let request = http::Request::new(Body::empty());
            let answer = timeout(BOUND, service.oneshot(request)).await;
            let answer = answer.unwrap().unwrap();
            assert!(answer.body().is_end_stream());
            Status::from_header_map(answer.headers()).unwrap()
        };
        assert_eq!(ask(true).await.message(), "nothing of that name");
        assert_eq!(ask(false).await.message(), NO_ANSWER);
    }

    #[tokio::test]
    async fn who_waits_no_more_leaves_nothing_behind() {
        let desks = Desks::start().unwrap();
        let (told, mut ended) = mpsc::channel::<()>(1);
        let endless = async move {
            std::future::pending::<()>().await;
            drop(told);
        };
        let desk = desks.documents();
        let asking = tokio::spawn(async move { made(&desk, endless).await });
        tokio::task::yield_now().await;
        asking.abort();
        assert_eq!(timeout(BOUND, ended.recv()).await.unwrap(), None);
    }
}
