use std::{io, sync::mpsc};

use evidence::{Change, Moment, Rung};

use super::*;
use crate::store::{dating::Present, record::contents};

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(20);

/// A disk that does as it is told, and tells what was done.
struct Disk {
    text: String,
    /// What it answers next; it waits for it.
    orders: mpsc::Receiver<bool>,
    done: mpsc::Sender<(&'static str, String)>,
}

impl Disk {
    fn write(&mut self, what: &'static str, text: &str) -> io::Result<()> {
        let works = self.orders.recv().unwrap_or(false);
        if !works {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if what == "replace" {
            self.text.clear();
        }
        self.text.push_str(text);
        // The test may have seen enough.
        drop(self.done.send((what, self.text.clone())));
        Ok(())
    }
}

impl Journal for Disk {
    fn append(&mut self, text: &str) -> io::Result<()> {
        self.write("append", text)
    }

    fn replace(&mut self, text: &str) -> io::Result<()> {
        self.write("replace", text)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn last(&mut self, text: &str) -> io::Result<()> {
        self.write("last", text)
    }
}

struct Bench {
    writer: Writer,
    counters: Arc<Counters>,
    orders: mpsc::Sender<bool>,
    done: mpsc::Receiver<(&'static str, String)>,
}

impl Bench {
    /// A writer whose first writing works, or not.
    fn new(first: bool) -> Self {
        let (orders, given) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        orders.send(first).unwrap();
        let disk = Disk {
            text: String::new(),
            orders: given,
            done: tell,
        };
        let mut kept = Kept::default();
        let run = kept.begin(&Present::read()).number;
        let counters = Arc::<Counters>::default();
        let writer = Writer::start(disk, kept, run, Arc::clone(&counters));
        Self {
            writer,
            counters,
            orders,
            done,
        }
    }

    fn next(&self) -> (&'static str, Vec<Record>) {
        let (what, text) = self.done.recv_timeout(BOUND).unwrap();
        (what, contents(text.as_bytes()).unwrap().records)
    }

    fn close(&self) {
        // Whatever the thread still writes works.
        for _ in 0..4 {
            let _ = self.orders.send(true);
        }
        self.writer.close();
    }
}

fn transitions(number: usize) -> Vec<Transition> {
    let one = |subject: usize| Transition {
        at: Moment::from_millis(0),
        change: Change::Closed {
            code: "path-broken".to_owned(),
            subject: subject.to_string(),
        },
        earlier: None,
    };
    (0..number).map(one).collect()
}

fn entries(records: &[Record]) -> usize {
    let entries = records.iter();
    entries
        .filter(|record| matches!(record, Record::Changed(_)))
        .count()
}

#[test]
fn what_is_judged_is_appended_and_a_stop_waits_for_it() {
    let bench = Bench::new(true);
    let (what, records) = bench.next();
    assert_eq!(what, "replace");
    assert!(matches!(records.as_slice(), [Record::Run(_)]));
    bench.writer.changed(&transitions(3));
    bench.close();
    let (what, records) = bench.next();
    assert_eq!((what, entries(&records)), ("append", 3));
    assert_eq!(bench.counters.store_failures.get(), 0);
    // After the end nothing piles up.
    bench.writer.changed(&transitions(5000));
    assert_eq!(bench.counters.store_dropped.get(), 0);
}

#[test]
fn a_disk_that_hangs_delays_nobody_and_what_finds_no_place_is_counted() {
    let bench = Bench::new(true);
    bench.next();
    // The first is taken up by the thread, which then hangs.
    bench.writer.changed(&transitions(1));
    let started = Instant::now();
    while !bench.writer.desk.lock().entries.is_empty() {
        assert!(started.elapsed() < BOUND);
        // Bound: as above.
        thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    for _ in 0..40 {
        bench.writer.changed(&transitions(100));
    }
    bench
        .writer
        .pinned(&NodeName::parse("vps-1").unwrap(), "mesh", [1; 32]);
    assert!(started.elapsed() < Duration::from_secs(5));
    let dropped = usize::try_from(bench.counters.store_dropped.get()).unwrap();
    assert_eq!(dropped, 4000 - WAITING);
    bench.close();
    let mut last = bench.next().1;
    while let Ok((_, text)) = bench.done.recv_timeout(Duration::from_millis(100)) {
        last = contents(text.as_bytes()).unwrap().records;
    }
    // Keys are not among what is dropped.
    assert!(
        last.iter()
            .any(|record| matches!(record, Record::Pinned(_)))
    );
}

#[test]
fn a_disk_that_was_full_gets_everything_when_it_has_room_again() {
    let bench = Bench::new(false);
    bench.writer.changed(&transitions(2));
    let node = |name: &str| NodeRef::named(&NodeName::parse(name).unwrap());
    bench.writer.pasts([PairPast {
        from: node("vps-1"),
        to: node("vps-2"),
        good: false,
        rung: Rung::Tunnel,
        changes: vec![Moment::from_millis(1)],
    }]);
    let begun = Instant::now();
    while bench.counters.store_failures.get() == 0 {
        assert!(begun.elapsed() < BOUND);
        // Bound: as above.
        thread::sleep(Duration::from_millis(5));
    }
    bench.close();
    let (what, records) = bench.next();
    assert_eq!((what, entries(&records)), ("replace", 2));
    assert!(
        records
            .iter()
            .any(|record| matches!(record, Record::Past { .. }))
    );
    assert_eq!(bench.counters.store_dropped.get(), 0);
}

#[test]
fn the_file_is_written_anew_before_it_grows_without_bound() {
    let bench = Bench::new(true);
    bench.next();
    let long = vec![Transition {
        at: Moment::from_millis(0),
        change: Change::Closed {
            code: "path-broken".to_owned(),
            subject: "x".repeat(10_000),
        },
        earlier: None,
    }];
    let mut written = Vec::new();
    for _ in 0..300 {
        bench.orders.send(true).unwrap();
        bench.writer.changed(&long);
        written.push(bench.done.recv_timeout(BOUND).unwrap().0);
    }
    bench.close();
    assert_eq!(written.iter().filter(|what| **what == "replace").count(), 1);
}

#[test]
fn what_is_too_long_for_a_line_is_counted_and_the_rest_is_kept() {
    let bench = Bench::new(true);
    bench.next();
    let mut two = transitions(2);
    two[0].change = Change::Closed {
        code: "x".repeat(20_000),
        subject: String::new(),
    };
    bench.writer.changed(&two);
    bench.close();
    assert_eq!(entries(&bench.next().1), 1);
    assert_eq!(bench.counters.store_dropped.get(), 1);
}
