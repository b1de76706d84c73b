//! The last verdict as a document, for a person who asks what was before a restart. No answer is ever made of it.

use std::time::Duration;

use evidence::{Moment, Verdict, document::API_VERSION};
use serde::Serialize;

/// Least time between two of them.
pub(super) const PACE: Duration = Duration::from_secs(10);
/// Bytes of one; a longer one goes without its pairs.
const LARGEST: usize = 1024 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'v> {
    api_version: &'static str,
    kind: &'static str,
    about: &'static str,
    /// The run of the collector that judged it.
    run: u64,
    at: Moment,
    wall_ms: i64,
    verdict: &'v Verdict,
}

/// A verdict that this run has judged at this moment; none if it is too long even without pairs.
pub(super) fn text(verdict: &Verdict, run: u64, at: Moment, wall_ms: i64) -> Option<String> {
    let whole = |verdict: &Verdict| {
        let document = Document {
            api_version: API_VERSION,
            kind: "MeshLastStatus",
            about: "old: judged at that moment, and not since; ask the collector what is",
            run,
            at,
            wall_ms,
            verdict,
        };
        let mut text = serde_json::to_string_pretty(&document).ok()?;
        text.push('\n');
        (text.len() <= LARGEST).then_some(text)
    };
    whole(verdict).or_else(|| {
        whole(&Verdict {
            pairs: Vec::new(),
            ..verdict.clone()
        })
    })
}

#[cfg(test)]
mod tests {
    use evidence::{Ladder, NodeRef, PublicKey};

    use super::*;

    fn verdict(pairs: usize) -> Verdict {
        let node = || NodeRef::Unnamed {
            key: PublicKey::from_bytes([7; 32]),
        };
        let ladder = Ladder {
            from: node(),
            to: node(),
            rungs: Vec::new(),
            highest: None,
            broken_at: None,
            rtt_us: None,
            loss_percent: None,
            handshake_age_ms: None,
            endpoint: None,
            flapping: None,
        };
        Verdict {
            pairs: vec![ladder; pairs],
            ..Verdict::default()
        }
    }

    #[test]
    fn it_says_that_it_is_old_and_of_which_run() {
        let text = text(&verdict(1), 4, Moment::from_millis(5), 6).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&document["run"], &document["wallMs"]),
            (&4.into(), &6.into())
        );
        assert!(document["about"].as_str().unwrap().starts_with("old"));
        assert_eq!(document["verdict"]["pairs"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn one_that_is_too_long_goes_without_its_pairs() {
        let text = text(&verdict(10_000), 1, Moment::ZERO, 0).unwrap();
        assert!(text.len() < 10_000, "{}", text.len());
    }
}
