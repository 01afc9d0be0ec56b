//! A service, and two peers that use it.

use muxado_rpc::{Codec, Context, Peer, Stream};

use crate::{rig::Rig, wire::Wire};

#[muxado_rpc::service]
pub trait Work {
    async fn add(&self, a: u32, b: u32) -> u32;
    async fn add_in_context(&self, cx: &Context, a: u32, b: u32) -> u32;
    async fn echo(&self, text: String) -> String;
    async fn items(&self, count: usize) -> impl Stream<Item = [u8; 32]>;
    async fn greet(&self, name: &str) -> usize;
    async fn greet_owned(&self, name: String) -> usize;
    async fn store(&self, key: &str, value: &[u8], note: Option<&str>) -> usize;
}

pub struct Worker;

impl Work for Worker {
    async fn add(&self, a: u32, b: u32) -> u32 {
        a + b
    }

    async fn add_in_context(&self, cx: &Context, a: u32, b: u32) -> u32 {
        assert!(!cx.channel().is_closed());
        a + b
    }

    async fn echo(&self, text: String) -> String {
        text
    }

    async fn items(&self, count: usize) -> impl Stream<Item = [u8; 32]> {
        futures_util::stream::iter(std::iter::repeat_n([7; 32], count))
    }

    async fn greet(&self, name: &str) -> usize {
        name.len()
    }

    async fn greet_owned(&self, name: String) -> usize {
        name.len()
    }

    async fn store(&self, key: &str, value: &[u8], note: Option<&str>) -> usize {
        key.len() + value.len() + note.map_or(0, str::len)
    }
}

pub const CODECS: [Codec; 2] = [Codec::MessagePack, Codec::Json];

/// A peer that calls and one that serves.
pub struct Peers {
    pub rig: Rig,
    pub near: Peer,
    pub far: Peer,
}

impl Peers {
    pub fn new() -> Self {
        let ((near, near_meter), (far, far_meter)) = Wire::pair();
        let rig = Rig::new(near_meter, far_meter);
        let (near, far) = {
            let _entered = rig.runtime.enter();
            let far = Peer::builder().serve(WorkServer::new(Worker)).server(far).unwrap();
            (Peer::builder().client(near).unwrap(), far)
        };
        Self { rig, near, far }
    }

    pub fn client(&self, codec: Codec) -> WorkClient {
        WorkClient::new(self.near.channel()).with_codec(codec)
    }
}
