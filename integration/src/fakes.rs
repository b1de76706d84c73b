//! Services that a node meets on the network, played well and played badly.
//!
//! A fake reads how it is to behave from its mood file, word by word, anew for every connection or question: so a scenario changes it
//! with `echo`, and heals it with `rm`.

pub mod authority;
pub mod discovery;
pub mod names;

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::lab::services::{DISCOVERY_PLAN, NAMES_PLAN};

/// How a fake behaves at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mood(Vec<String>);

/// Where that is written.
#[derive(Clone, Debug)]
pub struct MoodFile(pub PathBuf);

impl MoodFile {
    /// No file: all is well.
    pub fn read(&self) -> Mood {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        Mood(text.split_ascii_whitespace().map(str::to_owned).collect())
    }
}

impl Mood {
    /// Whether it has this word.
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }

    /// What follows `name=`.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut words = self.0.iter();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

/// `lab __discovery`: serves as its plan says.
pub fn serve_discovery() -> anyhow::Result<()> {
    let plan = discovery::Plan::load(Path::new(DISCOVERY_PLAN))?;
    block_on(discovery::serve(plan))
}

/// `lab __names`: the resolver of the lab.
pub fn serve_names() -> anyhow::Result<()> {
    let plan = names::Plan::load(Path::new(NAMES_PLAN))?;
    block_on(names::serve(plan))
}

fn block_on(serving: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start a runtime")?
        .block_on(serving)
}
