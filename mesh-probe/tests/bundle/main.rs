//! Evidence in a file: judged again it gives the same verdict, and with pseudonyms the same but for words.
#![cfg(test)]

mod collector;
mod files;
mod redacted;
#[path = "../../../agent/diagnosis/tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests of diagnosis use the rest")]
mod support;

use mesh_probe::bundle::Bundle;
use support::{NOW, cases::Case};

/// The evidence of a case of the table, as a collector would tell it.
fn bundle(case: &Case) -> Bundle {
    Bundle {
        made_by: "mesh-probe 0.0.1".to_owned(),
        collector: env!("CARGO_PKG_VERSION").to_owned(),
        redacted: false,
        at: NOW,
        view: case.lab.view.clone(),
    }
}
