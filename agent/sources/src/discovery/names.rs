//! The addresses of an endpoint's name, as the node's resolvers give them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use evidence::{
    discovery::{DiscoveryNames, NameAnswer, NameOutcome},
    limits,
};

use super::text::tame;
use crate::dns::{NameError, Resolver};

const DNS_PORT: u16 = 53;

/// Asks the node's resolvers, IPv4 first; how often in a row none had an address is for the caller to count.
pub(super) async fn ask(name: &str) -> (Vec<IpAddr>, DiscoveryNames) {
    let begun = Instant::now();
    let resolver = match Resolver::system() {
        Ok(resolver) => resolver,
        Err(error) => {
            let none = NameAnswer {
                outcome: NameOutcome::NoResolver,
                took_us: 0,
                text: tame(&error.to_string()),
            };
            return (Vec::new(), names(Vec::new(), none.clone(), none));
        }
    };
    let asked = resolver.resolvers().take(limits::RESOLVERS);
    let asked = asked
        .map(|address| SocketAddr::new(address, DNS_PORT))
        .collect();
    let addresses = resolver.addresses(name).await;
    let took_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    let ipv4 = answer(addresses.v4.as_ref().err(), took_us);
    let ipv6 = answer(addresses.v6.as_ref().err(), took_us);
    (in_turn(&addresses.all()), names(asked, ipv4, ipv6))
}

/// The families in turn, so that a limit leaves out neither.
fn in_turn(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv4());
    let longest = v4.len().max(v6.len());
    (0..longest)
        .flat_map(|at| [v4.get(at), v6.get(at)])
        .flatten()
        .copied()
        .collect()
}

const fn names(resolvers: Vec<SocketAddr>, ipv4: NameAnswer, ipv6: NameAnswer) -> DiscoveryNames {
    DiscoveryNames {
        resolvers,
        ipv4,
        ipv6,
        failed: 0,
        failed_since: None,
    }
}

fn answer(error: Option<&NameError>, took_us: u32) -> NameAnswer {
    NameAnswer {
        outcome: error.map_or(NameOutcome::Found, outcome),
        took_us,
        text: error.map_or_else(String::new, |error| tame(&error.to_string())),
    }
}

const fn outcome(error: &NameError) -> NameOutcome {
    match error {
        NameError::NoSuchName => NameOutcome::NoSuchName,
        NameError::NoAddress => NameOutcome::Empty,
        NameError::ServFail => NameOutcome::ServerFailure,
        NameError::Refused => NameOutcome::Refused,
        NameError::Timeout => NameOutcome::Silent,
        NameError::Unreachable(_) | NameError::NoResolver => NameOutcome::NoResolver,
        NameError::NotAName(_) | NameError::Code(_) | NameError::Malformed(_) => NameOutcome::Other,
    }
}
