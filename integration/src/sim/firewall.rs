//! The packet filters of simulated hosts: as much of nftables as scenario files use, and what they drop.

use std::{collections::BTreeMap, net::SocketAddr};

use rand::{Rng as _, rngs::StdRng};

/// Where a chain looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    Input,
    Forward,
    Output,
}

/// Which way a packet passes a site's router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    Outward,
    Inward,
}

/// One condition of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    From(std::net::IpAddr),
    To(std::net::IpAddr),
    FromPort(u16),
    ToPort(u16),
    Heading(Heading),
    /// IP packets of more bytes.
    LongerThan(usize),
    /// The first byte behind the UDP header.
    FirstByte(u8),
    /// So many of a hundred, by chance.
    Share(u8),
    /// The first so many that come this far.
    First(u32),
}

/// A rule that drops what meets all its conditions, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule(pub Vec<Condition>);

/// What is done to the tables of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Table(String),
    Chain {
        table: String,
        chain: String,
        hook: Hook,
    },
    Rule {
        table: String,
        chain: String,
        rule: Rule,
    },
    Delete(String),
}

/// A UDP datagram, as a chain sees it.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// Bytes of the IP packet.
    pub length: usize,
    pub first_byte: u8,
    /// On a router.
    pub heading: Option<Heading>,
}

/// The tables of all hosts, by the names of the hosts.
#[derive(Debug, Default)]
pub struct Firewalls(BTreeMap<String, BTreeMap<String, Chains>>);

/// The chains of a table: where each looks, and its rules with how many packets each of their limits has let through.
type Chains = BTreeMap<String, (Hook, Vec<(Rule, u32)>)>;

impl Firewalls {
    /// `Err` as nftables would have it: a table or a chain is not there.
    pub fn change(&mut self, host: &str, change: Change) -> Result<(), String> {
        let tables = self.0.entry(host.to_owned()).or_default();
        let missing = |table: &str| format!("{host} has no table {table}");
        match change {
            Change::Table(table) => {
                tables.entry(table).or_default();
            }
            Change::Chain { table, chain, hook } => {
                let chains = tables.get_mut(&table).ok_or_else(|| missing(&table))?;
                chains.entry(chain).or_insert((hook, Vec::new()));
            }
            Change::Rule { table, chain, rule } => {
                let chains = tables.get_mut(&table).ok_or_else(|| missing(&table))?;
                let known = chains.get_mut(&chain);
                let (_, rules) =
                    known.ok_or_else(|| format!("table {table} of {host} has no chain {chain}"))?;
                rules.push((rule, 0));
            }
            Change::Delete(table) => {
                tables.remove(&table).ok_or_else(|| missing(&table))?;
            }
        }
        if tables.is_empty() {
            self.0.remove(host);
        }
        Ok(())
    }

    /// Whether a chain of the host drops it.
    pub fn drops(&mut self, host: &str, at: Hook, packet: &Packet, random: &mut StdRng) -> bool {
        let Some(tables) = self.0.get_mut(host) else {
            return false;
        };
        let chains = tables.values_mut().flat_map(BTreeMap::values_mut);
        let mut rules = chains
            .filter(|(hook, _)| *hook == at)
            .flat_map(|(_, rules)| rules);
        rules.any(|(rule, let_through)| rule.meets(packet, let_through, random))
    }
}

impl Rule {
    fn meets(&self, packet: &Packet, let_through: &mut u32, random: &mut StdRng) -> bool {
        self.0.iter().all(|condition| match *condition {
            Condition::From(from) => packet.from.ip() == from,
            Condition::To(to) => packet.to.ip() == to,
            Condition::FromPort(port) => packet.from.port() == port,
            Condition::ToPort(port) => packet.to.port() == port,
            Condition::Heading(heading) => packet.heading == Some(heading),
            Condition::LongerThan(bytes) => packet.length > bytes,
            Condition::FirstByte(byte) => packet.first_byte == byte,
            Condition::Share(percent) => random.random_range(0..100) < percent,
            Condition::First(most) => {
                let within = *let_through < most;
                *let_through += u32::from(within);
                within
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn packet(length: usize) -> Packet {
        Packet {
            from: SocketAddr::from(([203, 0, 113, 11], 51_820)),
            to: SocketAddr::from(([203, 0, 113, 12], 51_820)),
            length,
            first_byte: 4,
            heading: None,
        }
    }

    fn with(conditions: &[Condition]) -> Firewalls {
        let mut firewalls = Firewalls::default();
        let (table, chain) = ("t".to_owned(), "c".to_owned());
        let changes = [
            Change::Table(table.clone()),
            Change::Chain {
                table: table.clone(),
                chain: chain.clone(),
                hook: Hook::Forward,
            },
            Change::Rule {
                table,
                chain,
                rule: Rule(conditions.to_vec()),
            },
        ];
        for change in changes {
            firewalls.change("r", change).unwrap();
        }
        firewalls
    }

    #[test]
    fn a_rule_drops_what_meets_all_of_it_on_its_host_and_hook_until_its_table_is_deleted() {
        let mut random = StdRng::seed_from_u64(1);
        let mut firewalls = with(&[Condition::FromPort(51_820), Condition::LongerThan(1400)]);
        let mut drops = |firewalls: &mut Firewalls, host: &str, hook, length| -> bool {
            firewalls.drops(host, hook, &packet(length), &mut random)
        };
        assert!(drops(&mut firewalls, "r", Hook::Forward, 1401));
        assert!(!drops(&mut firewalls, "r", Hook::Forward, 1400));
        assert!(!drops(&mut firewalls, "r", Hook::Input, 1401));
        assert!(!drops(&mut firewalls, "other", Hook::Forward, 1401));
        let delete = || Change::Delete("t".to_owned());
        firewalls.change("r", delete()).unwrap();
        assert!(!drops(&mut firewalls, "r", Hook::Forward, 1401));
        let twice = firewalls.change("r", delete()).unwrap_err();
        assert_eq!(twice, "r has no table t");
    }

    #[test]
    fn a_limit_counts_only_what_comes_as_far_as_it() {
        let mut random = StdRng::seed_from_u64(1);
        let mut firewalls = with(&[Condition::LongerThan(100), Condition::First(2)]);
        let mut dropped =
            |length| firewalls.drops("r", Hook::Forward, &packet(length), &mut random);
        let of_each: Vec<bool> = [50, 200, 50, 200, 200].map(&mut dropped).to_vec();
        assert_eq!(of_each, [false, true, false, true, false]);
    }
}
