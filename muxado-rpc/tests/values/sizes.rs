//! How much bytes are on the wire, and how many of them a message may have.

use bytes::Bytes;
use muxado_rpc::{Codec, MethodInfo, NamedService, Request, testing};
use serde::Serialize;
use serde_bytes::ByteBuf;

/// Bytes that pass the default limit of 16 MiB with what is around them.
const LARGE: usize = (16 << 20) - 1024;

#[muxado_rpc::service]
trait Store {
    async fn list(&self, data: Vec<u8>) -> usize;
    async fn blob(&self, data: Bytes) -> Bytes;
    async fn shared(&self, #[serde(with = "muxado_rpc::shared_bytes")] data: Bytes) -> usize;
}

struct Memory;

impl Store for Memory {
    async fn list(&self, data: Vec<u8>) -> usize {
        data.len()
    }

    async fn blob(&self, data: Bytes) -> Bytes {
        data
    }

    async fn shared(&self, data: Bytes) -> usize {
        data.len()
    }
}

fn method() -> &'static MethodInfo {
    StoreServer::<Memory>::INFO.method("list").unwrap()
}

fn size<T: Serialize>(codec: Codec, value: &T) -> usize {
    Request::new(method(), codec, value).unwrap().params().len()
}

#[test]
fn bytes_have_little_around_them() {
    let data: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
    for (codec, most) in [(Codec::MessagePack, data.len() + 5), (Codec::Json, data.len() * 134 / 100)] {
        assert!(size(codec, &data) <= most, "{codec}");
        assert!(size(codec, &Bytes::from(data.clone())) <= most, "{codec}");
        assert!(size(codec, &ByteBuf::from(data.clone())) <= most, "{codec}");
    }
    assert_eq!(size(Codec::MessagePack, &[255_u8; 32]), 34);
    assert_eq!(size(Codec::Json, &[255_u8; 32]), 46);
}

#[tokio::test(start_paused = true)]
async fn bytes_as_large_as_the_limit_of_a_message_pass() {
    let store = StoreClient::new(testing::serve(StoreServer::new(Memory)).unwrap());
    assert_eq!(store.list(vec![255; LARGE]).await, Ok(LARGE));
    let large = Bytes::from(vec![255; LARGE]);
    assert_eq!(store.shared(large.clone()).await, Ok(LARGE));
    assert_eq!(store.blob(large.clone()).await, Ok(large));
}
