//! What is sent, and the check that it came back.

use bytes::Bytes;

use crate::Result;

/// Messages up to this many bytes are compared byte by byte. Of larger ones the length and the ends
/// of each piece are: reading them once more would be a good part of a fast peer's time.
const COMPARED_WHOLE: usize = 64 * 1024;

/// Bytes at either end of a piece that are compared.
const EDGE: usize = 16;

/// After so many bytes a message repeats itself: a prime, so that pieces of the usual sizes differ.
const PERIOD: usize = 65_521;

/// A text whose bytes depend on their place, so that pieces in the wrong order are noticed.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    text: String,
    bytes: Bytes,
}

impl Message {
    /// A message of `size` printable bytes, always the same.
    pub(crate) fn new(size: usize) -> Self {
        let mut state = 0x9e37_79b9_u32;
        let next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            char::from(b'a' + u8::try_from(state % 26).unwrap_or(0))
        };
        let mut text: String = std::iter::repeat_with(next).take(size.min(PERIOD)).collect();
        text = text.repeat(size.div_ceil(PERIOD));
        text.truncate(size);
        Self { bytes: Bytes::from(text.clone()), text }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// For peers that take text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// For peers that take bytes.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Whether the answer is the message.
    pub(crate) fn check(&self, answer: &str) -> Result<()> {
        if answer == self.text { Ok(()) } else { Err("the answer is not what was sent".into()) }
    }

    /// Checks an answer that is a number of copies of the message.
    pub(crate) fn copies(&self, count: u32) -> Copies<'_> {
        Copies { message: self, missing: count }
    }

    /// Checks an answer that comes in pieces.
    pub(crate) fn pieces(&self) -> Pieces<'_> {
        Pieces { expected: &self.bytes, received: 0 }
    }
}

/// The copies that are still to come.
#[derive(Debug)]
pub(crate) struct Copies<'a> {
    message: &'a Message,
    missing: u32,
}

impl Copies<'_> {
    /// Takes the next one.
    pub(crate) fn take(&mut self, copy: &str) -> Result<()> {
        self.missing = self.missing.checked_sub(1).ok_or("there are more items than were asked for")?;
        self.message.check(copy)
    }

    /// Whether all have come.
    pub(crate) fn end(&self) -> Result<()> {
        match self.missing {
            0 => Ok(()),
            missing => Err(format!("the stream ended {missing} items early").into()),
        }
    }
}

/// The pieces of an answer, so far.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    expected: &'a [u8],
    received: usize,
}

impl Pieces<'_> {
    /// Bytes that are still to come.
    pub(crate) fn missing(&self) -> usize {
        self.expected.len() - self.received
    }

    /// Takes the next piece.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<()> {
        let place = self.received..self.received + piece.len();
        let Some(expected) = self.expected.get(place) else {
            return Err("the answer is longer than what was sent".into());
        };
        self.received += piece.len();
        let edge = if self.expected.len() <= COMPARED_WHOLE { piece.len() } else { EDGE.min(piece.len()) };
        let rest = piece.len() - edge;
        if piece[..edge] == expected[..edge] && piece[rest..] == expected[rest..] {
            Ok(())
        } else {
            Err("the answer is not what was sent".into())
        }
    }

    /// Whether everything has come.
    pub(crate) fn end(&self) -> Result<()> {
        match self.missing() {
            0 => Ok(()),
            missing => Err(format!("the answer ended {missing} bytes early").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: usize, answer: &[u8], piece: usize) -> Result<()> {
        let message = Message::new(size);
        let mut pieces = message.pieces();
        answer.chunks(piece).try_for_each(|chunk| pieces.take(chunk))?;
        pieces.end()
    }

    #[test]
    fn a_whole_answer_passes_in_any_pieces() {
        for size in [1, 32, COMPARED_WHOLE, 3 * COMPARED_WHOLE] {
            let message = Message::new(size);
            for piece in [1, 7, 4096, size] {
                check(size, message.bytes(), piece).unwrap();
            }
        }
    }

    #[test]
    fn copies_are_compared_and_counted() {
        let message = Message::new(32);
        let mut copies = message.copies(2);
        copies.take(message.text()).unwrap();
        assert!(copies.end().is_err());
        assert!(copies.take("other").is_err());
        copies.end().unwrap();
        assert!(copies.take(message.text()).is_err());
    }

    #[test]
    fn other_answers_fail() {
        let message = Message::new(100);
        let swapped = [&message.bytes()[50..], &message.bytes()[..50]].concat();
        assert!(check(100, &swapped, 50).is_err());
        assert!(check(100, &message.bytes()[..99], 50).is_err());
        assert!(check(99, message.bytes(), 50).is_err());
        assert!(message.check("other").is_err());
    }
}
