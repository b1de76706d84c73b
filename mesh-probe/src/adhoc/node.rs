//! `node`: all that a node says of itself, in groups, each with the source that gave it and what it could not give.

mod others;
mod own;
mod steering;

use evidence::{FactKey, Moment, NodeName, SourceId};
use serde::Serialize;

use super::{Facts, Lines, line};
use crate::{exit::Exit, render::text::human_ms};

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    pub name: NodeName,
    pub groups: Vec<Group>,
}

/// What one or several sources gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub name: &'static str,
    pub sources: Vec<Source>,
    pub facts: Vec<Said>,
    /// What does not fit into a name and a value; what is indented belongs to the line above.
    pub lines: Vec<String>,
}

/// A source, and whether it could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    pub name: &'static str,
    /// How long ago it was last tried; none if it never was, within the time that was given.
    pub tried_ms_ago: Option<u64>,
    /// Why it could not be read.
    pub gap: Option<String>,
}

/// One fact in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    pub name: String,
    pub value: String,
}

/// How a group is made of facts.
struct Section {
    name: &'static str,
    sources: &'static [SourceId],
    said: Words,
}

/// Facts with names, or lines.
enum Words {
    Facts(fn(&evidence::Facts, Moment) -> Vec<Said>),
    Lines(fn(&evidence::Facts, Moment) -> Vec<String>),
}

/// In the order in which they are shown: bottom up.
const SECTIONS: &[Section] = &[
    Section {
        name: "node",
        sources: &[SourceId::Links],
        said: Words::Facts(own::node),
    },
    Section {
        name: "kubespan",
        sources: &[SourceId::WireGuard],
        said: Words::Facts(own::kubespan),
    },
    Section {
        name: "steering",
        sources: &[SourceId::Routes, SourceId::Nftables],
        said: Words::Facts(steering::steering),
    },
    Section {
        name: "overlay",
        sources: &[SourceId::Links],
        said: Words::Facts(own::overlay),
    },
    Section {
        name: "talos",
        sources: &[SourceId::Talos],
        said: Words::Lines(others::talos),
    },
    Section {
        name: "discovery",
        sources: &[SourceId::Discovery],
        said: Words::Lines(others::discovery),
    },
    Section {
        name: "time",
        sources: &[SourceId::Clock, SourceId::Ntp],
        said: Words::Lines(others::time),
    },
    Section {
        name: "host",
        sources: &[SourceId::Host],
        said: Words::Lines(others::host),
    },
];

impl NodeView {
    /// The view of facts as they were put together at `now`.
    pub fn new(name: NodeName, facts: &evidence::Facts, now: Moment) -> Self {
        let group = |section: &Section| {
            let sources = section.sources.iter();
            let (said, lines) = match section.said {
                Words::Facts(say) => (say(facts, now), Vec::new()),
                Words::Lines(say) => (Vec::new(), say(facts, now)),
            };
            Group {
                name: section.name,
                sources: sources.map(|id| source(*id, facts, now)).collect(),
                facts: said,
                lines,
            }
        };
        Self {
            name,
            groups: SECTIONS.iter().map(group).collect(),
        }
    }

    /// Whether every source could be read.
    pub fn is_whole(&self) -> bool {
        self.gaps().is_empty()
    }

    /// What is not known, once for each source.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps: Vec<String> = Vec::new();
        for source in self.groups.iter().flat_map(|group| &group.sources) {
            let gap = match (&source.gap, source.tried_ms_ago) {
                (Some(gap), _) => gap.as_str(),
                (None, None) => {
                    "it was not asked, or did not answer in the time that was given (--timeout)"
                }
                (None, Some(_)) => continue,
            };
            let gap = format!("not known: {}: {gap}", source.name);
            if !gaps.contains(&gap) {
                gaps.push(gap);
            }
        }
        gaps
    }
}

fn source(id: SourceId, facts: &evidence::Facts, now: Moment) -> Source {
    let state = match facts.get(&FactKey::Source(id)) {
        Some(evidence::Fact::Source(_, state)) => Some(state),
        _ => None,
    };
    let age = |at: Moment| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
    Source {
        name: id.as_str(),
        tried_ms_ago: state.map(|state| age(state.read_at)),
        gap: state.and_then(|state| Some(state.gap.as_ref()?.reason.clone())),
    }
}

impl Facts for NodeView {
    const KIND: &'static str = "Node";

    fn title(&self) -> String {
        format!("what {} says of itself", self.name)
    }

    fn lines(&self) -> Lines {
        let lines = self.groups.iter().flat_map(|group| {
            let named = move |said: &Said| {
                line(&format!("{} {}", group.name, said.name), said.value.clone())
            };
            group.facts.iter().map(named)
        });
        lines.collect()
    }

    fn conclusions(&self) -> Vec<String> {
        let gaps = self.gaps();
        if gaps.is_empty() {
            return vec!["every source could be read; whether what they say is right, the collector judges (status)".to_owned()];
        }
        gaps
    }

    fn method(&self) -> String {
        "each source of this node was read once; nothing was written and no probe was sent"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        if self.gaps().is_empty() {
            Exit::Ready
        } else {
            Exit::CannotTell
        }
    }
}

impl Said {
    fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// `12 s ago`.
fn ago(at: Moment, now: Moment) -> String {
    let millis = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
    format!("{} ago", human_ms(millis))
}
