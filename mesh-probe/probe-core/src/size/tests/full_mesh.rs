//! What a step costs in a mesh of full size.

use super::*;

#[test]
fn in_a_full_mesh_a_step_touches_what_it_sends_and_nothing_else() {
    let peer = |number: u16| {
        let mut bytes = [5; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    };
    let mut prober = SizeProber::new(A, key(), 7, 9);
    for number in 0..1023 {
        for layer in [Layer::Tunnel, Layer::Overlay] {
            let target = Input::Target {
                peer: peer(number),
                layer,
                to: [10, 0, 0, 1].into(),
                full: 1420,
            };
            prober.handle(target, Moment::ZERO);
        }
    }
    let mut now = Moment::ZERO;
    while now < Moment::from_millis(60_000) {
        prober.handle(Input::Tick, now);
        now = loop {
            match prober.poll() {
                Output::Transmit { .. } => {}
                Output::Wait(until) => break until.max(now.plus(Duration::from_millis(1))),
            }
        };
    }
    let sent = usize::try_from(prober.counters().sent).unwrap();
    // Nobody answers: a packet is begun, sent, waited for and given up, and three in a row begin a search.
    assert!(sent >= 8 * 59, "{sent} packets");
    let changes = prober.tracks.changes;
    assert!(changes <= 5 * sent, "{changes} changes for {sent} packets");
    let searched = |number| {
        let sizes = prober.sizes(&peer(number));
        sizes.iter().any(|one| one.bracket.is_some())
    };
    assert!((0..1023).any(searched), "a loss waits for all others");
}
