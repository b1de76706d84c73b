//! What can be broken, and how it is healed: pure descriptions that [`crate::lab::stage::Stage`] carries out.
//!
//! Rules go into tables of their own, one per fault, so that healing removes exactly what the fault added and Talos' table
//! stays what Talos made.

use std::fmt;

use thiserror::Error;

use crate::lab::{
    kubespan::PORT,
    topology::{INTERNET, Node, Topology},
};

/// Something that goes wrong. The names are those of scenario files.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// `block-udp-51820-to`: the last router in front of the node drops what is for its port.
    BlockTo { node: String },
    /// `block-udp-51820-in-host`: the node's own firewall drops it.
    BlockInHost { node: String },
    /// `block-udp-out`: the site's router lets nothing out to the port.
    BlockOut { site: String },
    /// `one-way-loss`: a share of the datagrams from one node to the other is lost.
    OneWayLoss {
        from: String,
        to: String,
        percent: u8,
    },
    /// `drop-data`: handshakes pass the router in front of the node, data does not.
    DropData { node: String },
    /// `kill-agent`
    KillAgent { node: String },
    /// `restart-agent`
    RestartAgent { node: String },
    /// `kill-collector`
    KillCollector,
    /// `restart-collector`
    RestartCollector,
    /// `stop-wireguard`: the node's device is gone.
    StopWireguard { node: String },
    /// `run`: any command on any host.
    Raw {
        host: String,
        run: String,
        heal: Option<String>,
    },
}

/// The names of scenario files, for messages.
pub const NAMES: [&str; 10] = [
    "block-udp-51820-to",
    "block-udp-51820-in-host",
    "block-udp-out",
    "one-way-loss",
    "drop-data",
    "kill-agent",
    "restart-agent",
    "kill-collector",
    "restart-collector",
    "stop-wireguard",
];

/// One thing to do to a running lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Shell { host: String, command: String },
    KillAgent(String),
    StartAgent(String),
    KillCollector,
    StartCollector,
    StopWireguard(String),
    StartWireguard(String),
}

/// What makes a fault and what undoes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    pub apply: Vec<Action>,
    pub heal: Vec<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    #[error("{0:?} is not a node of the topology")]
    UnknownNode(String),
    #[error("{0:?} is not a site of the topology")]
    UnknownSite(String),
    #[error("{0:?} is not a host of the topology")]
    UnknownHost(String),
    #[error("{from} and {to} are in the same LAN: no router is between them")]
    NoRouterBetween { from: String, to: String },
}

impl Fault {
    /// What to do in this topology. `number` tells the tables of several faults apart.
    pub fn remedy(&self, topology: &Topology, number: usize) -> Result<Remedy, FaultError> {
        let table = Table(number);
        Ok(match self {
            Self::BlockTo { node } => block_to(topology, find(topology, node)?, &table),
            Self::BlockInHost { node } => {
                let rule = format!("udp dport {PORT} drop");
                table.rules(find(topology, node)?.name.as_str(), "input", &[rule])
            }
            Self::BlockOut { site } => {
                let known = topology.site(site);
                let site = known.ok_or_else(|| FaultError::UnknownSite(site.clone()))?;
                let rule = format!("iifname lan0 oifname wan udp dport {PORT} drop");
                table.rules(site.router.as_str(), "forward", &[rule])
            }
            Self::OneWayLoss { from, to, percent } => {
                let (from, to) = (find(topology, from)?, find(topology, to)?);
                one_way_loss(topology, from, to, *percent, &table)?
            }
            Self::DropData { node } => drop_data(topology, find(topology, node)?, &table),
            Self::Raw { host, run, heal } => raw(topology, host, run, heal.as_deref())?,
            Self::KillAgent { .. }
            | Self::RestartAgent { .. }
            | Self::KillCollector
            | Self::RestartCollector
            | Self::StopWireguard { .. } => self.process_remedy(topology)?,
        })
    }

    fn process_remedy(&self, topology: &Topology) -> Result<Remedy, FaultError> {
        let name = |node: &str| find(topology, node).map(|node| node.name.to_string());
        let (apply, heal) = match self {
            Self::KillAgent { node } => (
                vec![Action::KillAgent(name(node)?)],
                vec![Action::StartAgent(name(node)?)],
            ),
            Self::RestartAgent { node } => (
                vec![
                    Action::KillAgent(name(node)?),
                    Action::StartAgent(name(node)?),
                ],
                vec![],
            ),
            Self::KillCollector => (vec![Action::KillCollector], vec![Action::StartCollector]),
            Self::RestartCollector => (vec![Action::KillCollector, Action::StartCollector], vec![]),
            Self::StopWireguard { node } => (
                vec![Action::StopWireguard(name(node)?)],
                vec![Action::StartWireguard(name(node)?)],
            ),
            _ => (vec![], vec![]),
        };
        Ok(Remedy { apply, heal })
    }
}

/// The nftables table of one fault.
struct Table(usize);

impl Table {
    fn rules(&self, host: &str, hook: &str, rules: &[String]) -> Remedy {
        let name = format!("inet lab_fault_{}", self.0);
        let rules = rules.join("; ");
        let chain = format!("chain {hook} {{ type filter hook {hook} priority filter; {rules}; }}");
        Remedy {
            apply: vec![Action::shell(
                host,
                format!("nft 'table {name} {{ {chain}; }}'"),
            )],
            heal: vec![Action::shell(host, format!("nft delete table {name}"))],
        }
    }
}

impl Action {
    fn shell(host: &str, command: impl Into<String>) -> Self {
        Self::Shell {
            host: host.to_owned(),
            command: command.into(),
        }
    }
}

