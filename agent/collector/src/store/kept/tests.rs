use evidence::{Change, Dated, Rung};

use super::*;
use crate::store::record::{Contents, contents};

fn clocks(timeline: &str, at: i64) -> Present {
    Present {
        timeline: timeline.to_owned(),
        at: Moment::from_millis(at),
        wall_ms: 1_795_000_000_000 + at,
    }
}

fn changed(run: u64, at: i64, subject: &str) -> Record {
    Record::Changed(Changed {
        run,
        at: Moment::from_millis(at),
        wall_ms: 1_795_000_000_000 + at,
        change: Change::Closed {
            code: "path-broken".to_owned(),
            subject: subject.to_owned(),
        },
    })
}

fn pinned(node: &str, mesh: &str, key: u8, run: u64) -> Record {
    Record::Pinned(Pinned {
        node: NodeName::parse(node).unwrap(),
        mesh: mesh.to_owned(),
        key: KeyHash([key; 32]),
        run,
    })
}

fn node(text: &str) -> NodeRef {
    NodeRef::named(&NodeName::parse(text).unwrap())
}

fn past(run: u64, from: &str, to: &str, changes: &[i64]) -> Record {
    let past = PairPast {
        from: node(from),
        to: node(to),
        good: true,
        rung: Rung::Tunnel,
        changes: changes.iter().copied().map(Moment::from_millis).collect(),
    };
    Record::Past { run, past }
}

/// What is kept after the file was read again.
fn again(kept: &Kept) -> Kept {
    let Contents {
        records, damaged, ..
    } = contents(kept.text().as_bytes()).unwrap();
    assert_eq!(damaged, 0);
    let mut read = Kept::default();
    for record in records {
        read.take(record);
    }
    read
}

#[test]
fn what_is_kept_is_the_same_after_it_was_written_and_read() {
    let mut kept = Kept::default();
    let first = kept.begin(&clocks("a", 1000));
    assert!(kept.take(changed(first.number, 2000, "vps-1")));
    assert!(kept.take(pinned("vps-1", "mesh", 1, first.number)));
    assert!(kept.take(past(first.number, "vps-1", "vps-2", &[2000, 3000])));
    let mut read = again(&kept);
    assert_eq!(read.text(), kept.text());
    let now = clocks("a", 60_000);
    let second = read.begin(&now);
    let told = read.transitions(&second, &now);
    assert_eq!(told.len(), 1);
    let earlier = told[0].earlier.unwrap();
    assert_eq!((earlier.run, earlier.dated), (1, Dated::Exactly));
    assert_eq!(told[0].at, Moment::from_millis(2000));
    let pins = read.pins();
    assert_eq!(pins[&NodeName::parse("vps-1").unwrap()]["mesh"], [1; 32]);
    let pasts = read.pasts(&second, &now);
    assert_eq!(pasts[0].changes.last(), Some(&Moment::from_millis(3000)));
}

#[test]
fn the_first_key_of_a_node_stays_until_it_is_forgotten() {
    let mut kept = Kept::default();
    kept.begin(&clocks("a", 0));
    assert!(kept.take(pinned("vps-1", "mesh", 1, 1)));
    assert!(!kept.take(pinned("vps-1", "mesh", 2, 1)));
    assert!(!kept.take(pinned("vps-1", "mesh", 2, 5)));
    assert!(kept.take(pinned("vps-1", "other", 3, 1)));
    let name = NodeName::parse("vps-1").unwrap();
    assert_eq!(kept.pins()[&name]["mesh"], [1; 32]);
    assert!(kept.forget(&name));
    assert!(!kept.forget(&name));
    assert!(kept.take(pinned("vps-1", "mesh", 2, 6)));
}

