//! The store on a real disk.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Instant,
};

use evidence::{Change, Dated};
use tempfile::TempDir;

use super::*;
use crate::clock;

fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

fn config(folder: &Path) -> StoreConfig {
    StoreConfig {
        folder: folder.to_owned(),
        forget: Vec::new(),
    }
}

fn opened(folder: &Path) -> (Store, Arc<Counters>) {
    let counters = Arc::<Counters>::default();
    let store = open(&config(folder), Arc::clone(&counters)).unwrap();
    (store, counters)
}

fn refused(folder: &Path) -> String {
    let refused = open(&config(folder), Arc::default()).unwrap_err();
    format!("{:#}", anyhow::Error::from(refused))
}

fn closed(subject: &str) -> Transition {
    Transition {
        at: clock::now(),
        change: Change::Closed {
            code: "path-broken".to_owned(),
            subject: subject.to_owned(),
        },
        earlier: None,
    }
}

fn subjects(store: &Store) -> Vec<&str> {
    let told = store.restored.transitions.iter();
    told.filter_map(|transition| match &transition.change {
        Change::Closed { subject, .. } => Some(subject.as_str()),
        _ => None,
    })
    .collect()
}

/// A folder with a store of one run: a key, and three entries.
fn used() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = opened(folder.path());
    store.writer.pinned(&name("vps-1"), "mesh", [7; 32]);
    for subject in ["a", "b", "c"] {
        store.writer.changed(&[closed(subject)]);
    }
    store.writer.close();
    folder
}

fn journal(folder: &TempDir) -> PathBuf {
    folder.path().join("history")
}

fn files(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn a_second_run_finds_what_the_first_left_and_only_its_user_may_read_it() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("made/by/us");
    let (first, _) = opened(&folder);
    assert_eq!((first.writer.run(), subjects(&first).len()), (1, 0));
    let entry = closed("a");
    first.writer.changed(std::slice::from_ref(&entry));
    first.writer.pinned(&name("vps-1"), "mesh", [7; 32]);
    first.writer.close();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("history")), 0o600);
    drop(first);
    let (second, _) = opened(&folder);
    assert_eq!(second.writer.run(), 2);
    let told = &second.restored.transitions[0];
    assert_eq!((told.at, &told.change), (entry.at, &entry.change));
    let earlier = told.earlier.unwrap();
    assert_eq!((earlier.run, earlier.dated), (1, Dated::Exactly));
    assert_eq!(second.restored.pins[&name("vps-1")]["mesh"], [7; 32]);
    second.writer.close();
}

#[test]
fn a_half_line_at_the_end_is_left_out_and_is_no_damage() {
    let folder = used();
    let whole = fs::read(journal(&folder)).unwrap();
    fs::write(journal(&folder), &whole[..whole.len() - 9]).unwrap();
    let (store, counters) = opened(folder.path());
    assert_eq!(subjects(&store), ["a", "b"]);
    assert_eq!(counters.store_damaged.get(), 0);
    // The writer may just be making the file anew, beside it, until it has ended.
    store.writer.close();
    assert_eq!(files(&folder), ["history"]);
}

#[test]
fn a_damaged_store_is_set_aside_and_what_is_whole_in_it_is_kept() {
    let folder = used();
    let mut bytes = fs::read(journal(&folder)).unwrap();
    let at = bytes
        .windows(3)
        .position(|three| three == b"\"b\"")
        .unwrap();
    bytes[at + 1] ^= 1;
    fs::write(journal(&folder), &bytes).unwrap();
    let (store, counters) = opened(folder.path());
    assert_eq!(subjects(&store), ["a", "c"]);
    assert!(store.restored.pins.contains_key(&name("vps-1")));
    assert_eq!(counters.store_damaged.get(), 1);
    let aside = folder.path().join("history.damaged-1");
    assert_eq!(fs::read(&aside).unwrap(), bytes);
    store.writer.close();
    drop(store);
    // The new one is whole.
    let (again, counters) = opened(folder.path());
    assert_eq!(subjects(&again), ["a", "c"]);
    assert_eq!(counters.store_damaged.get(), 0);
    again.writer.close();
}

