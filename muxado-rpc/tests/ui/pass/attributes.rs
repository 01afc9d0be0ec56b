//! Attributes of all kinds, `cfg_attr` around them, and docs of parameters.

#![deny(warnings, missing_docs)]

use muxado_rpc::NamedService;

#[muxado_rpc::service]
#[cfg_attr(all(), doc = "Counts.")]
trait Counter {
    /// Adds numbers.
    #[cfg_attr(all(), method(name = "sum", timeout_ms = 5))]
    #[cfg_attr(not(all()), method(name = "never"))]
    #[method(idempotent)]
    async fn add(
        &self,
        /// The first.
        #[cfg_attr(all(), serde(default, rename = "first"))]
        a: u8,
        #[cfg_attr(all(), doc = "The second,", doc = "in two lines.")]
        #[cfg_attr(any(), serde(rename = "wrong"))]
        b: u8,
        /// Not here.
        #[cfg_attr(all(), cfg(any()))]
        c: u8,
    ) -> u8;

    #[cfg_attr(all(), cfg_attr(all(), cfg(any())))]
    async fn gone(&self, missing: Missing) -> Missing;

    #[cfg_attr(any(), cfg(any()))]
    #[cfg_attr(any(), method(name = "elsewhere"))]
    async fn kept(&self) -> u8;

    #[cfg_attr(all(), deprecated = "on its way out")]
    #[cfg_attr(all(), method(no_cancel))]
    async fn old(&self) -> u8;

    #[allow(clippy::unused_async, reason = "an attribute that applies to both")]
    async fn plain(
        &self,
        /// Borrowed, and documented.
        text: &str,
    ) -> usize;
}

struct Impl;

impl Counter for Impl {
    async fn add(&self, a: u8, b: u8) -> u8 {
        a + b
    }

    async fn kept(&self) -> u8 {
        1
    }

    async fn old(&self) -> u8 {
        2
    }

    async fn plain(&self, text: &str) -> usize {
        text.len()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let methods = CounterServer::<Impl>::INFO.methods();
    let names: Vec<_> = methods.iter().map(|method| (method.index(), method.name())).collect();
    assert_eq!(names, [(0, "sum"), (1, "kept"), (2, "old"), (3, "plain")]);
    let add = &methods[0];
    assert!(add.is_idempotent() && methods[2].is_no_cancel());
    assert_eq!(add.default_timeout().map(|limit| limit.as_millis()), Some(5));

    let counter = CounterClient::new(CounterServer::new(Impl));
    assert_eq!(counter.add(1, 2).await.unwrap(), 3);
    assert_eq!(counter.kept().await.unwrap(), 1);
    assert_eq!(counter.plain("ab").await.unwrap(), 2);
    #[expect(deprecated, reason = "the attribute is carried to the client")]
    let old = counter.old();
    assert_eq!(old.await.unwrap(), 2);
}
