//! What a failed connection says: that nobody was reached, or somebody with whom there is no trust.

use std::fmt::Display;

use proto::transport::DialError;
use rustls::{AlertDescription, Error};

use crate::args::Proof;

/// The sentence: who was reached is not said to be out of reach.
pub(super) fn failed(whom: &str, target: &impl Display, proof: Proof, error: &DialError) -> String {
    let (of, ours) = match proof {
        Proof::MeshKey => ("this mesh key", "this mesh key"),
        Proof::Credentials => ("the mesh key of these credentials", "these credentials"),
        Proof::Own => ("this authority and trust domain", "this certificate"),
    };
    match of_tls(error) {
        Some(Error::InvalidCertificate(_)) => {
            format!("{target} was reached, but is no {whom} of {of}")
        }
        Some(Error::AlertReceived(alert)) if is_of_certificates(*alert) => {
            format!("the {whom} at {target} was reached, but refuses {ours}")
        }
        Some(Error::AlertReceived(_)) => {
            format!("{target} was reached, but ended the handshake: is it a {whom}?")
        }
        None if matches!(error, DialError::NotTls { .. }) => {
            format!("{target} was reached, but is no {whom}")
        }
        _ => format!("failed to reach the {whom} at {target}"),
    }
}

/// Whether one of the two sides refused the other's certificate; other failures of TLS say nothing about keys.
pub(super) fn refused_by_tls(error: &DialError) -> bool {
    matches!(
        of_tls(error),
        Some(Error::InvalidCertificate(_) | Error::AlertReceived(_))
    )
}

fn of_tls(error: &DialError) -> Option<&Error> {
    match error {
        DialError::Tls { source, .. } => source.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn is_of_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::CertificateError;

    use super::*;

    fn said(proof: Proof, error: Error) -> String {
        let error = DialError::Tls {
            address: "192.0.2.1:21820".parse().unwrap(),
            source: io::Error::new(io::ErrorKind::InvalidData, error),
        };
        failed("collector", &"vps-1", proof, &error)
    }

    #[test]
    fn who_was_reached_is_not_said_to_be_out_of_reach_and_no_key_is_named_that_was_not_used() {
        let issuer = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        for (proof, error, says) in [
            (
                Proof::MeshKey,
                issuer(),
                "vps-1 was reached, but is no collector of this mesh key",
            ),
            (
                Proof::Own,
                issuer(),
                "vps-1 was reached, but is no collector of this authority and trust domain",
            ),
            (
                Proof::Credentials,
                Error::AlertReceived(AlertDescription::UnknownCA),
                "the collector at vps-1 was reached, but refuses these credentials",
            ),
            (
                Proof::MeshKey,
                Error::AlertReceived(AlertDescription::ProtocolVersion),
                "vps-1 was reached, but ended the handshake: is it a collector?",
            ),
            (
                Proof::MeshKey,
                Error::DecryptError,
                "failed to reach the collector at vps-1",
            ),
        ] {
            assert_eq!(said(proof, error), says);
        }
    }
}
