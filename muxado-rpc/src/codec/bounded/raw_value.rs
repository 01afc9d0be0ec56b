//! `serde_json`'s raw values from MessagePack: the JSON text of what comes.

use std::iter;

use serde::{
    Deserializer,
    de::{Error, Visitor, value::MapDeserializer},
};

use crate::codec::{
    CodecError,
    encode::{Json, encode},
    kind::RAW_VALUE,
    transcode::Transcode,
};

/// Decodes a raw value, which `serde_json` takes as a map of one entry.
pub(super) fn decode<'de, D, V>(decoder: D, visitor: V) -> Result<V::Value, D::Error>
where
    D: Deserializer<'de>,
    V: Visitor<'de>,
{
    let text = text_of(decoder).map_err(Error::custom)?;
    visitor.visit_map(MapDeserializer::new(iter::once((RAW_VALUE, text))))
}

/// The compact JSON of a value. It is the same for all visitors.
#[inline(never)]
fn text_of<'de, D: Deserializer<'de>>(decoder: D) -> Result<String, CodecError> {
    let mut json = Vec::new();
    encode::<Json, _>(&Transcode::new(decoder), &mut json)?;
    String::from_utf8(json).map_err(CodecError::new)
}
