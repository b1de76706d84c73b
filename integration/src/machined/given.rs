//! What a scenario says of a node's Talos, in files that it writes with `echo` and heals with `rm`.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
};

use evidence::Stage;

use super::{
    CANDIDATES_FILE, DISCOVERY_FILE, NODE_IPS_FILE, STAGE_FILE, TIME_SERVERS_FILE, plan::Neighbour,
};

/// The files as they are now. What none says is as planned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    /// By the name of the peer.
    pub(super) candidates: BTreeMap<String, Vec<SocketAddr>>,
    pub(super) time_servers: Vec<String>,
    pub(super) discovery: Discovery,
    pub(super) stage: Option<Stage>,
    pub(super) node_ips: Vec<IpAddr>,
}

/// Where the discovery service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Discovery {
    Off,
    At(Vec<String>),
}

/// As Talos has it by default.
impl Default for Discovery {
    fn default() -> Self {
        Self::At(vec!["discovery.talos.dev:443".to_owned()])
    }
}

impl Given {
    pub(super) fn now() -> Self {
        let words = |path: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let words: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
            words
        };
        Self {
            candidates: candidates(&fs::read_to_string(CANDIDATES_FILE).unwrap_or_default()),
            time_servers: words(TIME_SERVERS_FILE),
            discovery: Discovery::said(words(DISCOVERY_FILE)),
            stage: stage(&fs::read_to_string(STAGE_FILE).unwrap_or_default()),
            node_ips: words(NODE_IPS_FILE)
                .iter()
                .filter_map(|word| word.parse().ok())
                .collect(),
        }
    }

    pub(super) fn of(&self, node: &Neighbour) -> Vec<SocketAddr> {
        let given = self.candidates.get(&node.name).cloned();
        given.unwrap_or_else(|| node.candidates())
    }
}

impl Discovery {
    fn said(words: Vec<String>) -> Self {
        match words.first().map(String::as_str) {
            None => Self::default(),
            Some("off") => Self::Off,
            Some(_) => Self::At(words),
        }
    }
}

fn stage(text: &str) -> Option<Stage> {
    let named = |stage: &Stage| stage.as_str() == text.trim();
    Stage::ALL.into_iter().find(named)
}

fn candidates(text: &str) -> BTreeMap<String, Vec<SocketAddr>> {
    let line = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        Some((name, words.filter_map(|word| word.parse().ok()).collect()))
    };
    text.lines().filter_map(line).collect()
}
