//! Values of one kind, and what is told of another.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    Reading,
    tree::{Node, Tree},
};

impl Reading {
    /// The fields of a map. A key that is not known, and what is no map, is told.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let Tree::Map(fields) = &node.tree else {
            self.expected(node, path, &format!("a map of {}", known.join(", ")));
            return None;
        };
        for (key, line, _) in fields
            .iter()
            .filter(|(key, ..)| !known.contains(&key.as_str()))
        {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            let text = format!("no such key; known keys: {}", known.join(", "));
            self.wrong(*line, path, text);
        }
        Some(Fields(fields))
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, path: &str) -> &'n [Node] {
        let Tree::List(items) = &node.tree else {
            self.expected(node, path, "a list");
            return &[];
        };
        items
    }

    pub(super) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let Tree::Text(text) = &node.tree else {
            self.expected(node, path, "a text");
            return None;
        };
        Some(text.clone())
    }

    pub(super) fn number(
        &mut self,
        node: &Node,
        path: &str,
        wanted: &str,
        fits: RangeInclusive<u64>,
    ) -> Option<u64> {
        match node.tree {
            Tree::Number(number) if fits.contains(&number) => Some(number),
            _ => {
                self.expected(node, path, wanted);
                None
            }
        }
    }

    pub(super) fn time(
        &mut self,
        node: &Node,
        path: &str,
        wanted: &str,
        fits: impl Fn(Duration) -> bool,
    ) -> Option<Duration> {
        let time = match &node.tree {
            Tree::Text(text) => humantime::parse_duration(text)
                .ok()
                .filter(|time| fits(*time)),
            Tree::Number(0) if fits(Duration::ZERO) => Some(Duration::ZERO),
            _ => None,
        };
        if time.is_none() {
            self.expected(node, path, wanted);
        }
        time
    }
}

/// The fields of a map by key.
pub(super) struct Fields<'n>(&'n [(String, u64, Node)]);

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let found = self.0.iter().find(|(name, ..)| name == key);
        found.map(|(_, _, node)| node)
    }
}
