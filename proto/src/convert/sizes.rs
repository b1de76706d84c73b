//! The facts about sizes.

use std::collections::BTreeSet;

use evidence::{Bracket, Fact, Layer, Moment, PublicKey, Sizes, TooBig};

use super::{ConvertError, at_most, ip_from_wire, ip_to_wire, key_from_wire, known, unless_later};
use crate::wire;

const LAYERS: &str = "one of the known layers";

pub(super) fn to_wire(key: &PublicKey, layers: &[Sizes]) -> wire::Sizes {
    wire::Sizes {
        public_key: key.as_bytes().to_vec(),
        layers: layers.iter().map(layer_sizes_to_wire).collect(),
    }
}

pub(super) fn from_wire(sizes: &wire::Sizes) -> Result<Fact, ConvertError> {
    let wire::Sizes { public_key, layers } = sizes;
    // A layer that a later version looks at says nothing of ours, and takes none of their places.
    let layers: Vec<Sizes> = layers
        .iter()
        .filter_map(|layer| unless_later(layer_sizes_from_wire(layer)).transpose())
        .collect::<Result<_, _>>()?;
    at_most("sizes.layers", layers.len(), Layer::ALL.len())?;
    let distinct: BTreeSet<Layer> = layers.iter().map(|sizes| sizes.layer).collect();
    if distinct.len() < layers.len() {
        return Err(ConvertError::new("sizes.layers", "each layer once"));
    }
    Ok(Fact::Sizes(
        key_from_wire("sizes.public_key", public_key)?,
        layers,
    ))
}

fn layer_sizes_to_wire(sizes: &Sizes) -> wire::LayerSizes {
    let Sizes {
        layer,
        to,
        full,
        full_arrived,
        seen_arriving,
        lost,
        lost_since,
        mended,
        bracket,
        too_big,
        in_fragments,
    } = *sizes;
    wire::LayerSizes {
        layer: layer_to_wire(layer).into(),
        to: ip_to_wire(to),
        full: full.into(),
        full_arrived_ms: full_arrived.map(Moment::as_millis),
        seen_arriving_ms: seen_arriving.map(Moment::as_millis),
        lost,
        lost_since_ms: lost_since.map(Moment::as_millis),
        mended_ms: mended.map(Moment::as_millis),
        bracket: bracket.map(|bracket| wire::Bracket {
            at_ms: bracket.at.as_millis(),
            passed: bracket.passed.map(u32::from),
            failed: bracket.failed.into(),
        }),
        too_big: too_big.map(|word| wire::TooBig {
            at_ms: word.at.as_millis(),
            reporter: word.reporter.map_or_else(Vec::new, ip_to_wire),
            mtu: word.mtu,
        }),
        in_fragments_ms: in_fragments.map(Moment::as_millis),
    }
}

fn layer_sizes_from_wire(sizes: &wire::LayerSizes) -> Result<Sizes, ConvertError> {
    let wire::LayerSizes {
        layer: _,
        to,
        full,
        full_arrived_ms,
        seen_arriving_ms,
        lost,
        lost_since_ms,
        mended_ms,
        bracket,
        too_big,
        in_fragments_ms,
    } = sizes;
    Ok(Sizes {
        layer: layer_from_wire(known("sizes.layer", LAYERS, sizes.layer)?)?,
        to: ip_from_wire("sizes.to", to)?,
        full: size("sizes.full", *full)?,
        full_arrived: full_arrived_ms.map(Moment::from_millis),
        seen_arriving: seen_arriving_ms.map(Moment::from_millis),
        lost: *lost,
        lost_since: lost_since_ms.map(Moment::from_millis),
        mended: mended_ms.map(Moment::from_millis),
        bracket: bracket.as_ref().map(bracket_from_wire).transpose()?,
        too_big: too_big.as_ref().map(too_big_from_wire).transpose()?,
        in_fragments: in_fragments_ms.map(Moment::from_millis),
    })
}

fn bracket_from_wire(bracket: &wire::Bracket) -> Result<Bracket, ConvertError> {
    let wire::Bracket {
        at_ms,
        passed,
        failed,
    } = *bracket;
    Ok(Bracket {
        at: Moment::from_millis(at_ms),
        passed: passed
            .map(|passed| size("sizes.bracket.passed", passed))
            .transpose()?,
        failed: size("sizes.bracket.failed", failed)?,
    })
}

fn too_big_from_wire(word: &wire::TooBig) -> Result<TooBig, ConvertError> {
    let wire::TooBig {
        at_ms,
        reporter,
        mtu,
    } = word;
    let reporter = match reporter.as_slice() {
        [] => None,
        bytes => Some(ip_from_wire("sizes.too_big.reporter", bytes)?),
    };
    Ok(TooBig {
        at: Moment::from_millis(*at_ms),
        reporter,
        mtu: *mtu,
    })
}

fn size(field: &'static str, size: u32) -> Result<u16, ConvertError> {
    u16::try_from(size).map_err(|_| ConvertError::new(field, "a size of 16 bits"))
}

const fn layer_to_wire(layer: Layer) -> wire::Layer {
    match layer {
        Layer::Underlay => wire::Layer::Underlay,
        Layer::Tunnel => wire::Layer::Tunnel,
        Layer::Overlay => wire::Layer::Overlay,
    }
}

fn layer_from_wire(layer: wire::Layer) -> Result<Layer, ConvertError> {
    match layer {
        wire::Layer::Unspecified => Err(ConvertError::new("sizes.layer", LAYERS)),
        wire::Layer::Underlay => Ok(Layer::Underlay),
        wire::Layer::Tunnel => Ok(Layer::Tunnel),
        wire::Layer::Overlay => Ok(Layer::Overlay),
    }
}
