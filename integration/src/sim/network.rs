//! The ways between nodes: delay, jitter, loss, order, copies, and what stands in the way.

use std::{collections::BTreeMap, net::SocketAddr};

use rand::{Rng as _, rngs::StdRng};

use super::{
    datagram::{Datagram, Message},
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
    pub weather: Weather,
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
        Self {
            routers: routers.map(|site| Nat::new(site.nat, site.wan)).collect(),
            plan: plan.clone(),
            rules: Vec::new(),
            weather: Weather::default(),
            delays,
            last: BTreeMap::new(),
            random,
        }
    }

    /// Sends from a port of a node; says where and when it comes.
    pub fn send(
        &mut self,
        (node, port): (usize, u16),
        to: SocketAddr,
        datagram: &Datagram,
        now: Micros,
    ) -> Vec<Arrival> {
        let Some((target, seen, inside)) = self.translate(node, port, to, now) else {
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

    /// The node it is for, from whom it seems to come, and for which of its ports it is.
    fn translate(
        &mut self,
        node: usize,
        port: u16,
        to: SocketAddr,
        now: Micros,
    ) -> Option<(usize, SocketAddr, SocketAddr)> {
        let own = self.plan.nodes.get(node)?;
        let from = SocketAddr::from((own.address, port));
        let nodes = self.plan.nodes.iter();
        let by_address = nodes.enumerate().find(|(_, far)| to.ip() == far.address);
        let near = own.site;
        if let Some((target, far)) = by_address
            && near.is_some()
            && far.site == near
        {
            return Some((target, from, to));
        }
        let seen = match near {
            Some(site) => {
                let random = &mut self.random;
                self.routers.get_mut(site)?.outward(from, to, now, random)
            }
            None => from,
        };
        let routed = |site: Option<usize>| {
            site.is_none_or(|site| self.plan.sites[site].nat == NatKind::None)
        };
        if let Some((target, _)) = by_address.filter(|(_, far)| routed(far.site)) {
            return Some((target, seen, to));
        }
        let site = self
            .plan
            .sites
            .iter()
            .position(|site| to.ip() == site.wan)?;
        let inside = self.routers.get_mut(site)?.inward(seen, to, now)?;
        let mut nodes = self.plan.nodes.iter();
        let target = nodes.position(|far| inside.ip() == far.address)?;
        Some((target, seen, inside))
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
