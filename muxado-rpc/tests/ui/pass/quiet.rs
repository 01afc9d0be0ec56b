//! Generated code sets off no lint, whatever the user's crate turns on, and whether or not it is used.

#![deny(
    warnings,
    missing_docs,
    missing_debug_implementations,
    unreachable_pub,
    unused_qualifications,
    unused_lifetimes,
    elided_lifetimes_in_paths,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    let_underscore_drop,
    unused_results,
    unnameable_types
)]

use std::{collections::HashMap, io, time::Duration};

use muxado_rpc::service;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    code: u32,
}

mod aliased {
    pub(crate) type Result<T> = std::result::Result<T, super::Failure>;
}

/// Every shape a method may have; none is used.
#[service(name = "tests.Shapes", id = 0xFFFF_FEFF)]
trait Shapes: std::fmt::Debug {
    /// Nothing in, nothing out.
    async fn nothing(&self);
    async fn plain(&self, a: i64, b: Option<String>) -> HashMap<String, Vec<u8>>;
    async fn fallible(&self, a: i64) -> Result<i64, Failure>;
    async fn aliased(&self) -> aliased::Result<u8>;
    async fn context(&self, a: u8, cx: &muxado_rpc::Context, b: u8) -> u8;
    #[method(name = "renamed.method")]
    async fn attributes(
        &self,
        #[serde(default, rename = "n")] number: u8,
        #[serde(with = "millis")] t: Duration,
    );
    #[allow(clippy::too_many_arguments)]
    #[must_use]
    async fn many(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8) -> u8;
    async fn defaulted(&self, mut n: u64, cx: &muxado_rpc::Context) -> Result<u64, Failure> {
        let _ = cx;
        n += self.fallible(1).await?.unsigned_abs();
        Ok(n)
    }
}

/// A service without methods.
#[service]
pub(crate) trait Empty {}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(t: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        t.as_millis().serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

fn assert_send<T: Send>(_: &T) {}

fn main() -> io::Result<()> {
    #[service]
    trait Local {
        async fn add(&self, a: u8, b: u8) -> u8;
    }

    struct Impl;

    impl Local for Impl {
        async fn add(&self, a: u8, b: u8) -> u8 {
            a + b
        }
    }

    let client = LocalClient::new(LocalServer::new(Impl));
    let call = client.add(1, 2);
    assert_send(&call);
    Ok(())
}
