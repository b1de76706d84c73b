//! What a time server, or whoever speaks in its place, answers.

use sources::ntp::packet::{LENGTH, Refused, question, read};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "ntp",
    run,
    seeds,
};

const NONCE: u64 = 0x0123_4567_89ab_cdef;

fn run(bytes: &[u8]) {
    // As it came, which hardly ever repeats the nonce, and as if it did.
    for repeats in [false, true] {
        let mut bytes = bytes.to_vec();
        if let Some(origin) = bytes.get_mut(24..32).filter(|_| repeats) {
            origin.copy_from_slice(&NONCE.to_be_bytes());
        }
        check(&bytes);
    }
}

fn check(bytes: &[u8]) {
    let Ok(answer) = read(bytes, NONCE) else {
        return;
    };
    assert!(bytes.len() >= LENGTH, "a cut answer is taken");
    assert_eq!(
        bytes[24..32],
        NONCE.to_be_bytes(),
        "a stranger's answer is taken"
    );
    assert_eq!(bytes[0] & 7, 4, "it is not a server's");
    match answer {
        Ok(told) => {
            assert!((1..16).contains(&told.stratum), "{told:?}");
            assert!(
                bytes[0] >> 6 != 3,
                "a clock that is not synchronized tells time"
            );
            // From 1968 to 2104.
            for micros in [told.received_micros, told.sent_micros] {
                assert!((-62_000_000..=4_240_000_000).contains(&(micros / 1_000_000)));
            }
        }
        Err(refused) => {
            let text = refused.to_string();
            assert!(
                text.chars()
                    .all(|letter| letter.is_ascii_graphic() || letter == ' '),
                "{text:?}"
            );
            assert_eq!(matches!(refused, Refused::Kiss(_)), bytes[1] == 0);
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let with = |first: u8, stratum: u8, seconds: u32, reference: &[u8; 4]| {
        let mut bytes = vec![0; LENGTH];
        bytes[..2].copy_from_slice(&[first, stratum]);
        bytes[12..16].copy_from_slice(reference);
        bytes[24..32].copy_from_slice(&NONCE.to_be_bytes());
        for at in [32, 40] {
            bytes[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
            bytes[at + 4..at + 8].fill(0xff);
        }
        bytes
    };
    let well = with(0x24, 1, 3_900_000_000, b"GPS\0");
    let extended = [&well[..], &[0, 1, 0, 16, 0, 0, 0, 0]].concat();
    vec![
        well,
        extended,
        with(0x1c, 15, 1, b"\x7f\0\0\x01"),
        with(0x24, 0, 0, b"RATE"),
        with(0xe4, 0, 0, b"\x1b[2J"),
        with(0xe4, 3, u32::MAX, &[0; 4]),
        with(0x24, 16, 0x8000_0000, &[0; 4]),
        question(NONCE).to_vec(),
        vec![0x24; LENGTH],
    ]
}
