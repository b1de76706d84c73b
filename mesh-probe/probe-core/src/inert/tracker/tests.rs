use super::*;

const ME: PublicKey = PublicKey::from_bytes([1; 32]);
const PEER: PublicKey = PublicKey::from_bytes([2; 32]);
const NOW: Stamp = Stamp::from_micros(7_000);

fn key() -> ProbeKey {
    ProbeKey::from_bytes([9; 32])
}

fn from(port: u16) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 2], port))
}

fn probe(sender: PublicKey, receiver: PublicKey, sequence: u64) -> Probe {
    Probe {
        sender,
        receiver,
        session: 4,
        sequence,
    }
}

fn payload(sender: PublicKey, receiver: PublicKey, sequence: u64) -> Vec<u8> {
    let probe = Datagram::Probe(probe(sender, receiver, sequence));
    probe.encode(&key()).to_vec()
}

fn tracker() -> InertTracker {
    let mut tracker = InertTracker::new(ME, key());
    tracker.add_peer(PEER);
    tracker
}

fn hear(
    tracker: &mut InertTracker,
    payload: &[u8],
    port: u16,
    at: Stamp,
) -> Result<Counted, InertReject> {
    let arrived = Arrived {
        payload,
        from: from(port),
        hop_limit: 61,
        at,
    };
    tracker.handle(&arrived, at)
}

#[test]
fn the_latest_source_of_a_sender_is_remembered() {
    let mut tracker = tracker();
    for (sequence, port) in [(0, 51820), (1, 40000)] {
        let counted = hear(&mut tracker, &payload(PEER, ME, sequence), port, NOW).unwrap();
        assert_eq!(counted.peer, PEER);
    }
    let heard = tracker.heard(&PEER).unwrap();
    assert_eq!(
        (heard.stats.heard, heard.stats.last_heard),
        (2, Some(NOW.moment()))
    );
    assert_eq!(heard.heard_from, Some(from(40000)));
}

#[test]
fn a_reply_says_how_the_probe_arrived_and_is_no_longer_than_it() {
    let mut tracker = tracker();
    let asked = payload(PEER, ME, 3);
    let arrived = Arrived {
        payload: &asked,
        from: from(47918),
        hop_limit: 61,
        at: NOW,
    };
    let later = Stamp::from_micros(7_040);
    let reply = tracker.handle(&arrived, later).unwrap().reply.unwrap();
    assert_eq!(reply.len(), asked.len());
    let expected = Reply {
        answers: probe(ME, PEER, 3),
        mapped: from(47918),
        hop_limit: 61,
        received: NOW,
        answered: later,
    };
    assert_eq!(
        Datagram::decode(&reply, &key()),
        Ok(Datagram::Reply(expected))
    );
}

#[test]
fn a_replay_from_elsewhere_is_not_answered_and_changes_nothing_but_the_count_of_replays() {
    let mut tracker = tracker();
    hear(&mut tracker, &payload(PEER, ME, 0), 51820, NOW).unwrap();
    let again = hear(&mut tracker, &payload(PEER, ME, 0), 6, NOW);
    assert_eq!(again, Err(InertReject::Replay(Refusal::Duplicate)));
    assert_eq!(tracker.heard(&PEER).unwrap().heard_from, Some(from(51820)));
    assert_eq!(
        (tracker.counters().replayed, tracker.counters().replied),
        (1, 1)
    );
}

#[test]
fn a_peer_that_probes_faster_than_it_may_counts_and_is_answered_twice_a_second() {
    let mut tracker = tracker();
    let mut answered = 0;
    for sequence in 0..3000_u64 {
        let at = Stamp::from_micros(sequence * 1000);
        let counted = hear(&mut tracker, &payload(PEER, ME, sequence), 51820, at).unwrap();
        answered += u64::from(counted.reply.is_some());
    }
    assert_eq!(answered, 6);
    let counters = tracker.counters();
    assert_eq!(
        (counters.heard, counters.replied, counters.replies_withheld),
        (3000, 6, 2994)
    );
}

#[test]
fn no_second_sees_more_than_five_replies_whatever_the_number_of_peers() {
    let mut tracker = tracker();
    let replies = (10..60).filter(|number| {
        let peer = PublicKey::from_bytes([*number; 32]);
        tracker.add_peer(peer);
        let counted = hear(&mut tracker, &payload(peer, ME, 0), 51820, NOW).unwrap();
        counted.reply.is_some()
    });
    assert_eq!(replies.count(), MAX_REPLIES_PER_SECOND);
}

#[test]
fn an_unsolicited_probe_is_counted_apart_and_not_answered() {
    let mut tracker = tracker();
    let unsolicited = Datagram::Unsolicited(probe(PEER, ME, 0)).encode(&key());
    let counted = hear(&mut tracker, &unsolicited, 40000, NOW).unwrap();
    assert_eq!((counted.peer, counted.reply), (PEER, None));
    let again = hear(&mut tracker, &unsolicited, 40000, NOW);
    assert_eq!(again, Err(InertReject::Replay(Refusal::Duplicate)));
    let heard = tracker.heard(&PEER).unwrap();
    assert_eq!(heard.last_unsolicited, Some(NOW.moment()));
    assert_eq!((heard.stats.heard, heard.heard_from), (0, None));
    assert_eq!(
        (
            tracker.counters().heard,
            tracker.counters().unsolicited,
            tracker.counters().replied
        ),
        (0, 1, 0)
    );
}

#[test]
fn a_reply_is_not_answered() {
    let mut tracker = tracker();
    let reply = Datagram::Reply(Reply {
        answers: probe(PEER, ME, 0),
        mapped: from(1),
        hop_limit: 1,
        received: NOW,
        answered: NOW,
    });
    let heard = hear(&mut tracker, &reply.encode(&key()), 51820, NOW);
    assert_eq!(heard, Err(InertReject::NotAProbe));
    assert_eq!(tracker.counters(), &TrackerCounters::default());
}

#[test]
fn strangers_and_misdirected_datagrams_are_counted_apart() {
    let mut tracker = tracker();
    let stranger = PublicKey::from_bytes([3; 32]);
    assert_eq!(
        hear(&mut tracker, &payload(stranger, ME, 0), 1, NOW),
        Err(InertReject::UnknownPeer(stranger))
    );
    assert_eq!(
        hear(&mut tracker, &payload(PEER, stranger, 0), 1, NOW),
        Err(InertReject::NotForMe(stranger))
    );
    assert!(hear(&mut tracker, &[0], 1, NOW).is_err());
    let counters = tracker.counters();
    assert_eq!(
        (
            counters.unknown_peer,
            counters.not_for_me,
            counters.malformed.length
        ),
        (1, 1, 1)
    );
}
