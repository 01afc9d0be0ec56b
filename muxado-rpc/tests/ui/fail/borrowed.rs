use std::borrow::Cow;

use muxado_rpc::Context;

pub struct Record;

#[muxado_rpc::service]
pub trait Borrowed {
    async fn forever(&self, text: &'static str) -> u64;
    async fn exclusive(&self, bytes: &mut [u8]) -> u64;
    async fn nested(&self, texts: Vec<Option<&str>>) -> u64;
    async fn slices(&self, texts: &[&str]) -> u64;
    async fn cow(&self, text: Cow<'_, str>) -> u64;
    async fn answer(&self) -> &str;
    async fn context(&self, cx: &mut Context) -> u64;
    async fn owned(&self, text: Cow<'static, str>, cx: &Context) -> u64;
    async fn text(&self, text: &str, maybe: Option<&str>) -> u64;
}

/// What is lent has to be encoded all the same.
#[muxado_rpc::service]
pub trait Lent {
    async fn record(&self, record: &Record) -> u64;
    async fn object(&self, object: &dyn Send) -> u64;
    async fn text(&self, text: &str) -> u64;
}

fn main() {
    let _ = LentClient::<muxado_rpc::Channel>::text;
}
