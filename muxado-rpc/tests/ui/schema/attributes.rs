use muxado_rpc::{Context, Streaming};

#[muxado_rpc::service(schema = true)]
pub trait Value {}

#[muxado_rpc::service]
pub trait Without {
    async fn add(&self, #[schemars(with = "String")] a: u8);
}

#[muxado_rpc::service(schema)]
pub trait Nowhere {
    async fn add(&self, #[schemars(with = "String")] cx: &Context);
    async fn sum(&self, #[schemars(with = "String")] items: Streaming<u8>);
}

fn main() {}