impl fmt::Display for Action {
    /// As a command that a reader can repeat where there is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell { host, command } => write!(f, "lab enter {host} {command}"),
            Self::KillAgent(node) => write!(f, "(kill mesh-agent on {node})"),
            Self::StartAgent(node) => write!(f, "(start mesh-agent on {node})"),
            Self::KillCollector => f.write_str("(kill mesh-collector)"),
            Self::StartCollector => f.write_str("(start mesh-collector)"),
            Self::StopWireguard(node) => write!(f, "(stop WireGuard on {node})"),
            Self::StartWireguard(node) => write!(f, "(start WireGuard on {node})"),
        }
    }
}

fn find<'a>(topology: &'a Topology, node: &str) -> Result<&'a Node, FaultError> {
    let known = topology.node(node);
    known.ok_or_else(|| FaultError::UnknownNode(node.to_owned()))
}

/// A router that forgot its translations and drops what comes in: the node's own packets still leave.
fn block_to(topology: &Topology, node: &Node, table: &Table) -> Remedy {
    let router = topology.router_in_front_of(node);
    let rule = format!("ip daddr {} udp dport {PORT} drop", node.address);
    let mut remedy = table.rules(router, "forward", &[rule]);
    if topology.is_translated(node) {
        remedy.apply.push(Action::shell(router, "conntrack -F"));
    }
    remedy
}

/// The rule stands where the addresses still (or again) name the one node that is meant: behind a translation they do not.
fn one_way_loss(
    topology: &Topology,
    from: &Node,
    to: &Node,
    percent: u8,
    table: &Table,
) -> Result<Remedy, FaultError> {
    if from.site.is_some() && from.site == to.site {
        return Err(FaultError::NoRouterBetween {
            from: from.name.to_string(),
            to: to.name.to_string(),
        });
    }
    let (router, source) = if topology.is_translated(to) {
        (
            topology.router_in_front_of(to),
            topology.outside_address(from),
        )
    } else {
        (topology.router_in_front_of(from), from.address)
    };
    // nft refuses a comparison that is always true.
    let share = match percent {
        100.. => String::new(),
        percent => format!("numgen random mod 100 < {percent} "),
    };
    let destination = to.address;
    let rule = format!("ip saddr {source} ip daddr {destination} meta l4proto udp {share}drop");
    Ok(table.rules(router, "forward", &[rule]))
}

/// The first byte of a `WireGuard` message is its type; 4 is data.
fn drop_data(topology: &Topology, node: &Node, table: &Table) -> Remedy {
    let data = "@th,64,8 4 drop";
    let rules = [
        format!("ip daddr {} udp dport {PORT} {data}", node.address),
        format!("ip saddr {} udp sport {PORT} {data}", node.address),
    ];
    table.rules(topology.router_in_front_of(node), "forward", &rules)
}

fn raw(
    topology: &Topology,
    host: &str,
    run: &str,
    heal: Option<&str>,
) -> Result<Remedy, FaultError> {
    if host != INTERNET && !topology.hosts().any(|known| known == host) {
        return Err(FaultError::UnknownHost(host.to_owned()));
    }
    Ok(Remedy {
        apply: vec![Action::shell(host, run)],
        heal: heal
            .map(|heal| Action::shell(host, heal))
            .into_iter()
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(fault: &Fault) -> Result<Remedy, FaultError> {
        fault.remedy(&Topology::default(), 1)
    }

    fn node(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn a_node_behind_nat_is_blocked_at_its_router_which_also_forgets_its_translations() {
        let blocked = remedy(&Fault::BlockTo {
            node: node("home-worker"),
        })
        .unwrap();
        let rule = "nft 'table inet lab_fault_1 { chain forward { type filter hook forward priority filter; \
                    ip daddr 192.168.50.12 udp dport 51820 drop; }; }'";
        let expected = [
            Action::shell("home-router", rule),
            Action::shell("home-router", "conntrack -F"),
        ];
        assert_eq!(blocked.apply, expected);
        let heal = [Action::shell(
            "home-router",
            "nft delete table inet lab_fault_1",
        )];
        assert_eq!(blocked.heal, heal);
    }

    #[test]
    fn a_public_node_is_blocked_in_the_internet() {
        let blocked = remedy(&Fault::BlockTo {
            node: node("vps-1"),
        })
        .unwrap();
        assert!(matches!(&blocked.apply[..], [Action::Shell { host, .. }] if host == INTERNET));
    }

    #[test]
    fn loss_towards_a_translated_node_is_made_behind_the_translation() {
        let loss = |from: &str, to: &str| {
            let fault = Fault::OneWayLoss {
                from: node(from),
                to: node(to),
                percent: 50,
            };
            remedy(&fault).map(|remedy| remedy.apply[0].to_string())
        };
        let inward = loss("vps-1", "home-cp").unwrap();
        assert!(inward.starts_with("lab enter home-router"), "{inward}");
        assert!(
            inward.contains("ip saddr 203.0.113.11 ip daddr 192.168.50.11"),
            "{inward}"
        );
        let outward = loss("home-cp", "vps-1").unwrap();
        assert!(outward.starts_with("lab enter home-router"), "{outward}");
        assert!(
            outward.contains("ip saddr 192.168.50.11 ip daddr 203.0.113.11"),
            "{outward}"
        );
        assert!(loss("home-cp", "home-worker").is_err());
    }

    #[test]
    fn a_fault_on_something_that_is_not_there_is_refused() {
        let unknown = remedy(&Fault::KillAgent {
            node: node("vps-9"),
        });
        assert_eq!(unknown, Err(FaultError::UnknownNode(node("vps-9"))));
        let raw = Fault::Raw {
            host: node("nowhere"),
            run: node("true"),
            heal: None,
        };
        assert_eq!(remedy(&raw), Err(FaultError::UnknownHost(node("nowhere"))));
    }
}
