//! Calls that are refused by their heads: nothing is buffered for them, and no layer gives them a place.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use muxado::{Config, Session, StreamType, TypedSession, TypedStream};
use muxado_rpc::{
    CallHead, Code, Codec, Context, Limits, Peer, PeerBuilder, Request, ServiceId, Status, layers::AuthLayer,
};
use support::{WorkClient, WorkServer, Worker};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::sleep,
};
use tower::limit::GlobalConcurrencyLimitLayer;

#[muxado_rpc::service]
trait Secret {
    /// Who called, and the metadata that came along.
    async fn who(&self, cx: &Context, text: String) -> String;
    async fn forbidden(&self, text: String);
}

struct Safe;

impl Secret for Safe {
    async fn who(&self, cx: &Context, text: String) -> String {
        let User(user) = cx.extension::<User>().unwrap();
        format!("{user} with {} and {} bytes", cx.metadata().len(), text.len())
    }

    async fn forbidden(&self, _text: String) {
        panic!("it is served");
    }
}

struct User(String);

/// Lets those in who know the word, but for one method; counts how often it is asked.
fn guarded(asked: &Arc<AtomicUsize>) -> PeerBuilder {
    let asked = Arc::clone(asked);
    Peer::builder().serve(SecretServer::new(Safe)).serve(WorkServer::new(Worker::default())).authorize(
        move |call: &mut CallHead<'_>| {
            asked.fetch_add(1, Ordering::SeqCst);
            if call.metadata_mut().remove("token").as_deref() != Some("sesame") {
                return Err(Status::unauthenticated("a token is needed"));
            }
            if call.method().name() == "forbidden" {
                return Err(Status::permission_denied("not for you"));
            }
            call.extensions_mut().insert(User("Ali Baba".to_owned()));
            Ok(())
        },
    )
}

struct Rig {
    session: TypedSession,
    peer: Peer,
    asked: Arc<AtomicUsize>,
}

fn rig(limits: Limits) -> Rig {
    let (near, far) = duplex(64 * 1024);
    let asked = Arc::default();
    let peer = guarded(&asked).limits(limits).server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    Rig { session: TypedSession::new(session), peer, asked }
}

/// Lets the tasks of both ends come to rest.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

