//! One node, source by source: each file turns the nouns of one source into lines.

pub mod talos;
