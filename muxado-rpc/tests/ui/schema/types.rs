use muxado_rpc::{Stream, Streaming};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Undescribed;

#[muxado_rpc::service(schema)]
pub trait Parameters {
    async fn by_value(&self, value: Undescribed);
    async fn lent(&self, value: &Undescribed);
    async fn items(&self, values: Streaming<Undescribed>);
}

#[muxado_rpc::service(schema)]
pub trait Results {
    async fn value(&self) -> Undescribed;
    async fn error(&self) -> Result<u8, Undescribed>;
    async fn stream(&self) -> impl Stream<Item = Undescribed>;
}

fn main() {}
