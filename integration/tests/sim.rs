//! Clusters in virtual time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use integration::sim::benign;

#[test]
fn first_look() {
    let seeds: u64 = std::env::var("SIM_SEEDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    for seed in 0..seeds {
        let began = std::time::Instant::now();
        let outcome = benign::chapter(seed, std::env::var("SIM_LOG").is_ok());
        eprintln!(
            "seed {seed}: {} flaws, ready {}/{}, {} datagrams, {:?}",
            outcome.reference.flaws.len(),
            outcome.reference.ready,
            outcome.reference.well,
            outcome.world.datagrams,
            began.elapsed()
        );
        for flaw in &outcome.reference.flaws {
            eprintln!("  {flaw}");
        }
        for line in outcome.world.log.iter().flatten() {
            eprintln!("{line}");
        }
    }
}
