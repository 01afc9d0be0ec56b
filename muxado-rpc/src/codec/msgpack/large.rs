//! Finds the large string or byte string of a message of which only the beginning is there.

/// Bytes of the smallest string that is kept apart from its message.
pub(crate) const LARGE: usize = 16 * 1024;

/// Values that are looked at before it. A message of many small values is read as a whole.
const MAX_VALUES: usize = 64;

/// Where in a message its large string lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargePlace {
    /// Where its head begins.
    pub(crate) head: usize,
    /// Where its bytes begin.
    pub(crate) content: usize,
    /// How many bytes it has.
    pub(crate) len: usize,
    /// It is text, and not a byte string.
    pub(crate) is_text: bool,
}

/// Finds the string or byte string that is most of a message of `whole` bytes, if it begins within `beginning`.
pub(crate) fn find_large(beginning: &[u8], whole: usize) -> Option<LargePlace> {
    let mut at = 0;
    for _ in 0..MAX_VALUES {
        let rest = beginning.get(at..)?;
        let (head, len, kind) = head(rest)?;
        let content = at + head;
        if kind != Kind::Other && len >= LARGE && len >= whole / 2 {
            let fits = content <= beginning.len() && content + len <= whole;
            return fits.then_some(LargePlace { head: at, content, len, is_text: kind == Kind::Text });
        }
        at = content.checked_add(len)?;
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Bytes,
    Other,
}

/// Returns how many bytes the head has that is in front, how many without a head follow it, and what they are. The
/// elements of arrays and maps have heads of their own.
fn head(bytes: &[u8]) -> Option<(usize, usize, Kind)> {
    let len = |width: usize| {
        let bytes = bytes.get(1..=width)?;
        Some(bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    };
    Some(match *bytes.first()? {
        0x00..=0x9F | 0xC0 | 0xC2 | 0xC3 | 0xE0..=0xFF => (1, 0, Kind::Other),
        head @ 0xA0..=0xBF => (1, usize::from(head & 0x1F), Kind::Text),
        0xD9 => (2, len(1)?, Kind::Text),
        0xDA => (3, len(2)?, Kind::Text),
        0xDB => (5, len(4)?, Kind::Text),
        0xC4 => (2, len(1)?, Kind::Bytes),
        0xC5 => (3, len(2)?, Kind::Bytes),
        0xC6 => (5, len(4)?, Kind::Bytes),
        0xDC | 0xDE => (3, 0, Kind::Other),
        0xDD | 0xDF => (5, 0, Kind::Other),
        0xCC | 0xD0 => (1, 1, Kind::Other),
        0xCD | 0xD1 => (1, 2, Kind::Other),
        0xCA | 0xCE | 0xD2 => (1, 4, Kind::Other),
        0xCB | 0xCF | 0xD3 => (1, 8, Kind::Other),
        // An extension has one more byte, its type.
        0xC7 => (2, len(1)? + 1, Kind::Other),
        0xC8 => (3, len(2)? + 1, Kind::Other),
        0xC9 => (5, len(4)?.checked_add(1)?, Kind::Other),
        head @ 0xD4..=0xD8 => (1, (1 << (head - 0xD4)) + 1, Kind::Other),
        0xC1 => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    fn encoded<T: serde::Serialize>(value: &T) -> Vec<u8> {
        let mut buf = Vec::new();
        Codec::MessagePack.encode_into(value, &mut buf).unwrap();
        buf
    }

    #[test]
    fn the_string_that_is_most_of_a_message_is_found_behind_values_of_any_kind() {
        let text = "x".repeat(LARGE);
        let small = (1, -1, 300, 70_000, 5_000_000_000_u64, -200, -40_000, -3_000_000_000_i64, 1.5_f32);
        let value =
            (small, (2.5, true, None::<u8>, "a", "b".repeat(40), "c".repeat(300), [[0; 3]; 20]), &text);
        let bytes = encoded(&value);
        let place = find_large(&bytes[..bytes.len() - LARGE], bytes.len());
        // Behind the many values of the last array it is not looked for.
        assert_eq!(place, None);
        let value =
            (small, (2.5, true, None::<u8>, "a", "b".repeat(40), "c".repeat(300), [[0; 3]; 2]), &text);
        let bytes = encoded(&value);
        let place = find_large(&bytes[..bytes.len() - LARGE], bytes.len()).unwrap();
        assert_eq!((place.content, place.len, place.is_text), (bytes.len() - LARGE, LARGE, true));
        assert_eq!(bytes[place.head], 0xDA);
    }

    #[test]
    fn byte_strings_are_found_as_such() {
        let bytes = encoded(&(1, serde_bytes_of(70_000), "end"));
        let place = find_large(&bytes[..100], bytes.len()).unwrap();
        assert_eq!((place.len, place.is_text), (70_000, false));
        assert_eq!(bytes[place.head], 0xC6);
    }

    fn serde_bytes_of(len: usize) -> bytes::Bytes {
        vec![7; len].into()
    }

    #[test]
    fn a_small_one_is_not_found_nor_one_that_does_not_fit() {
        for len in [LARGE - 1, 100] {
            let bytes = encoded(&"x".repeat(len));
            assert_eq!(find_large(&bytes[..10], bytes.len()), None);
        }
        let bytes = encoded(&("x".repeat(LARGE), "y".repeat(3 * LARGE)));
        assert_eq!(find_large(&bytes[..10], bytes.len()), None);
        let bytes = encoded(&"x".repeat(LARGE));
        assert_eq!(find_large(&bytes[..10], bytes.len() - 1), None);
        // Nor one of whose head a part is missing.
        assert_eq!(find_large(&bytes[..2], bytes.len()), None);
        assert_eq!(find_large(b"\xc1", 100_000), None);
        assert_eq!(find_large(b"\xc9\xff\xff\xff\xff\0", 100_000), None);
    }
}
