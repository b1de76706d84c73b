//! One context of the file.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Credentials, Endpoint, MAX_FILE, MAX_HOSTS, TalosconfigError};

/// A context that can be used.
#[derive(Debug)]
pub struct Talosconfig {
    /// The file it is from.
    pub path: PathBuf,
    /// Its name.
    pub context: String,
    /// Where to ask about the cluster.
    pub endpoints: Vec<Endpoint>,
    /// Which nodes to ask, where the user has said so.
    pub nodes: Vec<Endpoint>,
    /// The proxy that talosctl would go through, without the name and password that it may hold. We do not go through it.
    pub proxy: Option<String>,
    /// Who we are.
    pub credentials: Credentials,
}

/// The file. What a later version adds is skipped.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    context: String,
    #[serde(default)]
    contexts: BTreeMap<String, RawContext>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
struct RawContext {
    target: Option<String>,
    endpoints: Option<Vec<String>>,
    nodes: Option<Vec<String>>,
    ca: Option<String>,
    crt: Option<String>,
    key: Option<String>,
    auth: Option<RawAuth>,
    proxy_url: Option<String>,
}

#[derive(Deserialize)]
struct RawAuth {
    basic: Option<Skipped>,
    siderov1: Option<Skipped>,
}

/// A map of which nothing is kept.
#[derive(Deserialize)]
struct Skipped {}

impl Drop for RawContext {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Talosconfig {
    /// Reads a context, the file's current one if none is named.
    pub fn load(path: &Path, context: Option<&str>) -> Result<Self, TalosconfigError> {
        let text = read(path)?;
        Self::parse(&text, path, context)
    }

    /// The same from its text; `path` is for messages.
    pub fn parse(text: &str, path: &Path, context: Option<&str>) -> Result<Self, TalosconfigError> {
        // The parser's own message may quote the line, which can be the key: only its number is kept.
        let mut raw: Raw =
            serde_saphyr::from_str(text).map_err(|error| TalosconfigError::Form {
                path: path.to_owned(),
                line: error.location().map(|at| at.line()),
            })?;
        let known = || raw.contexts.keys().cloned().collect();
        let name = context.unwrap_or(&raw.context).to_owned();
        if name.is_empty() {
            return Err(TalosconfigError::NoContext {
                path: path.to_owned(),
                known: known(),
            });
        }
        let found = raw
            .contexts
            .contains_key(&name)
            .then_some(())
            .ok_or_else(|| TalosconfigError::UnknownContext {
                path: path.to_owned(),
                name: name.clone(),
                known: known(),
            });
        found?;
        let context = raw.contexts.remove(&name).unwrap_or_default();
        Reading { path, name }.context(&context)
    }
}

impl Talosconfig {
    /// What the credentials of this context are no good for.
    pub fn no_tls(&self, source: rustls::Error) -> TalosconfigError {
        TalosconfigError::Tls {
            path: self.path.clone(),
            context: self.context.clone(),
            source,
        }
    }
}

/// What errors name.
struct Reading<'a> {
    path: &'a Path,
    name: String,
}

