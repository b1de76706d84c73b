//! Runs a sweep on its socket.

use std::time::Duration;

use probe_core::{
    Stamp,
    sweep::{Answers, Input, Output, Sweep, Swept},
};
use tokio::time::timeout;

use super::{Form, PathSocket, PathSocketError};
use crate::clock;

impl PathSocket {
    /// Finds the largest packet that passes. Ends by itself, after some seconds at most; a socket is good for one sweep.
    pub async fn sweep(&mut self) -> Result<Swept, PathSocketError> {
        let answers = match self.form {
            Form::Ping(_) | Form::Raw(_) => Answers::Free,
            Form::ClosedPort => Answers::Limited,
        };
        let mut sweep = Sweep::new(answers, clock::stamp());
        loop {
            match sweep.poll() {
                Output::Transmit { token, size } => self.send(token, size),
                Output::Done(swept) => return Ok(swept),
                Output::Wait { until, .. } => {
                    let input = self.input_before(until).await?;
                    sweep.handle(input, clock::stamp());
                }
            }
        }
    }

    async fn input_before(&mut self, until: Stamp) -> Result<Input, PathSocketError> {
        let pause = Duration::from_micros(until.micros_since(clock::stamp()));
        timeout(pause, self.next()).await.unwrap_or(Ok(Input::Tick))
    }
}
