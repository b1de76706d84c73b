//! What echoes to the node addresses showed: by which link they came in.
//!
//! The comparison of lists says why traffic does not enter the tunnel. Where it finds nothing wrong, an echo proves that it is right, or
//! that it has overlooked something. A lost echo alone accuses nobody: a filter may drop this one port.

use evidence::{Citation, FactKey, Moment, NodeAsked, NodeHeard, Outcome, SourceId, Via};

use super::{Judged, Pair, Trouble};
use crate::{mesh::Mesh, pair::Words, timing};

const METHOD: &str = "echo to the node address: in by kubespan at both ends";
const AROUND: &str = "echo to the node address: in by another link than kubespan";

/// What an echo showed, the worst first.
enum Shown<'a> {
    /// B heard several in a row that came in by another link.
    Around(&'a NodeHeard, &'a str),
    /// None is answered, and another node told A that one of its requests came in by another link.
    Beside(&'a NodeAsked, Moment),
    /// None is answered.
    Lost(&'a NodeAsked),
    /// The answer came back, and both were in by `kubespan`.
    Through(&'a NodeAsked, &'a NodeHeard),
}

impl<W: Words> Pair<'_, '_, W> {
    /// Whether what was found by comparing holds when it is tried.
    pub(super) fn tried(&self, judged: Judged<W>) -> Judged<W> {
        if judged.answer.outcome != Outcome::Pass {
            return judged;
        }
        let shown = self.around().or_else(|| self.lost());
        // A proof changes the words alone.
        let proof = || W::SPEAKS.then(|| self.through()).flatten();
        match shown.or_else(proof) {
            None => judged,
            Some(Shown::Through(asked, heard)) => self.proved(judged, asked, heard),
            Some(Shown::Lost(asked)) => self.unanswered(judged, asked),
            Some(Shown::Around(heard, link)) => {
                let mut judged = judged;
                judged.answer.said = judged.answer.said.renamed(AROUND);
                judged.answer.said.add(|| self.cite_around(heard, link));
                goes_around(judged, true)
            }
            Some(Shown::Beside(asked, at)) => {
                let mut judged = judged;
                judged.answer.said = judged.answer.said.renamed(AROUND);
                judged.answer.said.add(|| self.cite_lost(asked));
                judged.answer.said.add(|| {
                    let text =
                        "another node told it that its echo came in by another link than kubespan";
                    let fact = FactKey::NodeEcho(self.b_key);
                    self.mesh.cite(self.a, fact, at, text.to_owned())
                });
                goes_around(judged, false)
            }
        }
    }

    fn proved(&self, mut judged: Judged<W>, asked: &NodeAsked, heard: &NodeHeard) -> Judged<W> {
        let said = &mut judged.answer.said;
        *said = said.renamed(METHOD);
        said.add(|| {
            let text = format!(
                "{} answered its echo to {}; the answer came in by kubespan",
                self.b.node, asked.to
            );
            let at = asked.last_answered.unwrap_or(self.mesh.now);
            let fact = FactKey::NodeEcho(self.b_key);
            self.mesh.cite(self.a, fact, at, text)
        });
        if let Some(key) = self.a.key {
            said.add(|| {
                let text = format!(
                    "the echo of {} to {} came in by kubespan",
                    self.a.node, heard.at
                );
                let fact = FactKey::NodeEcho(key);
                self.mesh.cite(self.b, fact, heard.last, text)
            });
        }
        judged
    }

    fn unanswered(&self, mut judged: Judged<W>, asked: &NodeAsked) -> Judged<W> {
        judged.answer.outcome = Outcome::Warn;
        judged.answer.said.add(|| self.cite_lost(asked));
        judged
    }

    fn cite_around(&self, heard: &NodeHeard, link: &str) -> Citation {
        let text = format!(
            "the last {} echoes of {} to {} came in by {link} and not by kubespan",
            heard.around, self.a.node, heard.at
        );
        let key = self.a.key.unwrap_or(self.b_key);
        let fact = FactKey::NodeEcho(key);
        self.mesh.cite(self.b, fact, heard.last, text)
    }

    fn cite_lost(&self, asked: &NodeAsked) -> Citation {
        let text = format!(
            "{} echoes in a row to {} of {} went unanswered, though it answers those to its KubeSpan address",
            asked.lost, asked.to, self.b.node
        );
        let at = asked.lost_since.unwrap_or(self.mesh.now);
        let fact = FactKey::NodeEcho(self.b_key);
        self.mesh.cite(self.a, fact, at, text)
    }

    /// Since when the comparison says what it says: an echo from before says nothing of it.
    fn compared_since(&self) -> Moment {
        self.steered.since.max(self.node.since).plus(timing::SKEW)
    }

    fn asked(&self) -> &[NodeAsked] {
        let echo = self.a.node_echo(&self.b_key);
        echo.map_or(&[], |echo| &echo.asked)
    }

    fn heard(&self) -> &[NodeHeard] {
        let echo = self.a.key.and_then(|key| self.b.node_echo(&key));
        echo.map_or(&[], |echo| &echo.heard)
    }

    /// The lists must have been read again since it began: they are read every two seconds, and a chain may be gone for less.
    fn around(&self) -> Option<Shown<'_>> {
        let mut heard = self.heard().iter();
        heard.find_map(|heard| {
            let Some(Via::Link(link)) = &heard.via else {
                return None;
            };
            let since = heard.around_since?;
            let long = heard.around >= timing::LOST_IN_A_ROW && since >= self.compared_since();
            let now = long && self.mesh.recent(heard.last, timing::NODE_ECHO_AROUND);
            (now && self.was_read_after(since)).then_some(Shown::Around(heard, link))
        })
    }

    fn was_read_after(&self, moment: Moment) -> bool {
        // When it was read last is not followed.
        self.mesh.trace().never_holds();
        super::seen(self.a).is_some_and(|read_at| read_at >= moment.plus(timing::SKEW))
    }

    /// Losses count only while the tunnel carries, of an address that B has, and which its agent listened at all the while.
    fn lost(&self) -> Option<Shown<'_>> {
        if !self.tunnel.outcome.is_good() {
            return None;
        }
        let any = |asked: &&NodeAsked| asked.lost >= timing::LOST_IN_A_ROW;
        let mut lost = self.asked().iter().filter(any).peekable();
        lost.peek()?;
        let echo = self.a.echo_sent(&self.b_key)?;
        let many = timing::lost_in_a_row(echo.short_losses);
        let own = &self.b.identity()?.addresses;
        let mut lost = lost.filter(|asked| asked.lost >= many && own.contains(&asked.to));
        let asked = lost.find(|asked| self.should_have_come(asked) == Some(true))?;
        let beside = asked.beside.filter(|at| {
            *at >= self.compared_since() && self.mesh.recent(*at, timing::NODE_ECHO_AROUND)
        });
        Some(beside.map_or(Shown::Lost(asked), |at| Shown::Beside(asked, at)))
    }

    fn should_have_come(&self, asked: &NodeAsked) -> Option<bool> {
        let since = asked.lost_since?;
        let steady = Mesh::both_steady_since(self.a, self.b)?;
        let ears = self.b.counting_since(SourceId::NodeEcho, self.a)?;
        let before = self.compared_since().max(steady).max(ears);
        let mut heard = self.heard().iter();
        let came = heard.any(|heard| heard.at == asked.to && heard.last >= since);
        Some(since >= before && !came)
    }

    fn through(&self) -> Option<Shown<'_>> {
        let fresh = timing::node_echo_fresh(self.mesh.members.len());
        let recent = |at: Moment| at >= self.compared_since() && self.mesh.recent(at, fresh);
        let is_in = |via: &Option<Via>| via.as_ref().is_some_and(Via::is_tunnel);
        self.asked().iter().find_map(|asked| {
            let back = is_in(&asked.back) && asked.lost < timing::LOST_IN_A_ROW;
            let back = back && asked.last_answered.is_some_and(recent);
            let mut heard = self.heard().iter().filter(|heard| heard.at == asked.to);
            let heard = heard.find(|heard| is_in(&heard.via) && recent(heard.last))?;
            back.then_some(Shown::Through(asked, heard))
        })
    }
}

fn goes_around<W>(mut judged: Judged<W>, seen: bool) -> Judged<W> {
    judged.answer.outcome = Outcome::Fail;
    judged.trouble = Some(Trouble::Around { seen });
    judged
}
