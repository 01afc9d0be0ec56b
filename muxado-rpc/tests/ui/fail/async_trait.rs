//! Methods of services are plain `async fn`s.

use async_trait::async_trait;

#[muxado_rpc::service]
#[async_trait]
pub trait Below {
    async fn say(&self, text: &str) -> u8;
}

#[async_trait]
#[muxado_rpc::service]
pub trait Above {
    async fn say(&self, text: &str) -> u8;
}

#[muxado_rpc::service]
pub trait Chat {
    async fn say(&self, text: &str) -> u8;
}

pub struct Member;

#[async_trait]
impl Chat for Member {
    async fn say(&self, text: &str) -> u8 {
        text.len() as u8
    }
}

fn main() {}
