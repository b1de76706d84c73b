//! `talos`: what every node's own Talos says of `KubeSpan`, joined without an agent.

mod conflict;
mod join;
mod said;

use serde::Serialize;

pub use conflict::Conflict;
pub use join::{Node, Pair, PairState};
pub use said::{Answer, Said, SaidPeer, Silence, Stage};

use super::{Facts, Lines, line};
use crate::{exit::Exit, render::text::count};

/// Why nobody is asked through somebody else.
const DIRECTLY: &str = "a node's apid is asked directly, never through another node, since that path goes through the tunnel";

/// The view of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TalosMesh {
    /// The talosconfig's context.
    pub context: String,
    /// A proxy that talosctl would use and this did not.
    pub proxy: Option<String>,
    pub nodes: Vec<Node>,
    /// Every ordered pair of them.
    pub pairs: Vec<Pair>,
    pub conflicts: Vec<Conflict>,
}

impl TalosMesh {
    /// Joins what was answered.
    pub fn new(context: String, proxy: Option<String>, answers: &[Answer]) -> Self {
        let nodes = join::nodes(answers);
        let pairs = join::pairs(&nodes, answers);
        let conflicts = conflict::find(&nodes, &pairs, answers);
        Self {
            context,
            proxy,
            nodes,
            pairs,
            conflicts,
        }
    }

    /// Those that said nothing, with why.
    pub fn silent(&self) -> impl Iterator<Item = (&Node, &Silence)> {
        self.nodes
            .iter()
            .filter_map(|node| Some((node, node.silence.as_ref()?)))
    }

    fn answered(&self) -> usize {
        self.nodes.iter().filter(|node| node.answered).count()
    }

    fn of(&self, state: PairState) -> usize {
        self.pairs.iter().filter(|pair| pair.state == state).count()
    }

    /// Those that answered and have no `KubeSpan`.
    fn without_kubespan(&self) -> impl Iterator<Item = &str> {
        let without = |node: &&Node| node.answered && node.key.is_none();
        let nodes = self.nodes.iter().filter(without);
        nodes.map(|node| node.name.as_str())
    }

    fn judged(&self) -> String {
        let (up, all) = (self.of(PairState::Up), self.pairs.len());
        match all {
            0 if self.answered() == 0 => "cannot tell: no node answered".to_owned(),
            0 => "cannot tell: fewer than two nodes are known".to_owned(),
            _ if up == all && self.conflicts.is_empty() => {
                format!("Talos says up in all {}", count(all, "direction"))
            }
            _ => format!(
                "Talos says up in {up} of {}{}",
                count(all, "direction"),
                self.rest()
            ),
        }
    }

    fn rest(&self) -> String {
        let kinds = [
            (PairState::Down, "down"),
            (PairState::Unknown, "unknown"),
            (PairState::NotAPeer, "not a peer"),
            (PairState::NotAsked, "not asked"),
        ];
        let counted = kinds.map(|(state, word)| (self.of(state), word));
        let there = counted.iter().filter(|(number, _)| *number > 0);
        let words: Vec<_> = there
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        if words.is_empty() {
            String::new()
        } else {
            format!(": {}", words.join(", "))
        }
    }
}

impl Facts for TalosMesh {
    const KIND: &'static str = "TalosMesh";

    fn title(&self) -> String {
        format!("KubeSpan as Talos sees it (context {})", self.context)
    }

    fn lines(&self) -> Lines {
        let asked = self.nodes.iter().filter(|node| node.asked.is_some());
        let asked = count(asked.count(), "node");
        let answered = self.answered();
        let mut lines = vec![line("asked", format!("{answered} of {asked} answered"))];
        lines.extend(self.proxy.iter().map(|proxy| {
            line(
                "proxy-url",
                format!("{proxy}: not used, nodes are dialled directly"),
            )
        }));
        lines
    }

    fn conclusions(&self) -> Vec<String> {
        let mut conclusions = vec![self.judged()];
        conclusions.extend(self.conflicts.iter().map(ToString::to_string));
        conclusions.extend(self.without_kubespan().map(|name| {
            format!("{name} has no KubeSpan identity: KubeSpan or the discovery is off there, or it has no name yet")
        }));
        let silent = self.silent().count();
        if silent > 0 {
            let could = count(silent, "node");
            conclusions.push(format!("cannot tell what {could} would say: {DIRECTLY}"));
        }
        conclusions
    }

    fn method(&self) -> String {
        "each node's own KubeSpanPeerSpecs, KubeSpanPeerStatuses and Affiliates, with a client certificate that needs os:reader alone; \
         Talos renews a status every 30 s and calls a dead peer up for 275 s, so up is no proof; handshakes are aged by the node's \
         own clock at its last change, not by the clock of this machine"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        let broken = self.of(PairState::Down) + self.of(PairState::NotAPeer);
        if broken > 0 || !self.conflicts.is_empty() || self.without_kubespan().next().is_some() {
            return Exit::NotReady;
        }
        let refused = self.silent().all(|(_, silence)| silence.refused);
        if self.answered() == 0 && refused && !self.nodes.is_empty() {
            return Exit::NotAuthorised;
        }
        let unheard = self.silent().next().is_some();
        if unheard || self.pairs.is_empty() || self.of(PairState::Up) < self.pairs.len() {
            return Exit::CannotTell;
        }
        Exit::Ready
    }
}
