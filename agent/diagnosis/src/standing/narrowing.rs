//! While what a cause explains only shrinks, ways recover one after the other: what is left of it for a moment is no cause of
//! its own, at no other place.

use std::{collections::BTreeMap, time::Duration};

use evidence::{Finding, Gate, Moment};

use super::Told;
use crate::gates;

/// What is said of ways that carry nothing. One of them may be what is left of another.
const OF_WAYS: [&str; 9] = [
    "data-dropped-handshakes-pass",
    "nat-mapping-moved",
    "one-way-loss",
    "path-broken",
    SILENT,
    "udp-51820-blocked-both-ways",
    "udp-51820-blocked-inbound",
    "udp-51820-blocked-outbound",
    "udp-51820-dropped-by-host",
];
/// Says that it is not known what it is; every other one decides that.
const SILENT: &str = "tunnel-silent";

/// Takes out of the roots those that are but a part of one that was told before, for at most so long: that is told in their place.
/// Says as well by which codes theirs are replaced.
pub(super) fn widen(
    roots: &mut Vec<Finding>,
    before: &[Told],
    gates: &mut [Gate],
    (now, bound): (Moment, Duration),
) -> (Vec<Told>, BTreeMap<String, String>) {
    let mut codes = BTreeMap::new();
    let mut whole: Vec<Told> = Vec::new();
    roots.retain(|part| {
        let wide = before.iter().find(|old| {
            let since = old.narrowed.unwrap_or(now);
            now.since(since) < bound && is_part(part, &old.root)
        });
        let Some(old) = wide else {
            return true;
        };
        codes.insert(part.code.clone(), old.root.code.clone());
        rename(gates, part, &old.root);
        if whole.iter().all(|known| known.root != old.root) {
            whole.push(Told {
                narrowed: Some(old.narrowed.unwrap_or(now)),
                ..old.clone()
            });
        }
        false
    });
    (whole, codes)
}

/// Whether one explains less than the other, and nothing else. What decides what was undecided is none.
fn is_part(part: &Finding, whole: &Finding) -> bool {
    let of_ways = |finding: &Finding| OF_WAYS.contains(&finding.code.as_str());
    let decides = whole.code == SILENT && part.code != SILENT;
    let known = whole.explains_more == 0 && part.explains_more == 0;
    let fewer = !part.explains.is_empty() && part.explains.len() < whole.explains.len();
    let inside = || {
        let mut pairs = part.explains.iter();
        pairs.all(|pair| whole.explains.contains(pair))
    };
    of_ways(part) && of_ways(whole) && !decides && known && fewer && inside()
}

/// A gate gives the whole for a reason in place of the part, once.
fn rename(gates: &mut [Gate], part: &Finding, whole: &Finding) {
    let (part, whole) = (gates::reason(part), gates::reason(whole));
    for gate in gates {
        let known = gate.reasons.contains(&whole);
        let Some(at) = gate.reasons.iter().position(|reason| *reason == part) else {
            continue;
        };
        if known {
            gate.reasons.remove(at);
        } else if let Some(reason) = gate.reasons.get_mut(at) {
            reason.clone_from(&whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use evidence::{Citation, PairRef, Reporter, Subject};

    use super::super::{
        Standing,
        tests::{LEAST, finding, node, verdict, way},
    };
    use super::*;

    /// A root of a direction, or of all that leads to a node, with what it explains.
    fn of_ways(code: &str, subject: Subject, ways: &[(&str, &str)]) -> Finding {
        let pair = |(from, to): &(&str, &str)| PairRef {
            from: node(from),
            to: node(to),
        };
        Finding {
            explains: ways.iter().map(pair).collect(),
            ..finding(code, subject, None)
        }
    }

    fn into_a() -> Finding {
        let subject = Subject::Node { node: node("a") };
        let ways = [("b", "a"), ("c", "a"), ("d", "a")];
        of_ways("udp-51820-blocked-inbound", subject, &ways)
    }

    fn one_way(code: &str, from: &str, to: &str) -> Finding {
        let subject = way(code, from, to).subject;
        of_ways(code, subject, &[(from, to)])
    }

    /// What is told, and what a gate gives for reasons, at each of these moments.
    fn steps(steps: &[(i64, Vec<Finding>)]) -> Vec<(Vec<String>, Vec<String>)> {
        let mut standing = Standing::new(LEAST);
        let one = |(at, findings): &(i64, Vec<Finding>)| {
            let mut verdict = verdict(findings.clone());
            standing.apply(&mut verdict, Moment::from_millis(*at));
            let told = verdict.findings.iter().map(gates::reason).collect();
            (told, verdict.gates.remove(0).reasons)
        };
        steps.iter().map(one).collect()
    }

    #[test]
    fn what_is_left_of_a_cause_while_its_ways_recover_is_told_as_the_cause_for_a_while() {
        let left = || vec![one_way("one-way-loss", "c", "a")];
        let told = steps(&[
            (0, vec![into_a()]),
            (2000, vec![into_a()]),
            (3000, left()),
            (6900, left()),
            (7000, left()),
        ]);
        let whole = "udp-51820-blocked-inbound: a".to_owned();
        let part = "one-way-loss: c -> a".to_owned();
        for (findings, reasons) in &told[1..4] {
            assert_eq!(findings, std::slice::from_ref(&whole));
            assert_eq!(reasons, std::slice::from_ref(&whole));
        }
        assert_eq!(told[4], (vec![part.clone()], vec![part]));
    }

    #[test]
    fn a_cause_that_narrowed_is_gone_as_soon_as_nothing_of_it_is_left() {
        let left = vec![one_way("one-way-loss", "c", "a")];
        let told = steps(&[
            (0, vec![into_a()]),
            (2000, vec![into_a()]),
            (3000, left),
            (3500, vec![]),
        ]);
        assert_eq!(told[2].0, ["udp-51820-blocked-inbound: a"]);
        assert_eq!(told[3], (vec![], vec![]));
    }

    #[test]
    fn another_cause_and_one_that_decides_are_not_taken_for_what_is_left() {
        let silent = {
            let subject = Subject::Node { node: node("a") };
            of_ways("tunnel-silent", subject, &[("b", "a"), ("c", "a")])
        };
        let decided = one_way("one-way-loss", "c", "a");
        let other = one_way("one-way-loss", "a", "b");
        for (before, then) in [(silent, decided), (into_a(), other)] {
            let [before, here] =
                [before, then.clone()].map(|root| move |at| (at, vec![root.clone()]));
            let told = steps(&[before(0), before(2000), here(3000), here(4300)]);
            assert_eq!(told[3].0, [gates::reason(&then)]);
        }
    }

    #[test]
    fn evidence_that_is_told_again_is_older_by_then() {
        let mut standing = Standing::new(LEAST);
        let cited = |mut root: Finding| {
            root.evidence.push(Citation {
                reporter: Reporter::Collector,
                fact: "pair".to_owned(),
                age_ms: 100,
                text: String::new(),
            });
            root
        };
        let mut ages = Vec::new();
        for (at, root) in [
            (0, cited(into_a())),
            (2000, cited(into_a())),
            (3500, one_way("one-way-loss", "c", "a")),
        ] {
            let mut judged = verdict(vec![root]);
            standing.apply(&mut judged, Moment::from_millis(at));
            ages.extend(judged.findings.iter().map(|root| root.evidence[0].age_ms));
        }
        assert_eq!(ages, [100, 1600]);
    }
}
