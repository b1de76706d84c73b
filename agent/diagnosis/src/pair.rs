//! One ordered pair, judged: does what A sends arrive at B, on the underlay and inside the tunnel?

use evidence::{
    Citation, EchoSent, FactKey, Ladder, Moment, NodeRef, Outcome, PublicKey, Rung, RungState,
    SourceId,
};

use crate::{
    journey::{Journey, LastSeen, journeys},
    mesh::{Member, Mesh, millis},
    text, timing,
};

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
    /// When A's echo began to be lost, if it is lost now.
    pub(crate) loss_since: Option<Moment>,
    pub(crate) ladder: Ladder,
}

/// Judges the direction from `a` to `b`.
pub(crate) fn judge<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>) -> Direction {
    let loss_since = lost(a, b).and_then(|echo| echo.loss_since);
    let tunnel = tunnel(mesh, a, b);
    let underlay = underlay(mesh, a, b, &tunnel);
    let discovered = discovered(mesh, a, b);
    let handshake = handshake(mesh, a, b).implied_by(&tunnel);
    let ladder = ladder(mesh, a, b, [&discovered, &underlay, &handshake, &tunnel]);
    let (from, to) = (a.node.clone(), b.node.clone());
    Direction {
        from,
        to,
        discovered,
        underlay,
        tunnel,
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
    let Some(view) = a.fresh() else {
        return Answer::unknown(format!("{} does not report", a.node));
    };
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
        None if mesh.now.since(view.since) < timing::SETTLE => Answer::unknown("no peer entry yet"),
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

/// Does data from A arrive at B inside the tunnel?
fn tunnel(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer {
    let (Some(a_key), Some(b_key)) = (a.key, b.key) else {
        return Answer::unknown("the WireGuard key of one end is not known");
    };
    answered(mesh, a, b, &b_key)
        .or_else(|| heard(mesh, a, b, (&a_key, &b_key)))
        .or_else(|| broken(mesh, a, b, (&a_key, &b_key)))
        .or_else(|| reply_arrived(mesh, a, b, (&a_key, &b_key)))
        .unwrap_or_else(|| undecided(a, b))
}

/// A's own echo came back, or B's kernel refused it through the tunnel.
fn answered(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, b_key: &PublicKey) -> Option<Answer> {
    let echo = a.echo_sent(b_key)?;
    let fresh = |at: &Moment| mesh.now.since(*at) <= mesh.echo_fresh;
    let fact = FactKey::EchoSent(*b_key);
    if let Some(at) = echo.last_answered.filter(fresh)
        && echo.consecutive_lost < timing::LOST_IN_A_ROW
    {
        let cited = vec![mesh.cite(
            a,
            fact,
            at,
            format!("{} answered its echo{}", b.node, text::rtt(echo.rtt)),
        )];
        return Some(lossy(
            mesh,
            b,
            a,
            Answer::new(Outcome::Pass, "in-tunnel echo answered", cited),
        ));
    }
    let refused = echo
        .refused
        .filter(fresh)
        .filter(|at| echo.last_answered.is_none_or(|answered| *at > answered))?;
    let text = format!(
        "the kernel of {} refused the echo through the tunnel: it carries, but no agent listens",
        b.node
    );
    Some(Answer::new(
        Outcome::Pass,
        "port unreachable through the tunnel",
        vec![mesh.cite(a, fact, refused, text)],
    ))
}

/// B heard A's echo, though A may not know.
fn heard(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    keys: (&PublicKey, &PublicKey),
) -> Option<Answer> {
    let at = b.echo_heard(keys.0)?.last_heard?;
    let after_loss = a
        .echo_sent(keys.1)
        .and_then(|echo| echo.loss_since)
        .is_none_or(|since| at >= since.plus(timing::SKEW));
    (after_loss && mesh.now.since(at) <= mesh.echo_fresh).then(|| {
        let text = format!("heard the echo of {}", a.node);
        let cited = vec![mesh.cite(b, FactKey::EchoHeard(*keys.0), at, text)];
        lossy(
            mesh,
            b,
            a,
            Answer::new(Outcome::Pass, "in-tunnel echo heard by the far side", cited),
        )
    })
}

/// A lost several in a row, and B, whose ears work, heard none of them.
fn broken(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    keys: (&PublicKey, &PublicKey),
) -> Option<Answer> {
    let echo = lost(a, b)?;
    let since = echo.loss_since?;
    let ears = b.working(SourceId::Echo)?;
    let last_heard = b.echo_heard(keys.0).and_then(|heard| heard.last_heard);
    if last_heard.is_some_and(|at| at >= since.plus(timing::SKEW)) {
        return None;
    }
    let sent = format!(
        "{} echo requests in a row to {} went unanswered",
        echo.consecutive_lost, b.node
    );
    let listened = match last_heard {
        Some(at) => format!(
            "heard none of them; the last echo of {} came {} ago",
            a.node,
            text::age(mesh.now.since(at))
        ),
        None => format!("heard none of them, and never any echo of {}", a.node),
    };
    Some(Answer::new(
        Outcome::Fail,
        "in-tunnel echo: sent by one side, not heard by the other",
        vec![
            mesh.cite(a, FactKey::EchoSent(*keys.1), since, sent),
            mesh.cite(b, FactKey::Source(SourceId::Echo), ears.read_at, listened),
        ],
    ))
}

/// A's reply to B's echo arrived at B.
fn reply_arrived(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    keys: (&PublicKey, &PublicKey),
) -> Option<Answer> {
    let echo = b.echo_sent(keys.0)?;
    let at = echo
        .last_answered
        .filter(|at| mesh.now.since(*at) <= mesh.echo_fresh)?;
    let after_loss = a
        .echo_sent(keys.1)
        .and_then(|own| own.loss_since)
        .is_none_or(|since| at >= since.plus(timing::SKEW));
    (after_loss && echo.consecutive_lost < timing::LOST_IN_A_ROW).then(|| {
        let text = format!("{} answered its echo", a.node);
        Answer::new(
            Outcome::Pass,
            "reply to the far side's echo",
            vec![mesh.cite(b, FactKey::EchoSent(*keys.0), at, text)],
        )
    })
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

/// Lowers a pass to a warning if the far side misses many of the recent requests.
fn lossy(mesh: &Mesh<'_>, b: &Member<'_>, a: &Member<'_>, mut answer: Answer) -> Answer {
    let Some((percent, key)) = loss(a, b).zip(a.key) else {
        return answer;
    };
    if percent >= timing::LOSS_WARN_PERCENT {
        let at = b.last_report().unwrap_or(mesh.now);
        let text = format!(
            "misses {percent} % of the recent echo requests of {}",
            a.node
        );
        answer.outcome = Outcome::Warn;
        answer
            .evidence
            .push(mesh.cite(b, FactKey::EchoHeard(key), at, text));
    }
    answer
}

/// Loss of A's requests as B counted it, in percent.
fn loss(a: &Member<'_>, b: &Member<'_>) -> Option<u32> {
    let heard = b.echo_heard(&a.key?)?;
    (heard.window >= timing::LOSS_MIN_WINDOW)
        .then(|| heard.window_missing.saturating_mul(100) / heard.window)
}

/// Do A's datagrams to B's 51820 arrive at B?
fn underlay<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>, tunnel: &Answer) -> Answer {
    if tunnel.outcome.is_good() {
        return Answer::new(
            Outcome::Pass,
            "implied: data arrives inside the tunnel",
            tunnel.evidence.clone(),
        );
    }
    if a.fresh().is_none() || b.fresh().is_none() {
        return undecided(a, b);
    }
    let since = lost(a, b)
        .and_then(|echo| echo.loss_since)
        .unwrap_or_else(|| mesh.now.minus(timing::SESSION));
    let there = journeys(mesh, a, b, since);
    let back = journeys(mesh, b, a, since);
    inert_unheard(mesh, a, b, since)
        .or_else(|| handshake_arrived(mesh, a, b, &there, &back))
        .or_else(|| inert_heard(mesh, a, b, since))
        .or_else(|| handshake_never_arrived(mesh, a, b, &there, &back))
        .unwrap_or_else(|| no_underlay_evidence(a, b))
}

/// At least two inert datagrams left A on the true five-tuple, and B's tap saw none of them.
fn inert_unheard(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, since: Moment) -> Option<Answer> {
    let (a_key, b_key) = (a.key?, b.key?);
    let (sent, tap) = (a.inert(&b_key)?, b.working(SourceId::Tap)?);
    let (to, reported) = (sent.to?, b.last_report()?);
    let last_heard = b.inert(&a_key).and_then(|heard| heard.last_heard);
    let unheard: Vec<&Moment> = sent
        .sent_times
        .iter()
        .filter(|at| **at >= since && reported >= at.plus(timing::ARRIVES_WITHIN))
        .filter(|at| last_heard.is_none_or(|heard| heard.plus(timing::SKEW) < **at))
        .collect();
    let newest = **unheard.last()?;
    (unheard.len() >= 2).then(|| {
        let left = format!(
            "sent {} inert datagrams from 51820 to {to}, the endpoint of {}: they left its interface",
            unheard.len(),
            b.node
        );
        let missed = format!("its tap, which sees datagrams before any firewall of the host, saw none of them{}", {
            last_heard.map_or_else(String::new, |at| format!("; the last one came {} ago", text::age(mesh.now.since(at))))
        });
        Answer::new(
            Outcome::Fail,
            "inert datagrams on the true five-tuple",
            vec![
                mesh.cite(a, FactKey::Inert(b_key), newest, left),
                mesh.cite(b, FactKey::Source(SourceId::Tap), tap.read_at, missed),
            ],
        )
    })
}

fn inert_heard(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, since: Moment) -> Option<Answer> {
    let key = a.key?;
    let inert = b.inert(&key)?;
    let at = inert.last_heard.filter(|at| *at >= since)?;
    let from = inert
        .heard_from
        .map_or_else(String::new, |from| format!(" from {from}"));
    let text = format!("its tap saw an inert datagram of {} arrive{from}", a.node);
    Some(Answer::new(
        Outcome::Pass,
        "inert datagrams on the true five-tuple",
        vec![mesh.cite(b, FactKey::Inert(key), at, text)],
    ))
}

/// A handshake datagram of A was seen at B: an initiation, or the response to B's own.
fn handshake_arrived(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    there: &[Journey<'_>],
    back: &[Journey<'_>],
) -> Option<Answer> {
    let method = "handshake datagrams seen by the taps of both nodes";
    let initiation = there.iter().rev().find_map(|journey| journey.arrival);
    if let Some(arrival) = initiation {
        let text = format!(
            "its tap saw an initiation of {} arrive from {}",
            a.node, arrival.from
        );
        return Some(Answer::new(
            Outcome::Pass,
            method,
            vec![mesh.cite(b, FactKey::Arrivals, arrival.at, text)],
        ));
    }
    let answered = back
        .iter()
        .rev()
        .find_map(|journey| journey.sent.response_at.zip(a.key));
    let (at, key) = answered?;
    let text = format!("its tap saw the response of {} arrive", a.node);
    Some(Answer::new(
        Outcome::Pass,
        method,
        vec![mesh.cite(b, FactKey::Initiated(key), at, text)],
    ))
}

/// Two handshake datagrams of A left, and none was seen at B.
fn handshake_never_arrived(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    there: &[Journey<'_>],
    back: &[Journey<'_>],
) -> Option<Answer> {
    let (a_key, b_key) = (a.key?, b.key?);
    let tap = b.working(SourceId::Tap)?;
    let never = |journey: &&Journey<'_>| journey.last_seen == LastSeen::LeavingSender;
    let lost_answer = |journey: &&Journey<'_>| journey.last_seen == LastSeen::AnswerLost;
    let initiations: Vec<_> = there.iter().filter(never).collect();
    let responses: Vec<_> = back.iter().filter(lost_answer).collect();
    if initiations.len() + responses.len() < 2 {
        return None;
    }
    let mut cited = Vec::new();
    if let Some(newest) = initiations.last() {
        let text = format!(
            "{} handshake initiations left for {} at {}",
            initiations.len(),
            b.node,
            newest.sent.to
        );
        cited.push(mesh.cite(a, FactKey::Initiated(b_key), newest.sent.sent_at, text));
    }
    if let Some(at) = responses
        .last()
        .and_then(|newest| newest.arrival?.answered_at)
    {
        let text = format!(
            "it answered {} initiations of {}; the answers left",
            responses.len(),
            b.node
        );
        cited.push(mesh.cite(a, FactKey::Arrivals, at, text));
    }
    let text = format!("its tap saw none of them ({}..)", a_key.short());
    cited.push(mesh.cite(b, FactKey::Source(SourceId::Tap), tap.read_at, text));
    Some(Answer::new(
        Outcome::Fail,
        "handshake datagrams followed by the taps of both nodes",
        cited,
    ))
}

fn no_underlay_evidence(a: &Member<'_>, b: &Member<'_>) -> Answer {
    let gap = [a, b].into_iter().find_map(|member| {
        let gap = member.source(SourceId::Tap)?.gap.as_ref()?;
        Some(format!("{} has no tap: {}", member.node, gap.reason))
    });
    if let Some(gap) = gap {
        return Answer::unknown(gap);
    }
    let no_endpoint = b
        .key
        .and_then(|key| a.peer(&key))
        .is_some_and(|peer| peer.endpoint.is_none());
    if no_endpoint {
        return Answer::unknown(format!(
            "{} has no endpoint for {}: {} has to dial",
            a.node, b.node, b.node
        ));
    }
    Answer::unknown("no datagram on the true five-tuple has decided it yet")
}

/// Is there a live session, as A's kernel says?
fn handshake(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer {
    let Some((view, key)) = a.fresh().zip(b.key) else {
        return undecided(a, b);
    };
    let Some((peer, source)) = a.peer(&key).zip(a.working(SourceId::WireGuard)) else {
        return Answer::unknown("no peer entry");
    };
    let method = "last handshake in the WireGuard device";
    let cite = |at, text| vec![mesh.cite(a, FactKey::Peer(key), at, text)];
    match peer.last_handshake {
        Some(at) if mesh.now.since(at) < timing::SESSION => Answer::new(
            Outcome::Pass,
            method,
            cite(at, format!("completed a handshake with {}", b.node)),
        ),
        Some(at) => {
            let text = format!(
                "the last handshake with {} is older than 180 s: no session carries data",
                b.node
            );
            Answer::new(Outcome::Fail, method, cite(at, text))
        }
        None if mesh.now.since(view.since) < timing::SETTLE => Answer::unknown("no handshake yet"),
        None => {
            let text = format!("never completed a handshake with {}", b.node);
            Answer::new(Outcome::Fail, method, cite(source.read_at, text))
        }
    }
}

/// Puts the answers on the ladder; what lies above the first failure is not judged.
fn ladder(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, answers: [&Answer; 4]) -> Ladder {
    let mut broken_at: Option<Rung> = None;
    let mut rungs = Vec::with_capacity(Rung::ALL.len());
    for (index, rung) in Rung::ALL.into_iter().enumerate() {
        let state = match (answers.get(index), broken_at) {
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
