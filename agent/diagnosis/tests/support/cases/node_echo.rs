//! What echoes to node addresses show that a comparison of lists cannot, and what they do not show.

use evidence::{Fact, FactKey, Layer, NodeAsked, NodeHeard, SourceId, Via};

use super::{Case, MESH_ONLY, READY, SINCE, case, edit_peer, without_node_address, without_rule};
use crate::support::{Lab, NODES, ago, key};

impl Lab {
    /// Changes what `node` has asked the node addresses of `other`, and heard of it.
    pub(crate) fn node_echo(
        mut self,
        node: &str,
        other: &str,
        edit: impl FnOnce(&mut NodeAsked, &mut NodeHeard),
    ) -> Self {
        let facts = &mut self.node(node).facts;
        let Some(Fact::NodeEcho(peer, mut echo)) =
            facts.get(&FactKey::NodeEcho(key(other))).cloned()
        else {
            panic!("{node} has asked {other}");
        };
        edit(&mut echo.asked[0], &mut echo.heard[0]);
        facts.insert(Fact::NodeEcho(peer, echo));
        self
    }
}

/// Echoes of `from` came to `to` by its own link, so many in a row, the last so long ago.
fn around(lab: Lab, (from, to): (&str, &str), count: u32, last: i64) -> Lab {
    let lab = lab.node_echo(to, from, |_, heard| {
        heard.via = Some(Via::Link("eth0".to_owned()));
        heard.around = count;
        heard.around_since = Some(ago(last + SINCE));
        heard.last = ago(last);
    });
    // The answers go through the tunnel.
    lab.node_echo(from, to, |asked, _| asked.through = Some(false))
}

/// So many echoes of `from` to `to` were lost in a row.
fn lost(lab: Lab, (from, to): (&str, &str), count: u32) -> Lab {
    let lab = lab.node_echo(to, from, |_, heard| heard.last = ago(SINCE + 1000));
    lab.node_echo(from, to, |asked, _| {
        asked.lost = count;
        asked.lost_since = Some(ago(SINCE));
        asked.last_answered = Some(ago(SINCE + 1000));
    })
}

/// A program on `vps-1` sets the whole mark, behind KubeSpan's chains: what goes to a public address arrives in clear, and what goes to a
/// private one dies.
pub(crate) fn mark_overwritten() -> Lab {
    let lab = around(Lab::healthy(), ("vps-1", "vps-2"), 4, 1500);
    let homes = ["home-cp", "home-worker"];
    homes.into_iter().fold(lab, |lab, home| {
        let lab = lost(lab, ("vps-1", home), 4);
        lab.node_echo("vps-1", home, |asked, _| asked.beside = Some(ago(1400)))
    })
}

/// The same a moment after it began: the overlay's port has been searched, and echoes have not been lost often enough yet.
pub(crate) fn overwritten_and_searched() -> Lab {
    let lab = around(Lab::healthy(), ("vps-1", "vps-2"), 4, 1500);
    let homes = ["home-cp", "home-worker"];
    homes.into_iter().fold(lab, |lab, home| {
        let lab = lost(lab, ("vps-1", home), 1);
        let lab = lab.node_echo("vps-1", home, |asked, _| asked.beside = Some(ago(1400)));
        lab.narrow("vps-1", home, Layer::Overlay, None, 12_000)
    })
}

/// The mark is let be again: echoes have told it, and the overlay's port has not been tried since.
fn mended_and_not_tried() -> Lab {
    let homes = ["home-cp", "home-worker"];
    homes.into_iter().fold(Lab::healthy(), |lab, home| {
        let lab = lab.node_echo("vps-1", home, |asked, _| asked.mended = Some(ago(2000)));
        lab.narrow("vps-1", home, Layer::Overlay, None, 12_000)
    })
}

/// Agents of before node addresses were asked.
pub(crate) fn never_asked(mut lab: Lab) -> Lab {
    for node in NODES {
        lab = lab.without(node, &FactKey::Source(SourceId::NodeEcho));
        for other in NODES.iter().filter(|other| **other != node) {
            lab = lab.without(node, &FactKey::NodeEcho(key(other)));
        }
    }
    lab
}

