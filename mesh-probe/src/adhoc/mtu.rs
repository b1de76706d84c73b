//! `mtu`: the largest packet that gets there in one piece.

use std::net::IpAddr;

use probe_core::sweep::{Limit, Swept};
use serde::Serialize;

use super::{Asked, Facts, Lines, Refused, line};
use crate::{exit::Exit, render::text::human_us};

/// What `WireGuard` puts around a packet: IP header, UDP header, and 32 bytes of its own.
const WIREGUARD_OVER_IPV4: u16 = 60;
const WIREGUARD_OVER_IPV6: u16 = 80;
/// The same of VXLAN: IP header, UDP header, 8 bytes of its own, and the inner Ethernet header.
const VXLAN_OVER_IPV4: u16 = 50;
const VXLAN_OVER_IPV6: u16 = 70;
/// The smallest MTU that Talos takes for `KubeSpan`, and the smallest link that IPv6 works on.
const SMALLEST_TUNNEL: u16 = 1280;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PathMtu {
    pub asked: Asked,
    /// Whether echo requests were answered; otherwise closed UDP ports were tried.
    pub by_echo: bool,
    /// The largest packet that passed.
    pub passed: Option<u16>,
    /// The smallest one that was tried and did not.
    pub failed: Option<u16>,
    pub limiter: Option<Limiter>,
    /// The largest MTU of a tunnel that fits, if all outer packets take this path.
    pub wireguard_mtu: Option<u16>,
    pub refused: Option<Refused>,
    pub rtt_us: Option<u64>,
    pub packets: u32,
    pub bytes: u32,
    pub rounds: u32,
    pub lost: u32,
}

/// Who limits the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "by")]
pub enum Limiter {
    /// An interface of this node.
    ThisNode { mtu: Option<u32> },
    /// A router that says so.
    Router { address: IpAddr, mtu: u32 },
    /// Somebody who drops larger packets without a word.
    BlackHole,
    /// Nobody: the largest size that is tried at all passes.
    Nobody,
    /// Not known: answers stopped coming.
    Unknown,
}

impl PathMtu {
    pub fn new(asked: Asked, by_echo: bool, swept: &Swept) -> Self {
        let overhead = wireguard_overhead(asked.address);
        let is_outside = !asked.is_inside_kubespan();
        let tunnel = |passed: u16| passed.checked_sub(overhead).filter(|_| is_outside);
        Self {
            asked,
            by_echo,
            passed: swept.passed,
            failed: swept.failed,
            limiter: swept.limit.map(Limiter::from),
            wireguard_mtu: swept.passed.and_then(tunnel),
            refused: swept.refusal.map(Refused::from),
            rtt_us: swept.rtt_us,
            packets: swept.cost.datagrams,
            bytes: swept.cost.bytes,
            rounds: swept.cost.rounds,
            lost: swept.cost.lost,
        }
    }

    /// A node also tells itself by ICMP, where a firewall rule led a packet to a narrower interface.
    #[must_use]
    pub fn seen_by(mut self, own: &[IpAddr]) -> Self {
        if let Some(Limiter::Router { address, mtu }) = self.limiter {
            let told = Limiter::ThisNode {
                mtu: (mtu != 0).then_some(mtu),
            };
            self.limiter = Some(told)
                .filter(|_| own.contains(&address))
                .or(self.limiter);
        }
        self
    }

    fn is_known(&self) -> bool {
        self.passed.is_some() && self.limiter != Some(Limiter::Unknown)
    }

    fn first_conclusion(&self, passed: u16) -> String {
        let to = self.asked.address;
        match self.limiter {
            Some(Limiter::Unknown) | None => format!(
                "cannot tell the path MTU to {to}: at least {passed}, then answers stopped; try again"
            ),
            Some(Limiter::Nobody) => format!("path MTU to {to}: {passed} or more"),
            Some(Limiter::ThisNode { .. }) => {
                format!(
                    "path MTU to {to}: {passed}; the path carries all that this node's interface takes"
                )
            }
            Some(Limiter::Router { address, .. }) => {
                format!("path MTU to {to}: {passed}, limited by {address}")
            }
            Some(Limiter::BlackHole) => format!(
                "path MTU to {to}: {passed}, and senders are not told: TCP that tries more stalls until it probes for itself"
            ),
        }
    }

