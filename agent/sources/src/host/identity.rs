//! What tells this machine from a clone of it. The ids are secrets of the machine, so only fingerprints are handed out.

use std::fs;

use evidence::Fingerprint;
use sha2::{Digest as _, Sha256};

/// Set at the first boot, and copied with a disk.
const MACHINE_ID: &str = "/etc/machine-id";
/// Given by the firmware or the hypervisor.
const SYSTEM_UUID: &str = "/sys/class/dmi/id/product_uuid";
/// Keeps the hashes apart from those that others may make of the same ids.
const LABEL: &[u8] = b"mesh-agent machine fingerprint v1\0";
/// An id has at least so many hexadecimal digits; less is a placeholder.
const LEAST_DIGITS: usize = 32;

/// A fingerprint of the operating system's machine id, if it has one that can be read.
pub fn machine_id() -> Option<Fingerprint> {
    fingerprint(MACHINE_ID)
}

/// A fingerprint of the firmware's system UUID, if there is one that can be read.
pub fn system_uuid() -> Option<Fingerprint> {
    fingerprint(SYSTEM_UUID)
}

fn fingerprint(path: &str) -> Option<Fingerprint> {
    of(&fs::read_to_string(path).ok()?)
}

/// Of an id as it stands in its file. One of a single digit, such as all zero, is no id.
fn of(text: &str) -> Option<Fingerprint> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(u8::is_ascii_hexdigit)
        .map(|digit| digit.to_ascii_lowercase())
        .collect();
    let first = digits.first()?;
    if digits.len() < LEAST_DIGITS || digits.iter().all(|digit| digit == first) {
        return None;
    }
    let hash = Sha256::new().chain_update(LABEL).chain_update(&digits);
    hash.finalize().first_chunk().copied().map(Fingerprint)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4c4c4544-0042-3510-8051-b7c04f595831\n";

    #[test]
    fn the_same_id_has_the_same_fingerprint_however_it_is_written() {
        let upper = ID.to_uppercase().replace('-', "");
        assert_eq!(of(ID), of(&upper));
        assert_ne!(of(ID), of(&ID.replace('8', "9")));
    }

    #[test]
    fn an_id_does_not_show_in_its_fingerprint() {
        let shown = of(ID).unwrap().to_string();
        assert!(!ID.replace('-', "").contains(&shown[..8]), "{shown}");
    }

    #[test]
    fn what_a_vendor_left_empty_is_no_id() {
        for empty in ["", "\n", "uninitialized", &"0".repeat(32), &"f".repeat(32)] {
            assert_eq!(of(empty), None, "{empty:?}");
        }
    }
}
