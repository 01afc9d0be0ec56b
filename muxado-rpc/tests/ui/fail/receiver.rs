use std::sync::Arc;

#[muxado_rpc::service]
pub trait Receivers {
    async fn missing(a: i64) -> i64;
    async fn exclusive(&mut self) -> i64;
    async fn by_value(self) -> i64;
    async fn shared(self: Arc<Self>) -> i64;
    async fn named<'a>(&'a self) -> i64;
    async fn right(&self) -> i64;
}

fn main() {}