    /// What fits, if the path is known.
    fn tunnels(&self, tunnel: u16) -> Vec<String> {
        let mut text: Vec<String> = (!self.asked.marking.is_beside_kubespan())
            .then(|| {
                "not marked: if this was measured inside of a tunnel, the rest does not apply"
                    .to_owned()
            })
            .into_iter()
            .collect();
        text.push(match self.asked.address {
            IpAddr::V4(_) => format!(
                "WireGuard with an MTU of {tunnel} fits (less {WIREGUARD_OVER_IPV4} over IPv4), of {} if other peers are \
                 reached over IPv6",
                for_both(tunnel)
            ),
            IpAddr::V6(_) => {
                format!(
                    "WireGuard with an MTU of {tunnel} fits (less {WIREGUARD_OVER_IPV6} over IPv6)"
                )
            }
        });
        text.push(format!(
            "VXLAN in that tunnel: {} between IPv4 node addresses, {} between IPv6 ones",
            tunnel.saturating_sub(VXLAN_OVER_IPV4),
            tunnel.saturating_sub(VXLAN_OVER_IPV6)
        ));
        if tunnel < SMALLEST_TUNNEL {
            text.push(format!(
                "too narrow for KubeSpan: Talos takes no MTU below {SMALLEST_TUNNEL} for it"
            ));
        }
        text
    }

    fn cost(&self) -> String {
        let Self {
            packets,
            bytes,
            rounds,
            lost,
            ..
        } = self;
        let s = if *rounds == 1 { "" } else { "s" };
        format!("{packets} packets in {rounds} round{s}, {bytes} bytes, {lost} lost")
    }
}

impl Facts for PathMtu {
    const KIND: &'static str = "PathMtu";

    fn title(&self) -> String {
        format!("path MTU to {}", self.asked.name())
    }

    fn lines(&self) -> Lines {
        let size =
            |size: Option<u16>| size.map_or_else(|| "none".to_owned(), |size| size.to_string());
        let mut lines = vec![
            line("largest packet that passed", size(self.passed)),
            line("smallest that did not", size(self.failed)),
        ];
        lines.extend(
            self.limiter
                .map(|limiter| line("limited by", limiter.line())),
        );
        lines.extend(self.refused.map(|refused| line("refused", refused.line())));
        let rtt = self
            .rtt_us
            .map(|rtt| u32::try_from(rtt).unwrap_or(u32::MAX));
        lines.extend(rtt.map(|rtt| line("slowest answer", human_us(rtt))));
        let asked_by = if self.by_echo { ECHO } else { CLOSED_PORT };
        lines.push(line("asked by", asked_by.to_owned()));
        lines.push(line("it took", self.cost()));
        lines.push(line("marked", self.asked.way()));
        lines
    }

    fn conclusions(&self) -> Vec<String> {
        let Some(passed) = self.passed else {
            return vec![format!(
                "cannot tell the path MTU to {}: nothing that was sent was answered",
                self.asked.address
            )];
        };
        let mut conclusions = vec![self.first_conclusion(passed)];
        if self.asked.is_inside_kubespan() {
            conclusions.push(format!(
                "the tunnel carries packets of {passed}: a larger MTU of KubeSpan loses packets"
            ));
        } else if let Some(tunnel) = self.wireguard_mtu.filter(|_| self.is_known()) {
            conclusions.extend(self.tunnels(tunnel));
        }
        conclusions
    }

    fn method(&self) -> String {
        let answers = if self.by_echo {
            "Echo replies are as large as requests, but may be fragmented: silence can also mean a loss on the way back."
        } else {
            "The answers are short, so only the way there is measured."
        };
        format!(
            "many sizes at once that nobody may fragment, then the gap; what was lost is repeated once. {answers}"
        )
    }

    fn exit(&self) -> Exit {
        if self.is_known() {
            Exit::Ready
        } else {
            Exit::CannotTell
        }
    }
}

impl Limiter {
    pub(super) fn line(self) -> String {
        match self {
            Self::ThisNode { mtu: Some(mtu) } => {
                format!("this node: the interface towards it has an MTU of {mtu}")
            }
            Self::ThisNode { mtu: None } => "this node: its own interface".to_owned(),
            Self::Router { address, mtu: 0 } => {
                format!("{address} says that larger ones are too big, and not which would fit")
            }
            Self::Router { address, mtu } => {
                format!("{address} says that its next link takes {mtu}")
            }
            Self::BlackHole => {
                "nobody says so: larger packets vanish (a path MTU black hole)".to_owned()
            }
            Self::Nobody => "nothing: larger ones are not tried".to_owned(),
            Self::Unknown => {
                "unknown: answers stopped coming while larger ones were tried".to_owned()
            }
        }
    }
}

impl From<Limit> for Limiter {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Here { mtu } => Self::ThisNode { mtu },
            Limit::Told { reporter, mtu } => Self::Router {
                address: reporter,
                mtu,
            },
            Limit::Silent => Self::BlackHole,
            Limit::Ceiling => Self::Nobody,
            Limit::Unsteady => Self::Unknown,
        }
    }
}

const ECHO: &str = "ICMP echo";
const CLOSED_PORT: &str = "UDP to closed ports, as echo requests were not answered";

const fn wireguard_overhead(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => WIREGUARD_OVER_IPV4,
        IpAddr::V6(_) => WIREGUARD_OVER_IPV6,
    }
}

const fn for_both(over_ipv4: u16) -> u16 {
    over_ipv4.saturating_sub(WIREGUARD_OVER_IPV6 - WIREGUARD_OVER_IPV4)
}
