//! Documents of services: JSON Schemas, OpenRPC, and what differs between two versions.
//!
//! With the feature `schema`, `#[muxado_rpc::service(schema)]` describes a service in full, by the
//! [schemars](https://docs.rs/schemars/1) crate: each type of a parameter, an item, a result or an error needs a
//! `JsonSchema`, which is derived beside `Serialize` and `Deserialize`. `ChatServer::schema()` returns the description, a
//! [`ServiceSchema`].
//!
//! ```
//! use muxado_rpc::{Shape, schema::Document};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// A line of a conversation.
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! pub struct Line {
//!     pub from: String,
//!     pub text: String,
//! }
//!
//! /// Talks.
//! #[muxado_rpc::service(schema)]
//! pub trait Chat {
//!     /// Says something.
//!     async fn say(&self, line: &Line) -> Result<u64, String>;
//! }
//!
//! let chat = ChatServer::schema();
//! let say = chat.method("say").unwrap();
//! assert_eq!((say.shape, say.description.as_deref()), (Shape::Unary, Some("Says something.")));
//! assert_eq!(say.params.as_ref().unwrap()[0].schema["$ref"], "#/definitions/Line");
//! assert_eq!(chat.definitions["Line"]["description"], "A line of a conversation.");
//!
//! // One document for all services of a program.
//! let document = Document::new("chat", "1.0.0").service(chat);
//! # let dir = std::env::temp_dir().join(format!("muxado-schema-{}.json", std::process::id()));
//! # let path = dir.to_str().unwrap();
//! document.write(path)?;
//! assert_eq!(Document::read(path)?, document);
//! # std::fs::remove_file(path)?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Without a dependency on schemars of its own, a crate uses the one that is reexported here:
//! `#[derive(muxado_rpc::schema::schemars::JsonSchema)]` with `#[schemars(crate = "muxado_rpc::schema::schemars")]`.
//!
//! # What the schemas say
//!
//! What a server reads (parameters and the items of a caller) and what it writes (results, items, errors) are apart, since
//! serde's attributes may differ: a definition that is not the same for both is there twice, as `Line` and `Line_output`.
//! Of parameters, `#[serde(default)]` and the like count, and a `#[schemars(with = "String")]` on a parameter says what the
//! schema of a type is that has none. For the type of a field or a result, the same attribute goes to the field.
//!
//! The schemas describe the JSON codec:
//!
//! | type | schema |
//! |---|---|
//! | bytes: `Vec<u8>`, `[u8; N]`, `Bytes`, `&[u8]` | a text in base64 (`contentEncoding`), or an array of numbers: readers take both, and bytes below a tag or a flattened part are written as an array |
//! | `Option<T>` | `null` as well; as a parameter or a field it may be left out where it is read |
//! | `()` and structures without fields | `null` |
//! | integers | `integer` with a `format` such as `uint64`; bounds where the type has fewer than 32 bits |
//! | maps with integers as keys | an object whose names match `^-?\d+$` |
//! | `IpAddr`, `Duration`, `SystemTime` | what serde writes: a text, or an object of seconds and nanoseconds |
//! | `serde_json::Value`, `RawValue` | anything |
//!
//! They say less than the codec does in a few places: of `#[serde(other)]` they know no unknown variants, of
//! `#[serde(alias)]` no other names, and a structure may also come as an array of its fields.
//!
//! # Compatibility
//!
//! [`Comparison::between`] says what a change of a service breaks, and for whom.

mod bytes;
mod compare;
mod definitions;
mod document;
pub(crate) mod generate;

pub use schemars;

pub use self::{
    compare::{Change, Comparison, Severity},
    document::{Document, DocumentError},
};
pub use crate::{MethodSchema, ParameterSchema, ServiceSchema};
