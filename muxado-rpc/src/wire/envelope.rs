//! The envelopes of JSON messages, parsed without touching the values inside.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Metadata;

/// `{"method":..,"params":..,"timeout_ms":..,"depth":..,"metadata":..}`, keys in any order, others ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct JsonRequest<'a> {
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(crate) depth: Option<u64>,
    #[serde(default)]
    pub(crate) metadata: Option<Metadata>,
}

/// `{"ok":..}` or `{"err":{..}}`, among items also `{"item":..}` or `{"end":true}`, with `"metadata"`
/// if there is any.
#[derive(Debug, Deserialize)]
pub(crate) struct JsonResponse<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) ok: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(crate) err: Option<JsonError<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(crate) item: Option<&'a RawValue>,
    #[serde(default)]
    pub(crate) end: bool,
    #[serde(default)]
    pub(crate) metadata: Option<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct JsonError<'a> {
    #[serde(borrow)]
    pub(crate) code: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) message: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "present")]
    pub(crate) details: Option<&'a RawValue>,
    pub(crate) app: bool,
    pub(crate) executed: Option<bool>,
}

/// Keeps a `null` that is there apart from a key that is not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json::parse;

    #[test]
    fn keys_come_in_any_order_and_unknown_ones_are_ignored() {
        let text = br#"{"x":{"y":[]},"timeout_ms":5,"params":{"a":1},"method":"a\"dd"}"#;
        let request: JsonRequest<'_> = parse(text).unwrap();
        assert_eq!((&*request.method, request.timeout_ms), ("a\"dd", Some(5)));
        assert_eq!(request.params.map(RawValue::get), Some(r#"{"a":1}"#));
    }

    #[test]
    fn a_null_answer_is_an_answer() {
        let answer: JsonResponse<'_> = parse(br#"{"ok":null}"#).unwrap();
        assert_eq!(answer.ok.map(RawValue::get), Some("null"));
        let answer: JsonResponse<'_> = parse(br#"{"err":{}}"#).unwrap();
        assert!(answer.ok.is_none() && answer.err.is_some());
    }
}
