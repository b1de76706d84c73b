//! Does traffic from A to B's node addresses enter the tunnel, and does B take it?
//!
//! Five things must agree: B's addresses as B has them, what Talos wants for B on A, the allowed IPs of A's device, the two
//! nftables chains, and the rule with table 180. Where they do, echoes to the addresses show whether it works. What nobody in the mesh steers is not missed: it may be excluded by configuration.

mod missing;
mod tried;

use std::net::IpAddr;

use evidence::{FactKey, Moment, Outcome, PublicKey, SourceId, Steered, SteeredPrefix, Steering};

pub(crate) use missing::{Missing, Outdated, Witnesses};

use super::{Answer, Words, undecided};
use crate::{
    mesh::{Member, Mesh},
    prefix::Prefix,
    text, timing,
};

/// The link that leads into the tunnel.
pub(super) const KUBESPAN: &str = "kubespan";
const METHOD: &str = "allowed IPs, nftables chains, rule and table 180 compared";

/// What is wrong with the steering of a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The tunnel's own packets would go into the tunnel.
    Loop,
    /// Marked packets are not sent to table 180.
    RuleMissing,
    /// Table 180 does not lead into the tunnel.
    TableEmpty,
    /// A rule before `KubeSpan`'s sends marked packets elsewhere.
    Bypassed,
    /// Nothing is wrong with what was compared, and packets go around the tunnel all the same.
    Around {
        /// Whether the far end saw it; else it follows from what other nodes saw, and from losses.
        seen: bool,
    },
    /// The sender has the address itself: nothing for it ever leaves. Who is to blame is told of the addresses.
    Own,
    /// The chains do not mark the address.
    NotMarked(IpAddr),
    /// One end's device lacks an address that is the other's.
    Missing(Missing),
    /// One end's device knows only addresses that the other had before.
    Outdated(Outdated),
}

/// An answer, and what is wrong if it is a failure.
pub(super) struct Judged<W> {
    pub(super) answer: Answer<W>,
    pub(super) trouble: Option<Trouble>,
}

impl<W: Words> Judged<W> {
    fn fail(answer: Answer<W>, trouble: Trouble) -> Self {
        Self {
            answer,
            trouble: Some(trouble),
        }
    }

    /// The first failure, else the first unknown, else the first warning, else the first of them.
    fn worst(all: Vec<Self>) -> Option<Self> {
        let rank = |judged: &Self| match judged.answer.outcome {
            Outcome::Fail => 0,
            Outcome::Flapping | Outcome::Unknown | Outcome::NotApplicableYet => 1,
            Outcome::Warn => 2,
            Outcome::Pass => 3,
        };
        all.into_iter().min_by_key(rank)
    }
}

impl<W> From<Answer<W>> for Judged<W> {
    fn from(answer: Answer<W>) -> Self {
        Self {
            answer,
            trouble: None,
        }
    }
}

/// Does traffic from A to B's node addresses enter the tunnel?
pub(super) fn steering<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    tunnel: &Answer<W>,
) -> Judged<W> {
    let judged = judge(mesh, a, b, tunnel);
    if judged.trouble.is_some() && judged.trouble != Some(Trouble::Loop) && mesh.settling(a, b) {
        return Answer::unknown("one end has just come").into();
    }
    judged
}

fn judge<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    tunnel: &Answer<W>,
) -> Judged<W> {
    let (Some(_), Some(_), Some(b_key)) = (a.fresh(), b.fresh(), b.key) else {
        return undecided(a, b).into();
    };
    let Some((node, steered)) = a.steering().zip(a.steered(&b_key)) else {
        return Answer::undecided(|| unread(a)).into();
    };
    let pair = Pair {
        mesh,
        a,
        b,
        b_key,
        node,
        steered,
        tunnel,
    };
    let compared = pair
        .looped()
        .or_else(|| pair.tunnel_address())
        .unwrap_or_else(|| pair.addresses());
    pair.tried(compared)
}

fn unread(a: &Member<'_>) -> String {
    let gap = a
        .source(SourceId::Routes)
        .and_then(|state| state.gap.as_ref());
    match gap {
        Some(gap) => format!("{} cannot read its routes: {}", a.node, gap.reason),
        None => format!("{} has not told what it steers", a.node),
    }
}

