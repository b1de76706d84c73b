//! The ways between nodes: delay, jitter, loss, order, copies, and what stands in the way.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use rand::{Rng as _, rngs::StdRng};

use crate::lab::topology::INTERNET;

use super::{
    datagram::{Datagram, Message},
    firewall::{Firewalls, Heading, Hook, Packet},
    nat::{Nat, NatKind},
    plan::{Plan, TUNNEL_PORT},
    time::{MILLI, Micros},
};

/// Time from one machine of a LAN to another.
const LAN: Micros = 300;

/// Where something can be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A site's router, what comes from outside.
    RouterIn(usize),
    /// A site's router, what goes outside.
    RouterOut(usize),
    /// The last router in front of a node, what goes to it.
    Front(usize),
    /// The first router behind a node, what comes from it.
    Back(usize),
    /// The way from one node to another.
    Way(usize, usize),
    /// The node's own link, both ways.
    Link(usize),
}

/// What is dropped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    All,
    /// What is for the tunnel's port.
    TunnelPort,
    /// Data messages of `WireGuard`.
    Data,
    /// IP packets of more bytes.
    LongerThan(usize),
    /// So many of a hundred, by chance.
    Share(u8),
}

/// One reason for loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub place: Place,
    pub what: What,
}

/// How the network is on an ordinary day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// Share of the datagrams between sites that is lost in each direction.
    pub loss: f64,
    /// Most that is added to the delay of one datagram.
    pub jitter: Micros,
    /// Share of the datagrams that overtake others.
    pub reordered: f64,
    /// Share of the datagrams that come twice.
    pub doubled: f64,
    /// Added to all delays between sites.
    pub slow: Micros,
}

/// A datagram that comes.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Micros,
    pub node: usize,
    /// From whom it seems to come, and for what it was.
    pub from: SocketAddr,
    pub to: SocketAddr,
}

#[derive(Debug)]
pub struct Network {
    plan: Plan,
    pub routers: Vec<Nat>,
    pub rules: Vec<Rule>,
    pub firewalls: Firewalls,
    pub weather: Weather,
    addresses: BTreeMap<IpAddr, usize>,
    delays: BTreeMap<(usize, usize), Micros>,
    last: BTreeMap<(usize, usize), Micros>,
    random: StdRng,
}

/// A datagram on its way, as rules see it.
struct Passing {
    length: usize,
    data: bool,
    /// Its destination port before and after the far router.
    ports: (u16, u16),
}

impl Network {
    pub fn new(plan: &Plan, mut random: StdRng) -> Self {
        let mut delays = BTreeMap::new();
        for (a, b) in plan.pairs().filter(|(a, b)| a < b) {
            let way = if plan.same_lan(a, b) {
                LAN
            } else {
                random.random_range(4..25) * MILLI
            };
            delays.insert((a, b), way);
            delays.insert((b, a), way + random.random_range(0..MILLI));
        }
        let routers = plan.sites.iter();
        let nodes = plan.nodes.iter().enumerate();
        Self {
            addresses: nodes
                .map(|(number, node)| (node.address.into(), number))
                .collect(),
            routers: routers.map(|site| Nat::new(site.nat, site.wan)).collect(),
            plan: plan.clone(),
            rules: Vec::new(),
            firewalls: Firewalls::default(),
            weather: Weather::default(),
            delays,
            last: BTreeMap::new(),
            random,
        }
    }

    /// All machines are near each other, as those of a lab.
    pub fn is_near(&mut self) {
        self.delays.clear();
    }

    /// Sends from a port of a node; says where and when it comes.
    pub fn send(
        &mut self,
        (node, port): (usize, u16),
        to: SocketAddr,
        datagram: &Datagram,
        now: Micros,
    ) -> Vec<Arrival> {
        let Some((target, seen, inside)) = self.route((node, port), to, datagram, now) else {
            return Vec::new();
        };
        let passing = Passing {
            length: datagram.packet_length(),
            data: matches!(datagram, Datagram::WireGuard(Message::Data { .. })),
            ports: (to.port(), inside.port()),
        };
        let outside = !self.plan.same_lan(node, target);
        if self.stopped(node, target, &passing) || (outside && self.by_chance(self.weather.loss)) {
            return Vec::new();
        }
        let copies = if outside && self.by_chance(self.weather.doubled) {
            2
        } else {
            1
        };
        (0..copies)
            .map(|_| Arrival {
                at: self.arrives(node, target, outside, now),
                node: target,
                from: seen,
                to: inside,
            })
            .collect()
    }

    /// Whether datagrams of so many bytes get from one node to the other on a day without chance.
    pub fn passes(&self, a: usize, b: usize, length: usize) -> bool {
        let passing = Passing {
            length,
            data: true,
            ports: (TUNNEL_PORT, TUNNEL_PORT),
        };
        let sure = |rule: &&Rule| !matches!(rule.what, What::Share(percent) if percent < 100);
        let mut rules = self.rules.iter().filter(sure);
        !rules.any(|rule| self.meets(rule.place, a, b) && matches(rule, &passing))
    }

    pub fn is_cut_off(&self, node: usize) -> bool {
        let cut = Rule {
            place: Place::Link(node),
            what: What::All,
        };
        self.rules.contains(&cut)
    }

