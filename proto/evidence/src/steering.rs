//! Facts about steering: by what traffic for node addresses enters the tunnel.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Moment;

/// The node's half of steering: what holds for all its peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steering {
    /// Since when it has been as it is now, as far as this agent has seen.
    pub since: Moment,
    /// For IPv4.
    pub ipv4: SteeringFamily,
    /// For IPv6.
    pub ipv6: SteeringFamily,
    /// Talos' two nftables chains; `None` if they could not be read.
    pub chains: Option<SteeringChains>,
}

impl Steering {
    /// The half of an address's family.
    pub const fn family(&self, address: IpAddr) -> &SteeringFamily {
        match address {
            IpAddr::V4(_) => &self.ipv4,
            IpAddr::V6(_) => &self.ipv6,
        }
    }

    /// Whether there is anything at all that steers.
    pub fn is_any(&self) -> bool {
        let chains = self
            .chains
            .is_some_and(|chains| chains.outgoing || chains.prerouting);
        chains || self.ipv4.is_any() || self.ipv6.is_any()
    }
}

/// The rule and the route of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeringFamily {
    /// The priority of the rule `fwmark 0x40/0x60 lookup 180`; `None` if there is none.
    pub rule_priority: Option<u32>,
    /// Whether table 180 has a default route through `kubespan`.
    pub default_route: bool,
    /// Whether a rule or a route could not be decoded: then a "no" is not certain.
    pub undecoded: bool,
}

impl SteeringFamily {
    const fn is_any(&self) -> bool {
        self.rule_priority.is_some() || self.default_route
    }
}

/// Whether Talos' two nftables chains are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeringChains {
    /// `kubespan_outgoing`, for what the node itself sends.
    pub outgoing: bool,
    /// `kubespan_prerouting`, for what arrives to be forwarded.
    pub prerouting: bool,
}

/// How traffic towards one peer's addresses leaves this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steered {
    /// Since when it has been as it is now, as far as this agent has seen.
    pub since: Moment,
    /// Its allowed IPs without its `KubeSpan` address, at most [`crate::limits::STEERED`].
    pub prefixes: Vec<SteeredPrefix>,
    /// How many more it has.
    pub left_out: u32,
    /// Where its encrypted packets go, and by which link; `None` without an endpoint.
    pub endpoint: Option<EndpointWay>,
}

/// One allowed IP of a peer, and what becomes of traffic to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SteeredPrefix {
    /// `address/length`.
    pub prefix: String,
    /// Whether `kubespan_outgoing` marks all of it; `None` if that is not known.
    pub outgoing: Option<bool>,
    /// Whether `kubespan_prerouting` marks all of it; `None` if that is not known.
    pub prerouting: Option<bool>,
    /// The link by which a marked packet to its first address leaves; `None` if there is no way.
    pub marked_via: Option<String>,
    /// The source address of an ordinary packet to its first address; `None` if there is no way.
    pub source: Option<IpAddr>,
}

/// The way of encrypted packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointWay {
    /// Where to.
    pub to: SocketAddr,
    /// The link; `None` if there is no way.
    pub via: Option<String>,
    /// The longest packet that the link takes; `None` if that is not known.
    pub mtu: Option<u32>,
    /// When it last led into the tunnel itself.
    pub looped: Option<Moment>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Steering {
        Steering {
            since: Moment::ZERO,
            ipv4: SteeringFamily::default(),
            ipv6: SteeringFamily::default(),
            chains: Some(SteeringChains::default()),
        }
    }

    #[test]
    fn each_single_part_is_a_sign_that_the_node_steers() {
        assert!(!nothing().is_any());
        let mut parts = [nothing(), nothing(), nothing()];
        parts[0].ipv6.rule_priority = Some(0);
        parts[1].ipv4.default_route = true;
        parts[2].chains = Some(SteeringChains {
            outgoing: false,
            prerouting: true,
        });
        assert!(parts.iter().all(Steering::is_any));
    }

    #[test]
    fn an_address_is_looked_up_in_its_own_family() {
        let mut steering = nothing();
        steering.ipv6.default_route = true;
        assert!(!steering.family(IpAddr::from([192, 0, 2, 1])).default_route);
        assert!(steering.family(IpAddr::from([0; 16])).default_route);
    }
}
