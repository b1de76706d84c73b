//! What actions of scenarios mean in the simulator: its hosts have no shell, but know the commands that scenario files run.
//!
//! A command is known as it is written, or not at all: whatever is not is the reason why a scenario cannot be carried.

mod nft;
mod scripts;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::lab::{
    faults::Action,
    topology::{INTERNET, Nat, Topology},
};

use super::{
    firewall::Change,
    nat::NatKind,
    plan::Plan,
    time::{MILLI, Micros},
};

/// One thing to do to the world. Nodes and sites are numbers of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Firewall {
        host: String,
        change: Change,
    },
    Forget(usize),
    Translate {
        site: usize,
        nat: NatKind,
    },
    Link {
        node: usize,
        up: bool,
    },
    Mtu {
        node: usize,
        bytes: u32,
    },
    Device {
        node: usize,
        change: DeviceChange,
    },
    Steer {
        node: usize,
        change: SteerChange,
    },
    Agent {
        node: usize,
        change: Program,
    },
    Collector {
        up: bool,
    },
    WireGuard {
        node: usize,
        up: bool,
    },
    /// A VXLAN device for the overlay's port, as a CNI makes it.
    Vxlan {
        node: usize,
        name: &'static str,
        change: VxlanChange,
    },
    /// A script in the background: what it does, and how long after it was started.
    Later {
        script: Script,
        orders: Vec<(Micros, Order)>,
    },
    /// Ends that script, wherever it is.
    End(Script),
}

/// A script that a host runs beside others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub host: String,
    /// The file that has its process id, if it is ever killed.
    pub known_as: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Kill,
    Start,
    Freeze,
    Thaw,
}

/// What is done to a VXLAN device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VxlanChange {
    /// With a network of its own and this address, or, without, one for all networks.
    Add(Option<Ipv4Addr>),
    Up {
        mtu: u32,
    },
    Delete,
}

/// What `wg` does. A peer is named by its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    Save,
    /// Adds the peers that were saved and are not there.
    AddSaved,
    /// The same, and removes those that were not there.
    SetSaved,
    Remove(usize),
    /// Removes the peer and adds it with another preshared key.
    OtherPsk(usize),
    /// The same with another public key.
    OtherKey(usize),
    /// It keeps its address in the tunnel, and loses the one of the node.
    NodeAddressLost(usize),
    /// The other way round.
    TunnelAddressLost(usize),
    /// All addresses of the one become the other's.
    AddressesMoved {
        from: usize,
        to: usize,
    },
    /// As it was before one of the three above.
    AddressesAgain,
    Endpoint {
        peer: usize,
        to: SocketAddr,
    },
}

/// What becomes of the steering into the tunnel, of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SteerChange {
    Rule(bool),
    Table(bool),
    /// A rule before `KubeSpan`'s leads this network to the main table; `None` if it is gone.
    Bypass(Option<(Ipv4Addr, u8)>),
    /// The chains do not mark this address; `None` if they are as Talos made them.
    Unmarked(Option<Ipv4Addr>),
}

/// What an action does here, or why that is not known.
pub fn of(action: &Action, topology: &Topology, plan: &Plan) -> Result<Vec<Order>, String> {
    let node = |name: &String| plan.named(name).ok_or_else(|| format!("{name} is no node"));
    let agent = |name, change| node(name).map(|node| Order::Agent { node, change });
    let order = match action {
        Action::Shell { host, command } => {
            let place = Place::of(host, topology, plan)?;
            return scripts::read(&place, command);
        }
        Action::KillAgent(name) => agent(name, Program::Kill)?,
        Action::StartAgent(name) => agent(name, Program::Start)?,
        Action::KillCollector => Order::Collector { up: false },
        Action::StartCollector => Order::Collector { up: true },
        Action::StopWireguard(name) => Order::WireGuard {
            node: node(name)?,
            up: false,
        },
        Action::StartWireguard(name) => Order::WireGuard {
            node: node(name)?,
            up: true,
        },
    };
    Ok(vec![order])
}

/// The host on which a command runs.
#[derive(Debug)]
struct Place<'a> {
    host: &'a str,
    node: Option<usize>,
    site: Option<usize>,
    /// What the router does as its file says.
    nat: NatKind,
    plan: &'a Plan,
}

impl<'a> Place<'a> {
    fn of(host: &'a str, topology: &Topology, plan: &'a Plan) -> Result<Self, String> {
        let mut sites = topology.sites.iter();
        let site = sites.position(|site| site.router.as_str() == host);
        let node = plan.named(host);
        if node.is_none() && site.is_none() && host != INTERNET {
            return Err(format!("{host} is no host"));
        }
        Ok(Self {
            host,
            node,
            site,
            nat: site.map_or(NatKind::None, |site| nat_kind(topology.sites[site].nat)),
            plan,
        })
    }

    fn own_node(&self) -> Result<usize, String> {
        self.node
            .ok_or_else(|| format!("it does on {} what belongs to a node", self.host))
    }

    fn own_site(&self) -> Result<usize, String> {
        self.site
            .ok_or_else(|| format!("it does on {} what belongs to a site's router", self.host))
    }

    /// The node with that address.
    fn node_at(&self, address: &str) -> Result<usize, String> {
        let mut nodes = self.plan.nodes.iter();
        let known = nodes.position(|node| node.address.to_string() == address);
        known.ok_or_else(|| format!("no node has the address {address}"))
    }

    fn firewall(&self, change: Change) -> Order {
        Order::Firewall {
            host: self.host.to_owned(),
            change,
        }
    }
}

/// What a scenario's translation is here.
pub(super) fn nat_kind(nat: Nat) -> NatKind {
    match nat {
        Nat::Masquerade => NatKind::PortRestricted,
        Nat::MasqueradeRandom => NatKind::Symmetric,
        Nat::None => NatKind::None,
    }
}

/// An address in the tunnel, for rules.
fn tunnel_address(plan: &Plan, node: usize) -> IpAddr {
    plan.tunnel_address(node).into()
}

/// Seconds of a script.
fn seconds(tenths: i64) -> Micros {
    tenths * 100 * MILLI
}
