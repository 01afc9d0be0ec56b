//! The service as it is.

use futures_util::stream;
use muxado_rpc::{AppError, Code, Stream};
use serde::{Deserialize, Serialize};

/// Has an author, and room for longer books.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    #[serde(default)]
    pub(crate) author: Option<String>,
    pub(crate) title: String,
    pub(crate) pages: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Novel,
    Poem { lines: u32 },
    Comic { pictures: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shelf {
    Left,
    Right,
}

#[derive(Clone, Debug, PartialEq, AppError, Serialize, Deserialize)]
pub(crate) enum Trouble {
    #[code(NotFound)]
    Missing { title: String },
    #[code(FailedPrecondition)]
    Lent { to: String },
}

#[muxado_rpc::service]
pub(crate) trait Library {
    async fn add(&self, book: Book) -> Book;
    /// A parameter more.
    async fn find(&self, title: String, #[serde(default)] strict: bool) -> String;
    async fn first(&self, #[serde(default)] of: u32) -> String;
    /// A parameter less.
    async fn order(&self, title: String) -> String;
    async fn lend(&self, title: String) -> String;
    /// A parameter of another name, which old callers do not know.
    async fn lend_to(&self, #[serde(alias = "to")] reader: String) -> String;
    /// A wider number.
    async fn weigh(&self, grams: u64) -> u64;
    async fn kind(&self, kind: Kind) -> Kind;
    async fn shelf(&self, shelf: Shelf) -> Shelf;
    async fn fail(&self, late: bool) -> Result<(), Trouble>;
    /// Another name for people, not for the wire.
    #[method(name = "titles")]
    #[deprecated(note = "use `catalogue`")]
    async fn names(&self) -> Vec<String>;
    async fn catalogue(&self) -> Vec<String>;
    /// Streams what was one answer, which is to be a method of another name.
    async fn pages(&self) -> impl Stream<Item = u32>;
    /// Took a stream.
    async fn read(&self) -> u32;
}

pub(crate) struct Shelves;

impl Library for Shelves {
    async fn add(&self, book: Book) -> Book {
        book
    }

    async fn find(&self, title: String, strict: bool) -> String {
        format!("{title} {strict}")
    }

    async fn first(&self, of: u32) -> String {
        format!("first of {of}")
    }

    async fn order(&self, title: String) -> String {
        title
    }

    async fn lend(&self, title: String) -> String {
        title
    }

    async fn lend_to(&self, reader: String) -> String {
        reader
    }

    async fn weigh(&self, grams: u64) -> u64 {
        grams
    }

    async fn kind(&self, kind: Kind) -> Kind {
        match kind {
            Kind::Novel => Kind::Comic { pictures: 7 },
            other => other,
        }
    }

    async fn shelf(&self, _shelf: Shelf) -> Shelf {
        Shelf::Right
    }

    async fn fail(&self, late: bool) -> Result<(), Trouble> {
        Err(if late {
            Trouble::Lent { to: "Ada".to_owned() }
        } else {
            Trouble::Missing { title: "Emma".to_owned() }
        })
    }

    async fn names(&self) -> Vec<String> {
        self.catalogue().await
    }

    async fn catalogue(&self) -> Vec<String> {
        vec!["Emma".to_owned(), "Ulysses".to_owned()]
    }

    async fn pages(&self) -> impl Stream<Item = u32> {
        stream::iter([1, 2])
    }

    async fn read(&self) -> u32 {
        7
    }
}

pub(crate) const LENT: Code = Code::FailedPrecondition;
