//! A command line as words, quoted as in a shell, without anything else that a shell does.

/// Splits a line at spaces. Quotes and backslashes keep spaces in a word.
pub(super) fn split(line: &str) -> Result<Vec<String>, &'static str> {
    let (mut words, mut word): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("it ends with a backslash")?),
            '\'' | '"' => quoted(char, &mut chars, word.get_or_insert_default())?,
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Appends what is between two quotes. Within double quotes a backslash stands before a quote or a backslash.
fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    const OPEN: &str = "a quote is not closed";
    loop {
        match chars.next().ok_or(OPEN)? {
            char if char == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next().ok_or(OPEN)? {
                char @ ('"' | '\\') => word.push(char),
                other => word.extend(['\\', other]),
            },
            char => word.push(char),
        }
    }
}

/// Joins words to a line that [`split`] takes apart into the same words.
pub(super) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for word in words {
        if !line.is_empty() {
            line.push(' ');
        }
        if word.is_empty() || word.contains([' ', '\t', '\\', '\'', '"']) {
            line.extend(["'", &word.replace('\'', "'\\''"), "'"]);
        } else {
            line.push_str(word);
        }
    }
    line
}
