//! What can be broken, what is then true, and what else may happen to a cluster.

use std::fmt;

use super::{
    network::{Place, Rule, Weather, What},
    plan::Plan,
    time::{Micros, SECOND},
};

/// Something that is wrong. The names are those of scenario files where they have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `block-udp-51820-to`
    BlockTo { node: usize, site: Option<usize> },
    /// `block-udp-51820-in-host`
    BlockInHost { node: usize },
    /// `block-udp-out`
    BlockOut { site: usize },
    /// `one-way-loss`
    OneWayLoss { from: usize, to: usize, percent: u8 },
    /// `drop-data`
    DropData { node: usize },
    /// A site's uplink carries so many bytes and tells nobody.
    HoleAtSite { site: usize, bytes: usize },
    /// The same on one way.
    HoleOneWay {
        from: usize,
        to: usize,
        bytes: usize,
    },
    /// A node's link is down.
    CutOff { node: usize },
    /// `kill-agent`
    KillAgent { node: usize },
    /// `kill-collector`
    KillCollector,
    /// `stop-wireguard`
    StopWireguard { node: usize },
    /// A node's firewall drops what is for the overlay's port.
    OverlayInHost { node: usize },
    /// One end of a tunnel has another preshared key.
    Psk { a: usize, b: usize },
}

/// What a fault does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Rule(Rule),
    /// A router forgets its translations; that cannot be undone.
    Forget(usize),
    DropsTunnel(usize),
    DropsOverlay(usize),
    AgentDead(usize),
    CollectorDead,
    DeviceDown(usize),
    Psk(usize, usize),
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Action {
    Break(Fault),
    Heal(Fault),
    Weather(Weather),
    /// The agent is not run for a while.
    Stall {
        node: usize,
        time: Micros,
    },
    RestartAgent {
        node: usize,
        away: Micros,
    },
    StartAgent {
        node: usize,
    },
    Reboot {
        node: usize,
        away: Micros,
    },
    Boot {
        node: usize,
    },
    RestartCollector {
        away: Micros,
    },
    StartCollector,
    DelayReports {
        node: usize,
        by: Micros,
    },
}

/// A finding that a fault is to lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    pub code: &'static str,
    pub subject: String,
    /// Longest time from the fault to the finding.
    pub within: Micros,
}

impl Fault {
    pub fn block_to(plan: &Plan, node: usize) -> Self {
        let site = plan.nodes.get(node).and_then(|node| node.site);
        Self::BlockTo { node, site }
    }

    pub fn effects(&self) -> Vec<Effect> {
        let rule = |place, what| Effect::Rule(Rule { place, what });
        match *self {
            Self::BlockTo { node, site } => {
                let mut effects = vec![rule(Place::Front(node), What::TunnelPort)];
                effects.extend(site.map(Effect::Forget));
                effects
            }
            Self::BlockInHost { node } => vec![Effect::DropsTunnel(node)],
            Self::BlockOut { site } => vec![rule(Place::RouterOut(site), What::TunnelPort)],
            Self::OneWayLoss { from, to, percent } => {
                vec![rule(Place::Way(from, to), What::Share(percent))]
            }
            Self::DropData { node } => vec![
                rule(Place::Front(node), What::Data),
                rule(Place::Back(node), What::Data),
            ],
            Self::HoleAtSite { site, bytes } => vec![
                rule(Place::RouterIn(site), What::LongerThan(bytes)),
                rule(Place::RouterOut(site), What::LongerThan(bytes)),
            ],
            Self::HoleOneWay { from, to, bytes } => {
                vec![rule(Place::Way(from, to), What::LongerThan(bytes))]
            }
            Self::CutOff { node } => vec![rule(Place::Link(node), What::All)],
            Self::KillAgent { node } => vec![Effect::AgentDead(node)],
            Self::KillCollector => vec![Effect::CollectorDead],
            Self::StopWireguard { node } => vec![Effect::DeviceDown(node)],
            Self::OverlayInHost { node } => vec![Effect::DropsOverlay(node)],
            Self::Psk { a, b } => vec![Effect::Psk(a, b)],
        }
    }

