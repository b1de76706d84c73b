//! Why a node could not be dialled: each stage by its name.

use std::{
    fmt, io,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{AlertDescription, CertificateError, pki_types::UnixTime};
use thiserror::Error;

/// How far it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Looking up the name.
    Resolve,
    /// Opening a TCP connection.
    Connect,
    /// Agreeing on TLS, and on who each side is.
    Tls,
    /// Starting HTTP/2.
    Http,
}

impl Stage {
    /// The word a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "DNS",
            Self::Connect => "TCP",
            Self::Tls => "TLS",
            Self::Http => "HTTP/2",
        }
    }
}

/// Why a node could not be dialled.
#[derive(Debug, Error)]
pub enum ApidError {
    /// The name is not known.
    #[error("failed to find the address of {host}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The name has no address.
    #[error("{host} has no address")]
    NoAddress {
        /// The name.
        host: String,
    },
    /// TCP was refused or found no way.
    #[error("failed to connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One side did not accept the other's certificate, or it is not TLS.
    #[error("failed to agree on TLS with {address}: {refusal}")]
    Tls {
        /// Where.
        address: SocketAddr,
        /// Who refused whom, and why.
        refusal: Refusal,
    },
    /// HTTP/2 did not start.
    #[error("failed to start HTTP/2 with {address}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The time was over.
    #[error("no answer from {at} in time ({})", .stage.as_str())]
    Late {
        /// What was under way.
        stage: Stage,
        /// With whom.
        at: String,
    },
}

/// Why TLS was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host is no name that a certificate can hold.
    NoName(String),
    /// Another authority than that of the talosconfig.
    OtherAuthority,
    /// The certificate is for other names and addresses.
    OtherNames(Vec<String>),
    /// It is no longer valid, or not yet, by this machine's clock: by so much.
    Clock {
        /// Not any more, or not yet.
        expired: bool,
        /// By how much.
        by: Option<Duration>,
        /// What this machine's clock says.
        now: SystemTime,
    },
    /// The node ended the handshake: our certificate is not accepted.
    Ours(&'static str),
    /// What came is not TLS, or the connection broke.
    Broken(String),
}

impl ApidError {
    /// How far it got.
    pub const fn stage(&self) -> Stage {
        match self {
            Self::Resolve { .. } | Self::NoAddress { .. } => Stage::Resolve,
            Self::Connect { .. } => Stage::Connect,
            Self::Tls { .. } => Stage::Tls,
            Self::Http { .. } => Stage::Http,
            Self::Late { stage, .. } => *stage,
        }
    }

    /// Whether one side refused the other's certificate.
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Tls {
                refusal: Refusal::Ours(_) | Refusal::OtherAuthority | Refusal::OtherNames(_),
                ..
            }
        )
    }

    pub(super) fn tls(address: SocketAddr, error: &io::Error) -> Self {
        Self::Tls {
            address,
            refusal: Refusal::of(error),
        }
    }
}

impl Refusal {
    fn of(error: &io::Error) -> Self {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(error)) => Self::of_certificate(error),
            Some(rustls::Error::AlertReceived(alert)) => Self::of_alert(*alert),
            Some(other) => Self::Broken(other.to_string()),
            None => Self::Broken(error.to_string()),
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::ExpiredContext { time, not_after } => {
                Self::clock(true, *time, *not_after)
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Self::clock(false, *time, *not_before)
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::OtherAuthority
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::OtherNames(presented.clone())
            }
            other => Self::Broken(other.to_string()),
        }
    }

    fn clock(expired: bool, now: UnixTime, bound: UnixTime) -> Self {
        let by = now.as_secs().abs_diff(bound.as_secs());
        Self::Clock {
            expired,
            by: Some(Duration::from_secs(by)),
            now: UNIX_EPOCH + Duration::from_secs(now.as_secs()),
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::CertificateExpired => Self::Ours("it says that ours has expired"),
            AlertDescription::UnknownCA => {
                Self::Ours("ours is of an authority that it does not know")
            }
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate => Self::Ours("it says that ours is bad"),
            AlertDescription::CertificateRequired => Self::Ours("it got none of ours"),
            AlertDescription::AccessDenied => Self::Ours("it denies access"),
            other => Self::Broken(format!("it ended the handshake ({other:?})")),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoName(host) => write!(f, "no certificate can be for {host:?}"),
            Self::OtherAuthority => f.write_str(
                "its certificate is not of the authority (ca) of this talosconfig: another cluster, or one made anew",
            ),
            Self::OtherNames(names) if names.is_empty() => {
                f.write_str("its certificate is for no name or address")
            }
            Self::OtherNames(names) => {
                write!(f, "its certificate is for {}, not for the name or address that was dialled", names.join(", "))
            }
            Self::Clock { expired, by, now } => {
                let state = if *expired { "no longer" } else { "not yet" };
                let by = by.map(whole_days).unwrap_or_default();
                let now = humantime::format_rfc3339_seconds(*now);
                write!(
                    f,
                    "its certificate is {state} valid{by}, if the clock of this machine is right: it says {now}"
                )
            }
            Self::Ours(why) => write!(f, "the node does not accept the certificate of this talosconfig: {why}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// As the end of a clause; seconds of a year help nobody.
fn whole_days(by: Duration) -> String {
    match by.as_secs() / (24 * 60 * 60) {
        0 => format!(", by {}", humantime::format_duration(by)),
        1 => ", by 1 day".to_owned(),
        days => format!(", by {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(error: rustls::Error) -> String {
        Refusal::of(&io::Error::new(io::ErrorKind::InvalidData, error)).to_string()
    }

    #[test]
    fn a_wrong_clock_here_is_said_with_what_it_shows_and_by_how_much() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let early = CertificateError::NotValidYetContext {
            time: at(100),
            not_before: at(86_500),
        };
        let text = refusal(rustls::Error::InvalidCertificate(early));
        assert_eq!(
            text,
            "its certificate is not yet valid, by 1 day, if the clock of this machine is right: it says 1970-01-01T00:01:40Z"
        );
    }

    #[test]
    fn who_refused_whom_is_told_apart() {
        let of = |error| refusal(rustls::Error::InvalidCertificate(error));
        assert!(of(CertificateError::UnknownIssuer).contains("not of the authority"));
        let ours = refusal(rustls::Error::AlertReceived(
            AlertDescription::CertificateExpired,
        ));
        assert!(ours.starts_with("the node does not accept"), "{ours}");
        let garbage = refusal(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType,
        ));
        assert!(!garbage.contains("accept"), "{garbage}");
    }
}