/// What is looked at together.
struct Pair<'m, 'a, W> {
    mesh: &'m Mesh<'a>,
    a: &'m Member<'a>,
    b: &'m Member<'a>,
    b_key: PublicKey,
    node: &'a Steering,
    steered: &'a Steered,
    tunnel: &'m Answer<W>,
}

impl<W: Words> Pair<'_, '_, W> {
    fn answer(&self, outcome: Outcome, fact: FactKey, text: impl FnOnce() -> String) -> Answer<W> {
        Answer::new(outcome, METHOD, || {
            let at = seen(self.a).unwrap_or(self.steered.since);
            vec![self.mesh.cite(self.a, fact, at, text())]
        })
    }

    fn steered_fact(&self) -> FactKey {
        FactKey::Steered(self.b_key)
    }

    fn settled(&self) -> bool {
        self.has_settled(self.steered.since) && self.has_settled(self.node.since)
    }

    fn has_settled(&self, since: Moment) -> bool {
        self.mesh.reached(since.plus(timing::STEERING_SETTLES))
    }

    /// A failure, once it has stood for a moment: Talos makes its chains anew as a whole, and peers come and go.
    fn failed(&self, fact: FactKey, text: impl FnOnce() -> String, trouble: Trouble) -> Judged<W> {
        if !self.settled() {
            let why = || format!("what {} steers has just changed", self.a.node);
            return Answer::undecided(why).into();
        }
        Judged::fail(self.answer(Outcome::Fail, fact, text), trouble)
    }

    /// Packets of the tunnel itself must leave by another link. What was lost while they did not is explained by it until
    /// the probes have come round again.
    fn looped(&self) -> Option<Judged<W>> {
        let endpoint = self.steered.endpoint.as_ref()?;
        let (to, other) = (endpoint.to, &self.b.node);
        let now = endpoint.via.as_deref() == Some(KUBESPAN);
        let until = endpoint
            .looped
            .filter(|at| self.mesh.recent(*at, timing::LISTENED * 2));
        let carries = self.tunnel.outcome.is_good();
        if !now && (carries || until.is_none()) {
            return None;
        }
        let text = || match until.filter(|_| !now) {
            None => {
                format!("its route to {to}, the endpoint of {other}, leads into kubespan itself")
            }
            Some(at) => format!(
                "its route to {to}, the endpoint of {other}, led into kubespan itself until {} ago",
                text::age(self.mesh.now.since(at))
            ),
        };
        // Some implementations keep to the way on which the last packet came.
        let outcome = if carries {
            Outcome::Warn
        } else {
            Outcome::Fail
        };
        let answer = self.answer(outcome, self.steered_fact(), text);
        Some(Judged {
            answer,
            trouble: (!carries).then_some(Trouble::Loop),
        })
    }

    fn addresses(&self) -> Judged<W> {
        let own = self
            .b
            .identity()
            .map_or(&[][..], |identity| &identity.addresses);
        let judged = own.iter().filter_map(|address| self.address(*address));
        let judged = Judged::worst(judged.collect()).or_else(|| self.outdated(self.a, self.b));
        judged.unwrap_or_else(|| {
            let why = || {
                format!(
                    "no node has an address of {} among its allowed IPs: excluded by configuration?",
                    self.b.node
                )
            };
            Answer::undecided(why).into()
        })
    }

    /// An address of B that A's device has for B: does a packet to it get there, and would B take it?
    fn held(&self, address: IpAddr) -> Judged<W> {
        let Some(prefix) = self.told(address) else {
            let why = || format!("{} has not told of {address} yet", self.a.node);
            return Answer::undecided(why).into();
        };
        if !self.mesh.steers {
            return Answer::unknown("no node has any part of KubeSpan's steering").into();
        }
        self.untabled(address)
            .or_else(|| self.marked(address, prefix))
            .or_else(|| self.diverted(address, prefix))
            .or_else(|| self.refused(prefix))
            .or_else(|| self.outdated(self.b, self.a))
            .unwrap_or_else(|| {
                let text =
                    || format!("{address} is marked, and marked packets to it leave by kubespan");
                self.answer(Outcome::Pass, self.steered_fact(), text).into()
            })
    }

