//! A talosconfig, and an endpoint as it stands in one.

use std::path::Path;

use sources::talosconfig::{Endpoint, Talosconfig, TalosconfigError};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "talosconfig",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        let shown = endpoint.to_string();
        assert_eq!(shown.parse(), Ok(endpoint), "{shown}");
    }
    match Talosconfig::parse(text, Path::new("c"), None) {
        Ok(config) => {
            let shown = format!("{:?}", config.credentials);
            assert_eq!(shown, "Credentials(..)");
            // Whether it is one is TLS' to say; it must say it.
            drop(config.credentials.client());
        }
        Err(error @ TalosconfigError::Form { .. }) => form(&error.to_string()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Word for word but for the number of the line, so that no part of the file can be in it.
fn form(said: &str) {
    const END: &str = " is not as a talosconfig is: expected context, and contexts with endpoints, ca, crt and key";
    let start = said.strip_suffix(END);
    let line = start.and_then(|start| start.strip_prefix('c'));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    let number = line
        .strip_prefix(" (line ")
        .and_then(|line| line.strip_suffix(')'));
    assert!(
        line.is_empty() || number.is_some_and(|number| number.parse::<u64>().is_ok()),
        "{said}"
    );
}

/// `-----BEGIN CERTIFICATE-----`, `AAAA`, and the end of it; and the same of a private key.
const CERTIFICATE: &str =
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";
const KEY: &str = "LS0tLS1CRUdJTiBFRDI1NTE5IFBSSVZBVEUgS0VZLS0tLS0KQUFBQQotLS0tLUVORCBFRDI1NTE5IFBSSVZBVEUgS0VZLS0tLS0K";

fn seeds() -> Vec<Vec<u8>> {
    let whole = format!(
        "context: home\ncontexts:\n  home:\n    endpoints: [203.0.113.11, '[2001:db8::1]:443']\n    nodes: [10.0.0.1]\n    \
         ca: {CERTIFICATE}\n    crt: {CERTIFICATE}\n    key: {KEY}\n    proxy-url: http://proxy:3128\n"
    );
    let texts = [
        whole.replace("    key: ", "    key: &a "),
        whole.replace("key: ", "key: [") + "]",
        whole.replace("endpoints: ", "target: "),
        whole.replace("    ca: ", "    auth: {siderov1: {identity: me}}\n    ca: "),
        whole,
        "context: a\ncontexts: {a: {}}\n".to_owned(),
        "context: a\ncontexts: {a: null}\n".to_owned(),
        "https://[2001:db8::1]:6443/".to_owned(),
        String::new(),
    ];
    texts.map(String::into_bytes).to_vec()
}
