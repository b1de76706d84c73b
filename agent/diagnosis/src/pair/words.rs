//! What is said of a judgement: nothing, where only the outcome is asked, or how it is known and from what.
//!
//! One code judges both ways, so that the words can never differ from the outcome that they are about.

use evidence::Citation;

/// Whether a judgement is put into words.
pub(crate) trait Words: Clone + Sized {
    /// Whether anything is said: what decides nothing but words need not be looked for otherwise.
    const SPEAKS: bool;

    fn say(method: impl Into<String>, evidence: impl FnOnce() -> Vec<Citation>) -> Self;

    /// How it is known, or why not, where that has to be put together.
    fn explain(method: impl FnOnce() -> String) -> Self;

    /// The same with another method.
    fn renamed(&self, method: &str) -> Self;

    fn add(&mut self, citation: impl FnOnce() -> Citation);
}

/// Nothing is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Silent;

impl Words for Silent {
    const SPEAKS: bool = false;

    fn say(_: impl Into<String>, _: impl FnOnce() -> Vec<Citation>) -> Self {
        Self
    }

    fn explain(_: impl FnOnce() -> String) -> Self {
        Self
    }

    fn renamed(&self, _: &str) -> Self {
        Self
    }

    fn add(&mut self, _: impl FnOnce() -> Citation) {}
}

/// How it is known, or why it is not, and what it rests on.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) method: String,
    pub(crate) evidence: Vec<Citation>,
}

impl Words for Told {
    const SPEAKS: bool = true;

    fn say(method: impl Into<String>, evidence: impl FnOnce() -> Vec<Citation>) -> Self {
        Self {
            method: method.into(),
            evidence: evidence(),
        }
    }

    fn explain(method: impl FnOnce() -> String) -> Self {
        Self {
            method: method(),
            evidence: Vec::new(),
        }
    }

    fn renamed(&self, method: &str) -> Self {
        Self {
            method: method.to_owned(),
            evidence: self.evidence.clone(),
        }
    }

    fn add(&mut self, citation: impl FnOnce() -> Citation) {
        self.evidence.push(citation());
    }
}
