//! Sequence numbers for each peer, none of which comes twice in the session of a process.

use std::collections::BTreeMap;

use evidence::PublicKey;

use crate::MAX_PEERS;

/// Peers whose numbers are remembered, present ones and former ones.
const REMEMBERED: usize = 4 * MAX_PEERS;

/// The next number for each peer, also for one that was forgotten and is met again: it remembers what it has heard of this session, and
/// whatever began at zero anew would be a replay to it, for as long as it went on before.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    next: BTreeMap<PublicKey, u64>,
    /// Where the numbers of a peer begin that is not remembered.
    floor: u64,
}

impl Sequences {
    pub(crate) fn take(&mut self, peer: PublicKey) -> u64 {
        if self.next.len() >= REMEMBERED && !self.next.contains_key(&peer) {
            let highest = self.next.values().copied().max();
            self.floor = self.floor.max(highest.unwrap_or_default());
            self.next.clear();
        }
        let next = self.next.entry(peer).or_insert(self.floor);
        let taken = *next;
        *next = next.saturating_add(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        PublicKey::from_bytes(bytes)
    }

    #[test]
    fn numbers_begin_at_zero_and_are_of_each_peer() {
        let mut sequences = Sequences::default();
        let taken = [1, 1, 2, 1].map(|one| sequences.take(peer(one)));
        assert_eq!(taken, [0, 1, 0, 2]);
    }

    #[test]
    fn no_number_comes_twice_however_many_peers_there_were() {
        let mut sequences = Sequences::default();
        for _ in 0..5 {
            sequences.take(peer(0));
        }
        for number in 1..=REMEMBERED {
            sequences.take(peer(number));
        }
        assert!(sequences.next.len() <= REMEMBERED);
        assert!(sequences.take(peer(0)) >= 5);
    }
}
