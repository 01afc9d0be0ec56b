//! Calls that succeed: both codecs, both directions, several services, all transports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use muxado_rpc::{Codec, Context, Metadata, NamedService, Peer, Router, Server};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker};

#[tokio::test]
async fn a_call_returns_what_the_method_returns() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec);
        assert_eq!(client.echo("hé\"llo\n".to_owned()).await.unwrap(), "hé\"llo\n");
        assert_eq!(client.divide(1.0, 4.0).await.unwrap(), 0.25);
        assert_eq!(client.sleep(0).await, Ok(()));
    }
}

#[tokio::test]
async fn both_ends_serve_and_call_over_one_connection() {
    let pair = Pair::new();
    for codec in CODECS {
        let there = pair.client(codec);
        let back = WorkClient::new(pair.far.channel()).with_codec(codec);
        let (a, b) = tokio::join!(there.echo("there".to_owned()), back.echo("back".to_owned()));
        assert_eq!((a.unwrap(), b.unwrap()), ("there".to_owned(), "back".to_owned()));
    }
}

#[tokio::test]
async fn a_handler_calls_its_caller_back() {
    let pair = Pair::new();
    for codec in CODECS {
        let answer = pair.client(codec).ask_back("hello".to_owned()).await.unwrap();
        assert_eq!(answer, "the caller says hello");
    }
}

#[tokio::test]
async fn many_calls_run_at_once() {
    let pair = Pair::new();
    for codec in CODECS {
        let calls: Vec<_> = (0..300)
            .map(|n| {
                let client = pair.client(codec);
                tokio::spawn(async move { client.echo(format!("call {n}")).await })
            })
            .collect();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap().unwrap(), format!("call {n}"));
        }
    }
}

#[tokio::test]
async fn messages_of_many_windows_pass_both_ways() {
    let pair = Pair::new();
    let text = "0123456789abcdef".repeat(200_000);
    for codec in CODECS {
        assert_eq!(pair.client(codec).echo(text.clone()).await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_slow_call_holds_up_no_other() {
    let pair = Pair::new();
    let client = pair.client(Codec::Json);
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.hang().await }
    });
    pair.far_worker.until_hanging(1).await;
    support::assert_alive(&client).await;
    slow.abort();
}

#[tokio::test]
async fn metadata_reaches_the_handler() {
    let pair = Pair::new();
    for codec in CODECS {
        let client = pair.client(codec).with_metadata(Metadata::from([("a", "1"), ("b", "2")]));
        assert_eq!(client.metadata().await.unwrap(), ["a=1", "b=2"]);
    }
}

#[tokio::test]
async fn an_answer_leaves_no_stray_frame() {
    let pair = Pair::new();
    for codec in CODECS {
        support::assert_alive(&pair.client(codec)).await;
    }
    support::assert_alive(&pair.client(Codec::Json)).await;
    for peer in [&pair.near, &pair.far] {
        assert_eq!((peer.stats().resets_sent, peer.stats().streams_open), (0, 0), "{:?}", peer.stats());
    }
}

#[muxado_rpc::service(name = "test.Greeter")]
trait Greeter {
    async fn hello(&self, name: String) -> String;
    async fn whoami(&self, cx: &Context) -> Option<String>;
}

#[derive(Clone)]
struct Polite;

impl Greeter for Polite {
    async fn hello(&self, name: String) -> String {
        format!("hello {name}")
    }

    async fn whoami(&self, cx: &Context) -> Option<String> {
        cx.peer_info().address().map(str::to_owned)
    }
}

async fn serve_both(address: &str) -> Server {
    Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .serve(GreeterServer::new(Polite))
        .listen(address)
        .await
        .unwrap()
}

async fn call_both(server: &Server) {
    let near = WorkServer::new(Worker::default());
    let peer = Peer::builder().serve(near).connect(server.local_addr()).await.unwrap();
    for codec in CODECS {
        let greeter = GreeterClient::new(peer.channel()).with_codec(codec);
        let work = WorkClient::new(peer.channel()).with_codec(codec);
        assert_eq!(greeter.hello("Eve".to_owned()).await.unwrap(), "hello Eve");
        assert_eq!(work.ask_back("x".to_owned()).await.unwrap(), "the caller says x");
    }
}

#[tokio::test]
async fn several_services_share_a_tcp_connection() {
    let server = serve_both("tcp://127.0.0.1:0").await;
    call_both(&server).await;
    let peer = Peer::builder().connect(server.local_addr()).await.unwrap();
    let address = GreeterClient::new(peer.channel()).whoami().await.unwrap();
    assert!(address.is_some_and(|address| address.starts_with("tcp://127.0.0.1:")));
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_served_and_its_file_goes_with_the_server() {
    let path = std::env::temp_dir().join(format!("muxado-rpc-{}.sock", std::process::id()));
    let address = format!("unix://{}", path.display());
    // Left behind by a process that died: replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = serve_both(&address).await;
    assert_eq!(server.local_addr().to_string(), address);
    call_both(&server).await;
    server.shutdown(std::time::Duration::ZERO).await;
    assert!(!path.exists());
}

#[tokio::test]
async fn the_serving_side_may_call_first() {
    let (send, mut received) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::builder()
        .on_connect(move |peer| {
            let send = send.clone();
            tokio::spawn(async move {
                let answer = WorkClient::new(peer.channel()).echo("first".to_owned()).await;
                send.send(answer)
            });
        })
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let worker = WorkServer::new(Worker::default());
    let _peer = Peer::builder().serve(worker).connect(server.local_addr()).await.unwrap();
    assert_eq!(received.recv().await.unwrap().unwrap(), "first");
}

#[tokio::test]
async fn a_client_works_straight_over_a_server() {
    for codec in CODECS {
        let client = WorkClient::new(WorkServer::new(Worker::default())).with_codec(codec);
        assert_eq!(client.echo("no wire".to_owned()).await.unwrap(), "no wire");
        assert!(client.divide(1.0, 0.0).await.unwrap_err().app().is_some());
        let status = client.ask_back("x".to_owned()).await.unwrap_err();
        assert_eq!(status.code(), muxado_rpc::Code::Unavailable);
    }
}

#[tokio::test]
async fn two_services_with_one_id_are_refused() {
    let router = Router::new().add(GreeterServer::new(Polite)).unwrap();
    let error = router.add(GreeterServer::new(Polite)).unwrap_err().to_string();
    assert!(error.contains("test.Greeter") && error.contains("id"), "{error}");
    let twice = Server::builder().serve(GreeterServer::new(Polite)).serve(GreeterServer::new(Polite));
    assert!(twice.listen("tcp://127.0.0.1:0").await.is_err());
    assert_eq!(GreeterServer::<Polite>::INFO.name(), "test.Greeter");
}
