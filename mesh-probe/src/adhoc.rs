//! What the commands without a collector found: facts first, then what follows from them, and how they were got.
//!
//! Everything here is pure: the commands fill in the facts, [`crate::render::facts`] prints them.

mod handshake;
mod mtu;
mod node;
mod refusal;
mod steering;
pub mod talos;
mod tap;
mod udp;
mod vxlan;
mod way;

pub use handshake::{HandshakeTest, Outcome};
pub use mtu::{Limiter, PathMtu};
pub use node::{Group, NodeView, Said, Source};
pub use refusal::{Refused, Why};
pub use steering::{Device, Family, Peer, Steering};
pub use tap::TapView;
pub use udp::{Reply, UdpReach};
pub use vxlan::{VXLAN_PORT, VxlanDevice, VxlanReach};
pub use way::{Asked, Marking};

use serde::Serialize;

use crate::exit::Exit;

/// Facts with their names, in the order in which they are shown.
pub type Lines = Vec<(String, String)>;

/// The facts of one command. As JSON they are the field `facts` of its document.
pub trait Facts: Serialize {
    /// Of the document.
    const KIND: &'static str;

    /// What was asked, on one line.
    fn title(&self) -> String;

    /// The facts, each with its name.
    fn lines(&self) -> Lines;

    /// What follows from them, the most important first.
    fn conclusions(&self) -> Vec<String>;

    /// How they were got, and what they cannot tell.
    fn method(&self) -> String;

    fn exit(&self) -> Exit;
}

fn line(name: &str, value: String) -> (String, String) {
    (name.to_owned(), value)
}
