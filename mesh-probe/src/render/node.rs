//! What one node sees, a file per source: pure functions from its facts to lines.

pub mod discovery;
