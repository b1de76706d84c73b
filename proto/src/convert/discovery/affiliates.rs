//! What a list of affiliates comes to.

use evidence::{
    Moment,
    discovery::{Affiliate, Affiliates, Rivals},
    limits,
};

use super::{each, socket_from_wire, socket_to_wire};
use crate::{
    convert::{ConvertError, at_most, ip_from_wire, ip_to_wire, key_from_wire, short_text},
    wire,
};

pub(super) fn to_wire(affiliates: &Affiliates) -> wire::Affiliates {
    let Affiliates {
        at,
        count,
        most_endpoints,
        garbled,
        digest,
        decrypted,
        sealed,
        own,
        unknown,
        rivals,
        unlisted,
    } = affiliates;
    wire::Affiliates {
        at_ms: at.as_millis(),
        count: *count,
        most_endpoints: *most_endpoints,
        garbled: *garbled,
        digest: u64::from_be_bytes(*digest),
        decrypted: *decrypted,
        sealed: sealed.clone(),
        own: *own,
        unknown: unknown.iter().map(affiliate_to_wire).collect(),
        rivals: rivals.iter().map(rivals_to_wire).collect(),
        unlisted: unlisted.iter().map(|key| key.as_bytes().to_vec()).collect(),
    }
}

pub(super) fn from_wire(affiliates: wire::Affiliates) -> Result<Affiliates, ConvertError> {
    let wire::Affiliates {
        at_ms,
        count,
        most_endpoints,
        digest,
        decrypted,
        sealed,
        own,
        unknown,
        rivals,
        unlisted,
        garbled,
    } = affiliates;
    let limit = limits::AFFILIATES;
    at_most("affiliates.sealed", sealed.len(), limit)?;
    at_most("affiliates.unknown", unknown.len(), limit)?;
    at_most("affiliates.rivals", rivals.len(), limit)?;
    at_most("affiliates.unlisted", unlisted.len(), limit)?;
    Ok(Affiliates {
        at: Moment::from_millis(at_ms),
        count,
        most_endpoints,
        garbled,
        digest: digest.to_be_bytes(),
        decrypted,
        sealed: each(sealed, |id| short_text("affiliates.sealed", id))?,
        own,
        unknown: each(unknown, affiliate_from_wire)?,
        rivals: each(rivals, rivals_from_wire)?,
        unlisted: each(unlisted, |key| key_from_wire("affiliates.unlisted", &key))?,
    })
}

fn affiliate_to_wire(affiliate: &Affiliate) -> wire::Affiliate {
    let Affiliate {
        name,
        key,
        since,
        endpoints,
    } = affiliate;
    wire::Affiliate {
        name: name.clone(),
        public_key: key.as_bytes().to_vec(),
        since_ms: since.as_millis(),
        endpoints: endpoints.iter().map(socket_to_wire).collect(),
    }
}

fn affiliate_from_wire(affiliate: wire::Affiliate) -> Result<Affiliate, ConvertError> {
    let wire::Affiliate {
        name,
        public_key,
        since_ms,
        endpoints,
    } = affiliate;
    let limit = limits::AFFILIATE_ENDPOINTS;
    at_most("affiliate.endpoints", endpoints.len(), limit)?;
    let endpoint = |endpoint| socket_from_wire("affiliate.endpoints", &endpoint);
    Ok(Affiliate {
        name: short_text("affiliate.name", name)?,
        key: key_from_wire("affiliate.public_key", &public_key)?,
        since: Moment::from_millis(since_ms),
        endpoints: each(endpoints, endpoint)?,
    })
}

fn rivals_to_wire(rivals: &Rivals) -> wire::Rivals {
    let Rivals {
        address,
        one,
        other,
    } = rivals;
    wire::Rivals {
        address: ip_to_wire(*address),
        one: Some(affiliate_to_wire(one)),
        other: Some(affiliate_to_wire(other)),
    }
}

fn rivals_from_wire(rivals: wire::Rivals) -> Result<Rivals, ConvertError> {
    let wire::Rivals {
        address,
        one,
        other,
    } = rivals;
    let (Some(one), Some(other)) = (one, other) else {
        let expected = "two affiliates";
        return Err(ConvertError::new("affiliates.rivals", expected));
    };
    Ok(Rivals {
        address: ip_from_wire("affiliates.rivals", &address)?,
        one: affiliate_from_wire(one)?,
        other: affiliate_from_wire(other)?,
    })
}
