//! The envelope of a JSON message, parsed without touching the values inside.

mod scan;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub(crate) use self::scan::Scanner;
use super::{Append, CodecError, bounded};

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
    pub(crate) metadata: Option<crate::Metadata>,
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
    pub(crate) metadata: Option<crate::Metadata>,
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

/// Decodes the value that `text` holds exactly.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, CodecError> {
    let mut decoder = serde_json::Deserializer::from_slice(text);
    let value = bounded::decode::<bounded::Text, _, _>(&mut decoder, text.len())?;
    decoder.end().map_err(CodecError::new)?;
    Ok(value)
}

/// Appends a JSON string literal.
pub(crate) fn push_string(buf: &mut impl Append, text: &str) {
    if text.bytes().all(is_plain) {
        buf.append(b"\"");
        buf.append(text.as_bytes());
        buf.append(b"\"");
    } else {
        // A string can always be written to memory.
        buf.append(&serde_json::to_vec(text).unwrap_or_default());
    }
}

/// Appends a number.
pub(crate) fn push_u64(buf: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), number);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return buf.extend_from_slice(&digits[at..]);
        }
    }
}

/// Whether a byte of a string stands for itself.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_234_567_890, u64::MAX] {
            let mut buf = Vec::new();
            push_u64(&mut buf, number);
            assert_eq!(buf, number.to_string().as_bytes());
        }
    }

    #[test]
    fn strings_are_escaped() {
        for text in ["add", "a\"b", "a\\b", "a\nb", "ü"] {
            let mut buf = Vec::new();
            push_string(&mut buf, text);
            assert_eq!(serde_json::from_slice::<String>(&buf).unwrap(), text);
        }
    }
}
