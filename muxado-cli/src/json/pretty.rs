//! JSON for people: indented, in colours. All tokens stay as they are.

use crate::output::{Style, is_hidden};

/// Writes valid JSON over several lines, in colours or without.
pub(crate) fn pretty(json: &str, color: bool) -> String {
    let mut writer = Writer { out: String::with_capacity(json.len() * 2), color, depth: 0 };
    writer.value(json);
    writer.out
}

/// Writes valid JSON on one line, without spaces between tokens.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for token in Tokens(json) {
        out.push_str(token);
    }
    out
}

/// Writes valid JSON on one line, in colours.
pub(crate) fn colored(json: &str) -> String {
    let mut tokens = Tokens(json).peekable();
    let mut out = String::with_capacity(json.len() * 2);
    while let Some(token) = tokens.next() {
        let style = match token {
            "{" | "}" | "[" | "]" | "," | ":" => Style::Plain,
            _ if tokens.peek() == Some(&":") => Style::Key,
            token => Style::of_token(token),
        };
        out.push_str(&style.paint(token, true));
    }
    out
}

struct Writer {
    out: String,
    color: bool,
    depth: usize,
}

impl Writer {
    fn value(&mut self, json: &str) {
        let mut tokens = Tokens(json).peekable();
        while let Some(token) = tokens.next() {
            let next = tokens.peek().copied();
            match token {
                "{" | "[" => {
                    self.out.push_str(token);
                    self.depth += 1;
                    if !matches!(next, Some("}" | "]")) {
                        self.new_line();
                    }
                }
                "}" | "]" => {
                    self.depth = self.depth.saturating_sub(1);
                    if !self.out.ends_with(['{', '[']) {
                        self.new_line();
                    }
                    self.out.push_str(token);
                }
                "," => {
                    self.out.push_str(token);
                    self.new_line();
                }
                ":" => self.out.push_str(": "),
                token if next == Some(":") => self.styled(Style::Key, token),
                token => self.styled(Style::of_token(token), token),
            }
        }
    }

    fn new_line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    /// Writes a scalar. What would change the terminal, or hide what is written, is escaped.
    fn styled(&mut self, style: Style, token: &str) {
        let visible: String = token
            .chars()
            .map(|char| if is_hidden(char) { format!("\\u{:04x}", u32::from(char)) } else { char.into() })
            .collect();
        self.out.push_str(&style.paint(&visible, self.color));
    }
}

/// The tokens of valid JSON.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches([' ', '\t', '\r', '\n']);
        let first = rest.chars().next()?;
        let length = match first {
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            '"' => 1 + end_of_string(&rest.as_bytes()[1..]),
            _ => {
                let is_end = |char: char| char.is_ascii_whitespace() || "{}[],:\"".contains(char);
                rest.find(is_end).unwrap_or(rest.len())
            }
        };
        let (token, behind) = rest.split_at(length);
        self.0 = behind;
        Some(token)
    }
}

/// Returns how many bytes are left of a string, with the quote at its end.
fn end_of_string(text: &[u8]) -> usize {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stay_as_they_are() {
        let json = r#"{"a":18446744073709551616,"b":[1.0e3,{}],"c":"x\"}","d":[],"e":null}"#;
        let shown = pretty(json, false);
        assert_eq!(
            shown,
            "{\n  \"a\": 18446744073709551616,\n  \"b\": [\n    1.0e3,\n    {}\n  ],\n  \"c\": \"x\\\"}\",\n  \
             \"d\": [],\n  \"e\": null\n}"
        );
        assert_eq!(compact(&shown), json);
    }

    #[test]
    fn what_would_change_the_terminal_is_escaped() {
        assert_eq!(pretty("\"a\u{9b}31mé\u{202e}\"", false), "\"a\\u009b31mé\\u202e\"");
    }

    #[test]
    fn colours_are_there_if_they_are_wanted() {
        assert!(pretty("{\"a\":1}", true).contains("\x1b["));
        assert!(!pretty("{\"a\":1}", false).contains('\x1b'));
    }
}