impl Reading<'_> {
    fn context(self, raw: &RawContext) -> Result<Talosconfig, TalosconfigError> {
        self.authentication(raw.auth.as_ref())?;
        let field =
            |field, value: &Option<String>| -> Result<Zeroizing<String>, TalosconfigError> {
                let value = value.clone().filter(|value| !value.is_empty());
                value.map(Zeroizing::new).ok_or_else(|| self.missing(field))
            };
        let (ca, crt, key) = (
            field("ca", &raw.ca)?,
            field("crt", &raw.crt)?,
            field("key", &raw.key)?,
        );
        let parsed = Credentials::parse(&ca, &crt, &key);
        let credentials = parsed.map_err(|(field, expected)| TalosconfigError::Field {
            path: self.path.to_owned(),
            context: self.name.clone(),
            field,
            expected,
        })?;
        // `target` is what endpoints were called once.
        let endpoints: Vec<_> = raw.endpoints.iter().flatten().chain(&raw.target).collect();
        let nodes: Vec<_> = raw.nodes.iter().flatten().collect();
        Ok(Talosconfig {
            endpoints: self.hosts("endpoints", &endpoints)?,
            nodes: self.hosts("nodes", &nodes)?,
            proxy: raw.proxy_url.as_deref().and_then(proxy),
            credentials,
            path: self.path.to_owned(),
            context: self.name,
        })
    }

    fn authentication(&self, auth: Option<&RawAuth>) -> Result<(), TalosconfigError> {
        let auth = auth.map(|auth| (auth.siderov1.is_some(), auth.basic.is_some()));
        let method = match auth {
            Some((true, _)) => "siderov1 (Omni)",
            Some((_, true)) => "basic",
            _ => return Ok(()),
        };
        Err(TalosconfigError::Authentication {
            path: self.path.to_owned(),
            context: self.name.clone(),
            method,
        })
    }

    fn missing(&self, field: &'static str) -> TalosconfigError {
        TalosconfigError::Missing {
            path: self.path.to_owned(),
            context: self.name.clone(),
            field,
        }
    }

    fn hosts(
        &self,
        field: &'static str,
        texts: &[&String],
    ) -> Result<Vec<Endpoint>, TalosconfigError> {
        let mut hosts = Vec::new();
        for text in texts {
            if hosts.len() == MAX_HOSTS {
                return Err(TalosconfigError::Many {
                    path: self.path.to_owned(),
                    context: self.name.clone(),
                    field,
                });
            }
            let host = text.parse().map_err(|source| TalosconfigError::Host {
                path: self.path.to_owned(),
                context: self.name.clone(),
                field,
                text: (*text).clone(),
                source,
            })?;
            hosts.push(host);
        }
        Ok(hosts)
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, TalosconfigError> {
    let wrap = |source| TalosconfigError::Read {
        path: path.to_owned(),
        source,
    };
    let mut text = Zeroizing::new(String::new());
    let file = fs::File::open(path).map_err(wrap)?;
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    if read.map_err(wrap)? as u64 > MAX_FILE {
        return Err(TalosconfigError::Size {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

/// Where a proxy is: a URL may hold a password as well.
fn proxy(url: &str) -> Option<String> {
    if url.is_empty() {
        return None;
    }
    let parsed = url::Url::parse(url).ok();
    let shown = parsed.as_ref().and_then(|url| {
        let port = url
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{}://{}{port}", url.scheme(), url.host_str()?))
    });
    Some(shown.unwrap_or_else(|| "(not a URL)".to_owned()))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    /// Base64 of PEM: a certificate and its key.
    fn made() -> (String, String) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = rcgen::CertificateParams::default();
        let certificate = params.self_signed(&key).unwrap().pem();
        (
            STANDARD.encode(certificate),
            STANDARD.encode(key.serialize_pem()),
        )
    }

    fn file(extra: &str) -> String {
        let (crt, key) = made();
        format!(
            "context: home\ncontexts:\n  home:\n    endpoints: [203.0.113.11, '[2001:db8::1]:443']\n    nodes:\n    - 10.0.0.1\n    \
             ca: {crt}\n    crt: {crt}\n    key: {key}\n{extra}  other:\n    target: 192.0.2.1\n    ca: {crt}\n    crt: {crt}\n    key: {key}\n"
        )
    }

    fn parse(text: &str, context: Option<&str>) -> Result<Talosconfig, TalosconfigError> {
        Talosconfig::parse(text, Path::new("/c"), context)
    }

    #[test]
    fn the_current_context_is_read_unless_another_is_named() {
        let text = file(
            "    cluster: x\n    proxy-url: http://who:secret@proxy:3128\n    later: {a: 1}\n",
        );
        let home = parse(&text, None).unwrap();
        let shown = |hosts: &[Endpoint]| hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            shown(&home.endpoints),
            ["203.0.113.11", "[2001:db8::1]:443"]
        );
        assert_eq!(shown(&home.nodes), ["10.0.0.1"]);
        assert_eq!(home.proxy.as_deref(), Some("http://proxy:3128"));
        let other = parse(&text, Some("other")).unwrap();
        assert_eq!(other.context, "other");
        assert_eq!(shown(&other.endpoints), ["192.0.2.1"]);
        assert!(home.credentials.client().is_ok());
    }

    #[test]
    fn talos_own_name_for_its_keys_is_understood() {
        let (crt, key) = made();
        let pem = String::from_utf8(STANDARD.decode(key).unwrap()).unwrap();
        let key = STANDARD.encode(pem.replace("PRIVATE KEY", "ED25519 PRIVATE KEY"));
        let text = format!("context: a\ncontexts: {{a: {{ca: {crt}, crt: {crt}, key: {key}}}}}");
        assert!(parse(&text, None).unwrap().credentials.client().is_ok());
    }

    #[test]
    fn errors_name_file_and_field_and_never_what_was_read() {
        let (crt, _) = made();
        let secret = STANDARD.encode("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n");
        let said = |text: &str, context| {
            let error = parse(text, context).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(
                !shown.contains("c2VjcmV0") && !shown.contains(&secret),
                "{shown}"
            );
            error.to_string()
        };
        let with = |fields: &str| format!("context: a\ncontexts:\n  a:\n{fields}");
        let cases = [
            (
                with("    endpoints: []\n"),
                "contexts.a.ca is missing in /c",
            ),
            (
                with(&format!(
                    "    ca: {crt}\n    crt: {crt}\n    key: {secret}\n"
                )),
                "contexts.a.key in /c is not base64 of a private key in PEM",
            ),
            (
                with(&format!("    ca: '%'\n    crt: {crt}\n    key: {secret}\n")),
                "contexts.a.ca in /c is not base64 of certificates in PEM",
            ),
            (
                with("    auth:\n      siderov1:\n        identity: me\n"),
                "not supported: context \"a\" of /c authenticates by siderov1 (Omni), and only client certificates are",
            ),
            (
                with(&format!("    key: [{secret}, c2VjcmV0]\n")),
                "/c (line 4) is not as a talosconfig is: expected context, and contexts with endpoints, ca, crt and key",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(said(&text, None), expected);
        }
        assert_eq!(
            said(&file(""), Some("b")),
            "/c has no context \"b\", but home, other"
        );
        assert_eq!(
            said("contexts: {}", None),
            "/c says no current context: give --context, one of none"
        );
    }

    #[test]
    fn credentials_do_not_show_themselves() {
        let shown = format!("{:?}", parse(&file(""), None).unwrap());
        assert!(shown.contains("Credentials(..)"), "{shown}");
    }
}
