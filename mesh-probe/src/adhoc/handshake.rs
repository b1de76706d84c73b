//! `handshake`: does the other end answer a real handshake?

use evidence::PublicKey;
use serde::Serialize;

use super::{Asked, Facts, Lines, Refused, line};
use crate::{exit::Exit, render::text::human_us};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HandshakeTest {
    pub asked: Asked,
    pub port: u16,
    /// Of the other end.
    pub peer_key: PublicKey,
    /// Of the key that is for diagnosis only.
    pub own_key: PublicKey,
    pub with_preshared_key: bool,
    pub initiations: u32,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Outcome {
    Completed {
        #[serde(rename = "afterUs")]
        after_us: u32,
    },
    OtherPresharedKey,
    /// Only cookies came.
    UnderLoad,
    Refused {
        refused: Refused,
    },
    Silent {
        #[serde(rename = "withinMs")]
        within_ms: u32,
    },
}

impl HandshakeTest {
    fn completed(&self) -> Vec<String> {
        let preshared = if self.with_preshared_key {
            "both keys and the preshared key match"
        } else {
            "both keys match, and there is no preshared key"
        };
        vec![
            format!(
                "works: UDP {} of {} answers handshakes, both ways pass, {preshared}",
                self.port, self.asked.address
            ),
            "no session was confirmed and no data was sent".to_owned(),
        ]
    }

    fn preshared(&self) -> Vec<String> {
        let ours = if self.with_preshared_key {
            "the one in --psk-file is not the one it has for this peer"
        } else {
            "it has one for this peer: give --psk-file"
        };
        vec![format!(
            "the path works and the keys match; the preshared key differs: {ours}"
        )]
    }

    fn silence(&self) -> Vec<String> {
        let Self {
            own_key, peer_key, ..
        } = self;
        vec![
            "cannot tell: no answer. WireGuard answers only those it knows; one of these is so:"
                .to_owned(),
            format!("its device does not have {own_key} among its peers (wg show there)"),
            format!("its device has another public key than {peer_key}"),
            format!(
                "UDP {} is dropped on the way there or back (mesh-probe tap there shows whether it arrives)",
                self.port
            ),
            "it saw this key before with a later time: the clock here was set back".to_owned(),
        ]
    }
}

impl Facts for HandshakeTest {
    const KIND: &'static str = "Handshake";

    fn title(&self) -> String {
        format!("handshake with UDP {} of {}", self.port, self.asked.name())
    }

    fn lines(&self) -> Lines {
        let came = match self.outcome {
            Outcome::Completed { after_us } => {
                format!(
                    "a response that only the peer can make, after {}",
                    human_us(after_us)
                )
            }
            Outcome::OtherPresharedKey => "a response that does not open".to_owned(),
            Outcome::UnderLoad => "a cookie instead of a response".to_owned(),
            Outcome::Refused { refused } => refused.line(),
            Outcome::Silent { within_ms } => format!("nothing within {within_ms} ms"),
        };
        vec![
            line("peer", self.peer_key.to_string()),
            line("diagnostic key", self.own_key.to_string()),
            line(
                "preshared key",
                if self.with_preshared_key {
                    "given"
                } else {
                    "none"
                }
                .to_owned(),
            ),
            line("initiations sent", self.initiations.to_string()),
            line("what came", came),
            line("marked", self.asked.way()),
        ]
    }

    fn conclusions(&self) -> Vec<String> {
        match self.outcome {
            Outcome::Completed { .. } => self.completed(),
            Outcome::OtherPresharedKey => self.preshared(),
            Outcome::UnderLoad => vec![
                "cannot tell: the other end is under load, or somebody floods it with handshakes; the path works both ways"
                    .to_owned(),
            ],
            Outcome::Refused { refused } => vec![format!("fails: {}", refused.line())],
            Outcome::Silent { .. } => self.silence(),
        }
    }

    fn method(&self) -> String {
        "real handshake initiations with a key of their own, from a port of their own; no node's key is used and no session \
         of a node is touched"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Completed { .. } => Exit::Ready,
            Outcome::OtherPresharedKey | Outcome::Refused { .. } => Exit::NotReady,
            Outcome::UnderLoad | Outcome::Silent { .. } => Exit::CannotTell,
        }
    }
}
