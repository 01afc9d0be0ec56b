//! Layers run in the order in which they were added: the first added sees a request first, wherever it was added.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use muxado_rpc::{NamedService, Peer, Reconnect, Request, Response, Router, Server};
use support::{Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::io::duplex;
use tower::{Layer, Service, ServiceBuilder};

type Seen = Arc<Mutex<Vec<&'static str>>>;

/// Notes its name for each request.
#[derive(Clone)]
struct Note {
    name: &'static str,
    seen: Seen,
}

#[derive(Clone)]
struct Noting<S> {
    inner: S,
    note: Note,
}

impl<S> Layer<S> for Note {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting { inner, note: self.clone() }
    }
}

impl<S: Service<Request, Response = Response>> Service<Request> for Noting<S> {
    type Response = Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.note.seen.lock().unwrap().push(self.note.name);
        self.inner.call(request)
    }
}

/// Three layers, and what they have seen.
fn layers() -> ([Note; 3], Seen) {
    let seen = Seen::default();
    (["first", "second", "third"].map(|name| Note { name, seen: Arc::clone(&seen) }), seen)
}

fn work() -> WorkServer<Worker> {
    WorkServer::new(Worker::default())
}

#[track_caller]
fn assert_in_order(seen: &Seen) {
    assert_eq!(*seen.lock().unwrap(), ["first", "second", "third"]);
}

#[tokio::test]
async fn layers_of_a_peer_run_in_the_order_in_which_they_were_added() {
    let ([first, second, third], seen) = layers();
    let (near, far) = duplex(1024);
    let builder = Peer::builder().layer(first).layer(second).serve(work()).layer(third);
    let _far = builder.server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    assert_alive(&WorkClient::new(near.channel())).await;
    assert_in_order(&seen);
}

#[tokio::test]
async fn layers_of_a_server_run_in_the_order_in_which_they_were_added() {
    let ([first, second, third], seen) = layers();
    let builder = Server::builder().layer(first).serve(work()).layer(second).layer(third);
    let server = builder.listen("tcp://127.0.0.1:0").await.unwrap();
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
    assert_in_order(&seen);
}

#[tokio::test]
async fn layers_of_a_reconnecting_peer_run_in_the_order_in_which_they_were_added() {
    let ([first, second, third], seen) = layers();
    let (accepted, mut far_ends) = tokio::sync::mpsc::unbounded_channel();
    let connector = move || {
        let (near, far) = duplex(1024);
        accepted.send(Peer::builder().server(far).unwrap()).unwrap();
        std::future::ready(Ok(near))
    };
    let peer = Peer::builder().layer(first).layer(second).layer(third).serve(work());
    let _channel = Reconnect::builder().connector(connector).peer(peer).build().unwrap();
    let far = far_ends.recv().await.unwrap();
    assert_alive(&WorkClient::new(far.channel())).await;
    assert_in_order(&seen);
}

#[tokio::test]
async fn layers_of_one_service_run_in_the_order_in_which_they_were_added() {
    let ([first, second, third], seen) = layers();
    let layered = work().layered(first).layered(second).layered(third);
    assert_eq!(layered.get_ref().note.name, "first");
    assert_eq!(layered.clone().into_inner().inner.inner.note.name, "third");
    let client = WorkClient::new(Router::new().add(layered).unwrap());
    assert_eq!(client.echo("x".to_owned()).await.as_deref(), Ok("x"));
    assert_in_order(&seen);
}

#[tokio::test]
async fn layers_around_a_channel_run_in_the_order_in_which_they_were_added() {
    let ([first, second, third], seen) = layers();
    let pair = Pair::new();
    let builder = ServiceBuilder::new().layer(first).layer(second).layer(third);
    let client = WorkClient::new(builder.service(pair.near.channel()));
    assert_eq!(client.echo("x".to_owned()).await.as_deref(), Ok("x"));
    assert_in_order(&seen);
}

#[tokio::test]
async fn layers_of_all_services_see_a_request_before_those_of_one() {
    let ([first, second, third], seen) = layers();
    let (near, far) = duplex(1024);
    let _far = Peer::builder().serve(work().layered(third)).layer(first).layer(second).server(far).unwrap();
    assert_alive(&WorkClient::new(Peer::builder().client(near).unwrap().channel())).await;
    assert_in_order(&seen);
}
