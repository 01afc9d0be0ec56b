use futures_core::Stream;
use muxado_rpc::{Streaming, Streaming as Items};

type BoxStream<T> = std::pin::Pin<Box<dyn Stream<Item = T> + Send>>;

#[muxado_rpc::service]
pub trait Wrong {
    async fn pinned(&self) -> std::pin::Pin<Box<dyn Stream<Item = u64> + Send>>;
    async fn pinned_input(&self, items: std::pin::Pin<Box<dyn Stream<Item = u64> + Send>>);
    async fn of_what(&self) -> impl Stream;
    async fn borrowed_items(&self) -> impl Stream<Item = &str>;
    async fn two_inputs(&self, a: Streaming<u64>, b: Streaming<u64>);
    async fn impl_input(&self, items: impl Stream<Item = u64>);
    async fn borrowed_input(&self, items: Streaming<&str>);
    #[method(no_cancel)]
    async fn must_finish(&self) -> impl Stream<Item = u64>;
    async fn defaulted(&self, #[serde(default)] items: Streaming<u64>);
}

/// What only the compiler sees.
#[muxado_rpc::service]
pub trait Typed {
    async fn aliased(&self) -> BoxStream<u64>;
    async fn bare(&self) -> Streaming<u64>;
    async fn aliased_input(&self, items: Items<u64>);
    async fn nested(&self, streams: Vec<Streaming<u64>>);
    async fn stream_of_streams(&self, items: Streaming<Streaming<u64>>);
    async fn two_errors(&self) -> Result<impl Stream<Item = Result<u64, String>>, u8>;
}

fn main() {}
