//! One ordered pair, judged: does what A sends arrive at B, on the underlay and inside the tunnel?

mod data;
mod inert;
pub(crate) mod sizes;
mod steering;
mod tunnel;
mod underlay;

use std::collections::BTreeMap;

use evidence::{
    Citation, EchoSent, FactKey, Ladder, Moment, NodeRef, Outcome, Rung, RungState, SourceId,
};

use crate::{
    mesh::{Member, Mesh, millis},
    timing,
};

pub(crate) use steering::{Missing, Trouble};

/// What is known about one question, how, and from what.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) method: String,
    pub(crate) evidence: Vec<Citation>,
}

impl Answer {
    fn new(outcome: Outcome, method: impl Into<String>, evidence: Vec<Citation>) -> Self {
        Self {
            outcome,
            method: method.into(),
            evidence,
        }
    }

    fn unknown(why: impl Into<String>) -> Self {
        Self::new(Outcome::Unknown, why, Vec::new())
    }

    /// Data that passes proves a session, whatever the handshake's wall-clock time says: a stepped clock makes it odd.
    fn implied_by(self, tunnel: &Self) -> Self {
        if self.outcome.is_good() || !tunnel.outcome.is_good() {
            return self;
        }
        Self::new(
            Outcome::Warn,
            "implied: data passes, though the handshake time is odd",
            tunnel.evidence.clone(),
        )
    }
}

/// The direction from A to B.
#[derive(Debug)]
pub(crate) struct Direction {
    pub(crate) from: NodeRef,
    pub(crate) to: NodeRef,
    pub(crate) discovered: Answer,
    pub(crate) underlay: Answer,
    pub(crate) tunnel: Answer,
    pub(crate) tunnel_mtu: Answer,
    pub(crate) overlay_port: Answer,
    pub(crate) overlay_mtu: Answer,
    pub(crate) steering: Answer,
    /// What is wrong with the steering, if something is.
    pub(crate) trouble: Option<Trouble>,
    /// When A's echo began to be lost, if it is lost now.
    pub(crate) loss_since: Option<Moment>,
    pub(crate) ladder: Ladder,
}

/// Judges the direction from `a` to `b`.
pub(crate) fn judge<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>) -> Direction {
    let loss_since = lost(a, b).and_then(|echo| echo.loss_since);
    let tunnel = tunnel::tunnel(mesh, a, b);
    let underlay = underlay::underlay(mesh, a, b, &tunnel);
    let discovered = discovered(mesh, a, b);
    let handshake = handshake(mesh, a, b).implied_by(&tunnel);
    let steering = steering::steering(mesh, a, b, &tunnel);
    let tunnel_mtu = sizes::tunnel_mtu(mesh, a, b);
    let overlay_port = sizes::overlay_port(mesh, a, b);
    let overlay_mtu = sizes::overlay_mtu(mesh, a, b);
    let answers = [
        (Rung::Discovered, &discovered),
        (Rung::Underlay, &underlay),
        (Rung::Handshake, &handshake),
        (Rung::Tunnel, &tunnel),
        (Rung::Steering, &steering.answer),
        (Rung::TunnelMtu, &tunnel_mtu),
        (Rung::OverlayPort, &overlay_port),
        (Rung::OverlayMtu, &overlay_mtu),
    ];
    let ladder = ladder(mesh, a, b, &BTreeMap::from(answers));
    let (from, to) = (a.node.clone(), b.node.clone());
    Direction {
        from,
        to,
        discovered,
        underlay,
        tunnel,
        tunnel_mtu,
        overlay_port,
        overlay_mtu,
        steering: steering.answer,
        trouble: steering.trouble,
        loss_since,
        ladder,
    }
}

/// A's echo towards B, if it has lost too many in a row to be chance.
fn lost<'a>(a: &Member<'a>, b: &Member<'a>) -> Option<&'a EchoSent> {
    a.echo_sent(&b.key?)
        .filter(|echo| echo.consecutive_lost >= timing::LOST_IN_A_ROW)
}

