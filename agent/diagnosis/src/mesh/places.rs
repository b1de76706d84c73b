//! Numbers for keys and addresses, so that what is said of each stands in a row and not in a tree: in a mesh of 1,024 nodes
//! it is asked some thirty million times what one node says of another.

use std::net::IpAddr;

use evidence::PublicKey;

/// What can be given a place.
pub(crate) trait Spread: Copy + Eq {
    /// Bits that differ where the values do, mostly.
    fn spread(&self) -> u64;
}

/// Each value has the number of its first coming.
#[derive(Clone, Debug)]
pub(crate) struct Places<K> {
    known: Vec<K>,
    /// Open addressing: a place and one, or zero; at most half of it is in use.
    table: Vec<u32>,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            table: vec![0; 16],
        }
    }
}

impl<K: Spread> Places<K> {
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// All values, by their places.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, K> {
        self.known.iter()
    }

    /// The value of a place.
    pub(crate) fn at(&self, place: usize) -> Option<K> {
        self.known.get(place).copied()
    }

    /// The place of a value that has one.
    pub(crate) fn of(&self, value: &K) -> Option<usize> {
        self.probe(value).ok()
    }

    /// The place of a value, a new one if it has none.
    pub(crate) fn give(&mut self, value: K) -> usize {
        match self.probe(&value) {
            Ok(place) => place,
            Err(slot) => {
                let place = self.known.len();
                self.known.push(value);
                if let Some(free) = self.table.get_mut(slot) {
                    *free = number(place);
                }
                if self.known.len() * 2 > self.table.len() {
                    self.grow();
                }
                place
            }
        }
    }

    fn grow(&mut self) {
        self.table = vec![0; self.table.len() * 2];
        for (place, value) in self.known.iter().enumerate() {
            let mut slot = self.start(value);
            while self.table.get(slot).is_some_and(|taken| *taken != 0) {
                slot = self.next(slot);
            }
            if let Some(free) = self.table.get_mut(slot) {
                *free = number(place);
            }
        }
    }

    /// The place of a value, or the free slot where it would be noted.
    fn probe(&self, value: &K) -> Result<usize, usize> {
        let mut slot = self.start(value);
        loop {
            let place = match self.table.get(slot) {
                Some(taken) if *taken != 0 => usize::try_from(*taken - 1).unwrap_or(usize::MAX),
                _ => return Err(slot),
            };
            if self.known.get(place) == Some(value) {
                return Ok(place);
            }
            slot = self.next(slot);
        }
    }

    fn start(&self, value: &K) -> usize {
        let high = value.spread().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(high).unwrap_or(0) & (self.table.len() - 1)
    }

    fn next(&self, slot: usize) -> usize {
        (slot + 1) & (self.table.len() - 1)
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place + 1).unwrap_or(u32::MAX)
}

impl<K: Spread> FromIterator<K> for Places<K> {
    fn from_iter<I: IntoIterator<Item = K>>(values: I) -> Self {
        let mut places = Self::default();
        for value in values {
            places.give(value);
        }
        places
    }
}

impl Spread for PublicKey {
    fn spread(&self) -> u64 {
        let words = self.as_bytes().chunks_exact(8);
        words.fold(0, |all: u64, word| {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            all.rotate_left(17) ^ word
        })
    }
}

impl Spread for IpAddr {
    fn spread(&self) -> u64 {
        let bits = match self {
            Self::V4(ip) => u128::from(ip.to_bits()),
            Self::V6(ip) => ip.to_bits(),
        };
        let [low, high] = [bits, bits >> 64].map(|half| u64::try_from(half & u128::from(u64::MAX)));
        low.unwrap_or(0) ^ high.unwrap_or(0).rotate_left(29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_one_place_and_strangers_have_none() {
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let mut places: Places<IpAddr> = (0..5000).map(address).collect();
        assert_eq!(places.len(), 5000);
        assert!(
            (0..5000).all(|number| places.of(&address(number)) == usize::try_from(number).ok())
        );
        assert_eq!(places.of(&address(5000)), None);
        assert_eq!(places.give(address(17)), 17);
        assert_eq!(places.len(), 5000);
    }
}