impl Rig {
    async fn begin(&self, bytes: &[u8]) -> TypedStream {
        let id = ServiceId::from_name("Secret").as_u32();
        let mut stream = self.session.open_typed(StreamType::new(id)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        settle().await;
        stream
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn held(&self) -> u64 {
        self.peer.call_stats().request_bytes
    }
}

async fn answer(stream: &mut TypedStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The first 10 000 bytes of a request of 100 000.
fn large(head: &[u8]) -> Vec<u8> {
    let mut bytes = 100_000_u32.to_be_bytes().to_vec();
    bytes.extend(head);
    bytes.extend(b"\x81\xa4text\xc5\xff\xff");
    bytes.resize(10_000, b'x');
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_refused_by_the_head_and_nothing_more_of_its_request_is_held() {
    let rig = rig(Limits::default());
    for head in [&b"\x92\xa3who"[..], b"\x93\xa3who\x81\xa8metadata\x81\xa5token\xa5wrong"] {
        let before = rig.asked();
        let mut stream = rig.begin(&large(head)).await;
        let said = answer(&mut stream).await;
        assert!(said.contains("unauthenticated") && said.contains("executed\u{fffd}"), "{said}");
        assert_eq!((rig.asked() - before, rig.held()), (1, 0));
    }
    let json =
        format!(r#"{{"method":"who","metadata":{{"token":"wrong"}},"params":{{"text":"{}"#, "x".repeat(9000));
    let said = answer(&mut rig.begin(json.as_bytes()).await).await;
    assert!(said.contains("unauthenticated") && said.contains(r#""executed":false"#), "{said}");
    assert_eq!((rig.asked(), rig.held(), rig.peer.call_stats().failed), (3, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn who_is_let_in_is_asked_once_and_served_with_what_was_found_out() {
    let rig = rig(Limits::default());
    let text = "x".repeat(20_000);
    let json = format!(
        r#"{{"method":"who","metadata":{{"token":"sesame","k":"v"}},"params":{{"text":"{text}"}}}}{}"#,
        '\n'
    );
    let mut stream = rig.begin(&json.as_bytes()[..5000]).await;
    assert_eq!(rig.asked(), 1);
    assert!(rig.held() > 0);
    stream.write_all(&json.as_bytes()[5000..]).await.unwrap();
    assert_eq!(answer(&mut stream).await, "{\"ok\":\"Ali Baba with 1 and 20000 bytes\"}\n");
    assert_eq!(rig.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn our_clients_are_asked_once_whatever_the_size() {
    for codec in [Codec::Json, Codec::MessagePack] {
        let (near, far) = duplex(64 * 1024);
        let asked = Arc::default();
        let _far = guarded(&asked).server(far).unwrap();
        let near = Peer::builder().client(near).unwrap();
        let client =
            SecretClient::new(near.channel()).with_codec(codec).with_metadata([("token", "sesame")].into());
        for (calls, bytes) in [(1, 10), (2, 1 << 20)] {
            let said = client.who("x".repeat(bytes)).await.unwrap();
            assert_eq!(said, format!("Ali Baba with 0 and {bytes} bytes"));
            assert_eq!(asked.load(Ordering::SeqCst), calls);
        }
        let denied = Status::from(client.forbidden(String::new()).await.unwrap_err());
        assert_eq!((denied.code(), denied.may_have_executed()), (Code::PermissionDenied, false));
        let stranger = WorkClient::new(near.channel()).with_codec(codec);
        let refused = Status::from(stranger.echo("x".to_owned()).await.unwrap_err());
        assert_eq!((refused.code(), refused.may_have_executed()), (Code::Unauthenticated, false));
    }
}

#[tokio::test(start_paused = true)]
async fn another_method_behind_the_parameters_is_not_let_in_by_the_first() {
    let rig = rig(Limits::default());
    let head = b"\x84\xa6method\xa3who\xa8metadata\x81\xa5token\xa6sesame\xa6params\x81\xa4text\xda\x40\x00";
    let body = [&head[..], &[b'x'; 0x4000], b"\xa6method\xa9forbidden"].concat();
    let message = [&(body.len() as u32).to_be_bytes(), &body[..]].concat();
    let mut stream = rig.begin(&message[..1000]).await;
    assert_eq!(rig.asked(), 1);
    stream.write_all(&message[1000..]).await.unwrap();
    let said = answer(&mut stream).await;
    assert!(said.contains("permission_denied"), "{said}");
    assert_eq!(rig.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_metadata_come_last_strangers_have_a_part_of_the_memory() {
    let limits = Limits::default().max_message_size(64 * 1024).max_request_memory(1024 * 1024);
    let rig = rig(limits);
    let begin = format!(r#"{{"method":"who","params":{{"text":"{}"#, "x".repeat(30_000));
    let mut streams = Vec::new();
    loop {
        let mut stream = rig.begin(&begin.as_bytes()[..20_000]).await;
        if stream.write_all(&begin.as_bytes()[20_000..]).await.is_err() {
            break;
        }
        stream.flush().await.ok();
        settle().await;
        assert!(rig.held() <= 256 * 1024, "{}", rig.held());
        if rig.peer.call_stats().failed > 0 {
            let said = answer(&mut stream).await;
            assert!(
                said.contains("262144 bytes a connection (a quarter of Limits::max_request_memory)"),
                "{said}"
            );
            break;
        }
        streams.push(stream);
    }
    assert_eq!(rig.asked(), 0);
    // What is authorised has the rest.
    let good = large(b"\x93\xa3who\x81\xa8metadata\x81\xa5token\xa6sesame");
    let mut good = good;
    good[..4].copy_from_slice(&60_000_u32.to_be_bytes());
    let _held = rig.begin(&good).await;
    assert_eq!((rig.asked(), rig.peer.call_stats().failed), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_check_that_panics_refuses_the_call_and_no_more() {
    let (near, far) = duplex(64 * 1024);
    let builder = Peer::builder().serve(WorkServer::new(Worker::default())).authorize(|call| {
        assert!(call.method().name() != "hang", "a bug");
        Ok(())
    });
    let _far = builder.server(far).unwrap();
    let near = Peer::builder().client(near).unwrap();
    let client = WorkClient::new(near.channel());
    let status = Status::from(client.hang().await.unwrap_err());
    assert_eq!((status.code(), status.may_have_executed()), (Code::Internal, false));
    assert_eq!(client.echo("x".to_owned()).await.as_deref(), Ok("x"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_the_auth_layer_refuses_takes_no_place_of_a_limit_inside() {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let check = |request: &mut Request| {
        let token = request.metadata_mut().remove("token");
        async move { token.map(drop).ok_or_else(|| Status::unauthenticated("a token is needed")) }
    };
    let _far = Peer::builder()
        .layer(AuthLayer::new(check))
        .layer(GlobalConcurrencyLimitLayer::new(1))
        .serve(WorkServer::new(worker.clone()))
        .server(far)
        .unwrap();
    let near = Peer::builder().client(near).unwrap();
    let known = WorkClient::new(near.channel()).with_metadata([("token", "x")].into());
    let _hanging = tokio::spawn({
        let known = known.clone();
        async move { known.hang().await }
    });
    worker.until_hanging(1).await;
    let stranger = WorkClient::new(near.channel()).with_timeout(Duration::from_secs(1));
    let refused = Status::from(stranger.echo("x".to_owned()).await.unwrap_err());
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    // One that is known waits for the place.
    let waits = known.with_timeout(Duration::from_secs(1)).echo("x".to_owned()).await.unwrap_err();
    assert_eq!(Status::from(waits).code(), Code::DeadlineExceeded);
}
