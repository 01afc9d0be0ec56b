//! Real programs of others in front of our servers and behind our clients: haproxy, nginx, dnsmasq, systemd,
//! openssl, Prometheus, and a network in which an address is dead.
//!
//! `tests/tests/foreign/run` runs them: it installs what is missing where it can, and says what it skips. Traffic stays
//! on this machine.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod dnsmasq;
mod haproxy;
mod nginx;
mod openssl;
mod place;
mod prometheus;
mod systemd;
mod unreachable;

use std::time::Duration;

use muxado_rpc::{Context, Peer, Server, ServerBuilder, Stream};
use tokio::time::timeout;

/// What a server says of itself and its caller.
#[muxado_rpc::service]
trait Site {
    async fn name(&self) -> String;
    async fn address(&self, cx: &Context) -> Option<String>;
    async fn identity(&self, cx: &Context) -> Option<String>;
    async fn pid(&self) -> u32;
    async fn echo(&self, text: String) -> String;
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;
    /// Never returns.
    async fn slow(&self);
}

#[derive(Clone)]
struct Named(&'static str);

impl Site for Named {
    async fn name(&self) -> String {
        self.0.to_owned()
    }

    async fn address(&self, cx: &Context) -> Option<String> {
        cx.peer_info().address().map(str::to_owned)
    }

    async fn identity(&self, cx: &Context) -> Option<String> {
        cx.peer_info().identity().map(str::to_owned)
    }

    async fn pid(&self) -> u32 {
        std::process::id()
    }

    async fn echo(&self, text: String) -> String {
        text
    }

    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        futures_util::stream::iter(0..to)
    }

    async fn slow(&self) {
        std::future::pending().await
    }
}

fn builder(name: &'static str) -> ServerBuilder {
    Server::builder().serve(SiteServer::new(Named(name)))
}

/// Makes calls of all kinds.
async fn assert_works(peer: &Peer) {
    let site = SiteClient::new(peer.channel());
    let calls = async {
        for size in [0, 1, 1000, 300_000] {
            let text = "x".repeat(size);
            assert_eq!(site.echo(text.clone()).await.unwrap(), text);
        }
        let mut numbers = site.count(10_000).await.unwrap();
        let mut next = 0;
        while let Some(number) = numbers.next().await {
            assert_eq!(number.unwrap(), next);
            next += 1;
        }
        assert_eq!(next, 10_000);
    };
    within(calls).await;
}

/// Waits for what should be soon: nothing here may hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("nothing happens for 20 s")
}
