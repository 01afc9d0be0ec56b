//! The service as it was.

use muxado_rpc::{AppError, Code, Status, Streaming};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Book {
    pub(crate) title: String,
    pub(crate) pages: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Novel,
    Poem { lines: u32 },
}

/// What is not known yet is known to be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shelf {
    Left,
    #[serde(other)]
    Elsewhere,
}

#[derive(Clone, Debug, PartialEq, AppError, Serialize, Deserialize)]
pub(crate) enum Trouble {
    #[code(NotFound)]
    Missing { title: String },
}

#[muxado_rpc::service]
pub(crate) trait Library {
    async fn add(&self, book: Book) -> Book;
    async fn find(&self, title: String) -> String;
    async fn first(&self) -> String;
    async fn order(&self, title: String, #[serde(default)] copies: u32) -> String;
    async fn lend(&self, title: String, to: String) -> String;
    async fn lend_to(&self, to: String) -> String;
    async fn weigh(&self, grams: u32) -> u32;
    async fn kind(&self, kind: Kind) -> Kind;
    async fn shelf(&self, shelf: Shelf) -> Shelf;
    async fn fail(&self, late: bool) -> Result<(), Trouble>;
    async fn titles(&self) -> Vec<String>;
    async fn burn(&self) -> bool;
    async fn pages(&self) -> Vec<u32>;
    async fn read(&self, pages: Streaming<u32>) -> Result<u32, Status>;
}

pub(crate) struct Shelves;

impl Library for Shelves {
    async fn add(&self, book: Book) -> Book {
        book
    }

    async fn find(&self, title: String) -> String {
        title
    }

    async fn first(&self) -> String {
        "first".to_owned()
    }

    async fn order(&self, title: String, copies: u32) -> String {
        format!("{copies} of {title}")
    }

    async fn lend(&self, title: String, to: String) -> String {
        format!("{title} to {to}")
    }

    async fn lend_to(&self, to: String) -> String {
        to
    }

    async fn weigh(&self, grams: u32) -> u32 {
        grams
    }

    async fn kind(&self, kind: Kind) -> Kind {
        kind
    }

    async fn shelf(&self, shelf: Shelf) -> Shelf {
        shelf
    }

    async fn fail(&self, _late: bool) -> Result<(), Trouble> {
        Err(Trouble::Missing { title: "Emma".to_owned() })
    }

    async fn titles(&self) -> Vec<String> {
        vec!["Emma".to_owned()]
    }

    async fn burn(&self) -> bool {
        true
    }

    async fn pages(&self) -> Vec<u32> {
        vec![1, 2]
    }

    async fn read(&self, mut pages: Streaming<u32>) -> Result<u32, Status> {
        let mut read = 0;
        while pages.try_next().await?.is_some() {
            read += 1;
        }
        Ok(read)
    }
}

pub(crate) const MISSING: Code = Code::NotFound;
