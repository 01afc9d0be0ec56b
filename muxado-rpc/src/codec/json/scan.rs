//! Envelopes as they are written here, found without a parser.
//!
//! Of values only the strings and brackets are looked at: they are parsed where their types are known.
//! Whatever looks otherwise is `None`, and is for the parser to judge.

use std::str;

use super::is_plain;

/// Reads from the front. Never allocates, never recurses.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(crate) const fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    /// Passes over exactly these bytes.
    pub(crate) fn skip(&mut self, expected: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(expected)?;
        Some(())
    }

    /// A string that needs no escapes, without its quotes.
    pub(crate) fn plain_string(&mut self) -> Option<&'a str> {
        self.skip(b"\"")?;
        let len = self.rest.iter().position(|&byte| !is_plain(byte))?;
        let text = str::from_utf8(self.take(len)).ok()?;
        self.skip(b"\"")?;
        Some(text)
    }

    /// A number of the digits 0 to 9.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        let len = self.rest.iter().position(|byte| !byte.is_ascii_digit())?;
        match self.take(len) {
            [b'0', _, ..] | [] => None,
            digits => digits.iter().try_fold(0_u64, |number, digit| {
                number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
            }),
        }
    }

    /// The bytes of the value that begins here. If it is one, this is all of it.
    pub(crate) fn value(&mut self) -> Option<&'a [u8]> {
        let len = match self.rest.first()? {
            b'"' => string_len(self.rest)?,
            b'{' | b'[' => brackets_len(self.rest)?,
            _ => self.rest.iter().position(|&byte| !is_of_scalar(byte)).filter(|&len| len > 0)?,
        };
        Some(self.take(len))
    }

    /// The end of the message: of its one map, with its line feed or without.
    pub(crate) fn end(&self) -> Option<()> {
        matches!(self.rest, b"}" | b"}\n").then_some(())
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }
}

/// Bytes of the string that begins here, with its quotes.
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Bytes of the map or array that begins here.
fn brackets_len(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match text.get(at)? {
            b'"' => {
                at += string_len(&text[at..])?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// Whether a byte may be of a number, a boolean or null.
fn is_of_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Option<&str> {
        Scanner::new(text.as_bytes()).value().map(|value| str::from_utf8(value).unwrap())
    }

    #[test]
    fn values_end_where_they_end() {
        for text in [
            "0",
            "-1.5e+3",
            "true",
            "null",
            r#""""#,
            r#""a}]\"\\""#,
            r#""\\\"\u0022""#,
            "{}",
            "[]",
            r#"{"a":[1,{"b":"]}\""},[]],"c":""}"#,
            "[[[[]]],{}]",
            "{ \"a\" : [ 1 , 2 ] }",
            "\"\u{fc}\u{1F600}\"",
        ] {
            serde_json::from_str::<serde_json::Value>(text).unwrap();
            for rest in ["}", "]", ",\"x\":1}", " }", "}\n"] {
                assert_eq!(value(&format!("{text}{rest}")), Some(text), "{rest:?}");
            }
        }
    }

    #[test]
    fn what_does_not_end_is_no_value() {
        for text in
            ["", "1", "null", "\"", "\"a", "\"\\\"", "\"\\", "{", "[[]", "{\"a}", "}", "]", ",", " 1,", ":1"]
        {
            assert_eq!(value(text), None, "{text:?}");
        }
    }

    #[test]
    fn strings_and_numbers_are_plain_or_none() {
        let string = |text: &'static str| Scanner::new(text.as_bytes()).plain_string();
        assert_eq!((string(r#""add","#), string(r#""""#)), (Some("add"), Some("")));
        assert_eq!(string("\"\u{fc}\""), Some("\u{fc}"));
        for text in ["add", "\"add", r#""a\n""#, "\"a\nb\"", ""] {
            assert_eq!(string(text), None, "{text:?}");
        }
        assert_eq!(Scanner::new(b"\"\xff\"").plain_string(), None);
        let number = |text: &'static str| Scanner::new(text.as_bytes()).u64();
        assert_eq!((number("0}"), number("120,")), (Some(0), Some(120)));
        assert_eq!(number("18446744073709551615}"), Some(u64::MAX));
        for text in ["18446744073709551616}", "01}", "-1}", "}", "1", ""] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }
}
