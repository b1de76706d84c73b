//! `key`: whoever may only ask gets a file that is good for asking.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    fixture::healthy,
    program::{bare, run},
    server::{Canned, KEY_TEXT, serve},
};

#[tokio::test]
async fn a_readers_credentials_are_enough_to_ask_and_the_mesh_key_is_not_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reader.pem");
    let mut command = bare();
    command.env("MESH_KEY", KEY_TEXT).args(["key", "--to"]);
    command.arg(&file);
    let made = run(command).await;
    assert_eq!((made.code, made.stdout.as_str()), (0, ""), "{made:?}");
    let rights = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(rights & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains(KEY_TEXT));

    let address = serve(Canned::saying(healthy()));
    let mut command = bare();
    command.args([
        "status",
        "--collector",
        &address.to_string(),
        "--credentials",
    ]);
    command.arg(&file);
    let asked = run(command).await;
    assert_eq!(asked.code, 0, "{asked:?}");
    assert!(asked.stdout.contains("vps-1"), "{asked:?}");
}

#[tokio::test]
async fn a_file_that_is_there_is_not_written_over() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "mine").unwrap();
    let mut command = bare();
    command.env("MESH_KEY", KEY_TEXT).args(["key", "--to"]);
    command.arg(file.path());
    let ran = run(command).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("failed to write the credentials"),
        "{ran:?}"
    );
    let help = "help: nothing is written over: name a file that does not exist, or remove this one first\n";
    assert!(ran.stderr.ends_with(help), "{ran:?}");
    assert_eq!(fs::read_to_string(file.path()).unwrap(), "mine");
}

#[tokio::test]
async fn pem_is_not_printed_where_a_document_was_asked_for() {
    for format in ["json", "yaml", "jsonl"] {
        let mut command = bare();
        command.env("MESH_KEY", KEY_TEXT);
        command.args(["key", "-o", format]);
        let ran = run(command).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        let says = "error: key prints PEM, and no document: leave -o out\n";
        assert_eq!(ran.stderr, says, "{ran:?}");
        assert!(ran.stdout.contains("Error"), "{ran:?}");
        assert!(!ran.stdout.contains("BEGIN"), "{ran:?}");
    }
}

#[tokio::test]
async fn what_holds_no_credentials_is_a_usage_error_that_says_what_was_expected() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"\xff secret words").unwrap();
    let mut command = bare();
    command.args(["status", "--collector", "127.0.0.1:9", "--credentials"]);
    command.arg(file.path());
    let ran = run(command).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("is not PEM"), "{ran:?}");
    assert!(!ran.stderr.contains("secret words"), "{ran:?}");
}

#[tokio::test]
async fn credentials_that_cannot_be_used_are_named_as_such_with_their_file_and_why() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let block = |tag: &str| format!("-----BEGIN {tag}-----\nAAAA\n-----END {tag}-----\n");
    let text = [
        block("CERTIFICATE"),
        block("PRIVATE KEY"),
        block("CERTIFICATE"),
    ];
    fs::write(file.path(), text.concat()).unwrap();
    let empty = format!("{} cannot be used", file.path().display());
    for (path, says) in [
        (
            Path::new("/nofile"),
            "failed to read /nofile\n  because: No such file",
        ),
        (file.path(), empty.as_str()),
    ] {
        for arguments in [
            &["gate", "mesh", "--collector", "127.0.0.1:9"][..],
            &["gate", "mesh", "--direct", "127.0.0.1:9"],
        ] {
            let mut command = bare();
            command.args(arguments).arg("--credentials").arg(path);
            let ran = run(command).await;
            assert_eq!(ran.code, 2, "{ran:?}");
            let says = format!("error: no usable credentials\n  because: {says}");
            assert!(ran.stderr.starts_with(&says), "{ran:?}");
        }
    }
}
