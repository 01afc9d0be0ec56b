//! Texts from elsewhere, as they are shown: short, and without characters that act on a terminal or a log.

use std::fmt::{self, Display, Write};

/// Bytes that are shown of a text which a peer sent, or which quotes what a peer sent.
pub(crate) const MAX_SHOWN: usize = 256;

/// What stands for the rest of a text that was cut.
const REST: &str = "…";

/// Shows at most [`MAX_SHOWN`] bytes of a value, escaped. The rest is never formatted.
pub(crate) struct Brief<T>(pub(crate) T);

impl<T: Display> Display for Brief<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.0, MAX_SHOWN)
    }
}

/// Shows the whole of a value, escaped.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, &self.0, usize::MAX)
    }
}

/// Returns the first `max` bytes of a value's text, escaped, without building the rest of it.
pub(crate) fn brief(value: impl Display, max: usize) -> String {
    let mut text = String::new();
    push_brief(&mut text, value, max);
    text
}

/// Appends the first `max` bytes of a value's text, escaped.
pub(crate) fn push_brief(text: &mut String, value: impl Display, max: usize) {
    // Writing to a string cannot fail; a value that cannot be shown is shown as far as it goes.
    let _ = show(text, &value, max);
}

fn show(out: &mut impl Write, value: &impl Display, max: usize) -> fmt::Result {
    let mut escaping = Escaping { out, left: max.saturating_sub(REST.len()), is_cut: false };
    match write!(escaping, "{value}") {
        Err(_) if escaping.is_cut => escaping.out.write_str(REST),
        written => written,
    }
}

/// Returns as many of the names as fit into `max` bytes, and how many more there are.
pub(crate) fn list(names: impl ExactSizeIterator<Item: AsRef<str>>, max: usize) -> String {
    let mut text = String::new();
    push_list(&mut text, names, max);
    text
}

/// Appends as many of the names as fit into `max` bytes, and how many more there are.
pub(crate) fn push_list(text: &mut String, names: impl ExactSizeIterator<Item: AsRef<str>>, max: usize) {
    let (begin, mut left) = (text.len(), names.len());
    for name in names {
        let is_first = text.len() == begin;
        let (between, name) = (if is_first { "" } else { ", " }, name.as_ref());
        if text.len() - begin + between.len() + name.len() + MAX_MORE > max {
            let and = if is_first { "" } else { " and " };
            let _ = write!(text, "{and}{left} more");
            break;
        }
        text.push_str(between);
        text.push_str(name);
        left -= 1;
    }
}

/// Bytes of the number of names that are left out, with the words around it.
const MAX_MORE: usize = " and 18446744073709551615 more".len();

/// Passes on what may be shown, and fails at the bound, which ends the formatting of what is behind it.
struct Escaping<'a, W> {
    out: &'a mut W,
    left: usize,
    is_cut: bool,
}

impl<W: Write> Escaping<'_, W> {
    fn pass(&mut self, text: &str) -> fmt::Result {
        self.left -= text.len();
        self.out.write_str(text)
    }
}

impl<W: Write> Write for Escaping<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        loop {
            let room = truncate(rest, self.left);
            let plain = room.find(is_active).unwrap_or(room.len());
            self.pass(&room[..plain])?;
            rest = &rest[plain..];
            let Some(next) = rest.chars().next() else { return Ok(()) };
            let escape = next.escape_default();
            if !is_active(next) || escape.len() > self.left {
                self.is_cut = true;
                return Err(fmt::Error);
            }
            self.left -= escape.len();
            write!(self.out, "{escape}")?;
            rest = &rest[next.len_utf8()..];
        }
    }
}

/// Whether a character does something where it is shown: it moves the cursor, begins a line, or changes the order
/// or the visibility of others.
fn is_active(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{AD}'
                | '\u{61C}'
                | '\u{200B}'
                | '\u{200E}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E007F}'
        )
}

/// Returns the beginning of a text, at most `max` bytes of it, cut between characters.
pub(crate) fn truncate(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (max, beginning) in [(0, ""), (1, ""), (2, "ü"), (3, "üb"), (4, "übe"), (9, "übe")] {
            assert_eq!(truncate("übe", max), beginning, "{max}");
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped() {
        let text = "a\u{1b}[31m\r\n\t\u{9b}\u{202e}b\u{2028}\u{7f}";
        assert_eq!(Brief(text).to_string(), "a\\u{1b}[31m\\r\\n\\t\\u{9b}\\u{202e}b\\u{2028}\\u{7f}");
        for text in ["plain \"text\" \\ ü 漢字 🦀", "नमस्ते", "e\u{301}", ""] {
            assert_eq!(Escaped(text).to_string(), text);
        }
    }

    #[test]
    fn a_text_ends_within_its_bound() {
        for piece in ["x", "ü", "漢", "🦀", "\u{1b}", "\n", "ab\u{202e}"] {
            let text = piece.repeat(1000);
            for max in [3, 4, 10, 255, 256, 257] {
                let shown = brief(&text, max);
                assert!(shown.len() <= max && shown.ends_with(REST), "{shown}");
                assert!(shown.len() + 12 > max, "{max} bytes: {shown}");
            }
            assert_eq!(Escaped(&text).to_string().matches('…').count(), 0);
        }
    }

    #[test]
    fn lists_are_cut_between_names_and_say_how_many_there_are() {
        let names = |count: usize| list(vec!["name"; count].into_iter(), 60);
        assert_eq!((&*names(0), &*names(2)), ("", "name, name"));
        assert_eq!(names(100), "name, name, name, name, name and 95 more");
        assert_eq!(list(["x".repeat(100)].into_iter(), 60), "1 more");
        assert!(names(usize::MAX / 1_000_000_000_000).len() <= 60);
    }

    #[test]
    fn what_is_behind_the_bound_is_not_formatted() {
        struct Endless;
        impl Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("again and ")?;
                }
            }
        }
        assert_eq!(Brief(Endless).to_string().len(), MAX_SHOWN);
    }
}
