//! One ordered pair, judged: does what A sends arrive at B, on the underlay and inside the tunnel?

mod data;
mod inert;
mod outcomes;
mod plain;
pub(crate) mod sizes;
mod steering;
mod tunnel;
mod underlay;
mod words;

use evidence::{
    Citation, EchoHeard, EchoSent, FactKey, Flapping, Ladder, Moment, NodeRef, Outcome, Rung,
    RungState, SourceId,
};

use crate::{
    flaps,
    mesh::{Member, Mesh, millis},
    timing,
};

pub(crate) use outcomes::Outcomes;
pub(crate) use plain::{Ground, Word};
pub(crate) use steering::{Missing, Outdated, Trouble, Witnesses};
use words::{Silent, Told, Words};

/// What is known about one question, how, and from what.
#[derive(Clone, Debug)]
pub(crate) struct Answer<W = Told> {
    pub(crate) outcome: Outcome,
    said: W,
}

impl std::ops::Deref for Answer<Told> {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.said
    }
}

impl<W: Words> Answer<W> {
    fn new(
        outcome: Outcome,
        method: &'static str,
        evidence: impl FnOnce() -> Vec<Citation>,
    ) -> Self {
        Self {
            outcome,
            said: W::say(method, evidence),
        }
    }

    fn unknown(why: &'static str) -> Self {
        Self::new(Outcome::Unknown, why, Vec::new)
    }

    /// Unknown for a reason that has to be put together.
    fn undecided(why: impl FnOnce() -> String) -> Self {
        Self {
            outcome: Outcome::Unknown,
            said: W::explain(why),
        }
    }

    /// Data that passes proves a session, whatever the handshake's wall-clock time says: a stepped clock makes it odd.
    fn implied_by(self, tunnel: &Self) -> Self {
        if self.outcome.is_good() || !tunnel.outcome.is_good() {
            return self;
        }
        let method = "implied: data passes, though the handshake time is odd";
        Self {
            outcome: Outcome::Warn,
            said: tunnel.said.renamed(method),
        }
    }
}

/// Each question about a direction that is asked on its own, bottom up.
const ASKED: [Rung; 8] = [
    Rung::Discovered,
    Rung::Underlay,
    Rung::Handshake,
    Rung::Tunnel,
    Rung::Steering,
    Rung::TunnelMtu,
    Rung::OverlayPort,
    Rung::OverlayMtu,
];

/// The answers about a direction, by [`ASKED`].
type Answers<W> = [Answer<W>; ASKED.len()];

/// What a finding needs to know first of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) outcome: Outcome,
}

/// The direction from A to B.
#[derive(Clone, Copy)]
pub(crate) struct Direction<'m, 'a> {
    mesh: &'m Mesh<'a>,
    pub(crate) a: &'m Member<'a>,
    pub(crate) b: &'m Member<'a>,
    pub(crate) from: &'m NodeRef,
    pub(crate) to: &'m NodeRef,
    pub(crate) discovered: Found,
    pub(crate) underlay: Found,
    pub(crate) tunnel: Found,
    pub(crate) steering: Found,
    /// What the ladder has.
    pub(crate) ladder: Outcomes,
}

impl<'m, 'a> Direction<'m, 'a> {
    pub(crate) fn new(
        mesh: &'m Mesh<'a>,
        (a, b): (&'m Member<'a>, &'m Member<'a>),
        outcomes: Outcomes,
    ) -> Self {
        // What flaps is good at the moment: that is what findings ask for.
        let found = |rung| Found {
            outcome: match outcomes.asked(rung) {
                Outcome::Flapping => Outcome::Pass,
                outcome => outcome,
            },
        };
        Self {
            mesh,
            a,
            b,
            from: &a.node,
            to: &b.node,
            discovered: found(Rung::Discovered),
            underlay: found(Rung::Underlay),
            tunnel: found(Rung::Tunnel),
            steering: found(Rung::Steering),
            ladder: outcomes,
        }
    }

    /// The direction in words.
    pub(crate) fn told(&self) -> Spoken {
        spoken(self.mesh, self.a, self.b)
    }

