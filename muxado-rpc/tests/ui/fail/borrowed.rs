use std::borrow::Cow;

use muxado_rpc::Context;

pub struct Record;

#[muxado_rpc::service]
pub trait Borrowed {
    async fn text(&self, text: &str) -> u64;
    async fn bytes(&self, bytes: &[u8]) -> u64;
    async fn record(&self, record: &Record) -> u64;
    async fn nested(&self, texts: Vec<Option<&'static str>>) -> u64;
    async fn cow(&self, text: Cow<'_, str>) -> u64;
    async fn answer(&self) -> &str;
    async fn context(&self, cx: &mut Context) -> u64;
    async fn owned(&self, text: Cow<'static, str>, cx: &Context) -> u64;
}

fn main() {}
