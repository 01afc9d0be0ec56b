//! More calls at once than either side takes at a time: callers queue rather than fail. The limits
//! of both sides are the defaults, and it is the opener that keeps within them: a peer of this
//! family has at most as many streams without a sign of acceptance as the other's backlog takes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use muxado_rpc::{Peer, Server};
use support::{CODECS, Pair, Random, WorkClient, WorkServer, Worker};
use tokio::time::timeout;

const CALLS: usize = 20_000;

/// Starts all calls at once; the errors of those that failed.
async fn burst<T: Send + 'static>(
    calls: impl Iterator<Item = impl Future<Output = Result<T, muxado_rpc::CallError>> + Send + 'static>,
) -> Vec<muxado_rpc::CallError> {
    let calls: Vec<_> = calls.map(tokio::spawn).collect();
    assert_eq!(calls.len(), CALLS);
    let mut failed = Vec::new();
    for call in calls {
        failed.extend(call.await.unwrap().err());
    }
    failed
}

#[tokio::test(start_paused = true)]
async fn calls_of_slow_handlers_queue() {
    for codec in CODECS {
        let pair = Pair::new();
        let client = pair.client(codec);
        let call = |n: usize| {
            let client = client.clone();
            async move { client.sleep(n as u64 % 20).await }
        };
        assert_eq!(burst((0..CALLS).map(call)).await, []);
        assert_eq!(pair.far.call_stats().served, CALLS as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_queue_while_others_are_dropped() {
    let pair = Pair::new();
    let client = pair.client(CODECS[0]);
    let mut random = Random::new(7);
    let patience: Vec<_> = (0..CALLS).map(|_| random.below(40)).collect();
    let call = |n: usize| {
        let (client, patience) = (client.clone(), Duration::from_millis(patience[n]));
        async move {
            match timeout(patience, client.sleep(10)).await {
                Ok(result) => result,
                Err(_) => Ok(()),
            }
        }
    };
    assert_eq!(burst((0..CALLS).map(call)).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_over_a_socket_queue() {
    let server = Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    let call = |n: usize| {
        let client = client.clone();
        async move { client.echo(n.to_string()).await }
    };
    assert_eq!(burst((0..CALLS).map(call)).await, []);
    assert_eq!(server.call_stats().served, CALLS as u64);
}