#[test]
fn garbage_is_set_aside_a_few_times_and_then_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=8 {
        fs::write(journal(&folder), [0, 1, 2, b'\n', 255, number]).unwrap();
        let (store, counters) = opened(folder.path());
        assert_eq!(counters.store_damaged.get(), 1);
        assert!(files(&folder).contains(&format!("history.damaged-{number}")));
        store.writer.close();
    }
    fs::write(journal(&folder), b"\0\0\0").unwrap();
    let refused = refused(folder.path());
    assert!(refused.contains("8 damaged ones are there"), "{refused}");
    assert_eq!(fs::read(journal(&folder)).unwrap(), b"\0\0\0");
}

#[test]
fn a_file_larger_than_any_of_ours_is_set_aside_and_not_read_whole() {
    let folder = used();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(journal(&folder))
        .unwrap();
    file.set_len(files::LARGEST * 4).unwrap();
    let (store, counters) = opened(folder.path());
    assert_eq!(subjects(&store), ["a", "b", "c"]);
    assert_eq!(counters.store_damaged.get(), 1);
    store.writer.close();
}

#[test]
fn a_later_format_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let later = record::line(&record::Record::Store { format: 2 }).unwrap();
    fs::write(journal(&folder), &later).unwrap();
    let refused = refused(folder.path());
    assert!(refused.contains("format 2 of a later version"), "{refused}");
    assert_eq!(fs::read_to_string(journal(&folder)).unwrap(), later);
}

#[test]
fn two_collectors_do_not_share_a_folder() {
    let folder = used();
    let (first, _) = opened(folder.path());
    let refused = refused(folder.path());
    assert!(refused.contains("another collector uses"), "{refused}");
    first.writer.close();
}

#[test]
fn what_is_no_file_or_no_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(journal(&folder)).unwrap();
    let text = refused(folder.path());
    assert!(text.contains("is no regular file"), "{text}");
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let text = refused(&file);
    assert!(text.contains("failed to make the folder"), "{text}");
}

/// Root may write everywhere: a folder in the place of the new file stops it as well.
#[test]
fn a_store_that_cannot_be_written_is_read_all_the_same() {
    let folder = used();
    let in_the_way = folder.path().join("history.new");
    fs::create_dir(&in_the_way).unwrap();
    let before = fs::read(journal(&folder)).unwrap();
    fs::set_permissions(journal(&folder), Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
    let (store, counters) = opened(folder.path());
    assert_eq!(subjects(&store), ["a", "b", "c"]);
    assert!(store.restored.pins.contains_key(&name("vps-1")));
    let begun = Instant::now();
    while counters.store_failures.get() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        // Bound: as above.
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fs::read(journal(&folder)).unwrap(), before);
    // It is whole as soon as it can be written.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir(&in_the_way).unwrap();
    store.writer.changed(&[closed("d")]);
    store.writer.close();
    drop(store);
    let (again, _) = opened(folder.path());
    assert_eq!(subjects(&again), ["a", "b", "c", "d"]);
    again.writer.close();
}

#[test]
fn a_replaced_machine_is_forgotten_on_request() {
    let folder = used();
    let forget = StoreConfig {
        forget: vec![name("vps-1"), name("nobody")],
        ..config(folder.path())
    };
    let store = open(&forget, Arc::default()).unwrap();
    assert!(store.restored.pins.is_empty());
    store.writer.close();
    drop(store);
    let (again, _) = opened(folder.path());
    assert!(again.restored.pins.is_empty());
    assert_eq!(subjects(&again), ["a", "b", "c"]);
    again.writer.close();
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_stops_no_collector() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let counters = Arc::default();
    assert!(Store::open(config(file.path()), &counters).await.is_none());
    assert_eq!(counters.store_failures.get(), 1);
}
