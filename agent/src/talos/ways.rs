//! How the encrypted packets to endpoint candidates would leave this node.

use std::{collections::BTreeMap, net::IpAddr};

use evidence::CandidateWay;
use proto::transport::UNDERLAY_MARK;
use sources::links::{self, Question, Snapshot, Way};

/// Questions in one round, of which there is one a second; the others come in the next.
const QUESTIONS: usize = 200;

/// Asks the kernel, with the mark of `WireGuard`'s own packets. What could not be asked has no entry.
pub(super) async fn ask(
    candidates: &[IpAddr],
    links: Option<&Snapshot>,
) -> BTreeMap<IpAddr, CandidateWay> {
    let Some(links) = links else {
        return BTreeMap::new();
    };
    let asked = candidates.iter().take(QUESTIONS);
    let questions: Vec<_> = asked
        .map(|to| Question {
            to: *to,
            mark: UNDERLAY_MARK,
        })
        .collect();
    let ways = links::ways(&questions).await.unwrap_or_default();
    let answered = questions.iter().zip(ways);
    answered
        .map(|(question, way)| (question.to, named(way, links)))
        .collect()
}

fn named(way: Option<Way>, links: &Snapshot) -> CandidateWay {
    let name = |index| {
        let link = links.links.iter().find(|link| link.index == index);
        link.map_or_else(|| format!("#{index}"), |link| link.name.clone())
    };
    CandidateWay {
        via: way.map(|way| name(way.link)),
        on_link: way.is_some_and(|way| way.on_link),
    }
}
