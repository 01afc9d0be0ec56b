//! Parameters by reference: the client lends, the server lends on, and nobody clones.

#![deny(warnings, missing_docs, elided_lifetimes_in_paths, single_use_lifetimes, unused_lifetimes, unused_qualifications)]

use std::{borrow::Cow, path::Path};

use muxado_rpc::{Context, Status, Stream, Streaming};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    id: u64,
}

mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        id.to_string().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

type Byte = u8;

#[muxado_rpc::service]
trait Store {
    async fn text(&self, text: &str) -> usize;
    async fn bytes(&self, bytes: &[u8]) -> usize;
    async fn aliased(&self, bytes: &[Byte]) -> usize;
    async fn records(&self, records: &[Record]) -> usize;
    async fn record(&self, record: &Record) -> u64;
    async fn path(&self, path: &Path) -> bool;
    async fn array(&self, pair: &(u8, String)) -> usize;
    async fn maybe(&self, text: Option<&str>, record: Option<&Record>, bytes: Option<&[u8]>) -> usize;
    async fn owned(&self, text: Cow<'static, str>, more: String) -> usize;
    async fn attributed(
        &self,
        #[serde(default)] text: &str,
        #[serde(with = "text")] id: &u64,
        #[serde(default)] record: Option<&Record>,
        #[cfg(any())] gone: &str,
        #[cfg_attr(all(), cfg(any()))] gone_too: Option<&str>,
        limit: u32,
    ) -> usize;
    async fn with_context(&self, text: &str, cx: &Context) -> usize;
    async fn lines(&self, text: &str) -> impl Stream<Item = String>;
    async fn both(&self, items: Streaming<u8>, text: &str) -> Result<impl Stream<Item = usize>, Status>;
    async fn by_default(&self, text: &str) -> usize {
        text.len()
    }
}

struct Memory;

impl Store for Memory {
    async fn text(&self, text: &str) -> usize {
        text.len()
    }

    async fn bytes(&self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    async fn aliased(&self, bytes: &[Byte]) -> usize {
        bytes.len()
    }

    async fn records(&self, records: &[Record]) -> usize {
        records.len()
    }

    async fn record(&self, record: &Record) -> u64 {
        record.id
    }

    async fn path(&self, path: &Path) -> bool {
        path.is_absolute()
    }

    async fn array(&self, pair: &(u8, String)) -> usize {
        pair.1.len()
    }

    async fn maybe(&self, text: Option<&str>, record: Option<&Record>, bytes: Option<&[u8]>) -> usize {
        text.map_or(0, str::len) + usize::from(record.is_some()) + bytes.map_or(0, <[u8]>::len)
    }

    async fn owned(&self, text: Cow<'static, str>, more: String) -> usize {
        text.len() + more.len()
    }

    async fn attributed(&self, text: &str, id: &u64, record: Option<&Record>, limit: u32) -> usize {
        text.len() + *id as usize + usize::from(record.is_some()) + limit as usize
    }

    async fn with_context(&self, text: &str, cx: &Context) -> usize {
        text.len() + cx.metadata().len()
    }

    async fn lines(&self, text: &str) -> impl Stream<Item = String> {
        // The stream may borrow from the parameters.
        futures_util::stream::iter(text.lines().map(str::to_owned))
    }

    async fn both(&self, items: Streaming<u8>, text: &str) -> Result<impl Stream<Item = usize>, Status> {
        drop(items);
        Ok(futures_util::stream::iter([text.len()]))
    }
}

fn assert_static<T: Send + 'static>(_: &T) {}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for codec in [muxado_rpc::Codec::Json, muxado_rpc::Codec::MessagePack] {
        let store = StoreClient::new(StoreServer::new(Memory)).with_codec(codec);
        let (text, record) = ("a\n\"b\"".to_owned(), Record { id: 7 });
        let call = store.text(&text);
        assert_static(&call);
        assert_eq!(call.await.unwrap(), 5);
        assert_eq!(store.bytes(b"abc").await.unwrap(), 3);
        assert_eq!(store.aliased(&[1, 2]).await.unwrap(), 2);
        assert_eq!(store.records(&[Record { id: 1 }]).await.unwrap(), 1);
        assert_eq!(store.record(&record).await.unwrap(), 7);
        assert!(store.path(Path::new("/a")).await.unwrap());
        assert_eq!(store.array(&(1, "ab".to_owned())).await.unwrap(), 2);
        assert_eq!(store.maybe(Some(&text), Some(&record), Some(b"abc")).await.unwrap(), 9);
        assert_eq!(store.maybe(None, None, None).await.unwrap(), 0);
        assert_eq!(store.owned("ab".into(), "c".to_owned()).await.unwrap(), 3);
        assert_eq!(store.attributed(&text, &2, None, 1).await.unwrap(), 8);
        assert_eq!(store.with_context(&text).await.unwrap(), 5);
        let mut lines = store.lines(&text).await.unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap(), "a");
        let mut both = store.both(futures_util::stream::empty(), &text).await.unwrap();
        assert_eq!(both.next().await.unwrap().unwrap(), 5);
        assert_eq!(store.by_default(&text).await.unwrap(), 5);
    }
}
