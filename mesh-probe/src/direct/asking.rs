//! One agent: connecting, and each of its reports.

use std::{future::Future, sync::Arc, time::Duration};

use evidence::{AgentStatus, Moment, NodeName};
use probe_io::clock;
use proto::{
    convert::agent_status_from_wire,
    limits::MESSAGE_BYTES,
    transport::{DialError, Mark, ReachedAgent, dial_agent, dial_socket},
    wire::{AgentStatusRequest, AgentWatchRequest, ReportRequest, agent_client::AgentClient},
};
use rustls::ClientConfig;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tonic::{Response, Status, Streaming, transport::Channel};

use crate::{
    args::{AgentTarget, Proof, Target},
    error::ProbeError,
};

/// Between two attempts to reach one.
const PAUSE: Duration = Duration::from_millis(500);
/// An agent says something each second; one that has not for so long is asked anew.
const SILENCE: Duration = Duration::from_secs(5);

/// An agent that may be asked: where it is, and what proves us to it.
#[derive(Clone, Debug)]
pub struct Agent {
    target: AgentTarget,
    proof: Proof,
    /// None where only sockets of this machine are asked.
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

/// Something of the agent at a place of the list.
#[derive(Debug)]
pub(super) struct Event {
    pub place: usize,
    /// When it came.
    pub at: Moment,
    pub seen: Seen,
}

/// What came of an agent.
#[derive(Debug)]
pub enum Seen {
    /// It is there, and this is all that it sees.
    Opened {
        /// By its certificate; on this machine, as it says.
        node: NodeName,
        /// What proves it; none on this machine.
        key: Option<[u8; 32]>,
        snapshot: ReportRequest,
    },
    /// What changed.
    Message(ReportRequest),
    /// It is not there, or not any more.
    Ended(ProbeError),
}

/// An agent that is there.
#[derive(Debug)]
pub struct Asking {
    agent: Agent,
    client: AgentClient<Channel>,
    /// Which node its certificate names, and the key of that.
    proved: Option<(NodeName, [u8; 32])>,
}

impl Agent {
    pub fn new(
        target: AgentTarget,
        (proof, tls): (Proof, &Option<Arc<ClientConfig>>),
        timeout: Duration,
    ) -> Self {
        Self {
            target,
            proof,
            tls: tls.clone(),
            timeout,
        }
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Asking, ProbeError> {
        let dialled = self.within(Box::pin(self.dial())).await?;
        let (channel, proved) = dialled.map_err(|source| ProbeError::Agent {
            target: self.target.clone(),
            proof: self.proof,
            source,
        })?;
        Ok(Asking {
            agent: self.clone(),
            client: AgentClient::new(channel).max_decoding_message_size(MESSAGE_BYTES),
            proved,
        })
    }

    async fn dial(&self) -> Result<(Channel, Option<(NodeName, [u8; 32])>), DialError> {
        match (&self.target, &self.tls) {
            (AgentTarget::Network(target), Some(tls)) => {
                let ReachedAgent { channel, who } = dial_either(target, tls).await?;
                Ok((channel, who.node.map(|node| (node, who.key))))
            }
            (AgentTarget::Socket(path), _) => Ok((dial_socket(path).await?, None)),
            // `credentials` gives TLS where anybody is asked over the network.
            (AgentTarget::Network(target), None) => Err(DialError::NoAddress(target.to_string())),
        }
    }

    async fn within<F: Future>(&self, work: F) -> Result<F::Output, ProbeError> {
        let after = self.timeout;
        let answered = timeout(after, work).await;
        answered.map_err(|_| ProbeError::AgentSilent {
            target: self.target.clone(),
            after,
        })
    }

    async fn request<T>(
        &self,
        operation: &'static str,
        request: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ProbeError> {
        let answered = self.within(request).await?;
        let answered = answered.map_err(|status| self.refused(operation, status))?;
        Ok(answered.into_inner())
    }

    fn refused(&self, operation: &'static str, status: Status) -> ProbeError {
        ProbeError::AgentRequest {
            operation,
            target: self.target.clone(),
            source: status.into(),
        }
    }
}

/// Past the tunnel first: a way through it dies with what is asked about.
async fn dial_either(target: &Target, tls: &Arc<ClientConfig>) -> Result<ReachedAgent, DialError> {
    match dial_agent(target.as_str(), Mark::Underlay, Arc::clone(tls)).await {
        Err(DialError::Mark(_) | DialError::Connect { .. } | DialError::ConnectTimeout(_)) => {
            dial_agent(target.as_str(), Mark::None, Arc::clone(tls)).await
        }
        dialled => dialled,
    }
}

impl Asking {
    /// What the agent is, and to whom it reports. Over the network, nothing that its certificate does not bear out.
    pub async fn status(&mut self) -> Result<AgentStatus, ProbeError> {
        let request = self.client.status(AgentStatusRequest {});
        let status = self.agent.request("read the status", request).await?;
        let status = agent_status_from_wire(status).map_err(|source| ProbeError::AgentAnswer {
            target: self.agent.target.clone(),
            source,
        })?;
        match &self.proved {
            Some((node, _)) if *node != status.node => Err(ProbeError::AgentName {
                target: self.agent.target.clone(),
                proved: node.clone(),
                claimed: status.node,
            }),
            _ => Ok(status),
        }
    }

    /// What it sees, and then what changes.
    pub async fn watch(&mut self) -> Result<(Seen, Streaming<ReportRequest>), ProbeError> {
        const WATCH: &str = "watch what it sees";
        let (node, key) = match self.proved.clone() {
            Some((node, key)) => (node, Some(key)),
            None => (self.status().await?.node, None),
        };
        let request = self.client.watch(AgentWatchRequest {});
        let mut messages = self.agent.request(WATCH, request).await?;
        let first = async {
            let first = messages.message().await?;
            let ended = || Status::unavailable("it ended before it said anything");
            first.map(Response::new).ok_or_else(ended)
        };
        let snapshot = self.agent.request(WATCH, first).await?;
        let opened = Seen::Opened {
            node,
            key,
            snapshot,
        };
        Ok((opened, messages))
    }
}

/// Follows one agent for as long as somebody listens, again and again.
pub(super) async fn follow(agent: Agent, place: usize, events: mpsc::Sender<Event>) {
    let tell = async |seen| {
        let at = clock::moment();
        events.send(Event { place, at, seen }).await.is_ok()
    };
    loop {
        let watched = async { agent.connect().await?.watch().await };
        let error = match Box::pin(watched).await {
            Ok((opened, mut messages)) => {
                let mut listens = tell(opened).await;
                loop {
                    if !listens {
                        return;
                    }
                    let ended = match timeout(SILENCE, messages.message()).await {
                        Ok(Ok(Some(message))) => {
                            listens = tell(Seen::Message(message)).await;
                            continue;
                        }
                        Ok(Ok(None)) => Status::unavailable("it ended the stream"),
                        Ok(Err(status)) => status,
                        Err(_) => Status::unavailable("it has fallen silent"),
                    };
                    break agent.refused("go on watching what it sees", ended);
                }
            }
            Err(error) => error,
        };
        if !tell(Seen::Ended(error)).await {
            return;
        }
        sleep(PAUSE).await;
    }
}
