//! One report stream, from its first message to its end.

use std::time::Instant;

use evidence::{Facts, Moment};
use proto::{limits, wire::ReportRequest};
use tokio::{sync::oneshot, time::sleep_until};
use tonic::Streaming;
use tracing::{info, warn};

use super::{
    Intake,
    check::{self, First, Offset},
    replies::{Replies, Sender},
};
use crate::{
    access::Agent,
    clock,
    inbox::Report,
    judge::Change,
    rates::Turn,
    refusal::Refusal,
    state::{Admitted, StreamId, identity},
};

/// Serves the stream until either side ends it. Always tells the owner of the view that it ended.
pub(super) async fn serve(
    intake: Intake,
    agent: Agent,
    inbound: Streaming<ReportRequest>,
    sender: Sender,
) {
    let mut stream = Stream {
        intake,
        agent,
        inbound,
    };
    let Err(refusal) = stream.run(sender.clone()).await else {
        return;
    };
    if let Some(counter) = refusal.counter(&stream.intake.counters) {
        counter.add();
        let from = stream.agent.from.map(tracing::field::display);
        warn!(node = %stream.agent.node, from, reason = %refusal, "report stream refused");
    }
    // An agent that is gone does not hear why.
    drop(sender.send(Err(refusal.status())).await);
}

struct Stream {
    intake: Intake,
    agent: Agent,
    inbound: Streaming<ReportRequest>,
}

impl Stream {
    async fn run(&mut self, sender: Sender) -> Result<(), Refusal> {
        let stopping = self.intake.changes.clone();
        let first = tokio::select! {
            () = stopping.closed() => return Err(Refusal::Stopping),
            first = self.receive() => first?,
        };
        let Some((first, at)) = first else {
            return Ok(());
        };
        let First {
            facts,
            offset,
            left_out,
        } = check::snapshot(&self.agent.node, first, at)?;
        self.count_later(left_out);
        if left_out > 0 {
            let version = version(&facts);
            info!(node = %self.agent.node, version, own = env!("CARGO_PKG_VERSION"), left_out, "an agent of a later version: some of its facts mean nothing here");
        }
        let Admitted { id, ended } = self.open(facts, at).await?;
        let replies = Replies::new(sender, self.intake.peers.clone());
        let result = self.follow(id, offset, ended, replies).await;
        self.close(id, result.as_ref().err()).await;
        result
    }

    async fn follow(
        &mut self,
        id: StreamId,
        offset: Offset,
        mut ended: oneshot::Receiver<Refusal>,
        mut replies: Replies,
    ) -> Result<(), Refusal> {
        let mut turn = Turn::new(limits::REPORTS, Instant::now());
        loop {
            let at = self.turn(&mut turn);
            tokio::select! {
                reason = &mut ended => return Err(reason.unwrap_or(Refusal::Stopping)),
                () = replies.due() => replies.send(),
                message = self.receive_from(at) => {
                    let Some((message, at)) = message? else {
                        return Ok(());
                    };
                    let sequence = replies.expected();
                    self.apply(id, message, sequence, offset, at).await?;
                    replies.acknowledge(sequence);
                }
            }
        }
    }

    /// From when on the next message is read. Who sends more than he may is not refused: what is not read fills his connection, and he joins what
    /// he has to say.
    fn turn(&self, turn: &mut Turn) -> Option<Instant> {
        let now = Instant::now();
        let at = turn.take(now);
        (at > now).then(|| {
            self.intake.counters.messages_waited.add();
            at
        })
    }

    /// The next message, read from that moment on.
    async fn receive_from(
        &mut self,
        at: Option<Instant>,
    ) -> Result<Option<(ReportRequest, Moment)>, Refusal> {
        if let Some(at) = at {
            sleep_until(at.into()).await;
        }
        self.receive().await
    }

    /// The next message and when it came; `None` when the agent or its connection has ended.
    async fn receive(&mut self) -> Result<Option<(ReportRequest, Moment)>, Refusal> {
        match self.inbound.message().await {
            Ok(message) => Ok(message.map(|message| (message, clock::now()))),
            Err(status) => Refusal::of_read(&status).map_or(Ok(None), Err),
        }
    }

    async fn open(&self, facts: Facts, at: Moment) -> Result<Admitted, Refusal> {
        let (reply, answer) = oneshot::channel();
        let agent = self.agent.clone();
        let open = Change::Open {
            agent,
            facts,
            at,
            reply,
        };
        let asked = self.intake.changes.send(open).await;
        asked.map_err(|_| Refusal::Stopping)?;
        let admitted = answer.await.map_err(|_| Refusal::Stopping)??;
        self.intake.counters.streams_opened.add();
        self.intake.counters.messages.add();
        Ok(admitted)
    }

    async fn apply(
        &self,
        id: StreamId,
        message: ReportRequest,
        sequence: u64,
        offset: Offset,
        at: Moment,
    ) -> Result<(), Refusal> {
        let node = self.agent.node.clone();
        let (delta, left_out) = check::delta(&node, message, sequence, offset)?;
        self.count_later(left_out);
        let report = Report {
            node,
            id,
            delta,
            at,
        };
        // Should the owner refuse it, it ends the stream.
        if !self.intake.inbox.hand_in(report).await {
            return Err(Refusal::Stopping);
        }
        self.intake.counters.messages.add();
        Ok(())
    }

    fn count_later(&self, facts: usize) {
        self.intake.counters.facts_unknown.add_all(facts);
    }

    async fn close(&self, id: StreamId, refusal: Option<&Refusal>) {
        let why = refusal.map_or_else(
            || "the agent or its connection ended".to_owned(),
            ToString::to_string,
        );
        let close = Change::Close {
            node: self.agent.node.clone(),
            id,
            at: clock::now(),
            why,
        };
        // Without an owner there is no view that could be wrong.
        drop(self.intake.changes.send(close).await);
    }
}

/// Of the agent, as it says itself.
fn version(facts: &Facts) -> &str {
    identity(facts).map_or("", |identity| identity.version.as_str())
}
