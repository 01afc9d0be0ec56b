//! JSON: parsing within bounds, and appending strings and numbers.

mod scan;

use serde::Deserialize;

pub(crate) use self::scan::Scanner;
use super::{Append, CodecError, bounded, error::Unsound};

/// Decodes the value that `text` holds exactly, and says why it cannot be decoded.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, CodecError> {
    parse_sound(text).map_or_else(|| parse_shown(text), Ok)
}

/// Decodes the value that `text` holds exactly; `None` if it does not, or why ever it cannot be decoded.
pub(crate) fn parse_sound<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    let mut decoder = serde_json::Deserializer::from_slice(text);
    let value = bounded::decode::<bounded::Text<Unsound>, _, _>(&mut decoder, text.len()).ok()?;
    decoder.end().ok()?;
    Some(value)
}

/// Decodes what is no sound value of this type, as a rule, and says why.
#[cold]
fn parse_shown<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, CodecError> {
    let mut decoder = serde_json::Deserializer::from_slice(text);
    let value = bounded::decode::<bounded::Text<CodecError>, _, _>(&mut decoder, text.len())?;
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
