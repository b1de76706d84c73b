//! Whether data messages of a doubtful peer's tunnel pass the interfaces: when to look, for whom, and what was seen.
//!
//! [`DataLooks`] asks for a [`Look`] of a few seconds now and then; the driver hands in what it saw, message by message, and says
//! up to when it has seen everything.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use evidence::{DataMessages, DataSeen, Moment, PublicKey};

use crate::sightings::Direction;

/// How long a look takes. Each end of a doubtful pair sends an echo each second.
pub const LOOK: Duration = Duration::from_secs(2);
/// From one look for a peer to the next.
pub const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Peers of one look.
pub const MAX_PEERS_OF_A_LOOK: usize = 16;
/// Messages of one look; it ends with the last of them.
pub const MAX_MESSAGES: usize = 512;

/// Bytes of a data message with nothing in it: header and tag.
const KEEPALIVE_LENGTH: usize = 32;

/// What to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it began.
    pub since: Moment,
    /// Whose messages, by the endpoint that they come from and go to.
    pub peers: BTreeMap<SocketAddr, PublicKey>,
}

/// One data message at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether it left or came.
    pub direction: Direction,
    /// At which interface: one message is seen on each that it passes, a bridge and its port, for example.
    pub interface: u32,
    /// The far end.
    pub remote: SocketAddr,
    /// Bytes of the UDP payload.
    pub length: usize,
    /// When it passed.
    pub at: Moment,
}

/// Looks for the data of peers in doubt, one look at a time, and remembers what the last one of each saw.
#[derive(Clone, Debug, Default)]
pub struct DataLooks {
    looking: bool,
    looked: BTreeMap<PublicKey, Moment>,
    seen: BTreeMap<PublicKey, DataSeen>,
}

impl DataLooks {
    /// Begins a look if one is due for some of those in doubt. What was seen of peers that are in doubt no more is forgotten.
    pub fn follow(
        &mut self,
        doubtful: &BTreeMap<PublicKey, SocketAddr>,
        now: Moment,
    ) -> Option<Look> {
        self.seen.retain(|peer, _| doubtful.contains_key(peer));
        self.looked
            .retain(|peer, at| doubtful.contains_key(peer) || now.since(*at) < LOOK_AGAIN);
        if self.looking {
            return None;
        }
        let is_due = |peer: &PublicKey| {
            let last = self.looked.get(peer);
            last.is_none_or(|at| now.since(*at) >= LOOK_AGAIN)
        };
        let due = doubtful.iter().filter(|(peer, _)| is_due(peer));
        let peers: BTreeMap<_, _> = due
            .take(MAX_PEERS_OF_A_LOOK)
            .map(|(peer, endpoint)| (*endpoint, *peer))
            .collect();
        if peers.is_empty() {
            return None;
        }
        self.looked.extend(peers.values().map(|peer| (*peer, now)));
        self.looking = true;
        Some(Look { since: now, peers })
    }

    /// A look is over: it has seen everything up to `until` except `missed` messages. `None` if it could not be made.
    pub fn looked(&mut self, look: &Look, outcome: Option<(&[Message], Moment, u32)>) {
        self.looking = false;
        let Some((messages, until, missed)) = outcome else {
            return;
        };
        for (endpoint, peer) in &look.peers {
            let count = |direction| count(messages, *endpoint, direction);
            let seen = DataSeen {
                since: look.since,
                until,
                from_peer: count(Direction::In),
                to_peer: count(Direction::Out),
                missed,
            };
            self.seen.insert(*peer, seen);
        }
    }

    /// What the last look for a peer in doubt saw.
    pub fn seen(&self, peer: &PublicKey) -> Option<DataSeen> {
        self.seen.get(peer).copied()
    }
}

