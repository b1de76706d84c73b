//! YAML with its lines: what serde's derives would refuse at the first mistake is taken as it is, and judged later.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// Lists and maps in one another: a dependency of a level is the fifth. Each costs stack.
const DEPTH: usize = 8;
/// Longest value that is repeated in a message, in characters.
const ECHOED: usize = 60;

/// A value and the line on which it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) tree: Tree,
    pub(super) line: u64,
}

#[derive(Debug)]
pub(super) enum Tree {
    Nothing,
    Bool(bool),
    /// A whole number that is not negative; no field takes another.
    Number(u64),
    /// Another number, as it reads.
    OtherNumber(String),
    Text(String),
    List(Vec<Node>),
    /// Key, its line, and the value.
    Map(Vec<(String, u64, Node)>),
}

impl Tree {
    /// How a message speaks of it.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::OtherNumber(text) => text.clone(),
            Self::Text(text) => {
                let start: String = text.chars().take(ECHOED).collect();
                format!("{start:?}")
            }
            Self::List(items) if items.is_empty() => "an empty list".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}

/// The document, or the line on which it is no YAML and why.
pub(super) fn parse(text: &str) -> Result<Node, (u64, String)> {
    let options = serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: DEPTH } };
    let parsed: Result<Spanned<Tree>, _> = serde_saphyr::from_str_with_options(text, options);
    parsed.map(Node::from).map_err(|error| {
        let line = error.location().map_or(0, |at| line(&at));
        // The rendered error has a picture of the source below its first line.
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        (line, format!("expected YAML: {first}"))
    })
}

fn line(at: &Location) -> u64 {
    at.line()
}

impl From<Spanned<Tree>> for Node {
    fn from(spanned: Spanned<Tree>) -> Self {
        Self {
            line: line(&spanned.referenced),
            tree: spanned.value,
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever)
    }
}

struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        let other = || Tree::OtherNumber(value.to_string());
        Ok(u64::try_from(value).map_or_else(|_| other(), Tree::Number))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::OtherNumber(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Tree>>()? {
            list.push(Node::from(item));
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Tree, A::Error> {
        let mut map: Vec<(String, u64, Node)> = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            if map.iter().any(|(name, ..)| *name == key.value) {
                return Err(de::Error::custom(format!("duplicate key {:?}", key.value)));
            }
            let value = fields.next_value::<Spanned<Tree>>()?;
            map.push((key.value, line(&key.referenced), Node::from(value)));
        }
        Ok(Tree::Map(map))
    }
}
