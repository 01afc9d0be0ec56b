//! A JSON value with its numbers as they were written, for codecs that have numbers of their own.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::{Error as _, SerializeMap, SerializeSeq},
};
use serde_json::value::RawValue;

/// A value. Bytes are what a schema says is base64.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Self>),
    /// In the order in which it was written.
    Object(Vec<(String, Self)>),
}

/// How deep values may be: as deep as the codecs take them.
const MAX_DEPTH: usize = 127;

impl Tree {
    /// Reads a value.
    pub(crate) fn parse(json: &str) -> Result<Self, serde_json::Error> {
        Self::read(serde_json::from_str(json)?, MAX_DEPTH)
    }

    fn read(raw: &RawValue, depth: usize) -> Result<Self, serde_json::Error> {
        let text = raw.get();
        let Some(deeper) = depth.checked_sub(1) else {
            return Err(serde::de::Error::custom(format!("it is nested more than {MAX_DEPTH} deep")));
        };
        Ok(match text.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't' | b'f') => Self::Bool(serde_json::from_str(text)?),
            Some(b'"') => Self::Text(serde_json::from_str(text)?),
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text)?;
                Self::Array(
                    elements
                        .into_iter()
                        .map(|element| Self::read(element, deeper))
                        .collect::<Result<_, _>>()?,
                )
            }
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text)?;
                let read =
                    |(name, value): (Cow<'_, str>, _)| Ok((name.into_owned(), Self::read(value, deeper)?));
                Self::Object(members.into_iter().map(read).collect::<Result<_, serde_json::Error>>()?)
            }
            _ => Self::Number(text.to_owned()),
        })
    }

    /// Writes the value as compact JSON; bytes are base64.
    pub(crate) fn to_json(&self) -> String {
        let mut json = String::new();
        self.write(&mut json);
        json
    }

    fn write(&self, json: &mut String) {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => json.push_str(digits),
            Self::Text(value) => json.push_str(&text(value)),
            Self::Bytes(bytes) => json.push_str(&text(&data_encoding::BASE64.encode(bytes))),
            Self::Array(elements) => {
                json.push('[');
                for (at, element) in elements.iter().enumerate() {
                    json.push_str(if at == 0 { "" } else { "," });
                    element.write(json);
                }
                json.push(']');
            }
            Self::Object(members) => {
                json.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    json.push_str(if at == 0 { "" } else { "," });
                    json.push_str(&text(name));
                    json.push(':');
                    value.write(json);
                }
                json.push('}');
            }
        }
    }
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(name), value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(digits) => serialize_number(digits, serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(elements) => {
                let mut sequence = serializer.serialize_seq(Some(elements.len()))?;
                for element in elements {
                    sequence.serialize_element(element)?;
                }
                sequence.end()
            }
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Writes a number as the smallest that holds it.
fn serialize_number<S: Serializer>(digits: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if digits.contains(['.', 'e', 'E']) {
        return match digits.parse::<f64>() {
            Ok(number) if number.is_finite() => serializer.serialize_f64(number),
            _ => Err(S::Error::custom(format!("{digits} is too large for a number of 64 bits"))),
        };
    }
    if let Ok(number) = digits.parse() {
        serializer.serialize_u64(number)
    } else if let Ok(number) = digits.parse() {
        serializer.serialize_i64(number)
    } else if let Ok(number) = digits.parse() {
        serializer.serialize_u128(number)
    } else if let Ok(number) = digits.parse() {
        serializer.serialize_i128(number)
    } else {
        Err(S::Error::custom(format!("{digits} is too large for an integer of 128 bits; JSON has no bound")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_orders_are_kept() {
        let json = r#"{"z":[18446744073709551615,-9223372036854775808,1.10,340282366920938463463374607431768211455],"a":{"b":"\n\u0001é"},"n":null,"t":true}"#;
        let tree = Tree::parse(json).unwrap();
        assert_eq!(tree.to_json(), json);
        assert_eq!(Tree::parse(" [ 1 , 2 ] ").unwrap().to_json(), "[1,2]");
        assert_eq!(
            serde_json::to_string(&Tree::parse("[18446744073709551615]").unwrap()).unwrap(),
            "[18446744073709551615]"
        );
    }

    #[test]
    fn what_is_too_deep_is_an_error() {
        let deep = "[".repeat(400) + &"]".repeat(400);
        let error = Tree::parse(&deep).unwrap_err().to_string();
        assert!(error.contains("127"), "{error}");
    }
}
