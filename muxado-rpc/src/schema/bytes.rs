//! Bytes in schemas. Types describe them as arrays of numbers; our JSON codec writes them as base64.

use serde_json::{Map, Value, json};

/// Rewrites, in a schema and all that are in it, those of bytes.
pub(super) fn describe_bytes(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    each_subschema(members, describe_bytes);
    if is_bytes(members) {
        add_text(members);
    }
}

/// Calls a function with each schema that is a part of another.
fn each_subschema(members: &mut Map<String, Value>, mut call: impl FnMut(&mut Value)) {
    for (key, member) in members {
        match (key.as_str(), member) {
            ("properties" | "patternProperties" | "definitions", Value::Object(schemas)) => {
                schemas.values_mut().for_each(&mut call);
            }
            // In draft 7 a tuple has a list of items.
            ("allOf" | "anyOf" | "oneOf" | "items" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(&mut call);
            }
            (
                "items"
                | "additionalItems"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "unevaluatedItems"
                | "propertyNames"
                | "contains"
                | "not"
                | "if"
                | "then"
                | "else",
                schema,
            ) => call(schema),
            _ => {}
        }
    }
}

/// Whether it is an array of `u8`, which lies in memory as bytes do. A set does not.
fn is_bytes(members: &Map<String, Value>) -> bool {
    let is_array = match members.get("type") {
        Some(Value::String(name)) => name == "array",
        Some(Value::Array(names)) => names.iter().any(|name| name == "array"),
        _ => false,
    };
    let Some(Value::Object(items)) = members.get("items") else { return false };
    let number = |key: &str| items.get(key).and_then(Value::as_u64);
    let format = items.get("format").and_then(Value::as_str);
    // A `CString` has numbers from 1 on, without a format.
    let is_byte = matches!((format, number("minimum")), (Some("uint8"), Some(0)) | (None, Some(1)));
    is_array
        && is_byte
        && items.get("type").is_some_and(|name| name == "integer")
        && number("maximum") == Some(255)
        && !members.contains_key("uniqueItems")
}

fn add_text(members: &mut Map<String, Value>) {
    let null =
        matches!(members.get("type"), Some(Value::Array(names)) if names.iter().any(|name| name == "null"));
    let mut types = vec!["string", "array"];
    types.extend(null.then_some("null"));
    members.insert("type".to_owned(), json!(types));
    members.insert("contentEncoding".to_owned(), "base64".into());
    members.insert("pattern".to_owned(), PATTERN.into());
    for (of_array, of_text) in [("minItems", "minLength"), ("maxItems", "maxLength")] {
        if let Some(count) = members.get(of_array).and_then(Value::as_u64) {
            members.insert(of_text.to_owned(), (count.div_ceil(3) * 4).into());
        }
    }
}

/// Base64 with padding.
const PATTERN: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeSet, VecDeque},
        num::NonZeroU8,
    };

    use bytes::Bytes;
    use schemars::{JsonSchema, schema_for};

    use super::*;

    fn described<T: JsonSchema>() -> Value {
        let mut schema = schema_for!(T).to_value();
        describe_bytes(&mut schema);
        schema
    }

    #[test]
    fn bytes_are_base64_or_an_array() {
        for schema in [described::<Vec<u8>>(), described::<Bytes>(), described::<VecDeque<u8>>()] {
            assert_eq!(schema["type"], json!(["string", "array"]), "{schema}");
            assert_eq!(schema["contentEncoding"], "base64");
        }
        assert_eq!(described::<Option<Vec<u8>>>()["type"], json!(["string", "array", "null"]));
        let four = described::<[u8; 4]>();
        assert_eq!((&four["minLength"], &four["maxLength"]), (&json!(8), &json!(8)));
        let map = described::<std::collections::BTreeMap<String, Vec<u8>>>();
        assert_eq!(map["additionalProperties"]["contentEncoding"], "base64");
    }

    #[test]
    fn other_arrays_of_small_numbers_stay_arrays() {
        let sets = described::<BTreeSet<u8>>();
        for schema in [described::<Vec<i8>>(), described::<Vec<NonZeroU8>>(), described::<(u8, u8)>(), sets] {
            assert_eq!(schema["type"], "array", "{schema}");
        }
    }
}
