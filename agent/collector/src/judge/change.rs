//! Whether two verdicts say the same. Ages, and texts that may hold them, are looked away from; everything is taken
//! apart whole, so that a new field does not compile until somebody decides whether it is a change.

use evidence::{Finding, Ladder, NodeState, RungState, Verdict};

pub(super) fn same_but_for_ages(a: &Verdict, b: &Verdict) -> bool {
    let Verdict {
        nodes,
        pairs,
        tally,
        findings,
        findings_left_out,
        gates,
    } = a;
    *gates == b.gates
        && *tally == b.tally
        && *findings_left_out == b.findings_left_out
        && all_same(nodes, &b.nodes, same_node)
        && all_same(findings, &b.findings, same_finding)
        && all_same(pairs, &b.pairs, same_ladder)
}

fn all_same<T>(a: &[T], b: &[T], same: fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn same_node(a: &NodeState, b: &NodeState) -> bool {
    let NodeState {
        node,
        reporting,
        report_age_ms: _,
        version,
        kubespan_address,
        site,
        gaps,
    } = a;
    *node == b.node
        && *reporting == b.reporting
        && *version == b.version
        && *kubespan_address == b.kubespan_address
        && *site == b.site
        && *gaps == b.gaps
}

fn same_ladder(a: &Ladder, b: &Ladder) -> bool {
    let Ladder {
        from,
        to,
        rungs,
        highest,
        broken_at,
        rtt_us: _,
        loss_percent: _,
        handshake_age_ms: _,
        endpoint,
        flapping,
    } = a;
    *from == b.from
        && *to == b.to
        && *highest == b.highest
        && *broken_at == b.broken_at
        && *endpoint == b.endpoint
        && flapping.is_some() == b.flapping.is_some()
        && all_same(rungs, &b.rungs, same_rung)
}

fn same_rung(a: &RungState, b: &RungState) -> bool {
    let RungState {
        rung,
        outcome,
        method: _,
        evidence: _,
    } = a;
    *rung == b.rung && *outcome == b.outcome
}

fn same_finding(a: &Finding, b: &Finding) -> bool {
    let Finding {
        code,
        subject,
        subject_text: _,
        confidence,
        summary: _,
        evidence: _,
        fixes,
        could_also_be,
        decided_by,
        explains,
        explains_more,
        suppressed_by,
    } = a;
    *code == b.code
        && *subject == b.subject
        && *confidence == b.confidence
        && *fixes == b.fixes
        && *could_also_be == b.could_also_be
        && *decided_by == b.decided_by
        && *explains == b.explains
        && *explains_more == b.explains_more
        && *suppressed_by == b.suppressed_by
}

#[cfg(test)]
mod tests {
    use evidence::{NodeName, NodeRef};

    use super::*;

    fn verdict(reporting: bool, age: u64) -> Verdict {
        let node = NodeRef::named(&NodeName::parse("vps-1").unwrap());
        Verdict {
            nodes: vec![NodeState {
                node,
                reporting,
                report_age_ms: Some(age),
                version: None,
                kubespan_address: None,
                site: None,
                gaps: Vec::new(),
            }],
            ..Verdict::default()
        }
    }

    #[test]
    fn an_age_is_no_change_but_a_lost_node_is() {
        assert!(same_but_for_ages(&verdict(true, 1), &verdict(true, 900)));
        assert!(!same_but_for_ages(&verdict(true, 1), &verdict(false, 1)));
        assert!(!same_but_for_ages(&verdict(true, 1), &Verdict::default()));
    }
}
