//! The mesh without a collector: agents that say what a test wants, and the program that asks them.
#![cfg(test)]

mod agents;
mod answers;
mod program;
mod refusals;
#[path = "../../../agent/diagnosis/tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests of diagnosis use the rest")]
mod support;
