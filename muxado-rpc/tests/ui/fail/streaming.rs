use futures_core::Stream;

pub struct Streaming<T>(T);

#[muxado_rpc::service]
pub trait Primes {
    async fn below(&self, limit: u64) -> impl Stream<Item = u64>;
    async fn checked(&self, limit: u64) -> Result<impl Stream<Item = u64>, String>;
    async fn sum(&self, numbers: Streaming<u64>) -> u64;
}

fn main() {}