    /// How the pair comes and goes, if it does.
    pub(crate) fn flapping(&self) -> Option<Flapping> {
        let history = &self.mesh.view.history;
        if history.is_empty() {
            return None;
        }
        let flaps = history.flaps(self.from, self.to, self.mesh.now);
        flaps.map(|flaps| flaps.told)
    }

    /// When A's echo began to be lost, if it is lost now.
    pub(crate) fn loss_since(&self) -> Option<Moment> {
        lost(self.a, self.b)?.loss_since
    }

    /// What is wrong with the steering, if something is.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        // No trouble without a failure, and most directions have none.
        (self.steering.outcome == Outcome::Fail)
            .then(|| judge::<Silent>(self.mesh, self.a, self.b).1)
            .flatten()
    }

    /// Whether the newest two echoes of A were lost. They accuse nobody, and what came before them acquits nobody.
    pub(crate) fn is_losing(&self) -> bool {
        let sent = self.b.key.and_then(|key| self.a.echo_sent(&key));
        sent.is_some_and(|echo| echo.consecutive_lost >= timing::LOSING)
    }

    /// What the ladder says of a rung. Packets inside the tunnel are not steered: their sizes are judged where only steering
    /// keeps the ladder from it.
    pub(crate) fn outcome(&self, rung: Rung) -> Outcome {
        if rung == Rung::TunnelMtu && self.ladder.broken_at() == Some(Rung::Steering) {
            return self.ladder.asked(rung);
        }
        self.ladder.outcome(rung)
    }

    /// B's endpoint as A uses it.
    pub(crate) fn endpoint(&self) -> Option<std::net::SocketAddr> {
        self.a.peer(&self.b.key?)?.endpoint
    }
}

/// A direction in words.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) discovered: Answer,
    pub(crate) underlay: Answer,
    pub(crate) tunnel: Answer,
    pub(crate) steering: Answer,
    pub(crate) tunnel_mtu: Answer,
    pub(crate) overlay_port: Answer,
    pub(crate) overlay_mtu: Answer,
}

fn spoken<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>) -> Spoken {
    let (answers, _) = judge::<Told>(mesh, a, b);
    let [
        discovered,
        underlay,
        _,
        tunnel,
        steering,
        tunnel_mtu,
        overlay_port,
        overlay_mtu,
    ] = answers;
    Spoken {
        discovered,
        underlay,
        tunnel,
        steering,
        tunnel_mtu,
        overlay_port,
        overlay_mtu,
    }
}

/// The ladder of the direction from `a` to `b`, with all that it rests on.
pub(crate) fn ladder_of<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>) -> Ladder {
    let (answers, _) = judge::<Told>(mesh, a, b);
    let mut ladder = ladder(mesh, a, b, &answers);
    flaps::mark(mesh, &mut ladder);
    ladder
}

/// Judges the direction from `a` to `b`.
fn judge<'a, W: Words>(
    mesh: &Mesh<'a>,
    a: &Member<'a>,
    b: &Member<'a>,
) -> (Answers<W>, Option<Trouble>) {
    let tunnel = tunnel::tunnel(mesh, a, b);
    let underlay = underlay::underlay(mesh, a, b, &tunnel);
    let discovered = discovered(mesh, a, b);
    let handshake = handshake(mesh, a, b).implied_by(&tunnel);
    let steering = steering::steering(mesh, a, b, &tunnel);
    let tunnel_mtu = sizes::tunnel_mtu(mesh, a, b);
    let overlay_port = sizes::overlay_port(mesh, a, b);
    let overlay_mtu = sizes::overlay_mtu(mesh, a, b);
    let answers = [
        discovered,
        underlay,
        handshake,
        tunnel,
        steering.answer,
        tunnel_mtu,
        overlay_port,
        overlay_mtu,
    ];
    (answers, steering.trouble)
}

/// A's echo towards B, if it has lost too many in a row to be chance.
fn lost<'a>(a: &Member<'a>, b: &Member<'a>) -> Option<&'a EchoSent> {
    a.echo_sent(&b.key?).filter(|echo| is_lost(echo))
}

/// Whether what is lost now is more than chance takes.
fn is_lost(echo: &EchoSent) -> bool {
    echo.consecutive_lost >= timing::lost_in_a_row(echo.short_losses)
}

