//! The values of a call: from the command line, from files, from standard input as they are typed.

use std::{collections::VecDeque, io::IsTerminal, path::PathBuf, str::FromStr};

use tokio::io::{AsyncReadExt, Stdin};

use crate::{
    exit::Failure,
    json::split::{Piece, Splitter},
};

/// Where values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Text(String),
    File(PathBuf),
    StandardInput,
}

impl FromStr for Data {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.strip_prefix('@') {
            Some("" | "-") => Self::StandardInput,
            Some(path) => Self::File(path.into()),
            None => Self::Text(text.to_owned()),
        })
    }
}

/// JSON values, one after the other.
#[derive(Debug)]
pub(crate) struct Values {
    /// Those that were not begun.
    left: VecDeque<Data>,
    current: Option<Reading>,
}

/// A source that is being read.
#[derive(Debug)]
struct Reading {
    name: String,
    splitter: Splitter,
    stdin: Option<Stdin>,
    is_terminal: bool,
}

/// A value, and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) json: String,
    /// For errors, such as `line 3 of standard input`.
    pub(crate) place: String,
    /// Whether a person types the values, who can correct them.
    pub(crate) is_typed: bool,
}

impl Values {
    pub(crate) fn new(sources: impl IntoIterator<Item = Data>) -> Self {
        Self { left: sources.into_iter().collect(), current: None }
    }

    /// Returns the next value; `None` at the end of all sources.
    pub(crate) async fn next(&mut self) -> Result<Option<Given>, Failure> {
        loop {
            if self.current.is_none() {
                let Some(data) = self.left.pop_front() else { return Ok(None) };
                self.current = Some(Reading::open(data)?);
            }
            let Some(reading) = &mut self.current else { return Ok(None) };
            match reading.next().await? {
                Some(given) => return Ok(Some(given)),
                None => self.current = None,
            }
        }
    }

    /// Forgets the rest of the line that is being typed.
    pub(crate) fn skip_line(&mut self) {
        if let Some(reading) = &mut self.current {
            reading.splitter.skip_line();
        }
    }

    /// Returns all values.
    pub(crate) async fn all(&mut self) -> Result<Vec<Given>, Failure> {
        let mut all = Vec::new();
        while let Some(given) = self.next().await? {
            all.push(given);
        }
        Ok(all)
    }
}

impl Reading {
    fn open(data: Data) -> Result<Self, Failure> {
        let mut splitter = Splitter::new();
        let (name, stdin) = match data {
            Data::Text(text) => {
                splitter.push(text.as_bytes());
                ("-d".to_owned(), None)
            }
            Data::File(path) => {
                let name = path.display().to_string();
                let bytes =
                    std::fs::read(&path).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
                splitter.push(&bytes);
                (name, None)
            }
            Data::StandardInput => ("standard input".to_owned(), Some(tokio::io::stdin())),
        };
        let is_terminal = stdin.is_some() && std::io::stdin().is_terminal();
        Ok(Self { name, splitter, stdin, is_terminal })
    }

    async fn next(&mut self) -> Result<Option<Given>, Failure> {
        loop {
            if let Some(piece) = self.splitter.next() {
                return self.given(piece).map(Some);
            }
            let Some(stdin) = &mut self.stdin else {
                let last = self.splitter.finish();
                return last.map(|piece| self.given(piece)).transpose();
            };
            let mut buffer = [0; 16 * 1024];
            let read = stdin.read(&mut buffer).await;
            let read = read.map_err(|error| Failure::other(format!("{}: {error}", self.name)))?;
            self.splitter.push(&buffer[..read]);
            if read == 0 {
                self.stdin = None;
            }
        }
    }

    fn given(&self, piece: Piece) -> Result<Given, Failure> {
        let place = match &*self.name {
            "-d" => "the value of -d".to_owned(),
            name => format!("the value in line {} of {name}", piece.line),
        };
        if !piece.is_utf8 {
            return Err(Failure::usage(format!("{place} is not UTF-8")));
        }
        Ok(Given { json: piece.text, place, is_typed: self.is_terminal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_come_from_several_sources_in_their_order() {
        let path = std::env::temp_dir().join(format!("muxado-input-{}.json", std::process::id()));
        std::fs::write(&path, "{}\n[1]").unwrap();
        let mut values = Values::new([Data::Text("1 2".to_owned()), Data::File(path.clone())]);
        let all = values.all().await.unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(all.iter().map(|given| &*given.json).collect::<Vec<_>>(), ["1", "2", "{}", "[1]"]);
        assert_eq!(all[0].place, "the value of -d");
        assert_eq!(all[3].place, format!("the value in line 2 of {}", path.display()));
    }

    #[test]
    fn an_at_sign_names_a_file_or_standard_input() {
        assert_eq!("@".parse(), Ok(Data::StandardInput));
        assert_eq!("@-".parse(), Ok(Data::StandardInput));
        assert_eq!("@a.json".parse(), Ok(Data::File("a.json".into())));
        assert_eq!("\"@\"".parse(), Ok(Data::Text("\"@\"".to_owned())));
    }
}
