//! `udp`: does anything listen on a UDP port, as far as a stranger can tell?

use serde::Serialize;

use super::{Asked, Facts, Lines, Refused, Why, line};
use crate::{exit::Exit, render::text::human_us};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UdpReach {
    pub asked: Asked,
    pub port: u16,
    pub sent: u32,
    pub reply: Reply,
}

/// The first thing that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "heard")]
pub enum Reply {
    Answer {
        bytes: usize,
        #[serde(rename = "afterUs")]
        after_us: u32,
    },
    Refused {
        refused: Refused,
        #[serde(rename = "afterUs")]
        after_us: u32,
    },
    Nothing {
        #[serde(rename = "withinMs")]
        within_ms: u32,
    },
}

impl UdpReach {
    /// Whether the host itself says that nobody listens, and not somebody before it.
    fn is_closed_by_host(&self, refused: &Refused) -> bool {
        refused.why == Why::PortUnreachable && refused.reporter == Some(self.asked.address)
    }

    pub(super) fn heard(&self) -> String {
        match self.reply {
            Reply::Answer { bytes, after_us } => {
                format!("an answer of {bytes} bytes after {}", human_us(after_us))
            }
            Reply::Refused { refused, after_us } => {
                format!("{}, after {}", refused.line(), human_us(after_us))
            }
            Reply::Nothing { within_ms } => format!("nothing within {within_ms} ms"),
        }
    }

    fn refusal(&self, refused: &Refused) -> String {
        let port = self.port;
        let host = self.asked.address;
        if self.is_closed_by_host(refused) {
            return format!("closed: UDP {port} reaches {host}, and nobody listens there");
        }
        match refused.reporter {
            Some(reporter) if reporter == host => {
                format!("closed: the firewall of {host} itself rejects UDP {port}")
            }
            Some(reporter) => {
                format!("closed: UDP {port} is turned away before {host}, by {reporter}")
            }
            None => format!("closed: UDP {port} to {host} does not leave this node"),
        }
    }

    fn silence(&self) -> Vec<String> {
        let port = self.port;
        vec![
            format!("cannot tell: UDP {port} of {} is silent, so it is open or dropped on the way", self.asked.address),
            "WireGuard never answers strangers: silence is what a healthy WireGuard port looks like".to_owned(),
            "what can tell: mesh-agent on both nodes (mesh-probe pairs), mesh-probe tap over there, or mesh-probe handshake with a diagnostic peer".to_owned(),
        ]
    }
}

impl Facts for UdpReach {
    const KIND: &'static str = "UdpReach";

    fn title(&self) -> String {
        format!("UDP {} of {}", self.port, self.asked.name())
    }

    fn lines(&self) -> Lines {
        vec![
            line("datagrams sent", self.sent.to_string()),
            line("heard", self.heard()),
            line("marked", self.asked.way()),
        ]
    }

    fn conclusions(&self) -> Vec<String> {
        match &self.reply {
            Reply::Answer { .. } => vec![
                format!("open: something listens on UDP {} and answers", self.port),
                "it is not WireGuard, which never answers strangers".to_owned(),
            ],
            Reply::Refused { refused, .. } => vec![self.refusal(refused)],
            Reply::Nothing { .. } => self.silence(),
        }
    }

    fn method(&self) -> String {
        "datagrams whose first byte is 0, no message of WireGuard, from a port of their own: not the NAT mapping of the tunnel"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        match self.reply {
            Reply::Answer { .. } => Exit::Ready,
            Reply::Refused { .. } => Exit::NotReady,
            Reply::Nothing { .. } => Exit::CannotTell,
        }
    }
}