/// The last answer and the last request were of before the lists were as they are.
fn changed_since(mut lab: Lab, node: &str) -> Lab {
    let facts: Vec<Fact> = lab.node(node).facts.iter().cloned().collect();
    for mut fact in facts {
        match &mut fact {
            Fact::Steering(steering) => steering.since = ago(5000),
            Fact::Steered(_, steered) => steered.since = ago(5000),
            _ => continue,
        }
        lab.put(node, fact);
    }
    lab
}

fn by_an_unknown_link(lab: Lab) -> Lab {
    let lab = around(lab, ("vps-1", "vps-2"), 4, 1500);
    lab.node_echo("vps-2", "vps-1", |_, heard| heard.via = None)
}

pub(super) fn cases() -> Vec<Case> {
    let quiet = |title, lab| case(title, lab, &[], READY, &["steering-bypassed"]);
    let bypassed = |title, lab| {
        let looks_like = &[
            "steering-rule-missing",
            "overlay-port-blocked",
            "tunnel-silent",
        ];
        case(
            title,
            lab,
            &[("steering-bypassed", "vps-1")],
            MESH_ONLY,
            looks_like,
        )
    };
    let one = ("vps-1", "vps-2");
    vec![
        bypassed(
            "echoes of one node come in past the tunnel, though all lists are right",
            around(Lab::healthy(), one, 4, 1500),
        ),
        bypassed(
            "another program sets the whole mark: some echoes go around, and the others are lost",
            mark_overwritten(),
        ),
        bypassed(
            "echoes of one node go around, and its overlay's port was found shut before others were lost",
            overwritten_and_searched(),
        ),
        case(
            "echoes come out of the tunnel again, and the overlay's port has not been tried since",
            mended_and_not_tried(),
            &[],
            READY,
            &["overlay-port-blocked"],
        ),
        quiet("one echo went around", around(Lab::healthy(), one, 1, 1500)),
        quiet(
            "two echoes went around",
            around(Lab::healthy(), one, 2, 1500),
        ),
        quiet(
            "echoes went around before the lists became what they are",
            changed_since(around(Lab::healthy(), one, 4, 1500), "vps-1"),
        ),
        quiet(
            "echoes went around, and nobody has asked since",
            around(Lab::healthy(), one, 4, 40_000),
        ),
        quiet(
            "echoes came in by a link of which the name is not known",
            by_an_unknown_link(Lab::healthy()),
        ),
        quiet(
            "two echoes to a node address are lost",
            lost(Lab::healthy(), one, 2),
        ),
        quiet(
            "echoes to a node address are lost, and nothing else is",
            lost(Lab::healthy(), one, 30),
        ),
        quiet(
            "echoes are lost that an agent of before does not listen to",
            lost(Lab::healthy(), one, 30).without("vps-2", &FactKey::Source(SourceId::NodeEcho)),
        ),
        quiet("nobody asks node addresses", never_asked(Lab::healthy())),
        case(
            "a rule is gone, and echoes go around as they must",
            around(without_rule("vps-1"), one, 4, 1500),
            &[("steering-rule-missing", "vps-1")],
            MESH_ONLY,
            &["steering-bypassed"],
        ),
        case(
            "an address is missing, and the echo to another one is well",
            without_node_address("vps-1", "vps-2"),
            &[("allowed-ip-missing", "vps-1 -> vps-2")],
            MESH_ONLY,
            &["steering-bypassed"],
        ),
        case(
            "marked packets are sent elsewhere by a rule, and echoes go around",
            edit_peer(
                around(Lab::healthy(), one, 4, 1500),
                "vps-1",
                "vps-2",
                |steered| steered.prefixes[0].marked_via = Some("eth0".to_owned()),
            ),
            &[("steering-bypassed", "vps-1")],
            MESH_ONLY,
            &["steering-rule-missing"],
        ),
    ]
}
