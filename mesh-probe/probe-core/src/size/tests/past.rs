//! Past the tunnel.

use super::*;

/// A way past the tunnel: packets up to `whole` arrive, longer ones only if they may be fragmented, where that helps.
fn past_the_tunnel(whole: usize, fragments_pass: bool) -> (Sizes, Vec<(usize, bool)>) {
    let mut prober = SizeProber::new(A, key(), 7, 9);
    let mut responder = SizeResponder::new(B, key());
    assert!(responder.add_peer(A));
    let to = Ipv4Addr::new(203, 0, 113, 7).into();
    let target = Input::Target {
        peer: B,
        layer: Layer::Underlay,
        to,
        full: 1480,
    };
    prober.handle(target, Moment::ZERO);
    let (mut now, mut sent) = (Moment::ZERO, Vec::new());
    while now < Moment::from_millis(15_000) {
        prober.handle(Input::Tick, now);
        let until = loop {
            match prober.poll() {
                Output::Wait(until) => break until,
                Output::Transmit {
                    payload,
                    may_fragment,
                    ..
                } => {
                    let packet = payload.len() + 28;
                    sent.push((packet, may_fragment));
                    // Fragments are seen by no tap, and delivered whole.
                    let seen = if packet <= whole {
                        Some(Seen::AtInterface)
                    } else {
                        (may_fragment && fragments_pass).then_some(Seen::Delivered)
                    };
                    let way = seen.map(|seen| (Layer::Underlay, seen));
                    let tally =
                        way.and_then(|way| responder.handle(&payload, way, packet, now).ok());
                    if let Some((_, tally)) = tally {
                        prober.handle(Input::Datagram(&tally), now);
                    }
                }
            }
        };
        now = until.max(now.plus(Duration::from_millis(1)));
    }
    let sizes = prober.sizes(&B);
    (sizes[0], sent)
}

#[test]
fn past_the_tunnel_the_limit_is_searched_at_once_and_fragments_are_tried_at_the_size_that_failed() {
    for fragments_pass in [false, true] {
        let (sizes, sent) = past_the_tunnel(1400, fragments_pass);
        let bracket = sizes.bracket.unwrap();
        assert_eq!((bracket.passed, bracket.failed), (Some(1400), 1401));
        assert!(bracket.at <= Moment::from_millis(7000), "{bracket:?}");
        assert_eq!(sizes.in_fragments.is_some(), fragments_pass);
        assert_eq!(sizes.seen_arriving, None);
        let in_fragments = sent.iter().filter(|(_, may)| *may);
        let tried: Vec<usize> = in_fragments.map(|(size, _)| *size).collect();
        assert_eq!(
            tried,
            if fragments_pass {
                vec![1401]
            } else {
                vec![1401; 2]
            }
        );
    }
}

#[test]
fn past_a_tunnel_with_a_hole_of_its_own_full_size_passes_and_nothing_is_tried_in_fragments() {
    let (sizes, sent) = past_the_tunnel(1500, false);
    assert!(sizes.full_arrived.is_some() && sizes.bracket.is_none());
    assert!(sent.iter().all(|(_, may_fragment)| !may_fragment));
}
