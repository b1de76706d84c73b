//! Each effect under its root, so that a person reads one trouble at a time.

use crate::{Finding, PairRef, Subject, Verdict};

/// The roots, and every effect under its root; none is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded<'a> {
    /// Each root with what follows from it.
    pub roots: Vec<(&'a Finding, Vec<&'a Finding>)>,
    /// Effects whose roots the verdict does not tell.
    pub orphans: Vec<&'a Finding>,
}

impl Verdict {
    /// The findings, by their roots.
    pub fn folded(&self) -> Folded<'_> {
        let mut folded = Folded {
            roots: self.roots().map(|root| (root, Vec::new())).collect(),
            orphans: Vec::new(),
        };
        for finding in &self.findings {
            let Some(code) = &finding.suppressed_by else {
                continue;
            };
            match root_of(finding, code, &mut folded.roots) {
                Some(effects) => effects.push(finding),
                None => folded.orphans.push(finding),
            }
        }
        folded
    }
}

/// The effects of the root with that code. Two roots can share one code at different places: then of the one that explains the
/// effect's pairs, or else of the first.
fn root_of<'r, 'a>(
    effect: &Finding,
    code: &str,
    roots: &'r mut [(&'a Finding, Vec<&'a Finding>)],
) -> Option<&'r mut Vec<&'a Finding>> {
    let mut same = roots
        .iter()
        .enumerate()
        .filter(|(_, (root, _))| root.code == code);
    let first = same.clone().next();
    let (index, _) = same
        .find(|(_, (root, _))| shares_a_pair(root, effect))
        .or(first)?;
    roots.get_mut(index).map(|(_, effects)| effects)
}

fn shares_a_pair(root: &Finding, effect: &Finding) -> bool {
    let explained = |pair: &PairRef| root.explains.contains(pair);
    let own = match &effect.subject {
        Subject::Direction { from, to } => Some(PairRef {
            from: from.clone(),
            to: to.clone(),
        }),
        _ => None,
    };
    effect.explains.iter().chain(own.as_ref()).any(explained)
}
