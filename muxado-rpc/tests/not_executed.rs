//! What a server says of a call that it did not execute, and what it does not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fmt::Debug,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use futures_util::stream;
use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{
    AppError, BoxError, CallError, Code, Codec, Context, Limits, NamedService, Origin, Peer, Reconnect,
    Request, Response, ServiceId, Status, Stream, layers::AuthLayer,
};
use serde_json::{Value, json};
use support::{
    CODECS, Pair, WorkClient, WorkServer, Worker,
    feed::{FeedClient, collect, encode},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tower::{Service, layer::layer_fn, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer};

/// What a newer caller believes to be there: more methods, and other parameters.
#[muxado_rpc::service(name = "Work")]
trait Newer {
    async fn dance(&self) -> u64;
    async fn dances(&self) -> impl Stream<Item = u64>;
    #[method(name = "echo")]
    async fn echo_number(&self, text: u64) -> String;
}

#[muxado_rpc::service]
trait Elsewhere {
    async fn dance(&self) -> u64;
    async fn dances(&self) -> impl Stream<Item = u64>;
}

/// The code of a failure, and whether its call may have been executed.
fn verdict<T: Debug, E: Debug + AppError>(result: Result<T, CallError<E>>) -> (Code, bool) {
    let error = result.unwrap_err();
    (error.code(), error.may_have_executed())
}

#[tokio::test]
async fn what_is_not_there_was_not_executed() {
    let pair = Pair::new();
    for codec in CODECS {
        let newer = NewerClient::new(pair.near.channel()).with_codec(codec);
        let elsewhere = ElsewhereClient::new(pair.near.channel()).with_codec(codec);
        assert_eq!(verdict(newer.dance().await), (Code::Unimplemented, false));
        assert_eq!(verdict(elsewhere.dance().await), (Code::Unimplemented, false));
        assert_eq!(verdict(newer.echo_number(7).await), (Code::InvalidArgument, false));
        for mut items in [newer.dances().await.unwrap(), elsewhere.dances().await.unwrap()] {
            assert_eq!(verdict(items.try_next().await), (Code::Unimplemented, false));
        }
    }
}

#[tokio::test]
async fn requests_over_a_limit_of_the_server_were_not_executed() {
    let limits = Limits::default().max_message_size(2000).max_metadata_size(10);
    let pair = Pair::with(Peer::builder(), Peer::builder().limits(limits));
    for codec in CODECS {
        let client = pair.client(codec);
        assert_eq!(verdict(client.echo("x".repeat(2000)).await), (Code::ResourceExhausted, false));
        let metadata = [("name", "a long value")].into();
        assert_eq!(verdict(client.with_metadata(metadata).hanging().await), (Code::ResourceExhausted, false));
        // An answer over the limit is that of a call that ran.
        assert_eq!(verdict(pair.client(codec).grow(2000).await), (Code::ResourceExhausted, true));
    }
}

/// Never takes a call.
#[derive(Clone)]
struct OutOfOrder;

impl Service<Request> for OutOfOrder {
    type Response = Response;
    type Error = BoxError;
    type Future = Ready<Result<Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Err("out of order".into()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        ready(Ok(Response::new(request.codec(), &()).unwrap()))
    }
}

#[tokio::test]
async fn what_a_layer_refuses_was_not_executed() {
    let auth = AuthLayer::new(|_: &mut Request| ready(Err::<(), _>(Status::unauthenticated("who are you?"))));
    let work = || WorkServer::new(Worker::default());
    for (builder, code) in [
        (Peer::builder().serve(work().layered(auth)), Code::Unauthenticated),
        (Peer::builder().serve(work().layered(layer_fn(|_| OutOfOrder))), Code::Unknown),
    ] {
        let (near, far) = duplex(64 * 1024);
        let (_far, near) = (builder.server(far).unwrap(), Peer::builder().client(near).unwrap());
        for codec in CODECS {
            let client = WorkClient::new(near.channel()).with_codec(codec);
            assert_eq!(verdict(client.hanging().await), (code, false));
            // Of a method with a context the same is done elsewhere.
            assert_eq!(verdict(client.time_left().await), (code, false));
        }
    }
    let (near, far) = duplex(64 * 1024);
    let _far = Peer::builder().serve(work()).layer(layer_fn(|_| OutOfOrder)).server(far).unwrap();
    let client = WorkClient::new(Peer::builder().client(near).unwrap().channel());
    assert_eq!(verdict(client.hanging().await), (Code::Unknown, false));
    assert_eq!(verdict(client.time_left().await), (Code::Unknown, false));
    // In the same process, too.
    let client = WorkClient::new(OutOfOrder);
    assert_eq!(verdict(client.hanging().await), (Code::Unknown, false));
}

#[tokio::test]
async fn what_is_shed_was_not_executed() {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let builder = Peer::builder().layer(LoadShedLayer::new()).layer(ConcurrencyLimitLayer::new(1));
    let _far = builder.serve(WorkServer::new(worker.clone())).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    for codec in CODECS {
        let client = WorkClient::new(near.channel()).with_codec(codec);
        let hanging = client.clone();
        let hanging = tokio::spawn(async move { hanging.hang().await });
        worker.until_hanging(1).await;
        assert_eq!(verdict(client.hanging().await), (Code::ResourceExhausted, false));
        assert_eq!(verdict(client.time_left().await), (Code::ResourceExhausted, false));
        hanging.abort();
        worker.until_hanging(0).await;
    }
}

/// The answer to a request in JSON, by the server's clock alone.
async fn exchange(session: &TypedSession, request: &str) -> Value {
    let id = ServiceId::from_name("Work").as_u32();
    let mut stream = session.open_typed(StreamType::new(id)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_says_whether_the_method_had_begun() {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let builder = Peer::builder().layer(ConcurrencyLimitLayer::new(1));
    let _far = builder.serve(WorkServer::new(worker.clone())).server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    // The second waits until the first is over, the third has no time to begin with.
    let (first, second, third) = tokio::join!(
        exchange(&session, r#"{"method":"hang","timeout_ms":2000}"#),
        exchange(&session, r#"{"method":"hang","timeout_ms":1000}"#),
        exchange(&session, r#"{"method":"hanging","timeout_ms":0}"#),
    );
    for (answer, executed) in [(first, json!(null)), (second, json!(false)), (third, json!(false))] {
        assert_eq!(answer["err"]["code"], "deadline_exceeded", "{answer}");
        assert_eq!(answer["err"]["executed"], executed, "{answer}");
    }
}

/// Fails with a status that looks as if nothing had been executed.
#[muxado_rpc::service]
trait Sly {
    async fn decline(&self) -> Result<(), Status>;
    async fn decline_with_context(&self, cx: &Context) -> Result<(), Status>;
    async fn decline_items(&self) -> Result<impl Stream<Item = u64>, Status>;
    async fn decline_item(&self) -> impl Stream<Item = Result<u64, Status>>;
    async fn decline_later(&self) -> impl Stream<Item = Result<u64, Status>>;
}

#[derive(Clone)]
struct Fox;

fn decline<T>() -> Result<T, Status> {
    Err(Status::unimplemented("service Sly has no method \"decline\"").not_executed())
}

impl Sly for Fox {
    async fn decline(&self) -> Result<(), Status> {
        decline()
    }

    async fn decline_with_context(&self, _: &Context) -> Result<(), Status> {
        decline()
    }

    async fn decline_items(&self) -> Result<impl Stream<Item = u64>, Status> {
        decline::<stream::Empty<u64>>()
    }

    async fn decline_item(&self) -> impl Stream<Item = Result<u64, Status>> {
        stream::iter([decline()])
    }

    async fn decline_later(&self) -> impl Stream<Item = Result<u64, Status>> {
        stream::iter([Ok(1), decline()])
    }
}

#[tokio::test]
async fn a_status_of_the_method_is_that_of_one_that_ran() {
    let (near, far) = duplex(64 * 1024);
    let _far = Peer::builder().serve(SlyServer::new(Fox)).server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    for codec in CODECS {
        let client = SlyClient::new(near.channel()).with_codec(codec);
        assert_eq!(verdict(client.decline().await), (Code::Unimplemented, true));
        assert_eq!(verdict(client.decline_with_context().await), (Code::Unimplemented, true));
        for mut items in [
            client.decline_items().await.unwrap(),
            client.decline_item().await.unwrap(),
            client.decline_later().await.unwrap(),
        ] {
            let error = collect(&mut items).await.1;
            assert_eq!(verdict(error.map_or(Ok(()), Err)), (Code::Unimplemented, true));
        }
    }
    // In the same process, too.
    let client = SlyClient::new(SlyServer::new(Fox));
    assert_eq!(verdict(client.decline().await), (Code::Unimplemented, true));
}

#[tokio::test(start_paused = true)]
async fn what_is_unavailable_and_not_executed_is_tried_again() {
    let checks = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&checks);
    let auth = AuthLayer::new(move |_: &mut Request| {
        let is_first = seen.fetch_add(1, Ordering::SeqCst) == 0;
        ready(if is_first { Err(Status::unavailable("no database")) } else { Ok(()) })
    });
    let channel = Reconnect::builder().connector(move || {
        let (near, far) = duplex(64 * 1024);
        let peer = Peer::builder().serve(WorkServer::new(Worker::default()).layered(auth.clone()));
        let peer = peer.server(far).unwrap();
        tokio::spawn(async move { peer.closed().await });
        ready(Ok(near))
    });
    let client = WorkClient::new(channel.build().unwrap());
    assert_eq!(client.hanging().await, Ok(0));
    assert_eq!(checks.load(Ordering::SeqCst), 2);
}

/// What a call comes to that a server of another make answers with these messages.
async fn answered(codec: Codec, messages: &[Value]) -> (Vec<u64>, Status) {
    let (near, far) = duplex(64 * 1024);
    let (session, driver) = Session::server(far, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    let peer = Peer::builder().client(near).unwrap();
    let client = FeedClient::new(peer.channel()).with_codec(codec);
    let serving = async {
        let mut stream = session.accept_typed().await.unwrap();
        stream.write_all(&encode(codec, messages)).await.unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    let calling = async { collect(&mut client.count(1).await.unwrap()).await };
    let ((items, error), _stream) = tokio::join!(calling, serving);
    (items, error.unwrap().into())
}

#[tokio::test]
async fn peers_that_do_not_know_the_key_leave_it_open() {
    for codec in CODECS {
        for (executed, may_have) in
            [(json!({}), true), (json!({"executed": null}), true), (json!({"executed": true}), true)]
        {
            let mut error = json!({"code": "unimplemented", "message": "no method count"});
            error.as_object_mut().unwrap().extend(executed.as_object().unwrap().clone());
            let (_, status) = answered(codec, &[json!({"err": error})]).await;
            assert_eq!((status.code(), status.may_have_executed()), (Code::Unimplemented, may_have));
        }
        let (_, status) = answered(codec, &[json!({"err": {"executed": false, "later": [1]}})]).await;
        assert_eq!((status.origin(), status.may_have_executed()), (Origin::Peer, false));
    }
}

#[tokio::test]
async fn behind_items_it_is_not_believed() {
    let refused = json!({"err": {"code": "unavailable", "executed": false}});
    for codec in CODECS {
        for (first, items) in [(json!({"item": 1}), vec![1]), (json!({"metadata": {"k": "v"}}), vec![])] {
            let (read, status) = answered(codec, &[first, refused.clone()]).await;
            assert_eq!((read, status.may_have_executed()), (items, true));
        }
    }
}
