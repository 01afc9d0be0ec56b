//! Bytes as text: base64 with padding (RFC 4648, section 4), as in Go's `encoding/json` and in JSON of Protobuf.

use std::ops::Range;

use data_encoding::BASE64;

/// Appends the text of bytes.
pub(super) fn push(buf: &mut Vec<u8>, bytes: &[u8]) {
    let start = buf.len();
    buf.resize(start + BASE64.encode_len(bytes.len()), 0);
    BASE64.encode_mut(bytes, &mut buf[start..]);
}

/// Appends the text of bytes that are in the buffer themselves.
pub(super) fn push_part(buf: &mut Vec<u8>, part: Range<usize>) {
    let start = buf.len();
    buf.resize(start + BASE64.encode_len(part.len()), 0);
    let (bytes, text) = buf.split_at_mut(start);
    BASE64.encode_mut(&bytes[part], text);
}

/// The text of bytes.
pub(super) fn text(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The bytes that a text stands for; `None` if it stands for none.
pub(super) fn bytes(text: &str) -> Option<Decoded> {
    // Padding is for the end only; the crate takes several texts in one.
    let is_one = memchr::memchr(b'=', text.as_bytes()).is_none_or(|at| at + 2 >= text.len());
    if !is_one {
        return None;
    }
    if text.len() > SHORT / 3 * 4 {
        return BASE64.decode(text.as_bytes()).ok().map(Decoded::Long);
    }
    let mut bytes = [0; SHORT];
    let len = BASE64.decode_len(text.len()).ok()?;
    let len = BASE64.decode_mut(text.as_bytes(), &mut bytes[..len]).ok()?;
    Some(Decoded::Short(bytes, len))
}

/// Bytes of the longest value for which nothing is allocated: keys, hashes, addresses.
const SHORT: usize = 96;

/// The bytes of a text.
pub(super) enum Decoded {
    Short([u8; SHORT], usize),
    Long(Vec<u8>),
}

impl AsRef<[u8]> for Decoded {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Short(bytes, len) => &bytes[..*len],
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<Decoded> for Vec<u8> {
    fn from(decoded: Decoded) -> Self {
        match decoded {
            Decoded::Long(bytes) => bytes,
            short @ Decoded::Short(..) => short.as_ref().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_standard() {
        // RFC 4648, section 10.
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(text(plain.as_bytes()), coded);
            assert_eq!(bytes(coded).map(Vec::from).as_deref(), Some(plain.as_bytes()));
            let mut buf = [b"> ", plain.as_bytes()].concat();
            push_part(&mut buf, 2..2 + plain.len());
            assert_eq!(buf, format!("> {plain}{coded}").as_bytes());
        }
    }

    #[test]
    fn other_texts_stand_for_nothing() {
        for text in ["Zg", "Zg=", "Z", "Zh==", "Zm9v\n", " Zm9v", "Zm-_", "Zg==Zg=="] {
            assert!(bytes(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn bytes_of_any_number_come_back() {
        let long: Vec<u8> = (0..=255).collect();
        for len in [0, 1, SHORT - 1, SHORT, SHORT + 1, 255] {
            let coded = text(&long[..len]);
            assert_eq!(bytes(&coded).map(Vec::from).as_deref(), Some(&long[..len]), "{len}");
            assert!(len == 0 || bytes(&coded[1..]).is_none(), "{len}");
        }
    }
}
