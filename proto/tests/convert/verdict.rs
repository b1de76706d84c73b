//! A verdict comes off the wire as it went on.

use std::net::{IpAddr, SocketAddr};

use evidence::{
    Citation, Confidence, End, Finding, Fix, Flapping, Gate, Ladder, NodeName, NodeRef, NodeState,
    Outcome, PairRef, Phase, PublicKey, Reporter, Rung, RungState, Subject, Tally, Verdict,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use prost::Message as _;
use proto::{
    convert::{incoming, peers_from_wire, verdict_from_wire, verdict_to_wire},
    wire::{self, report_request::Body},
};

use crate::sample;

/// Some of each, few enough to be quick.
const SOME: usize = 3;

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn name() -> impl Strategy<Value = NodeName> {
    "[a-z0-9.-]{1,20}".prop_map(|name| NodeName::parse(&name).unwrap())
}

fn node() -> impl Strategy<Value = NodeRef> {
    prop_oneof![
        name().prop_map(|name| NodeRef::Named { name }),
        any::<[u8; 32]>().prop_map(|key| NodeRef::Unnamed {
            key: PublicKey::from_bytes(key)
        }),
    ]
}

fn endpoint() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn node_state() -> impl Strategy<Value = NodeState> {
    let plain = any::<(bool, Option<u64>)>();
    let texts = (option::of(text()), option::of(text()), option::of(text()));
    (node(), plain, texts, vec(text(), 0..SOME)).prop_map(
        |(node, (reporting, report_age_ms), (version, kubespan_address, site), gaps)| NodeState {
            node,
            reporting,
            report_age_ms,
            version,
            kubespan_address,
            site,
            gaps,
        },
    )
}

fn citation() -> impl Strategy<Value = Citation> {
    let reporter = option::of(name());
    (reporter, text(), any::<u64>(), text()).prop_map(|(reporter, fact, age_ms, text)| Citation {
        reporter: reporter.map_or(Reporter::Collector, Reporter::Node),
        fact,
        age_ms,
        text,
    })
}

fn rung() -> impl Strategy<Value = Rung> {
    select(Rung::ALL.to_vec())
}

fn rung_state() -> impl Strategy<Value = RungState> {
    let outcome = select(vec![
        Outcome::Pass,
        Outcome::Warn,
        Outcome::Fail,
        Outcome::Unknown,
        Outcome::NotApplicableYet,
    ]);
    (rung(), outcome, text(), vec(citation(), 0..SOME)).prop_map(
        |(rung, outcome, method, evidence)| RungState {
            rung,
            outcome,
            method,
            evidence,
        },
    )
}

fn ladder() -> impl Strategy<Value = Ladder> {
    let reached = (option::of(rung()), option::of(rung()));
    let figures = any::<(Option<u32>, Option<u32>, Option<u64>)>();
    let rungs = vec(rung_state(), 0..SOME);
    (
        node(),
        node(),
        rungs,
        reached,
        figures,
        option::of(endpoint()),
    )
        .prop_map(
            |(from, to, rungs, (highest, broken_at), figures, endpoint)| {
                let (rtt_us, loss_percent, handshake_age_ms) = figures;
                Ladder {
                    from,
                    to,
                    rungs,
                    highest,
                    broken_at,
                    rtt_us,
                    loss_percent,
                    handshake_age_ms,
                    endpoint,
                    flapping: rtt_us.map(|changes| Flapping {
                        changes,
                        over_ms: 48_000,
                        period_ms: handshake_age_ms,
                    }),
                }
            },
        )
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Cluster),
        node().prop_map(|node| Subject::Node { node }),
        (node(), node()).prop_map(|(from, to)| Subject::Direction { from, to }),
        (node(), node()).prop_map(|(a, b)| Subject::Pair { a, b }),
        (text(), vec(node(), 0..SOME))
            .prop_map(|(address, nodes)| Subject::Site { address, nodes }),
        (end(), end(), any::<bool>()).prop_map(|(a, b, both_ways)| Subject::Ends {
            a,
            b,
            both_ways
        }),
    ]
}

fn end() -> impl Strategy<Value = End> {
    let address =
        option::of(text().prop_filter("an address is not empty", |text| !text.is_empty()));
    (address, vec(node(), 0..SOME)).prop_map(|(address, nodes)| End { address, nodes })
}

fn fix() -> impl Strategy<Value = Fix> {
    (text(), text(), option::of(text())).prop_map(|(who, action, command)| Fix {
        who,
        action,
        command,
    })
}

