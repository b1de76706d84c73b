//! The nouns of the project: what was seen, by whom, when, and what follows from it.
//!
//! Pure: no clock, no I/O, no async. Start with [`Moment`], [`NodeName`] and [`PublicKey`].
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

mod identity;
mod moment;

pub use identity::{MAX_NODE_NAME, NodeName, NodeNameError, PublicKey, PublicKeyError};
pub use moment::Moment;
