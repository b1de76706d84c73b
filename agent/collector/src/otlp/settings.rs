//! What was asked for: by the command line, and by the environment variables that OpenTelemetry has for all exporters.
//!
//! An empty variable counts as one that is not set, as OpenTelemetry's specification wants it.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use http::{Uri, uri::Scheme};
use percent_encoding::percent_decode_str;
use thiserror::Error;
use tonic::metadata::{Ascii, MetadataKey, MetadataValue};

/// Port of OTLP's gRPC, where the endpoint has none.
const PORT: u16 = 4317;
/// Time between two exports of the metrics, as OpenTelemetry has it.
const INTERVAL: Duration = Duration::from_mins(1);
/// What it may be.
const INTERVALS: [Duration; 2] = [Duration::from_secs(1), Duration::from_hours(1)];
/// Time for one call, as OpenTelemetry has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What it may be.
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(100), Duration::from_mins(2)];
/// Headers of a call.
const HEADERS: usize = 32;
/// Attributes of the resource.
const ATTRIBUTES: usize = 64;
/// Bytes of one text.
const TEXT: usize = 4096;
/// Which protocol is wanted.
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// Beginning of what gRPC keeps for itself.
const RESERVED: &str = "grpc-";

/// Where to push what is exported, and how.
#[derive(Clone, Debug)]
pub struct Otlp {
    pub(super) endpoint: Endpoint,
    pub(super) headers: Headers,
    /// What the operator says of this collector.
    pub(super) attributes: Vec<(String, String)>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// Authorities of the receiver in PEM; those of the system if none.
    pub(super) authorities: Option<PathBuf>,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) tls: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// What is sent with each call. The values are secrets: they are neither shown nor logged.
#[derive(Clone, Default)]
pub(super) struct Headers(pub(super) Vec<(MetadataKey<Ascii>, MetadataValue<Ascii>)>);

/// Why what was asked for cannot be. Values of headers are in none of them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// No URL of a receiver.
    #[error(
        "the OTLP endpoint: {0}; expected http://HOST:PORT or https://HOST:PORT, without user, path or query"
    )]
    Endpoint(&'static str),
    /// In plain, to another machine.
    #[error(
        "the OTLP endpoint http://{0} is not loopback: names of nodes, findings and headers would cross the network in plain, so that takes \
         https or --otlp-insecure"
    )]
    Plain(String),
    /// A protocol that is not spoken here.
    #[error("{0}: expected grpc, got {1:?}; no other is spoken here")]
    Protocol(&'static str, String),
    /// A list that is none.
    #[error(
        "{variable}: item {item}: {problem}; expected KEY=VALUE,KEY=VALUE with values in percent-encoding"
    )]
    List {
        /// Which one.
        variable: &'static str,
        /// Counted from 1.
        item: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Too many in a list.
    #[error("{0}: more than {1} items")]
    Many(&'static str, usize),
    /// A time that is none, or too short or too long.
    #[error("{what}: expected {} to {}, got {got:?}", humantime::format_duration(between[0]), humantime::format_duration(between[1]))]
    Time {
        /// Which one.
        what: &'static str,
        /// What it may be.
        between: [Duration; 2],
        /// What was said.
        got: String,
    },
}

impl Otlp {
    /// Reads what was asked for: `endpoint` and `interval` of the command line, and what `variable` gives. None if export is off.
    ///
    /// Fails on the first thing that cannot be.
    pub fn asked(
        endpoint: Option<&str>,
        insecure: bool,
        interval: Option<Duration>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let variable = |name| variable(name).filter(|text| !text.trim().is_empty());
        let is_true =
            |name| variable(name).is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let endpoint = match endpoint.filter(|text| !text.trim().is_empty()) {
            Some(asked) => asked.to_owned(),
            // Who says `--otlp-endpoint` wants it here; the variables may have been set for all programs of a machine.
            None if is_true("OTEL_SDK_DISABLED") => return Ok(None),
            None => match variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(asked) => asked,
                None => return Ok(None),
            },
        };
        let endpoint = Endpoint::parse(endpoint.trim())?;
        if !endpoint.tls
            && !endpoint.is_loopback()
            && !insecure
            && !is_true("OTEL_EXPORTER_OTLP_INSECURE")
        {
            return Err(SettingsError::Plain(endpoint.authority()));
        }
        if let Some(other) = variable(PROTOCOL).filter(|text| text.trim() != "grpc") {
            return Err(SettingsError::Protocol(PROTOCOL, shown(&other)));
        }
        let mut attributes = match variable("OTEL_RESOURCE_ATTRIBUTES") {
            Some(text) => list("OTEL_RESOURCE_ATTRIBUTES", &text, ATTRIBUTES)?,
            None => Vec::new(),
        };
        // It goes before the same attribute in the list.
        if let Some(name) = variable("OTEL_SERVICE_NAME") {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), shown(&name)));
        }
        let interval = match interval {
            Some(interval) => {
                let got = || humantime::format_duration(interval).to_string();
                within("--otlp-interval", Some(interval), INTERVALS, got)?
            }
            None => {
                millis("OTEL_METRIC_EXPORT_INTERVAL", &variable, INTERVALS)?.unwrap_or(INTERVAL)
            }
        };
        Ok(Some(Self {
            endpoint,
            headers: match variable(Headers::VARIABLE) {
                Some(text) => Headers::parse(&text)?,
                None => Headers::default(),
            },
            attributes,
            interval,
            timeout: millis("OTEL_EXPORTER_OTLP_TIMEOUT", &variable, TIMEOUTS)?.unwrap_or(TIMEOUT),
            authorities: variable("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from),
        }))
    }

    /// Where it goes, as a URL.
    pub fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }
}

