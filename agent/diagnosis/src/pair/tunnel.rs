//! Does data from A arrive at B inside the tunnel?

use evidence::{FactKey, Moment, Outcome, PublicKey, SourceId};

use super::{Answer, loss, lost, undecided};
use crate::{
    mesh::{Member, Mesh},
    text, timing,
};

/// Does data from A arrive at B inside the tunnel?
pub(super) fn tunnel(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer {
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
