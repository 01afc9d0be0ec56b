use muxado_rpc::Context;

#[muxado_rpc::service]
pub trait Parameters {
    async fn pattern(&self, (a, b): (i64, i64)) -> i64;
    async fn unnamed(&self, _: i64) -> i64;
    async fn mutable(&self, mut a: i64) -> i64;
    async fn two_contexts(&self, cx: &Context, other: &muxado_rpc::Context) -> i64;
    async fn serde_on_context(&self, #[serde(default)] cx: &Context) -> i64;
}

fn main() {}
