//! What Talos thinks of each peer: its state machine, its rotation of endpoints, and what it remembers (`PeerStatus` of Talos'
//! adapters/kubespan and controllers/kubespan/manager.go).

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use evidence::{PublicKey, TalosPeerState, next_candidate};
use sources::wireguard::{Device, Peer};

/// An endpoint that was just set gets so long.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// A peer whose last handshake is older is down: a session lives 180 s, a handshake is tried for 90 s, and 5 s more.
const DOWN_INTERVAL: Duration = Duration::from_secs(275);

/// The state of a peer. Times are how long ago; `never` is longer than anything.
pub(super) fn state(
    since_handshake: Option<Duration>,
    since_change: Duration,
    ever_set: bool,
) -> TalosPeerState {
    let since_handshake = since_handshake.unwrap_or(Duration::MAX);
    let fresh = since_handshake < since_change;
    let judged = if since_change > DOWN_INTERVAL {
        (since_handshake < DOWN_INTERVAL, TalosPeerState::Down)
    } else if since_change < CONNECTION_TIMEOUT {
        (fresh, TalosPeerState::Unknown)
    } else {
        (fresh, TalosPeerState::Down)
    };
    match judged {
        (true, _) => TalosPeerState::Up,
        (false, TalosPeerState::Down) if !ever_set => TalosPeerState::Unknown,
        (false, otherwise) => otherwise,
    }
}

/// What is remembered of a peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Remembered {
    pub(super) state: TalosPeerState,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) last_used: Option<SocketAddr>,
    /// Wall-clock times since the epoch.
    pub(super) last_change: Option<Duration>,
    pub(super) last_handshake: Option<Duration>,
    pub(super) rx: u64,
    pub(super) tx: u64,
}

/// The memory of all peers.
#[derive(Debug, Default)]
pub(super) struct Memory(pub(super) BTreeMap<PublicKey, Remembered>);

impl Memory {
    /// One turn of Talos' loop. Returns the endpoint that it sets now, if it sets one.
    pub(super) fn turn(
        &mut self,
        peer: &Peer,
        candidates: &[SocketAddr],
        wall: Duration,
    ) -> Option<SocketAddr> {
        let known = self.0.entry(peer.public_key).or_default();
        known.endpoint = peer.endpoint;
        known.last_handshake = peer.last_handshake;
        (known.rx, known.tx) = (peer.rx_bytes, peer.tx_bytes);
        let ago = |time: Duration| wall.saturating_sub(time);
        let since_change = known.last_change.map_or(Duration::MAX, ago);
        known.state = state(
            known.last_handshake.map(ago),
            since_change,
            known.last_used.is_some(),
        );
        if known.state != TalosPeerState::Down && known.last_used.is_some() {
            return None;
        }
        let next = next_candidate(candidates, known.last_used)?;
        known.last_used = Some(next);
        known.last_change = Some(wall);
        known.state = TalosPeerState::Unknown;
        Some(next)
    }

    /// Peers that the device has no more are forgotten.
    pub(super) fn keep(&mut self, device: &Device) {
        self.0.retain(|key, _| device.peer(key).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of Talos' own test (`peer_status_test.go`).
    #[test]
    fn a_peer_is_what_talos_says_it_is() {
        use TalosPeerState::{Down, Unknown, Up};
        let seconds = Duration::from_secs_f64;
        let just_over = |whole| Duration::from_secs(whole) + Duration::from_nanos(1);
        let table = [
            (seconds(3600.0), seconds(3600.0), false, Unknown),
            (seconds(550.0), seconds(550.0), true, Down),
            (seconds(550.0), seconds(7.5), true, Unknown),
            (Duration::ZERO, seconds(7.5), true, Up),
            (Duration::ZERO, just_over(15), true, Up),
            (seconds(30.0), just_over(15), true, Down),
            (seconds(137.5), just_over(275), true, Up),
        ];
        for (handshake, change, ever_set, expected) in table {
            let found = state(Some(handshake), change, ever_set);
            assert_eq!(found, expected, "{handshake:?} {change:?}");
        }
    }

    #[test]
    fn a_peer_that_never_answers_is_tried_at_one_candidate_after_the_other() {
        let peer = Peer::new(PublicKey::from_bytes([1; 32]));
        let candidates = [1, 2].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let mut memory = Memory::default();
        let mut at =
            |seconds: u64| memory.turn(&peer, &candidates, Duration::from_secs(1000 + seconds));
        assert_eq!(at(0), Some(candidates[0]));
        assert_eq!(at(10), None);
        assert_eq!(at(30), Some(candidates[1]));
        assert_eq!(at(60), Some(candidates[0]));
    }
}