    fn site(&self, node: usize) -> Option<usize> {
        self.plan.nodes.get(node)?.site
    }

    /// The node it is for, from whom it seems to come, and for which of its ports it is, unless a router on the way drops it.
    fn route(
        &mut self,
        (node, port): (usize, u16),
        to: SocketAddr,
        datagram: &Datagram,
        now: Micros,
    ) -> Option<(usize, SocketAddr, SocketAddr)> {
        let own = self.plan.nodes.get(node)?;
        let from = SocketAddr::from((own.address, port));
        let by_address = self.addresses.get(&to.ip()).copied();
        let near = own.site;
        let far_site = |target: usize| self.plan.nodes.get(target).and_then(|far| far.site);
        if let Some(target) = by_address
            && near.is_some()
            && far_site(target) == near
        {
            return Some((target, from, to));
        }
        let reachable = by_address.filter(|target| {
            let site = far_site(*target);
            site.is_none_or(|site| self.plan.sites[site].nat == NatKind::None)
        });
        let seen = match near {
            Some(site) => {
                self.router_lets_pass(site, Heading::Outward, (from, to), datagram)?;
                let random = &mut self.random;
                self.routers.get_mut(site)?.outward(from, to, now, random)
            }
            None => from,
        };
        let middle = packet((seen, to), datagram, None);
        if self
            .firewalls
            .drops(INTERNET, Hook::Forward, &middle, &mut self.random)
        {
            return None;
        }
        let (site, target, inside) = if let Some(target) = reachable {
            (self.site(target), target, to)
        } else {
            let mut sites = self.plan.sites.iter();
            let site = sites.position(|site| to.ip() == site.wan)?;
            let inside = self.routers.get_mut(site)?.inward(seen, to, now)?;
            let target = self.addresses.get(&inside.ip()).copied()?;
            (Some(site), target, inside)
        };
        if let Some(site) = site {
            self.router_lets_pass(site, Heading::Inward, (seen, inside), datagram)?;
        }
        Some((target, seen, inside))
    }

    fn router_lets_pass(
        &mut self,
        site: usize,
        heading: Heading,
        ends: (SocketAddr, SocketAddr),
        datagram: &Datagram,
    ) -> Option<()> {
        let router = &self.plan.sites.get(site)?.router;
        let passing = packet(ends, datagram, Some(heading));
        let dropped = self
            .firewalls
            .drops(router, Hook::Forward, &passing, &mut self.random);
        (!dropped).then_some(())
    }

    /// Whether a node's own firewall drops something.
    pub fn host_drops(&mut self, node: usize, at: Hook, packet: &Packet) -> bool {
        let Some(own) = self.plan.nodes.get(node) else {
            return false;
        };
        self.firewalls
            .drops(own.name.as_str(), at, packet, &mut self.random)
    }

    fn meets(&self, place: Place, a: usize, b: usize) -> bool {
        let outside = !self.plan.same_lan(a, b);
        match place {
            Place::RouterIn(site) => outside && self.site(b) == Some(site),
            Place::RouterOut(site) => outside && self.site(a) == Some(site),
            Place::Front(node) => outside && b == node,
            Place::Back(node) => outside && a == node,
            Place::Way(from, to) => (a, b) == (from, to),
            Place::Link(node) => a == node || b == node,
        }
    }

    fn stopped(&mut self, a: usize, b: usize, passing: &Passing) -> bool {
        for at in 0..self.rules.len() {
            let rule = self.rules[at];
            if !self.meets(rule.place, a, b) || !matches(&rule, passing) {
                continue;
            }
            let What::Share(percent) = rule.what else {
                return true;
            };
            if self.random.random_range(0..100) < percent {
                return true;
            }
        }
        false
    }

    fn by_chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.random.random_bool(share)
    }

    fn arrives(&mut self, a: usize, b: usize, outside: bool, now: Micros) -> Micros {
        let way = self.delays.get(&(a, b)).copied().unwrap_or(LAN);
        if !outside {
            return now + way;
        }
        let jitter = match self.weather.jitter {
            0 => 0,
            most => self.random.random_range(0..most),
        };
        let at = now + way + self.weather.slow + jitter;
        let last = self.last.get(&(a, b)).copied().unwrap_or(0);
        if at <= last && !self.by_chance(self.weather.reordered) {
            self.last.insert((a, b), last + 1);
            return last + 1;
        }
        self.last.insert((a, b), at.max(last));
        at
    }
}

/// A datagram as chains see it.
pub fn packet(
    (from, to): (SocketAddr, SocketAddr),
    datagram: &Datagram,
    heading: Option<Heading>,
) -> Packet {
    Packet {
        from,
        to,
        length: datagram.packet_length(),
        first_byte: datagram.first_byte(),
        heading,
    }
}

/// Whether a rule drops this, where they meet. Chance is not asked.
fn matches(rule: &Rule, passing: &Passing) -> bool {
    match rule.what {
        What::All | What::Share(_) => true,
        What::Data => passing.data,
        What::LongerThan(bytes) => passing.length > bytes,
        What::TunnelPort => match rule.place {
            Place::RouterOut(_) | Place::Back(_) => passing.ports.0 == TUNNEL_PORT,
            _ => passing.ports.1 == TUNNEL_PORT,
        },
    }
}
