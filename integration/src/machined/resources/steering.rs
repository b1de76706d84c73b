//! The chain and the rules that lead into the tunnel.

use std::net::IpAddr;

use sources::talos as kinds;
use upstream::talos;

use super::{Resources, allowed, net_prefix};
use crate::machined::plan::{Neighbour, Plan};

impl Resources {
    /// The chain and the rules that lead into the tunnel. A peer is in the chain if the tunnel is forced upon it or is up.
    pub(in crate::machined) fn steering(
        &mut self,
        plan: &Plan,
        is_in: impl Fn(&Neighbour) -> bool,
    ) {
        let routed = plan.others.iter().zip(allowed(plan));
        let routed = routed.filter(|(node, _)| is_in(node));
        let subnets = routed.flat_map(|(node, allowed)| {
            let own = IpAddr::V6(node.kubespan);
            allowed.into_iter().filter(move |(ip, _)| *ip != own)
        });
        let chain = talos::NfTablesChain {
            r#type: "filter".to_owned(),
            hook: talos::NfTablesHook::Prerouting.into(),
            rules: rules(subnets.map(|(ip, length)| net_prefix(ip, length)).collect()),
        };
        let yaml = "type: filter\nhook: prerouting\n".to_owned();
        self.add::<kinds::Chain>("kubespan_prerouting", &chain, yaml);
        for (id, family) in [("inet4/32500", 2), ("inet6/32500", 10)] {
            let rule = talos::RoutingRuleStatus {
                family,
                table: 180,
                priority: 32_500,
                fw_mark: 0x40,
                fw_mask: 0x60,
            };
            let yaml = "table: 180\npriority: 32500\n".to_owned();
            self.add::<kinds::RoutingRule>(id, &rule, yaml);
        }
    }
}

/// What the tunnel itself sends passes; what is for others is marked (controllers/kubespan/manager.go).
fn rules(routed: Vec<talos::NetIpPrefix>) -> Vec<talos::NfTablesRule> {
    let accept = Some(talos::NfTablesVerdict::Accept.into());
    let outer = talos::NfTablesRule {
        verdict: accept,
        match_mark: Some(talos::NfTablesMark {
            mask: 0x60,
            xor: 0,
            value: 0x20,
        }),
        ..talos::NfTablesRule::default()
    };
    let inner = talos::NfTablesRule {
        verdict: accept,
        set_mark: Some(talos::NfTablesMark {
            mask: 0xffff_ff9f,
            xor: 0x40,
            value: 0,
        }),
        match_destination_address: Some(talos::NfTablesAddressMatch {
            include_subnets: routed,
            ..talos::NfTablesAddressMatch::default()
        }),
        ..talos::NfTablesRule::default()
    };
    vec![outer, inner]
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use sources::talos::Kind as _;

    use super::*;

    fn neighbour(number: u8) -> Neighbour {
        Neighbour {
            name: format!("node-{number}"),
            node_id: String::new(),
            control_plane: false,
            public_key: String::new(),
            kubespan: [0xfd; 16].into(),
            address: [10, 244, number, 1].into(),
            public: [10, 244, number, 1].into(),
        }
    }

    fn chain(is_in: impl Fn(&Neighbour) -> bool) -> kinds::Chain {
        let plan = Plan {
            own: neighbour(9),
            cluster_id: String::new(),
            hardware_address: [0; 6],
            others: vec![neighbour(1), neighbour(2)],
        };
        let mut resources = Resources::default();
        resources.steering(&plan, is_in);
        let chains = resources.0.iter();
        let mut chains = chains.filter(|((_, kind, _), _)| kind == kinds::Chain::TYPE);
        let (_, resource) = chains.next().unwrap();
        let body = resource.spec.as_ref().unwrap().proto_spec.as_slice();
        kinds::Chain::check(talos::NfTablesChain::decode(body).unwrap()).unwrap()
    }

    /// The rules of Talos' own test (`manager_test.go`), as the reader sees them.
    #[test]
    fn the_chain_passes_the_tunnel_and_marks_what_is_for_peers() {
        let forced = chain(|_| true);
        let [outer, inner] = &forced.rules[..] else {
            panic!("two rules: {forced:?}");
        };
        let mark = |mask, xor, value| Some(kinds::Mark { mask, xor, value });
        assert_eq!(
            (outer.matches, outer.accepts),
            (mark(0x60, 0, 0x20), Some(true))
        );
        assert_eq!(
            (inner.sets, inner.accepts),
            (mark(0xffff_ff9f, 0x40, 0), Some(true))
        );
        let marked = |chain: &kinds::Chain| {
            let destinations = chain.rules[1].destinations.clone().unwrap();
            let texts: Vec<_> = destinations.iter().map(ToString::to_string).collect();
            texts.join(" ")
        };
        assert_eq!(marked(&forced), "10.244.1.1/32 10.244.2.1/32");
        assert_eq!(marked(&chain(|_| false)), "");
    }
}