/// Counts at the interface that saw the first one.
fn count(messages: &[Message], remote: SocketAddr, direction: Direction) -> DataMessages {
    let mut own = messages
        .iter()
        .filter(|one| one.remote == remote && one.direction == direction)
        .peekable();
    let interface = own.peek().map(|first| first.interface);
    let mut counted = DataMessages::default();
    for message in own.filter(|one| Some(one.interface) == interface) {
        if message.length <= KEEPALIVE_LENGTH {
            counted.keepalives += 1;
        } else {
            counted.data += 1;
            counted.last = counted.last.max(Some(message.at));
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn endpoint(number: u8) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, number], 51_820))
    }

    fn doubtful(numbers: std::ops::Range<u8>) -> BTreeMap<PublicKey, SocketAddr> {
        numbers
            .map(|number| (peer(number), endpoint(number)))
            .collect()
    }

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn message(direction: Direction, number: u8, length: usize, millis: i64) -> Message {
        Message {
            direction,
            interface: 2,
            remote: endpoint(number),
            length,
            at: at(millis),
        }
    }

    #[test]
    fn nobody_in_doubt_is_no_reason_to_look() {
        assert_eq!(DataLooks::default().follow(&BTreeMap::new(), at(0)), None);
    }

    #[test]
    fn one_look_at_a_time_and_for_a_peer_again_after_a_while() {
        let mut looks = DataLooks::default();
        let look = looks.follow(&doubtful(1..3), at(0)).unwrap();
        assert_eq!(looks.follow(&doubtful(1..4), at(1000)), None);
        looks.looked(&look, Some((&[], at(2000), 0)));
        let next = looks.follow(&doubtful(1..4), at(2000)).unwrap();
        assert_eq!(next.peers.into_values().collect::<Vec<_>>(), [peer(3)]);
        let look = Look {
            since: at(2000),
            peers: BTreeMap::new(),
        };
        looks.looked(&look, None);
        assert_eq!(looks.follow(&doubtful(1..2), at(9999)), None);
        assert!(looks.follow(&doubtful(1..2), at(10_000)).is_some());
    }

    #[test]
    fn a_look_is_for_so_many_peers_and_the_others_have_the_next() {
        let mut looks = DataLooks::default();
        let all = doubtful(0..20);
        let look = looks.follow(&all, at(0)).unwrap();
        assert_eq!(look.peers.len(), MAX_PEERS_OF_A_LOOK);
        looks.looked(&look, Some((&[], at(2000), 0)));
        assert_eq!(looks.follow(&all, at(2000)).unwrap().peers.len(), 4);
    }

    #[test]
    fn data_and_keepalives_of_each_direction_are_told_apart() {
        let mut looks = DataLooks::default();
        let look = looks.follow(&doubtful(1..3), at(0)).unwrap();
        let on_a_bridge = Message {
            interface: 3,
            ..message(Direction::In, 1, 148, 300)
        };
        let messages = [
            message(Direction::In, 1, 148, 300),
            on_a_bridge,
            message(Direction::In, 1, 32, 400),
            message(Direction::Out, 1, 148, 500),
            message(Direction::In, 9, 148, 600),
        ];
        looks.looked(&look, Some((&messages, at(2000), 1)));
        let seen = looks.seen(&peer(1)).unwrap();
        let one = |millis| DataMessages {
            data: 1,
            keepalives: 0,
            last: Some(at(millis)),
        };
        let with_keepalive = DataMessages {
            keepalives: 1,
            ..one(300)
        };
        assert_eq!((seen.from_peer, seen.to_peer), (with_keepalive, one(500)));
        assert_eq!((seen.since, seen.until, seen.missed), (at(0), at(2000), 1));
        let none = looks.seen(&peer(2)).unwrap();
        assert_eq!(none.from_peer, DataMessages::default());
    }

    #[test]
    fn what_was_seen_is_forgotten_with_the_doubt() {
        let mut looks = DataLooks::default();
        let look = looks.follow(&doubtful(1..2), at(0)).unwrap();
        looks.looked(&look, Some((&[], at(2000), 0)));
        assert!(looks.seen(&peer(1)).is_some());
        looks.follow(&doubtful(2..3), at(3000));
        assert_eq!(looks.seen(&peer(1)), None);
    }
}