    /// What is marked must be sent to table 180, and from there into the tunnel.
    fn untabled(&self, address: IpAddr) -> Option<Judged<W>> {
        let family = self.node.family(address);
        let (text, trouble) = if family.rule_priority.is_none() {
            let text = "has no rule that sends what is marked 0x40/0x60 to table 180";
            (text, Trouble::RuleMissing)
        } else if !family.default_route {
            let text = "its table 180 has no default route through kubespan";
            (text, Trouble::TableEmpty)
        } else {
            return None;
        };
        if family.undecoded {
            let why = || format!("a rule or route of {} was not understood", self.a.node);
            return Some(Answer::undecided(why).into());
        }
        Some(self.failed(FactKey::Steering, || text.to_owned(), trouble))
    }

    /// The longest prefix that A has told of, which is the one its device uses.
    fn told(&self, address: IpAddr) -> Option<&SteeredPrefix> {
        let length = |told: &&SteeredPrefix| {
            Prefix::parse(&told.prefix)
                .filter(|prefix| prefix.contains(address))
                .map(|prefix| prefix.length())
        };
        let told = self.steered.prefixes.iter();
        told.filter(|told| length(told).is_some())
            .max_by_key(length)
    }

    fn marked(&self, address: IpAddr, prefix: &SteeredPrefix) -> Option<Judged<W>> {
        let (outgoing, prerouting) = (prefix.outgoing, prefix.prerouting);
        if outgoing == Some(true) && prerouting == Some(true) {
            return None;
        }
        if outgoing != Some(false) && prerouting != Some(false) {
            return Some(Answer::undecided(|| unread_chains(self.a)).into());
        }
        if !self.has_carried_for_long() {
            let text = "the chains may leave out a peer whose tunnel is down or was lately";
            return Some(Answer::unknown(text).into());
        }
        let text = || {
            let chains = [
                (outgoing, "kubespan_outgoing"),
                (prerouting, "kubespan_prerouting"),
            ];
            let chains = chains.iter().filter(|(marks, _)| *marks == Some(false));
            let chains: Vec<&str> = chains.map(|(_, chain)| *chain).collect();
            format!(
                "does not mark {address} of {} in {}",
                self.b.node,
                chains.join(" and ")
            )
        };
        Some(self.failed(self.steered_fact(), text, Trouble::NotMarked(address)))
    }

    /// Whether the tunnel carries, and did so over the whole window of the echo, which outlasts the 30 s after which
    /// `KubeSpan` looks at its peers again.
    fn has_carried_for_long(&self) -> bool {
        let echo = self.a.echo_sent(&self.b_key);
        let lost = echo.is_some_and(|echo| echo.window_lost >= timing::LOST_IN_A_ROW);
        self.tunnel.outcome.is_good() && !lost
    }

    fn diverted(&self, address: IpAddr, prefix: &SteeredPrefix) -> Option<Judged<W>> {
        let via = prefix.marked_via.as_deref();
        let identity = self.a.identity();
        let own = identity.is_some_and(|identity| identity.addresses.contains(&address));
        (via != Some(KUBESPAN)).then(|| {
            if own {
                let text = || format!("has {address} itself, so that packets to it never leave");
                return self.failed(self.steered_fact(), text, Trouble::Own);
            }
            let text = || match via {
                Some(link) => {
                    format!("marked packets to {address} leave by {link}: another rule comes first")
                }
                None => {
                    format!("marked packets to {address} have no way: another rule comes first")
                }
            };
            self.failed(self.steered_fact(), text, Trouble::Bypassed)
        })
    }
}

/// When the node last looked.
fn seen(member: &Member<'_>) -> Option<Moment> {
    member
        .working(SourceId::Routes)
        .map(|source| source.read_at)
}

fn unread_chains(a: &Member<'_>) -> String {
    let gap = a
        .source(SourceId::Nftables)
        .and_then(|state| state.gap.as_ref());
    match gap {
        Some(gap) => format!("{} cannot read its nftables chains: {}", a.node, gap.reason),
        None => format!("a rule in the chains of {} was not understood", a.node),
    }
}
