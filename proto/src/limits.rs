//! Every bound of the transport, in one place. Bounds on the facts themselves are in [`evidence::limits`].

use std::time::Duration;

/// Largest message either side accepts: a snapshot of 1024 peers with five facts each is about 1.2 MB.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// An agent says something at least this often, if only an empty delta.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Changes closer together than this go out as one.
pub const SPACING: Duration = Duration::from_millis(200);

/// The same for changes that merely go on from what was said before, in a mesh in which an agent has so many peers. Who gets the
/// reports of a thousand agents would be busy with what nobody asks for; in a small mesh it makes no difference. Half of a sign of
/// life at most, so that one that is late makes no pause of it.
pub fn routine_spacing(peers: usize) -> Duration {
    let peers = u32::try_from(peers).unwrap_or(u32::MAX);
    let spacing = Duration::from_millis(4).saturating_mul(peers);
    spacing.clamp(SPACING, HEARTBEAT / 2)
}

/// Longest [`Wait`](crate::wire::WaitRequest): a caller that wants more asks again.
pub const MAX_WAIT: Duration = Duration::from_hours(1);
/// Streams one connection may have open at a time.
pub const STREAMS_PER_CONNECTION: u32 = 32;
/// Connections of agents that the collector holds at a time: each of 1024 has one, and some have an old one that has not
/// ended yet.
pub const CONNECTIONS_OF_AGENTS: usize = 1024 + 256;
/// Connections of one agent: one, and old ones that have not ended yet.
pub const CONNECTIONS_OF_AN_AGENT: usize = 8;
/// Connections of readers that the collector holds at a time. They take no place of an agent.
pub const READER_CONNECTIONS: usize = 256;
/// Of these, from one network (an address, or 64 bits of one of IPv6): one leaves room for the others.
pub const READER_CONNECTIONS_OF_A_NETWORK: usize = 128;
/// Time after the TLS handshake in which a client must have said something.
pub const FIRST_WORD: Duration = Duration::from_secs(10);
/// TLS handshakes a collector has going at a time: all agents of a large mesh may come back at once.
pub const HANDSHAKES: usize = 1024;
/// Time a client may take for the TLS handshake.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(5);
/// Time a client waits after the handshake for the first bytes of the collector, or for its refusal.
pub const FIRST_BYTES: Duration = Duration::from_secs(1);
/// Time to connect to a collector.
pub const CONNECT: Duration = Duration::from_secs(3);
/// Bytes of one TCP segment, both ways: with all headers it fits into the 1280 bytes that any path of IPv6 carries.
pub const SEGMENT: u32 = 1180;
/// Default port of the collector (TCP) and of the agents' in-tunnel echo (UDP): below the ephemeral range, so that no
/// outgoing connection of the node can happen to hold it.
pub const PORT: u16 = 21_820;
/// Default port of an agent that may be asked over the network (TCP).
pub const AGENT_PORT: u16 = 21_821;
/// Where an agent listens for whoever is on its own machine.
pub const AGENT_SOCKET: &str = "/run/mesh-agent/agent.sock";
/// Connections that an agent holds at a time over each of its ways: whoever asks all agents has one, and few ask.
pub const AGENT_CONNECTIONS: usize = 16;
/// TLS handshakes that an agent has going at a time: who has no certificate may cost no more memory than these.
pub const AGENT_HANDSHAKES: usize = 8;
/// Watches of one agent at a time: each costs a copy of its facts.
pub const AGENT_WATCHES: usize = 16;

/// How often something may be asked for: once in `every`, and so many times at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two, in the long run.
    pub every: Duration,
    /// Without a pause.
    pub at_once: u32,
}

/// Gates and health, asked from one network. 200 answers a second took 3.5 % of a processor (sampled, half of them over TLS): so that is a tenth of one.
pub const QUESTIONS: Rate = Rate {
    every: Duration::from_millis(2),
    at_once: 1000,
};
/// Verdicts, pages, evidence, metrics, asked from one network.
pub const DOCUMENTS: Rate = Rate {
    every: Duration::from_millis(20),
    at_once: 100,
};
/// Messages of one report stream. An agent sends five news a second at most ([`SPACING`]).
pub const REPORTS: Rate = Rate {
    every: Duration::from_millis(50),
    at_once: 40,
};
/// Report streams of one agent: each begins with all that it knows.
pub const STREAMS: Rate = Rate {
    every: Duration::from_secs(1),
    at_once: 16,
};
/// Who is over a rate waits for his turn, but no longer than this: then he is told to ask again later.
pub const TURN: Duration = Duration::from_secs(2);