#[test]
fn of_more_nodes_than_are_kept_the_one_not_seen_for_longest_goes() {
    let mut kept = Kept::default();
    kept.begin(&clocks("a", 0));
    for number in 0..PINNED_NODES {
        kept.take(pinned(&format!("node-{number}"), "mesh", 1, 1));
    }
    kept.take(pinned("node-0", "mesh", 1, 2));
    kept.take(pinned("another", "mesh", 1, 2));
    let pins = kept.pins();
    assert_eq!(pins.len(), PINNED_NODES);
    for there in ["node-0", "another"] {
        assert!(pins.contains_key(&NodeName::parse(there).unwrap()));
    }
}

#[test]
fn entries_are_bounded_in_number_and_bytes() {
    let mut kept = Kept::default();
    kept.begin(&clocks("a", 0));
    for number in 0..ENTRIES + 10 {
        kept.take(changed(1, 1, &number.to_string()));
    }
    assert_eq!(kept.entries.len(), ENTRIES);
    let long = "x".repeat(15_000);
    for _ in 0..ENTRIES {
        kept.take(changed(1, 1, &long));
    }
    assert!(kept.entry_bytes <= ENTRY_BYTES);
    assert!(kept.text().len() <= ENTRY_BYTES + 1000);
}

#[test]
fn what_is_older_than_a_month_of_running_goes_and_a_wrong_wall_clock_wipes_nothing_out() {
    let mut kept = Kept::default();
    kept.begin(&clocks("a", 0));
    kept.take(changed(1, 0, "old"));
    let month = i64::try_from(KEPT_FOR.as_millis()).unwrap();
    kept.take(changed(1, month, "young"));
    let mut stepped = clocks("b", 5);
    stepped.wall_ms = i64::MAX;
    let mut other = kept.clone();
    let run = other.begin(&stepped);
    assert_eq!(other.transitions(&run, &stepped).len(), 2);
    let now = clocks("a", month + 1);
    let run = kept.begin(&now);
    assert_eq!(kept.transitions(&run, &now).len(), 1);
}

#[test]
fn pasts_come_back_only_while_they_matter() {
    let mut kept = Kept::default();
    kept.begin(&clocks("a", 0));
    kept.take(past(1, "vps-1", "vps-2", &[1000, 250_000]));
    let said = |kept: &Kept, boot: &str, at: i64, wall_ms: i64| {
        let mut kept = kept.clone();
        let now = Present {
            wall_ms,
            ..clocks(boot, at)
        };
        let run = kept.begin(&now);
        let pasts = kept.pasts(&run, &now);
        let changes = pasts.into_iter().flat_map(|past| past.changes);
        changes.map(Moment::as_millis).collect::<Vec<_>>()
    };
    let wall = 1_795_000_000_000;
    // Also after more restarts than one.
    for at in [252_000, 253_000] {
        kept.begin(&clocks("a", at));
    }
    let said = |boot: &str, at: i64, wall_ms: i64| said(&kept, boot, at, wall_ms);
    assert_eq!(said("a", 260_000, 0), [1000, 250_000]);
    assert_eq!(said("a", 310_000, 0), [250_000]);
    assert_eq!(said("a", 600_000, 0), Vec::<i64>::new());
    // After a boot, by the wall clock; and not at all if that is absurd.
    assert_eq!(said("b", 30_000, wall + 280_000), [-249_000, 0]);
    assert_eq!(said("b", 30_000, wall), Vec::<i64>::new());
}

#[test]
fn nothing_is_kept_of_a_run_that_is_not_known() {
    let mut kept = Kept::default();
    kept.begin(&clocks("a", 0));
    assert!(!kept.take(changed(9, 0, "of nobody")));
    assert!(!kept.take(past(9, "vps-1", "vps-2", &[1])));
}

#[test]
fn runs_of_which_nothing_is_left_are_forgotten() {
    let mut kept = Kept::default();
    for at in 0..100 {
        let run = kept.begin(&clocks("a", at));
        if run.number == 50 {
            kept.take(changed(50, at, "kept"));
        }
    }
    assert_eq!(kept.runs.keys().copied().collect::<Vec<_>>(), [50, 100]);
}