impl Endpoint {
    fn parse(text: &str) -> Result<Self, SettingsError> {
        let wrong = SettingsError::Endpoint;
        if text.len() > TEXT {
            return Err(wrong("too long"));
        }
        let uri: Uri = text.parse().map_err(|_| wrong("no URL"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(wrong("another scheme, or none")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong(
                "a user or password, which belong into OTEL_EXPORTER_OTLP_HEADERS",
            ));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong("a path or query, which gRPC does not have"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("no host"));
        }
        let port = match authority.port_u16() {
            Some(0) => return Err(wrong("port 0")),
            Some(port) => port,
            None if authority.as_str().len() > authority.host().len() => {
                return Err(wrong("a port that is none"));
            }
            None => PORT,
        };
        Ok(Self { tls, host, port })
    }

    /// Whether nobody but this machine can hear. A name counts only if the resolver must give an address of loopback for it (RFC 6761).
    fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.to_canonical().is_loopback())
    }

    pub(super) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl Headers {
    const VARIABLE: &str = "OTEL_EXPORTER_OTLP_HEADERS";

    fn parse(text: &str) -> Result<Self, SettingsError> {
        let items = list(Self::VARIABLE, text, HEADERS)?;
        let one = |(place, (key, value)): (usize, (String, String))| {
            let wrong = |problem| SettingsError::List {
                variable: Self::VARIABLE,
                item: place + 1,
                problem,
            };
            let key = key.to_ascii_lowercase();
            if key.starts_with(RESERVED) {
                return Err(wrong("a key that gRPC keeps for itself"));
            }
            // Keys that end in -bin are refused here as well: their values would not be texts.
            let key = MetadataKey::from_bytes(key.as_bytes())
                .map_err(|_| wrong("a key that no header may have"))?;
            let mut value = MetadataValue::try_from(value.as_str())
                .map_err(|_| wrong("a value that no header may have"))?;
            // HTTP/2 keeps it out of its tables, and `Debug` does not print it.
            value.set_sensitive(true);
            Ok((key, value))
        };
        let headers: Result<_, _> = items.into_iter().enumerate().map(one).collect();
        headers.map(Self)
    }

    /// A text of the far end, in which it may have repeated what it was sent.
    pub(super) fn conceal(&self, text: &str) -> String {
        /// A shorter word is no secret.
        const WORD: usize = 4;
        let values = self.0.iter().filter_map(|(_, value)| value.to_str().ok());
        let mut concealed = text.to_owned();
        for value in values {
            for word in [value].into_iter().chain(value.split_ascii_whitespace()) {
                if word.len() >= WORD {
                    concealed = concealed.replace(word, "***");
                }
            }
        }
        concealed
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(key, _)| key))
            .finish()
    }
}

/// `KEY=VALUE,..` as W3C Baggage has it, without properties.
fn list(
    variable: &'static str,
    text: &str,
    most: usize,
) -> Result<Vec<(String, String)>, SettingsError> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (place, item) in text.split(',').enumerate() {
        let wrong = |problem| SettingsError::List {
            variable,
            item: place + 1,
            problem,
        };
        if item.trim().is_empty() {
            continue;
        }
        let (key, value) = item.split_once('=').ok_or_else(|| wrong("no ="))?;
        let key = key.trim();
        if key.is_empty() {
            return Err(wrong("no key"));
        }
        if item.len() > TEXT {
            return Err(wrong("too long"));
        }
        let value = percent_decode_str(value.trim())
            .decode_utf8()
            .map_err(|_| wrong("a value that is no UTF-8"))?;
        if value.chars().any(char::is_control) {
            return Err(wrong("a control character"));
        }
        // The last one counts.
        found.retain(|(other, _)| other != key);
        found.push((key.to_owned(), value.into_owned()));
        if found.len() > most {
            return Err(SettingsError::Many(variable, most));
        }
    }
    Ok(found)
}

fn millis(
    name: &'static str,
    variable: &impl Fn(&'static str) -> Option<String>,
    between: [Duration; 2],
) -> Result<Option<Duration>, SettingsError> {
    let Some(text) = variable(name) else {
        return Ok(None);
    };
    let time = text.trim().parse().ok().map(Duration::from_millis);
    within(name, time, between, || shown(&text)).map(Some)
}

fn within(
    what: &'static str,
    time: Option<Duration>,
    between: [Duration; 2],
    got: impl Fn() -> String,
) -> Result<Duration, SettingsError> {
    let fits = |time: &Duration| (between[0]..=between[1]).contains(time);
    time.filter(fits).ok_or_else(|| SettingsError::Time {
        what,
        between,
        got: got(),
    })
}

/// As much of a text as is repeated.
fn shown(text: &str) -> String {
    text.trim().chars().take(64).collect()
}