fn finding() -> impl Strategy<Value = Finding> {
    let confidence = select(vec![
        Confidence::Certain,
        Confidence::Likely,
        Confidence::Undecided,
    ]);
    let said = (text(), text(), option::of(text()), option::of(text()));
    let lists = (
        vec(citation(), 0..SOME),
        vec(fix(), 0..SOME),
        vec(text(), 0..SOME),
    );
    let explains = (vec((node(), node()), 0..SOME), any::<u64>());
    (subject(), confidence, said, lists, explains).prop_map(
        |(subject, confidence, said, lists, (explains, explains_more))| {
            let (code, summary, decided_by, suppressed_by) = said;
            let (evidence, fixes, could_also_be) = lists;
            let explains = explains.into_iter().map(|(from, to)| PairRef { from, to });
            Finding {
                code,
                subject_text: subject.to_string(),
                subject,
                confidence,
                summary,
                evidence,
                fixes,
                could_also_be,
                decided_by,
                explains_more,
                explains: explains.collect(),
                suppressed_by,
            }
        },
    )
}

fn gate() -> impl Strategy<Value = Gate> {
    let phase = || select(vec![Phase::Ready, Phase::NotReady, Phase::Unknown]);
    let lists = (vec(text(), 0..SOME), vec(text(), 0..SOME));
    (text(), phase(), phase(), lists, any::<bool>()).prop_map(
        |(level, phase, may_start, (depends_on, reasons), terminal)| Gate {
            level,
            phase,
            may_start,
            depends_on,
            reasons,
            terminal,
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let nodes = vec(node_state(), 0..SOME);
    let pairs = vec(ladder(), 0..SOME);
    let counts = any::<[u64; 4]>();
    let lists = (vec(finding(), 0..SOME), vec(gate(), 0..SOME));
    (nodes, pairs, lists, counts).prop_map(|(nodes, pairs, (findings, gates), counts)| {
        let [good, broken, unproved, findings_left_out] = counts;
        Verdict {
            nodes,
            pairs,
            tally: Tally {
                good,
                broken,
                unproved,
            },
            findings,
            findings_left_out,
            gates,
        }
    })
}

fn carried(verdict: &Verdict) -> Verdict {
    let bytes = verdict_to_wire(verdict).encode_to_vec();
    verdict_from_wire(wire::Verdict::decode(bytes.as_slice()).unwrap()).unwrap()
}

/// Some bytes changed, and the end cut off.
fn damaged(mut bytes: Vec<u8>, changes: &[(Index, u8)], end: Index) -> Vec<u8> {
    if !bytes.is_empty() {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    bytes.truncate(end.index(bytes.len() + 1).max(bytes.len() / 2));
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    vec(any::<(Index, u8)>(), 0..6)
}

proptest! {
    #[test]
    fn a_verdict_comes_off_the_wire_as_it_went_on(verdict in verdict()) {
        prop_assert_eq!(carried(&verdict), verdict);
    }

    #[test]
    fn the_text_of_a_subject_is_made_anew_and_not_believed(finding in finding()) {
        let lying = Finding { subject_text: "cluster of somebody else".to_owned(), ..finding.clone() };
        let verdict = Verdict { findings: vec![lying], ..Verdict::default() };
        prop_assert_eq!(&carried(&verdict).findings[0], &finding);
    }

    #[test]
    fn a_damaged_verdict_is_taken_or_refused_and_never_panics(
        verdict in verdict(),
        changes in changes(),
        end in any::<Index>(),
    ) {
        let bytes = damaged(verdict_to_wire(&verdict).encode_to_vec(), &changes, end);
        if let Ok(verdict) = wire::Verdict::decode(bytes.as_slice()) {
            drop(verdict_from_wire(verdict));
        }
    }

    #[test]
    fn a_damaged_report_is_taken_or_refused_and_never_panics(changes in changes(), end in any::<Index>()) {
        let facts = sample::facts();
        let request = wire::ReportRequest {
            body: Some(Body::Snapshot(wire::Snapshot { facts })),
            ..wire::ReportRequest::default()
        };
        let bytes = damaged(request.encode_to_vec(), &changes, end);
        if let Ok(request) = wire::ReportRequest::decode(bytes.as_slice()) {
            drop(incoming(request.body));
        }
    }

    #[test]
    fn a_damaged_peer_list_is_taken_or_refused_and_never_panics(changes in changes(), end in any::<Index>()) {
        let peers = vec![sample::peer_identity(); 2];
        let bytes = damaged(wire::PeerList { peers }.encode_to_vec(), &changes, end);
        if let Ok(list) = wire::PeerList::decode(bytes.as_slice()) {
            drop(peers_from_wire(list));
        }
    }
}
