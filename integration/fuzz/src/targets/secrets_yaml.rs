//! Talos' `secrets.yaml`.

use std::path::Path;

use proto::trust::MeshKey;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "secrets-yaml",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match MeshKey::from_secrets_yaml(text, Path::new("s")) {
        Ok(key) => assert_eq!(format!("{key:?}"), "MeshKey(..)"),
        Err(error) => {
            let said = error.to_string();
            let ours = [
                "s is not a Talos secrets.yaml: expected cluster.secret",
                "s does not hold a mesh key: expected base64 of 32 bytes",
            ];
            // Word for word, so that no part of the file can be in it.
            assert!(ours.contains(&said.as_str()), "{said}");
        }
    }
}

const SECRETS: &str = "\
cluster:
    id: CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=
    secret: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=
secrets:
    bootstraptoken: abcdef.0123456789abcdef
    secretboxencryptionsecret: AAAA
trustdinfo:
    token: abcdef.0123456789abcdef
certs:
    etcd:
        crt: LS0tLS1CRUdJTg==
        key: LS0tLS1CRUdJTg==
";

fn seeds() -> Vec<Vec<u8>> {
    let nested = format!("cluster: {}{}\n", "[".repeat(200), "]".repeat(200));
    let texts = [
        SECRETS.to_owned(),
        SECRETS.replace("    secret: ", "    secret: &a "),
        SECRETS.replace("BwcH", "Bw"),
        "cluster: &a {secret: *a}\n".to_owned(),
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\ncluster: {secret: x}\n".to_owned(),
        "cluster: {secret: 5}\n---\ncluster: x\n".to_owned(),
        "cluster:\n  secret: |\n    BwcH\n".to_owned(),
        nested,
        String::new(),
    ];
    texts.map(String::into_bytes).to_vec()
}
