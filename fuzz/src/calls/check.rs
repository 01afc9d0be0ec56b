//! What must hold of answers and errors, whatever led to them.

use muxado_rpc::{CallError, Codec, Origin, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::service::{Expr, Node};

/// Bytes of the longest text that this implementation says of a peer's fault.
const MOST_TEXT: usize = 1024;

/// Bytes of the longest text of a status that is taken from a peer (`PROTOCOL §10.8`).
const MOST_MESSAGE: usize = 4096;

/// Whose words an answer's errors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    Ours,
    /// The caller's own may be among them, as data.
    Anybodys,
}

/// Checks that these bytes are a whole answer in this codec: messages, the last of which is an end.
pub(super) fn check_answer(codec: Codec, bytes: &[u8], words: Words) {
    let messages = if codec == Codec::Json { json_messages(bytes) } else { packed_messages(bytes) };
    let messages = messages.unwrap_or_else(|| panic!("no messages in {codec}: {}", bytes.escape_ascii()));
    let (last, before) = messages.split_last().expect("an answer has a message");
    assert!(last.is_end, "no end: {}", bytes.escape_ascii());
    assert!(before.iter().all(|message| !message.is_end), "an end before the end: {}", bytes.escape_ascii());
    if let Some(text) = &last.text {
        match words {
            Words::Ours => check_text(text),
            Words::Anybodys => assert!(text.len() <= MOST_MESSAGE, "a text of {} bytes", text.len()),
        }
    }
}

/// What is looked at of a message.
struct Seen {
    is_end: bool,
    text: Option<String>,
}

#[derive(Deserialize)]
struct JsonMessage<'a> {
    #[serde(borrow, default)]
    ok: Option<&'a RawValue>,
    #[serde(default)]
    err: Option<JsonError>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JsonError {
    message: String,
}

fn json_messages(bytes: &[u8]) -> Option<Vec<Seen>> {
    let lines = bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n');
    let parse = |line| {
        let message: JsonMessage<'_> = serde_json::from_slice(line).ok()?;
        // A null stands for nothing here, and is the value of many an end.
        let known = [message.ok.is_some(), message.err.is_some(), message.item.is_some()];
        let is_null = line == b"{\"ok\":null}" || line.starts_with(b"{\"ok\":null,");
        let is_end = known[0] || known[1] || is_null;
        let kinds = usize::from(is_end) + usize::from(known[2] || line == b"{\"item\":null}");
        let is_sound = kinds == 1 || (kinds == 0 && message.metadata.is_some());
        is_sound.then(|| Seen { is_end, text: message.err.map(|err| err.message) })
    };
    lines.map(parse).collect()
}

fn packed_messages(mut bytes: &[u8]) -> Option<Vec<Seen>> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        messages.push(packed_message(body)?);
        bytes = rest;
    }
    Some(messages)
}

fn packed_message(body: &[u8]) -> Option<Seen> {
    let entries = packed_entries(body)?;
    let has = |name: &[u8]| entries.iter().any(|(key, _)| *key == name);
    let ends = usize::from(has(b"ok")) + usize::from(has(b"err"));
    let kinds = ends + usize::from(has(b"item"));
    let is_sound = kinds == 1 || (kinds == 0 && has(b"metadata"));
    let error = entries.iter().find(|(key, _)| *key == b"err").map(|(_, value)| *value);
    let text = match error {
        Some(error) => {
            let entries = packed_entries(error)?;
            let (_, text) = entries.into_iter().find(|(key, _)| *key == b"message")?;
            Some(std::str::from_utf8(packed_text(text)?).ok()?.to_owned())
        }
        None => None,
    };
    is_sound.then_some(Seen { is_end: ends == 1, text })
}

/// The entries of a map whose keys are strings, and nothing behind it.
fn packed_entries(bytes: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (head, mut rest) = bytes.split_first()?;
    let entries = head.checked_sub(0x80).filter(|entries| *entries < 16)?;
    let mut all = Vec::new();
    for _ in 0..entries {
        let key = packed_value(rest)?;
        let (key, behind) = rest.split_at(key);
        let (value, behind) = behind.split_at(packed_value(behind)?);
        all.push((packed_text(key)?, value));
        rest = behind;
    }
    rest.is_empty().then_some(all)
}

fn packed_text(value: &[u8]) -> Option<&[u8]> {
    Some(match value {
        [0xA0..=0xBF, text @ ..] | [0xD9, _, text @ ..] => text,
        [0xDA, _, _, text @ ..] | [0xDB, _, _, _, _, text @ ..] => text,
        _ => return None,
    })
}

/// The length of the value that begins here, however deep it is.
fn packed_value(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut left) = (0, 1_u64);
    while left > 0 {
        let head = *bytes.get(at)?;
        let number = |width: usize| {
            let number = bytes.get(at + 1..at + 1 + width)?;
            Some(number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let (width, data, values) = match head {
            0..=0x7F | 0xC0 | 0xC2 | 0xC3 | 0xE0..=0xFF => (0, 0, 0),
            0x80..=0x8F => (0, 0, 2 * u64::from(head & 15)),
            0x90..=0x9F => (0, 0, u64::from(head & 15)),
            0xA0..=0xBF => (0, u64::from(head & 31), 0),
            0xC1 => return None,
            0xC4..=0xC6 => (1 << (head - 0xC4), number(1 << (head - 0xC4))?, 0),
            0xC7..=0xC9 => (1 << (head - 0xC7), 1 + number(1 << (head - 0xC7))?, 0),
            0xCA | 0xCE | 0xD2 => (0, 4, 0),
            0xCB | 0xCF | 0xD3 => (0, 8, 0),
            0xCC | 0xD0 => (0, 1, 0),
            0xCD | 0xD1 => (0, 2, 0),
            0xD4..=0xD8 => (0, 1 + (1 << (head - 0xD4)), 0),
            0xD9..=0xDB => (1 << (head - 0xD9), number(1 << (head - 0xD9))?, 0),
            0xDC | 0xDD => (2 << (head - 0xDC), 0, number(2 << (head - 0xDC))?),
            0xDE | 0xDF => (2 << (head - 0xDE), 0, 2 * number(2 << (head - 0xDE))?),
        };
        at += 1 + width + usize::try_from(data).ok()?;
        left = left - 1 + values;
    }
    (at <= bytes.len()).then_some(at)
}

/// Checks an error of a call that was made here.
pub(super) fn check_error<E>(error: &CallError<E>) {
    if let Some(status) = error.status() {
        check_status(status);
    }
}

fn check_status(status: &Status) {
    if status.origin() == Origin::Local {
        check_text(status.message());
    }
    let len = status.message().len();
    assert!(len <= MOST_MESSAGE, "a text of {len} bytes is kept");
    for shown in [status.to_string(), format!("{status:?}")] {
        assert!(!has_control(&shown), "control characters are shown: {shown:?}");
    }
    // Whatever they are, they are no danger to whoever reads them.
    let _ = status.details::<serde_json::Value>();
    let _ = status.details::<Expr>();
    let _ = status.details::<Node>();
}

fn check_text(text: &str) {
    assert!(text.len() <= MOST_TEXT, "a text of {} bytes: {:.300}", text.len(), text);
    assert!(!has_control(text), "control characters in a text: {text:?}");
}

pub(super) fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}