    /// The root that must be named, and how soon; `None` where nobody is left to name it, or where chance decides.
    pub fn expected(&self, plan: &Plan) -> Option<Expected> {
        let name = |node: usize| plan.nodes[node].name.to_string();
        let site = |site: usize| format!("site {}", plan.known_as(site));
        let way = |from, to| format!("{} -> {}", name(from), name(to));
        let (code, subject, seconds) = match *self {
            Self::BlockTo { node, .. } => ("udp-51820-blocked-inbound", name(node), 30),
            Self::BlockInHost { node } => ("udp-51820-dropped-by-host", name(node), 45),
            Self::BlockOut { site: at } => ("udp-51820-blocked-outbound", site(at), 30),
            Self::OneWayLoss {
                from,
                to,
                percent: 100,
            } => ("one-way-loss", way(from, to), 60),
            Self::DropData { node } => ("data-dropped-handshakes-pass", name(node), 60),
            Self::HoleAtSite { site: at, .. } => ("pmtu-black-hole", site(at), 60),
            Self::HoleOneWay { from, to, .. } => ("pmtu-black-hole", way(from, to), 60),
            Self::CutOff { node } => ("peer-silent", name(node), 30),
            Self::KillAgent { node } => ("agent-not-reporting", name(node), 10),
            Self::StopWireguard { node } => ("wireguard-unreadable", name(node), 30),
            Self::OverlayInHost { node } => ("overlay-port-blocked", name(node), 60),
            Self::OneWayLoss { .. } | Self::KillCollector | Self::Psk { .. } => return None,
        };
        Some(Expected {
            code,
            subject,
            within: seconds * SECOND,
        })
    }

    /// Codes that are true of the fault too, with texts one of which the subject then contains.
    pub fn also_true(&self, plan: &Plan) -> (&'static [&'static str], Vec<String>) {
        let name = |node: usize| plan.nodes[node].name.to_string();
        match *self {
            // Before it is known that nobody hears it, it only does not report.
            Self::CutOff { node } => (
                &[
                    "agent-not-reporting",
                    "reports-stale",
                    "peer-silent",
                    "too-few-nodes",
                ],
                vec![name(node), "cluster".to_owned()],
            ),
            Self::KillAgent { node } => (
                &["agent-not-reporting", "reports-stale", "too-few-nodes"],
                vec![name(node), "cluster".to_owned()],
            ),
            Self::StopWireguard { node } => (&["wireguard-unreadable"], vec![name(node)]),
            Self::OneWayLoss { from, to, .. } => (
                &["one-way-loss"],
                vec![format!("{} -> {}", name(from), name(to))],
            ),
            Self::Psk { a, b } => (&["wireguard-psk-mismatch"], vec![name(a), name(b)]),
            _ => (&[], Vec::new()),
        }
    }

    /// Nodes whose tunnels carry nothing, or a part of them. That may be said before it is decided what stops them.
    pub fn silences(&self, node: usize, plan: &Plan) -> bool {
        match *self {
            Self::BlockTo { node: at, .. }
            | Self::BlockInHost { node: at }
            | Self::DropData { node: at }
            // A device that is up again has no sessions, and waits for who is behind a translation to dial: each 5 s, if none is lost.
            | Self::StopWireguard { node: at } => at == node,
            Self::BlockOut { site } => plan.nodes[node].site == Some(site),
            Self::OneWayLoss { from, to, .. } => node == from || node == to,
            Self::Psk { a, b } => node == a || node == b,
            Self::HoleAtSite { .. }
            | Self::HoleOneWay { .. }
            | Self::CutOff { .. }
            | Self::KillAgent { .. }
            | Self::KillCollector
            | Self::OverlayInHost { .. } => false,
        }
    }

    /// Nodes that are down as far as the mesh can tell.
    pub fn takes_down(&self) -> Option<usize> {
        match *self {
            Self::CutOff { node } | Self::KillAgent { node } | Self::StopWireguard { node } => {
                Some(node)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*** {self:?}")
    }
}
