//! Texts of a peer's that are quoted.

/// The beginning of a text, at most `max` bytes of it.
pub(crate) fn shortened(text: &str, max: usize) -> &str {
    let end = text.char_indices().map(|(at, char)| at + char.len_utf8()).take_while(|end| *end <= max).last();
    if text.len() <= max { text } else { &text[..end.unwrap_or(0)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (max, beginning) in [(0, ""), (1, ""), (2, "ü"), (3, "üb"), (4, "übe"), (9, "übe")] {
            assert_eq!(shortened("übe", max), beginning, "{max}");
        }
    }
}
