//! What people try first, and what they are told.

use std::{error::Error, io};

use muxado_rpc::{Context, Context as Cx};

mod anyhow {
    pub struct Error(pub Box<dyn std::error::Error>);
    pub type Result<T> = core::result::Result<T, Error>;
}

mod own {
    pub struct Context;
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Streaming<T>(T);
    pub enum Result<T, E> {
        Win(T),
        Loss(E),
    }
}

type Answer<T> = Result<T, String>;

#[muxado_rpc::service]
pub trait Errors {
    async fn any(&self) -> anyhow::Result<u8>;
    async fn io(&self) -> io::Result<u8>;
    async fn boxed(&self) -> Result<u8, Box<dyn Error + Send + Sync>>;
    async fn renamed(&self) -> Answer<u8>;
    async fn own(&self) -> own::Result<u8, u8>;
    async fn right(&self) -> Result<u8, String>;
}

#[muxado_rpc::service]
pub trait Contexts {
    async fn by_value(&self, cx: Context) -> u8;
    async fn renamed(&self, cx: &Cx) -> u8;
    async fn own(&self, cx: &own::Context) -> u8;
    async fn right(&self, cx: &Context) -> u8;
}

#[muxado_rpc::service]
pub trait Streams {
    async fn own(&self, mode: own::Streaming<u8>) -> u8;
    async fn right(&self, mode: u8) -> u8;
}

fn main() {
    let _ = (ErrorsClient::<muxado_rpc::Channel>::right, StreamsClient::<muxado_rpc::Channel>::right);
}
