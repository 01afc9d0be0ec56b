//! One JSON value after the other, out of a text that comes in pieces.

/// Finds where values end in a text that is still coming, such as what a person types. Each value is found with its last
/// byte, a number with the byte behind it.
///
/// It knows brackets and strings only: whether a value is valid JSON is for its reader to say.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    buffer: Vec<u8>,
    /// How much of the buffer was handed on: it is cut off with the next piece, and not with each value.
    taken: usize,
    /// How much of the buffer was looked at.
    seen: usize,
    /// Where the value begins that is being looked at.
    start: Option<usize>,
    depth: usize,
    state: State,
    /// The number of the line that `seen` is on, counted from 1.
    line: usize,
    start_line: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Between,
    /// In an array or an object.
    Inside,
    /// In a string, of that depth; behind a backslash.
    Text { escaped: bool },
    /// In a number or a word at the outermost level.
    Word,
}

/// A value, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Where it begins.
    pub(crate) line: usize,
    /// Whether it is text at all; else what is no text was replaced.
    pub(crate) is_utf8: bool,
}

impl Splitter {
    pub(crate) fn new() -> Self {
        Self { line: 1, ..Self::default() }
    }

    /// Adds what has come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.seen -= self.taken;
        self.start = self.start.map(|start| start - self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns the next value that has come whole.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            if self.state == State::Word && (byte.is_ascii_whitespace() || b"{}[]\",:".contains(&byte)) {
                return Some(self.take(self.seen));
            }
            self.seen += 1;
            let is_over = self.step(byte);
            if byte == b'\n' {
                self.line += 1;
            }
            if is_over {
                return Some(self.take(self.seen));
            }
        }
        None
    }

    /// Says that nothing else comes. Returns the value that ends there, which need not be whole.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        self.next().or_else(|| self.start.is_some().then(|| self.take(self.buffer.len())))
    }

    /// Forgets what is left of the line that is being looked at, and whatever has begun on it.
    pub(crate) fn skip_line(&mut self) {
        let rest = &self.buffer[self.seen..];
        let skipped = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        self.seen += skipped;
        self.taken = self.seen;
        (self.start, self.depth, self.state) = (None, 0, State::Between);
    }

    /// Looks at a byte. Returns whether a value ends with it.
    fn step(&mut self, byte: u8) -> bool {
        match self.state {
            State::Text { escaped: true } => self.state = State::Text { escaped: false },
            State::Text { .. } if byte == b'\\' => self.state = State::Text { escaped: true },
            State::Text { .. } if byte == b'"' => {
                self.state = State::Inside;
                return self.depth == 0;
            }
            State::Text { .. } | State::Word => {}
            State::Between if byte.is_ascii_whitespace() => {}
            State::Between | State::Inside => {
                if self.start.is_none() {
                    (self.start, self.start_line) = (Some(self.seen - 1), self.line);
                }
                return self.begin(byte);
            }
        }
        false
    }

    /// Looks at a byte that is in no string.
    fn begin(&mut self, byte: u8) -> bool {
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.state = State::Inside;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.state = State::Inside;
                return self.depth == 0;
            }
            b'"' => self.state = State::Text { escaped: false },
            b',' | b':' if self.depth == 0 => return true,
            _ if self.depth == 0 => self.state = State::Word,
            _ => {}
        }
        false
    }

    /// Takes the value that ends there.
    fn take(&mut self, end: usize) -> Piece {
        let start = self.start.take().unwrap_or(end);
        let bytes = self.buffer[start..end].to_vec();
        (self.taken, self.seen, self.depth, self.state) = (end, end, 0, State::Between);
        let (text, is_utf8) = match String::from_utf8(bytes) {
            Ok(text) => (text, true),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
        };
        Piece { text, line: self.start_line, is_utf8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str]) -> Vec<(String, usize)> {
        let (mut splitter, mut found) = (Splitter::new(), Vec::new());
        for piece in pieces {
            splitter.push(piece.as_bytes());
            while let Some(piece) = splitter.next() {
                found.push((piece.text, piece.line));
            }
        }
        found.extend(splitter.finish().map(|piece| (piece.text, piece.line)));
        found
    }

    fn texts(text: &str) -> Vec<String> {
        split(&[text]).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn values_end_where_json_says_so() {
        assert_eq!(
            texts(r#"{"a":"}"}[1,[2]] "x\"]" 12 true null"#),
            [r#"{"a":"}"}"#, "[1,[2]]", r#""x\"]""#, "12", "true", "null"]
        );
        assert_eq!(texts("1 2\n3{}\"a\"4"), ["1", "2", "3", "{}", "\"a\"", "4"]);
        assert_eq!(texts("  \n "), [""; 0]);
    }

    #[test]
    fn a_value_is_found_with_its_last_byte_however_it_comes() {
        let mut splitter = Splitter::new();
        for byte in br#"{"a": [1, "\\"]"# {
            splitter.push(&[*byte]);
            assert_eq!(splitter.next(), None);
        }
        splitter.push(b"}");
        assert_eq!(splitter.next().unwrap().text, r#"{"a": [1, "\\"]}"#);
        splitter.push(b"12");
        assert_eq!(splitter.next(), None);
        splitter.push(b"3\n");
        assert_eq!(splitter.next().unwrap().text, "123");
    }

    #[test]
    fn many_values_are_split_in_one_pass() {
        let mut splitter = Splitter::new();
        splitter.push("[1] ".repeat(1_000_000).as_bytes());
        let mut count = 0;
        while splitter.next().is_some() {
            count += 1;
        }
        splitter.push(b"2 ");
        assert_eq!((count, splitter.next().unwrap().text.as_str()), (1_000_000, "2"));
    }

    #[test]
    fn lines_are_counted() {
        let found = split(&["1\n\n{\n", "}\n 2", ""]);
        assert_eq!(found, [("1".to_owned(), 1), ("{\n}".to_owned(), 3), ("2".to_owned(), 5)]);
    }

    #[test]
    fn what_is_wrong_or_not_whole_is_handed_on() {
        assert_eq!(texts("{\"a\":"), ["{\"a\":"]);
        let mut splitter = Splitter::new();
        splitter.push(b"\"\xff\"");
        assert!(!splitter.next().unwrap().is_utf8);
        assert_eq!(texts("1, 2]"), ["1", ",", "2", "]"]);
        let mut splitter = Splitter::new();
        splitter.push(b"oops here\n1\n");
        assert_eq!(splitter.next().unwrap().text, "oops");
        splitter.skip_line();
        assert_eq!(splitter.next().unwrap().text, "1");
    }
}
