//! The mesh key in base64, as a file or the environment has it.

use proto::trust::MeshKey;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "mesh-key",
    run,
    seeds,
};

/// A piece of this length is no coincidence any more.
const TELLING: usize = 8;

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match MeshKey::from_base64(text, "the file") {
        Ok(key) => {
            assert_eq!(text.trim().len(), 44, "32 bytes are 44 digits");
            assert_eq!(format!("{key:?}"), "MeshKey(..)");
        }
        Err(error) => shows_nothing_of(text, &format!("{error} {error:?}")),
    }
}

/// Nothing that stood in the input is in what is said of it, as far as it is told from the words of the message.
pub(super) fn shows_nothing_of(input: &str, said: &str) {
    for word in input
        .split_whitespace()
        .filter(|word| word.len() >= TELLING)
    {
        let is_ours =
            "the file does not hold a mesh key: expected base64 of 32 bytes Secrets Form origin"
                .contains(word);
        assert!(is_ours || !said.contains(word), "{said}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let texts = [
        key.to_owned(),
        format!(" {key}\r\n"),
        key.replace('=', ""),
        format!("{key}{key}"),
        "c2VjcmV0IHRleHQ=".to_owned(),
        String::new(),
    ];
    texts.map(String::into_bytes).to_vec()
}
