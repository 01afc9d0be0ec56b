//! A service with everything that a description can have.

use std::convert::Infallible;

use bytes::Bytes;
use muxado_rpc::{Context, Status, Stream, Streaming, schema::schemars::JsonSchema};
use serde::{Deserialize, Serialize};

/// A line of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Line {
    /// Who says it.
    pub(crate) from: String,
    #[serde(default)]
    pub(crate) loud: bool,
    pub(crate) answers: Option<Box<Line>>,
}

/// Reads other names than it writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Renamed {
    #[serde(rename(serialize = "written", deserialize = "read"))]
    pub(crate) name: u8,
}

pub(crate) mod other {
    /// Another type of the same name.
    #[derive(Clone, Debug, PartialEq, super::Serialize, super::Deserialize, super::JsonSchema)]
    pub(crate) struct Line {
        pub(crate) length: u32,
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Failure {
    Full { limit: u32 },
    Closed,
}

/// No schema of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Foreign(pub(crate) String);

/// Talks.
///
/// In two paragraphs.
#[muxado_rpc::service(schema, name = "test.Chat", id = 7)]
#[deprecated(note = "talk to each other")]
pub(crate) trait Chat {
    /// Says something.
    #[method(idempotent, timeout_ms = 500, name = "speak")]
    async fn say(
        &self,
        cx: &Context,
        /// What is said,
        /// word by word.
        line: &Line,
        room: &str,
        #[serde(default)] times: u32,
        note: Option<&str>,
        tag: Option<u8>,
    ) -> Result<u64, Failure>;
    #[cfg_attr(feature = "schema", doc = " Keeps bytes.", deprecated = "use a file")]
    #[method(no_cancel)]
    async fn keep(
        &self,
        data: &[u8],
        #[serde(with = "muxado_rpc::shared_bytes")] more: Bytes,
        #[serde(rename = "class")] kind: [u8; 2],
        #[schemars(with = "String")] foreign: Foreign,
        #[schemars(with = "Option<String>")] maybe: Option<Foreign>,
        #[cfg(not(feature = "schema"))] never: u8,
    ) -> Bytes;
    async fn rename(&self, value: Renamed) -> Renamed;
    async fn listen(&self, from: u64) -> Result<impl Stream<Item = Result<Line, Failure>>, Failure>;
    async fn send(&self, lines: Streaming<other::Line>) -> Result<(), Status>;
    async fn talk(&self, lines: Streaming<Line>) -> impl Stream<Item = other::Line>;
    async fn never_fails(&self) -> Result<u8, Infallible>;
    #[cfg(not(feature = "schema"))]
    async fn absent(&self);
}