fn discovered<W: Words>(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    if a.fresh().is_none() {
        return Answer::undecided(|| format!("{} does not report", a.node));
    }
    let Some(key) = b.key else {
        return Answer::undecided(|| format!("the key of {} is not known", b.node));
    };
    let Some(source) = a.working(SourceId::WireGuard) else {
        return Answer::undecided(|| format!("{} cannot read its WireGuard device", a.node));
    };
    match a.peer(&key) {
        None if mesh.settling(a, b) => Answer::unknown("no peer entry yet"),
        None => Answer::new(Outcome::Fail, "WireGuard peer list", || {
            let text = format!("its device has no peer {}.. ({})", key.short(), b.node);
            let fact = FactKey::Source(SourceId::WireGuard);
            vec![mesh.cite(a, fact, source.read_at, text)]
        }),
        Some(peer) => {
            let outcome = match peer.endpoint {
                Some(_) => Outcome::Pass,
                None => Outcome::Warn,
            };
            Answer::new(outcome, "WireGuard peer list", || {
                let text = match peer.endpoint {
                    Some(endpoint) => format!("its device has the peer at {endpoint}"),
                    None => "its device has the peer without an endpoint: the peer has to dial"
                        .to_owned(),
                };
                vec![mesh.cite(a, FactKey::Peer(key), source.read_at, text)]
            })
        }
    }
}

fn undecided<W: Words>(a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let silent = |member: &Member<'_>| member.fresh().is_none();
    if silent(a) && silent(b) {
        return Answer::unknown("neither end reports");
    }
    match (silent(a), silent(b)) {
        (true, _) => Answer::undecided(|| format!("{} does not report", a.node)),
        (_, true) => Answer::undecided(|| format!("{} does not report", b.node)),
        _ => Answer::unknown("no echo has decided it yet"),
    }
}

/// Loss of A's requests as B counted it, in percent.
fn loss(a: &Member<'_>, b: &Member<'_>) -> Option<u32> {
    loss_percent(b.echo_heard(&a.key?)?)
}

fn loss_percent(heard: &EchoHeard) -> Option<u32> {
    (heard.window >= timing::LOSS_MIN_WINDOW)
        .then(|| heard.window_missing.saturating_mul(100) / heard.window)
}

/// Whether so much is lost that it is worth a warning.
const fn is_lossy(percent: u32) -> bool {
    percent >= timing::LOSS_WARN_PERCENT
}

/// Is there a live session, as A's kernel says?
fn handshake<W: Words>(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let Some(key) = b.key.filter(|_| a.fresh().is_some()) else {
        return undecided(a, b);
    };
    let Some((peer, source)) = a.peer(&key).zip(a.working(SourceId::WireGuard)) else {
        return Answer::unknown("no peer entry");
    };
    let method = "last handshake in the WireGuard device";
    let cite = |at, text| vec![mesh.cite(a, FactKey::Peer(key), at, text)];
    match peer.last_handshake {
        Some(at) if mesh.recent(at, timing::SESSION) => Answer::new(Outcome::Pass, method, || {
            cite(at, format!("completed a handshake with {}", b.node))
        }),
        Some(at) if !mesh.reached(at) => {
            Answer::unknown("the last handshake lies ahead: a clock was set back")
        }
        Some(at) => Answer::new(Outcome::Fail, method, || {
            let text = format!(
                "the last handshake with {} is older than 180 s: no session carries data",
                b.node
            );
            cite(at, text)
        }),
        None if mesh.settling(a, b) => Answer::unknown("no handshake yet"),
        None => Answer::new(Outcome::Fail, method, || {
            let text = format!("never completed a handshake with {}", b.node);
            cite(source.read_at, text)
        }),
    }
}

/// Puts the answers on the ladder; what lies above the first failure is not judged.
fn ladder(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, answers: &Answers<Told>) -> Ladder {
    let mut broken_at: Option<Rung> = None;
    let mut rungs = Vec::with_capacity(Rung::ALL.len());
    for rung in Rung::ALL {
        let asked = ASKED.iter().position(|asked| *asked == rung);
        let answer = asked.and_then(|place| answers.get(place));
        let state = match (answer, broken_at) {
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