fn discovered(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer {
    if a.fresh().is_none() {
        return Answer::unknown(format!("{} does not report", a.node));
    }
    let Some(key) = b.key else {
        return Answer::unknown(format!("the key of {} is not known", b.node));
    };
    let Some(source) = a.working(SourceId::WireGuard) else {
        return Answer::unknown(format!("{} cannot read its WireGuard device", a.node));
    };
    let read = |text| {
        vec![mesh.cite(
            a,
            FactKey::Source(SourceId::WireGuard),
            source.read_at,
            text,
        )]
    };
    match a.peer(&key) {
        None if mesh.settling(a, b) => Answer::unknown("no peer entry yet"),
        None => Answer::new(
            Outcome::Fail,
            "WireGuard peer list",
            read(format!(
                "its device has no peer {}.. ({})",
                key.short(),
                b.node
            )),
        ),
        Some(peer) => {
            let (outcome, text) = match peer.endpoint {
                Some(endpoint) => (
                    Outcome::Pass,
                    format!("its device has the peer at {endpoint}"),
                ),
                None => (
                    Outcome::Warn,
                    "its device has the peer without an endpoint: the peer has to dial".to_owned(),
                ),
            };
            Answer::new(
                outcome,
                "WireGuard peer list",
                vec![mesh.cite(a, FactKey::Peer(key), source.read_at, text)],
            )
        }
    }
}

fn undecided(a: &Member<'_>, b: &Member<'_>) -> Answer {
    let silent = |member: &Member<'_>| member.fresh().is_none();
    if silent(a) && silent(b) {
        return Answer::unknown("neither end reports");
    }
    match (silent(a), silent(b)) {
        (true, _) => Answer::unknown(format!("{} does not report", a.node)),
        (_, true) => Answer::unknown(format!("{} does not report", b.node)),
        _ => Answer::unknown("no echo has decided it yet"),
    }
}

/// Loss of A's requests as B counted it, in percent.
fn loss(a: &Member<'_>, b: &Member<'_>) -> Option<u32> {
    let heard = b.echo_heard(&a.key?)?;
    (heard.window >= timing::LOSS_MIN_WINDOW)
        .then(|| heard.window_missing.saturating_mul(100) / heard.window)
}

/// Is there a live session, as A's kernel says?
fn handshake(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer {
    let Some(key) = b.key.filter(|_| a.fresh().is_some()) else {
        return undecided(a, b);
    };
    let Some((peer, source)) = a.peer(&key).zip(a.working(SourceId::WireGuard)) else {
        return Answer::unknown("no peer entry");
    };
    let method = "last handshake in the WireGuard device";
    let cite = |at, text| vec![mesh.cite(a, FactKey::Peer(key), at, text)];
    match peer.last_handshake {
        Some(at) if mesh.recent(at, timing::SESSION) => Answer::new(
            Outcome::Pass,
            method,
            cite(at, format!("completed a handshake with {}", b.node)),
        ),
        Some(at) if mesh.now < at => {
            Answer::unknown("the last handshake lies ahead: a clock was set back")
        }
        Some(at) => {
            let text = format!(
                "the last handshake with {} is older than 180 s: no session carries data",
                b.node
            );
            Answer::new(Outcome::Fail, method, cite(at, text))
        }
        None if mesh.settling(a, b) => Answer::unknown("no handshake yet"),
        None => {
            let text = format!("never completed a handshake with {}", b.node);
            Answer::new(Outcome::Fail, method, cite(source.read_at, text))
        }
    }
}

/// Puts the answers on the ladder; what lies above the first failure is not judged.
fn ladder(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    answers: &BTreeMap<Rung, &Answer>,
) -> Ladder {
    let mut broken_at: Option<Rung> = None;
    let mut rungs = Vec::with_capacity(Rung::ALL.len());
    for rung in Rung::ALL {
        let state = match (answers.get(&rung), broken_at) {
            (_, Some(below)) => waiting(rung, format!("not judged: waiting for {below}")),
            (None, None) => waiting(rung, "not measured by this version".to_owned()),
            (Some(answer), None) => RungState {
                rung,
                outcome: answer.outcome,
                method: answer.method.clone(),
                evidence: answer.evidence.clone(),
            },
        };
        if broken_at.is_none() && state.outcome == Outcome::Fail {
            broken_at = Some(rung);
        }
        rungs.push(state);
    }
    let highest = rungs
        .iter()
        .take_while(|state| state.outcome.is_good())
        .last()
        .map(|state| state.rung);
    let peer = b.key.and_then(|key| a.peer(&key));
    let rtt = b
        .key
        .and_then(|key| a.echo_sent(&key))
        .and_then(|echo| echo.rtt);
    Ladder {
        from: a.node.clone(),
        to: b.node.clone(),
        rungs,
        highest,
        broken_at,
        rtt_us: rtt.map(|rtt| rtt.mean_us),
        loss_percent: loss(a, b),
        handshake_age_ms: peer
            .and_then(|peer| peer.last_handshake)
            .map(|at| millis(mesh.now.since(at))),
        endpoint: peer.and_then(|peer| peer.endpoint),
        flapping: None,
    }
}

fn waiting(rung: Rung, method: String) -> RungState {
    RungState {
        rung,
        outcome: Outcome::NotApplicableYet,
        method,
        evidence: Vec::new(),
    }
}
