//! Pseudonyms for names and addresses, the same for the same everywhere, also inside of sentences.
//!
//! It goes over the text of the bundle and not over its types: so no field that is added later can be forgotten. Public
//! keys stay, and so do the hashes of identities: they say nothing about where a node is, and facts are tied together by
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use diagnosis::graph::Graph;
use evidence::{Fact, HardwareAddress, NodeName, PublicKey};
use serde_json::Value;
use thiserror::Error;

use super::{Bundle, BundleError, addresses::Addresses, parse};
use crate::document::to_line;

/// Names of the services that Talos uses where it is told nothing else. They say nothing about a cluster.
const WELL_KNOWN: [&str; 2] = ["discovery.talos.dev", "time.cloudflare.com"];

/// Why a bundle cannot be redacted.
#[derive(Debug, Error)]
pub enum RedactError {
    /// It could not be written.
    #[error("failed to write it down")]
    Write(#[source] BundleError),
    /// A line of it is no JSON.
    #[error("failed to write a line of it")]
    Line(#[source] serde_json::Error),
    /// With pseudonyms it is no bundle any more: a node has a name that the format has as a word.
    #[error("with pseudonyms it can no longer be read: is a node named like a word of the format?")]
    Read(#[source] BundleError),
}

/// The same bundle with pseudonyms.
pub fn redact(bundle: &Bundle) -> Result<Bundle, RedactError> {
    let text = bundle.to_text().map_err(RedactError::Write)?;
    let mut lines: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .map_err(RedactError::Line)?;
    let mut seen = Seen::of(bundle);
    for line in &lines {
        seen.look(line);
    }
    let pseudonyms = seen.pseudonyms();
    for line in &mut lines {
        pseudonyms.put(line);
    }
    if let Some(header) = lines.first_mut() {
        keep_levels(header, &bundle.view.expectation.graph);
    }
    let mut redacted = String::with_capacity(text.len());
    for line in &lines {
        redacted.push_str(&to_line(line).map_err(RedactError::Line)?);
    }
    let bundle = parse(redacted.as_bytes()).map_err(RedactError::Read)?;
    Ok(Bundle {
        redacted: true,
        ..bundle
    })
}

/// Levels and checks keep their names, also where a node has the same: they are what gates are asked for by.
fn keep_levels(header: &mut Value, graph: &Graph) {
    let Some(written) = header.get_mut("graph").and_then(Value::as_array_mut) else {
        return;
    };
    let keep = |to: Option<&mut Value>, name: &str| {
        if let Some(to) = to {
            *to = Value::from(name);
        }
    };
    for (written, level) in written.iter_mut().zip(graph.told()) {
        keep(written.get_mut("name"), &level.name);
        keep(written.get_mut("check"), &level.check);
        let below = written.get_mut("dependsOn").and_then(Value::as_array_mut);
        for (written, below) in below.into_iter().flatten().zip(&level.depends_on) {
            keep(written.get_mut("level"), &below.level);
        }
    }
}

/// All that needs a pseudonym.
#[derive(Debug, Default)]
struct Seen {
    nodes: BTreeSet<String>,
    hosts: BTreeSet<String>,
    cards: BTreeSet<HardwareAddress>,
    addresses: Addresses,
}

impl Seen {
    /// The names by which nodes are known, to agents, to Talos and to the discovery service.
    fn of(bundle: &Bundle) -> Self {
        let mut seen = Self::default();
        let view = &bundle.view;
        let levels = view.expectation.graph.levels();
        let known = view.nodes.keys().chain(&view.expectation.names);
        let known = known.chain(levels.iter().flat_map(|level| &level.nodes));
        seen.nodes.extend(known.map(ToString::to_string));
        for fact in view.nodes.values().flat_map(|node| node.facts.iter()) {
            let names: Vec<&str> = match fact {
                Fact::Identity(identity) => vec![identity.name.as_str()],
                Fact::Talos(talos) => talos.hostname.as_deref().into_iter().collect(),
                Fact::TalosPeer(_, peer) => vec![&peer.label],
                Fact::Discovery(discovery) => {
                    let lists = discovery.endpoints.iter().flat_map(|at| &at.affiliates);
                    lists
                        .flat_map(|list| {
                            let rivals =
                                list.rivals.iter().flat_map(|pair| [&pair.one, &pair.other]);
                            list.unknown.iter().chain(rivals)
                        })
                        .map(|affiliate| affiliate.name.as_str())
                        .collect()
                }
                _ => Vec::new(),
            };
            let names = names
                .into_iter()
                .filter_map(|name| NodeName::parse(name).ok());
            seen.nodes.extend(names.map(String::from));
        }
        seen
    }

    fn look(&mut self, value: &Value) {
        match value {
            Value::String(text) => {
                for word in words(text) {
                    match word.meaning(&self.nodes) {
                        Meaning::Address(address) => self.addresses.add(address),
                        Meaning::Card(card) => drop(self.cards.insert(card)),
                        Meaning::Host => drop(self.hosts.insert(word.core.to_ascii_lowercase())),
                        Meaning::Node | Meaning::Nothing => {}
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.look(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.look(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Numbered in the order of the real ones, which therefore stays.
    fn pseudonyms(self) -> Pseudonyms {
        let digits = self.nodes.len().to_string().len();
        let nodes = self.nodes.into_iter().enumerate();
        let hosts = self.hosts.into_iter().enumerate();
        let cards = self.cards.into_iter().enumerate();
        Pseudonyms {
            nodes: nodes
                .map(|(at, name)| (name, format!("node-{:0digits$}", at + 1)))
                .collect(),
            hosts: hosts
                .map(|(at, name)| (name, format!("host-{:04}.example", at + 1)))
                .collect(),
            cards: cards
                .map(|(at, card)| {
                    let [.., high, low] = u32::try_from(at + 1).unwrap_or(u32::MAX).to_be_bytes();
                    (card, HardwareAddress([2, 0, 0, 0, high, low]))
                })
                .collect(),
            addresses: self.addresses,
        }
    }
}

#[derive(Debug)]
struct Pseudonyms {
    nodes: BTreeMap<String, String>,
    hosts: BTreeMap<String, String>,
    cards: BTreeMap<HardwareAddress, HardwareAddress>,
    addresses: Addresses,
}

impl Pseudonyms {
    fn put(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.put(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.put(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut made = String::with_capacity(text.len());
        let mut done = 0;
        for word in words(text) {
            made.push_str(&text[done..word.at]);
            made.push_str(&self.word(&word));
            done = word.at + word.core.len();
        }
        made.push_str(&text[done..]);
        made
    }

    fn word(&self, word: &Word<'_>) -> String {
        let lower = || word.core.to_ascii_lowercase();
        let known = self.nodes.get(&lower());
        if let Some(name) = known.filter(|_| !word.is_tag()) {
            return name.clone();
        }
        match word.meaning(&BTreeSet::new()) {
            Meaning::Address(address) => self.addresses.pseudonym(address).to_string(),
            Meaning::Card(card) => self.cards.get(&card).unwrap_or(&card).to_string(),
            Meaning::Host => {
                let name = self.hosts.get(&lower());
                name.map_or_else(|| word.core.to_owned(), Clone::clone)
            }
            Meaning::Node | Meaning::Nothing => word.core.to_owned(),
        }
    }
}

/// What may be a name or an address, and where it begins.
#[derive(Debug)]
struct Word<'a> {
    at: usize,
    core: &'a str,
    whole: bool,
}

enum Meaning {
    Address(IpAddr),
    Card(HardwareAddress),
    Node,
    Host,
    Nothing,
}

impl Word<'_> {
    fn meaning(&self, nodes: &BTreeSet<String>) -> Meaning {
        if nodes.contains(&self.core.to_ascii_lowercase()) {
            return Meaning::Node;
        }
        if let Ok(address) = self.core.parse() {
            return Meaning::Address(address);
        }
        if let Ok(card) = HardwareAddress::try_from(self.core.to_owned()) {
            return Meaning::Card(card);
        }
        if is_host(self.core) {
            return Meaning::Host;
        }
        Meaning::Nothing
    }

    /// Whether it is a word of the format: those are whole strings of letters that begin with a capital.
    fn is_tag(&self) -> bool {
        self.whole
            && self
                .core
                .starts_with(|first: char| first.is_ascii_uppercase())
            && self.core.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}

/// A name with a dot whose last label is of letters, as that of a top-level domain is.
fn is_host(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let top = word.rsplit_once('.').map(|(_, top)| top);
    top.is_some_and(|top| top.len() > 1 && top.bytes().all(|byte| byte.is_ascii_alphabetic()))
        && NodeName::parse(word).is_ok()
        && !word.contains("..")
        && !word.starts_with('.')
        && !WELL_KNOWN.contains(&lower.as_str())
}

/// The words of a text in their order; a public key has none.
fn words(text: &str) -> Vec<Word<'_>> {
    if text.parse::<PublicKey>().is_ok() {
        return Vec::new();
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-');
    let mut words = Vec::new();
    let mut rest = 0;
    while let Some(start) = text[rest..].find(inside).map(|at| rest + at) {
        let length = text[start..]
            .find(|c| !inside(c))
            .unwrap_or(text.len() - start);
        rest = start + length;
        let run = &text[start..rest];
        let core = core(run);
        words.push(Word {
            at: start,
            core,
            whole: core.len() == text.len(),
        });
    }
    words
}

/// A run without what belongs to the sentence around it, and without a port.
fn core(run: &str) -> &str {
    if run.parse::<IpAddr>().is_ok() {
        return run;
    }
    let bare = run.trim_end_matches(['.', ':', '-']);
    if bare.parse::<IpAddr>().is_ok() {
        return bare;
    }
    match bare.split_once(':') {
        Some((host, rest)) if host.parse::<Ipv4Addr>().is_ok() || !rest.contains(':') => host,
        _ => bare,
    }
}
