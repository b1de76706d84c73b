//! The lines of the journal. Each stands for itself: a check, a space, one JSON object.
//!
//! The check is what makes a line true: of a line that was written half, or that a disk has changed since, nothing is
//! believed. An editor shows what is kept, and `grep` finds it.

use evidence::{Change, Moment, NodeName, PairPast};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The format that this version writes. A later one is left alone.
pub(super) const FORMAT: u32 = 1;
/// Bytes of one line; a longer one is not kept.
pub(super) const LINE_BYTES: usize = 16 * 1024;
/// Bytes of SHA-256 that are the check of a line.
const CHECKED: usize = 8;

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    tag = "record"
)]
pub(super) enum Record {
    /// The first line.
    Store { format: u32 },
    /// A collector was started.
    Run(Run),
    /// Something was judged otherwise than before.
    Changed(Changed),
    /// The key of a node.
    Pinned(Pinned),
    /// What is remembered of a pair.
    Past { run: u64, past: PairPast },
}

/// One life of a collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(super) number: u64,
    /// Which monotonic clock its moments are of; empty if that could not be told.
    pub(super) timeline: String,
    pub(super) at: Moment,
    pub(super) wall_ms: i64,
    /// At least so much time passed from the first run to this one: what monotonic clocks tell.
    pub(super) lived_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Changed {
    pub(super) run: u64,
    pub(super) at: Moment,
    pub(super) wall_ms: i64,
    pub(super) change: Change,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pinned {
    pub(super) node: NodeName,
    /// Which mesh key its certificate comes from.
    pub(super) mesh: String,
    pub(super) key: KeyHash,
    /// The last run in which the node reported with it.
    pub(super) run: u64,
}

/// SHA-256 of the public key of a certificate: no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct KeyHash(pub(super) [u8; 32]);

impl From<KeyHash> for String {
    fn from(KeyHash(bytes): KeyHash) -> Self {
        hex(&bytes)
    }
}

impl TryFrom<String> for KeyHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        const EXPECTED: &str = "expected 64 hexadecimal digits";
        let mut bytes = [0; 32];
        if text.len() != 2 * bytes.len() {
            return Err(EXPECTED);
        }
        let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
        let digits = digits.ok_or(EXPECTED)?;
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let value = pair.iter().fold(0, |value, digit| value * 16 + digit);
            *byte = u8::try_from(value).map_err(|_| EXPECTED)?;
        }
        Ok(Self(bytes))
    }
}

/// A record as it stands in the file, with its end; none if it is longer than a line may be.
pub(super) fn line(record: &Record) -> Option<String> {
    let json = serde_json::to_string(record).ok()?;
    let line = format!("{} {json}\n", check(json.as_bytes()));
    (line.len() <= LINE_BYTES).then_some(line)
}

/// What a line says, without its end; none if it was not written so by [`line()`].
pub(super) fn read(line: &[u8]) -> Option<Record> {
    let (told, rest) = line.split_at_checked(2 * CHECKED)?;
    let json = rest.strip_prefix(b" ")?;
    if json.len() > LINE_BYTES || told != check(json).as_bytes() {
        return None;
    }
    serde_json::from_slice(json).ok()
}

fn check(json: &[u8]) -> String {
    let digest = Sha256::digest(json);
    hex(digest.get(..CHECKED).unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    let digits = bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect()
}

/// What a whole file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// What every line that is whole says.
    pub(super) records: Vec<Record>,
    /// Lines that are not, where no crash explains it.
    pub(super) damaged: usize,
    /// Bytes at the end of which only a part was written.
    pub(super) torn: usize,
}

/// Reads a file; fails only with the format of a later version.
pub(super) fn contents(bytes: &[u8]) -> Result<Contents, u32> {
    let mut contents = Contents::default();
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    match lines.next().and_then(whole) {
        Some(Record::Store { format }) if format > FORMAT => return Err(format),
        Some(Record::Store { .. }) => {}
        other => {
            contents.damaged += 1;
            contents.records.extend(other);
        }
    }
    let mut lines = lines.peekable();
    while let Some(line) = lines.next() {
        match whole(line) {
            Some(record) => contents.records.push(record),
            // What is appended is appended in one piece, so a crash leaves one such line, and leaves it last.
            None if lines.peek().is_none() => contents.torn = line.len(),
            None => contents.damaged += 1,
        }
    }
    Ok(contents)
}

fn whole(line: &[u8]) -> Option<Record> {
    read(line.strip_suffix(b"\n")?)
}

#[cfg(test)]
mod tests {
    use evidence::Phase;

    use super::*;

    fn changed(level: &str) -> Record {
        Record::Changed(Changed {
            run: 3,
            at: Moment::from_millis(-5),
            wall_ms: 1_795_000_000_000,
            change: Change::Gate {
                level: level.to_owned(),
                ready: (Phase::Unknown, Phase::Ready),
                may_start: (Phase::Ready, Phase::Ready),
                reason: None,
            },
        })
    }

    fn file() -> (Vec<Record>, Vec<u8>) {
        let records = vec![
            changed("mesh"),
            Record::Pinned(Pinned {
                node: NodeName::parse("vps-1").unwrap(),
                mesh: "01234567".to_owned(),
                key: KeyHash([0xa5; 32]),
                run: 3,
            }),
            changed("mtu"),
        ];
        let header = Record::Store { format: FORMAT };
        let lines = std::iter::once(&header).chain(&records).map(line);
        let text: Option<String> = lines.collect();
        (records, text.unwrap().into_bytes())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (records, text) = file();
        let contents = contents(&text).unwrap();
        assert_eq!(contents.records, records);
        assert_eq!((contents.damaged, contents.torn), (0, 0));
    }

    #[test]
    fn a_file_that_ends_anywhere_loses_no_more_than_its_last_line() {
        let (records, text) = file();
        for end in 0..text.len() {
            let read = contents(&text[..end]).unwrap();
            let ends = text[..end].split(|byte| *byte == b'\n').count() - 1;
            assert_eq!(read.records, records[..ends.saturating_sub(1)], "{end}");
            assert_eq!(read.damaged, usize::from(ends == 0), "{end}");
        }
    }

    #[test]
    fn any_changed_byte_costs_one_line_and_invents_none() {
        let (records, text) = file();
        for at in 0..text.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bytes = text.clone();
                bytes[at] ^= flip;
                let read = contents(&bytes).unwrap();
                assert!(
                    read.records.iter().all(|record| records.contains(record)),
                    "byte {at}"
                );
                // A lost end of a line joins two.
                assert!(read.records.len() + 2 >= records.len(), "byte {at}");
                assert!(read.damaged + read.torn > 0, "byte {at}");
            }
        }
    }

    #[test]
    fn a_later_format_is_told_by_its_number_and_garbage_is_damage() {
        let later = line(&Record::Store { format: 7 }).unwrap();
        assert_eq!(contents(later.as_bytes()), Err(7));
        let garbage = contents(&[0, 255, b'\n', 7, b'\n', 9]).unwrap();
        assert_eq!(
            (garbage.records.len(), garbage.damaged, garbage.torn),
            (0, 2, 1)
        );
        assert_eq!(contents(b"").unwrap().damaged, 1);
    }

    #[test]
    fn a_line_that_is_too_long_is_not_written() {
        assert_eq!(line(&changed(&"x".repeat(LINE_BYTES))), None);
    }
}
