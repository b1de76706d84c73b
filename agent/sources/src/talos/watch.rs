//! Following the resources of a type.

use std::marker::PhantomData;

use tonic::Streaming;
use upstream::cosi::{Event, EventType, WatchOptions, WatchRequest, WatchResponse};

use super::{
    Carrier, EVENTS, Kind, Malformed, Resource, Talos, TalosError,
    error::clean,
    read::{decode, identifier, in_time, wipe},
};

/// Asked of the server: with 1 it says when all that was there has been told, and when it gives up.
const API_VERSION: i32 = 1;
const OPERATION: &str = "watch";

/// What has become of the resources of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<R> {
    /// There is one, or it is different now.
    Present(Resource<R>),
    /// It is gone.
    Gone(String),
    /// All that were there at the beginning have been told.
    Complete,
    /// One was not understood. What was known of it is no more, if it can be told which it is.
    Refused(Option<String>, Malformed),
}

/// The changes of one type, from its beginning on. Dropped to stop.
#[derive(Debug)]
pub struct Watch<R> {
    stream: Streaming<WatchResponse>,
    complete: bool,
    kind: PhantomData<R>,
}

impl<T: Carrier> Talos<T> {
    /// Begins with everything that there is, and goes on with what changes.
    pub async fn watch<R: Kind>(&self) -> Result<Watch<R>, TalosError> {
        let request = WatchRequest {
            namespace: R::NAMESPACE.to_owned(),
            r#type: R::TYPE.to_owned(),
            id: None,
            options: Some(WatchOptions {
                bootstrap_contents: true,
                ..WatchOptions::default()
            }),
            api_version: API_VERSION,
        };
        let mut client = self.client.clone();
        let asked = in_time(OPERATION, R::TYPE, client.watch(self.request(request)));
        let answer = asked.await?;
        let answer = answer.map_err(|status| TalosError::call(OPERATION, R::TYPE, &status))?;
        Ok(Watch {
            stream: answer.into_inner(),
            complete: false,
            kind: PhantomData,
        })
    }
}

impl<R: Kind> Watch<R> {
    /// The next changes; none in the empty message by which the other side says that it is ready. Waits without end once
    /// all that was there has been told, for nothing need ever change. After an error the watch is over.
    pub async fn next(&mut self) -> Result<Vec<Change<R>>, TalosError> {
        let message = if self.complete {
            self.stream.message().await
        } else {
            in_time(OPERATION, R::TYPE, self.stream.message()).await?
        };
        let message = message
            .map_err(|status| TalosError::call(OPERATION, R::TYPE, &status))?
            .ok_or(TalosError::Ended { kind: R::TYPE })?;
        if message.event.len() > EVENTS {
            return Err(TalosError::TooMany {
                operation: OPERATION,
                kind: R::TYPE,
                limit: EVENTS,
            });
        }
        let changes: Result<Vec<_>, _> = message.event.into_iter().map(change).collect();
        let changes: Vec<_> = changes?.into_iter().flatten().collect();
        self.complete |= changes
            .iter()
            .any(|change| matches!(change, Change::Complete));
        Ok(changes)
    }
}

fn change<R: Kind>(event: Event) -> Result<Option<Change<R>>, TalosError> {
    let kind = event.event_type();
    let Event {
        resource,
        mut old,
        error,
        ..
    } = event;
    old.iter_mut().for_each(wipe);
    if kind == EventType::Errored {
        return Err(TalosError::Errored {
            kind: R::TYPE,
            message: clean(error.as_deref().unwrap_or("it gave up and did not say why")),
        });
    }
    let mut resource = resource.unwrap_or_default();
    if kind == EventType::Destroyed {
        wipe(&mut resource);
    }
    Ok(match kind {
        EventType::Created | EventType::Updated => {
            let id = identifier(&resource).ok();
            Some(match decode(resource) {
                Ok(resource) => Change::Present(resource),
                Err(error) => Change::Refused(id, error),
            })
        }
        // What is gone comes with its last body, or without one.
        EventType::Destroyed => Some(match identifier(&resource) {
            Ok(id) => Change::Gone(id),
            Err(error) => Change::Refused(None, error),
        }),
        EventType::Bootstrapped => Some(Change::Complete),
        EventType::Errored | EventType::Noop => None,
    })
}
