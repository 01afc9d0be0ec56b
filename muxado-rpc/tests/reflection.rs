//! A peer says what it serves, to those who may see it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{
    Access, BoxError, BoxIo, CallHead, Code, Context, Handshake, Limits, Peer, PeerInfo, ReflectionClient,
    Router, Server, ServerBuilder, ServiceId, ServiceSchema, Shape, Socket, Status, Stream, Streaming,
    layers::AuthLayer, testing,
};
use serde_json::{Value, json};
use support::{WorkServer, Worker};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream};

/// Every shape and option.
#[muxado_rpc::service(name = "test.Shapes", id = 4711)]
trait Shapes {
    #[method(idempotent, timeout_ms = 500)]
    async fn unary(&self, a: u8) -> u8;
    #[method(no_cancel)]
    async fn sum(&self, numbers: Streaming<u8>) -> u8;
    async fn count(&self, cx: &Context, to: u8) -> impl Stream<Item = u8>;
    #[method(name = "echo")]
    async fn both(&self, numbers: Streaming<u8>) -> impl Stream<Item = u8>;
}

struct Plain;

impl Shapes for Plain {
    async fn unary(&self, a: u8) -> u8 {
        a
    }

    async fn sum(&self, mut numbers: Streaming<u8>) -> u8 {
        let mut sum = 0;
        while let Ok(Some(number)) = numbers.try_next().await {
            sum += number;
        }
        sum
    }

    async fn count(&self, _cx: &Context, to: u8) -> impl Stream<Item = u8> {
        futures_util::stream::iter(0..to)
    }

    async fn both(&self, _numbers: Streaming<u8>) -> impl Stream<Item = u8> {
        futures_util::stream::empty()
    }
}

/// What the side that connects serves.
#[muxado_rpc::service]
trait Screen {
    async fn show(&self, line: &str);
}

impl Screen for Plain {
    async fn show(&self, _line: &str) {}
}

fn serving() -> muxado_rpc::PeerBuilder {
    // Services that are added later are described as well.
    Peer::builder().serve(WorkServer::new(Worker::default())).reflection().serve(ShapesServer::new(Plain))
}

async fn names(reflection: &ReflectionClient) -> Vec<String> {
    reflection.services().await.unwrap().into_iter().map(|service| service.name).collect()
}

#[tokio::test(start_paused = true)]
async fn services_are_listed_and_described_without_schemas() {
    let (near, _far) = testing::pair(Peer::builder(), serving()).unwrap();
    let reflection = ReflectionClient::new(near.channel());
    assert_eq!(names(&reflection).await, ["Work", "muxado.Reflection", "test.Shapes"]);
    let shapes = reflection.describe("test.Shapes").await.unwrap();
    assert_eq!((shapes.version, shapes.id.as_u32(), shapes.has_schemas()), (1, 4711, false));
    let found: Vec<_> = shapes.methods.iter().map(|method| (&*method.name, method.shape)).collect();
    let expected = [
        ("unary", Shape::Unary),
        ("sum", Shape::ClientStreaming),
        ("count", Shape::ServerStreaming),
        ("echo", Shape::Bidirectional),
    ];
    assert_eq!(found, expected);
    let [unary, sum, ..] = &shapes.methods[..] else { panic!("{shapes:?}") };
    assert_eq!((unary.idempotent, unary.timeout_ms, unary.no_cancel), (true, Some(500), false));
    assert_eq!((sum.idempotent, sum.timeout_ms, sum.no_cancel), (false, None, true));
    assert_eq!(unary.params, None);
    assert_eq!(reflection.describe_all().await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_server_describes_its_clients_as_they_describe_it() {
    let client = Peer::builder().serve(ScreenServer::new(Plain)).reflection();
    let (near, far) = testing::pair(client, serving()).unwrap();
    assert_eq!(names(&ReflectionClient::new(far.channel())).await, ["Screen", "muxado.Reflection"]);
    assert_eq!(names(&ReflectionClient::new(near.channel())).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_peer_says_version_codecs_and_limits() {
    let limits = Limits::default().max_message_size(5000).max_in_flight(7);
    let (near, _far) = testing::pair(Peer::builder(), serving().limits(limits)).unwrap();
    let peer = ReflectionClient::new(near.channel()).peer().await.unwrap();
    assert_eq!((peer.version, &peer.codecs[..]), (1, &["json".to_owned(), "messagepack".to_owned()][..]));
    assert_eq!(peer.implementation, concat!("muxado-rpc ", env!("CARGO_PKG_VERSION")));
    assert_eq!((peer.limits.max_message_size, peer.limits.max_in_flight), (Some(5000), Some(7)));
    assert_eq!(peer.limits.first_byte_timeout_ms, Some(10_000));
    assert!(peer.transports.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_reflection_there_is_no_such_service() {
    let (near, _far) = testing::pair(Peer::builder(), Peer::builder()).unwrap();
    let reflection = ReflectionClient::new(near.channel());
    assert_eq!(reflection.peer().await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(reflection.services().await.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(reflection.describe("Work").await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_there_is_an_error_that_says_what_is() {
    let (near, _far) = testing::pair(Peer::builder(), serving()).unwrap();
    let status = ReflectionClient::new(near.channel()).describe("Wrok\n").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "no service `Wrok\\n` here; served: Work, muxado.Reflection, test.Shapes");
}

/// The first byte is the identity.
struct Letter;

#[async_trait::async_trait]
impl Handshake for Letter {
    async fn accept(&self, mut socket: Socket, peer: &mut PeerInfo) -> Result<BoxIo, BoxError> {
        peer.set_identity(char::from(socket.read_u8().await?).to_string());
        Ok(Box::new(socket))
    }
}

fn hiding() -> ServerBuilder {
    let builder = Server::builder().serve(WorkServer::new(Worker::default()));
    builder.serve(ShapesServer::new(Plain)).reflection().handshake(Letter).access(|peer| {
        match peer.identity() {
            Some("a") => Access::all(),
            Some("w") => {
                Access::only(|service| ["Work", ReflectionClient::SERVICE].contains(&service.name()))
            }
            _ => Access::only(|service| service.name() == "Work"),
        }
    })
}

async fn connect(server: &Server, letter: u8) -> Peer {
    let mut socket = TcpStream::connect(server.local_addr().socket_addr().unwrap()).await.unwrap();
    socket.write_u8(letter).await.unwrap();
    Peer::builder().client(socket).unwrap()
}

#[tokio::test]
async fn what_access_hides_is_not_named() {
    let server = hiding().listen("tcp://127.0.0.1:0").await.unwrap();
    let all = connect(&server, b'a').await;
    let reflection = ReflectionClient::new(all.channel());
    assert_eq!(names(&reflection).await, ["Work", "muxado.Reflection", "test.Shapes"]);
    assert_eq!(reflection.peer().await.unwrap().transports, ["tcp"]);

    let part = connect(&server, b'w').await;
    let reflection = ReflectionClient::new(part.channel());
    assert_eq!(names(&reflection).await, ["Work", "muxado.Reflection"]);
    let hidden = reflection.describe("test.Shapes").await.unwrap_err().to_string();
    let absent = reflection.describe("test.Shades").await.unwrap_err().to_string();
    assert_eq!(hidden, absent.replace("Shades", "Shapes"));

    // Who may not ask learns no more than of any service that is not there.
    let none = connect(&server, b'n').await;
    let status = ReflectionClient::new(none.channel()).services().await.unwrap_err();
    assert_eq!((status.code(), status.message().contains("Shapes")), (Code::Unimplemented, false));
    assert!(!status.message().contains("Reflection"), "{status}");
}

#[tokio::test(start_paused = true)]
async fn checks_and_layers_hold_for_reflection() {
    let check = |call: &mut CallHead<'_>| match call.metadata().get("token") {
        Some("sesame") => Ok(()),
        _ => Err(Status::unauthenticated("a token is needed")),
    };
    let (near, _far) = testing::pair(Peer::builder(), serving().authorize(check)).unwrap();
    let refused = ReflectionClient::new(near.channel()).services().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "a token is needed"));
    let call = near.channel().call_raw(ReflectionClient::SERVICE, "services").metadata("token", "sesame");
    assert_eq!(call.items::<Value>().await.unwrap().try_next().await.unwrap().unwrap()["name"], "Work");

    let layered = serving().layer(AuthLayer::new(|_: &mut muxado_rpc::Request| {
        std::future::ready(Err::<(), _>(Status::permission_denied("nobody may")))
    }));
    let (near, _far) = testing::pair(Peer::builder(), layered).unwrap();
    let refused = ReflectionClient::new(near.channel()).describe("Work").await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "nobody may"));
}

/// A description that is larger than a message may be.
macro_rules! large {
    ($($method:ident)*) => {
        #[muxado_rpc::service]
        trait Large {
            $(#[method(idempotent)] async fn $method(&self);)*
        }

        impl Large for Plain {
            $(async fn $method(&self) {})*
        }
    };
}

large! {
    method_with_a_long_name_1 method_with_a_long_name_2 method_with_a_long_name_3 method_with_a_long_name_4
    method_with_a_long_name_5 method_with_a_long_name_6 method_with_a_long_name_7 method_with_a_long_name_8
    method_with_a_long_name_9 method_with_a_long_name_10 method_with_a_long_name_11 method_with_a_long_name_12
    method_with_a_long_name_13 method_with_a_long_name_14 method_with_a_long_name_15 method_with_a_long_name_16
}

#[tokio::test(start_paused = true)]
async fn a_description_may_be_larger_than_a_message() {
    let small = || Limits::default().max_message_size(1024);
    let far = Peer::builder().serve(LargeServer::new(Plain)).reflection().limits(small());
    let (near, _far) = testing::pair(Peer::builder().limits(small()), far).unwrap();
    let large = ReflectionClient::new(near.channel()).describe("Large").await.unwrap();
    assert_eq!(large.methods.len(), 16);
    assert!(serde_json::to_vec(&large).unwrap().len() > 1024);
}

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");

/// The exchanges in PROTOCOL §10.14: a request, and what comes back.
fn exchanges() -> Vec<(String, String)> {
    let (_, section) = PROTOCOL.split_once("### 10.14 Reflection\n").unwrap();
    let example = section.split("```").nth(1).unwrap().trim_start_matches("text\n");
    let lines = |text: &str, mark: &str| {
        let lines = text.lines().filter_map(|line| Some(format!("{}\n", line.strip_prefix(mark)?)));
        lines.filter(|line| line.starts_with('{')).collect::<String>()
    };
    example.split("\n\n").map(|exchange| (lines(exchange, "> "), lines(exchange, "< "))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_knows_plain_json_only_calls_it_as_the_protocol_says() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let _peer = Peer::builder().serve(ScreenServer::new(Plain)).reflection().server(far).unwrap();
    let (session, driver) = Session::client(near, Config::default());
    tokio::spawn(driver);
    let session = TypedSession::new(session);
    assert_eq!(exchanges().len(), 3);
    for (request, answer) in exchanges() {
        let mut stream = session.open_typed(StreamType::new(0x34E5_98F0)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut found = String::new();
        stream.read_to_string(&mut found).await.unwrap();
        assert_eq!(found, answer);
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_in_the_same_process_has_it() {
    let router = Router::new().reflection().unwrap().add(ScreenServer::new(Plain)).unwrap();
    let reflection = ReflectionClient::new(router);
    assert_eq!(reflection.describe("Screen").await.unwrap().methods[0].name, "show");
    assert_eq!(reflection.peer().await.unwrap().limits.max_message_size, None);
}

#[tokio::test(start_paused = true)]
async fn it_is_there_once() {
    let error = Router::new().reflection().unwrap().reflection().unwrap_err();
    assert!(error.to_string().contains("services `muxado.Reflection` and `muxado.Reflection`"), "{error}");
    let error = testing::pair(Peer::builder(), serving().reflection()).unwrap_err();
    assert!(error.to_string().contains("muxado.Reflection"), "{error}");
}

/// A peer that says what it likes.
#[muxado_rpc::service(name = "muxado.Reflection")]
trait Liar {
    async fn services(&self) -> impl Stream<Item = Value>;
    async fn describe(&self, service: String) -> impl Stream<Item = Value>;
}

struct Parts;

impl Liar for Parts {
    async fn services(&self) -> impl Stream<Item = Value> {
        futures_util::stream::iter((0..).map(|id: u32| json!({"name": "S", "id": id})))
    }

    async fn describe(&self, service: String) -> impl Stream<Item = Value> {
        let service_part = json!({"service": {"name": "S", "id": 7, "methods": [], "colour": "red"}});
        let parts: Box<dyn Iterator<Item = Value> + Send> = match &*service {
            "later" => Box::new(
                [service_part, json!({"picture": 1}), json!({"method": {"name": "m", "shape": "round"}})]
                    .into_iter(),
            ),
            "headless" => Box::new([json!({"method": {"name": "m", "shape": "unary"}})].into_iter()),
            "empty" => Box::new(std::iter::empty()),
            _ => {
                let text = "x".repeat(1 << 20);
                let huge = (0..).map(move |n: u32| {
                    json!({"definition": {"name": n.to_string(), "schema": {"description": text}}})
                });
                Box::new(std::iter::once(service_part).chain(huge))
            }
        };
        futures_util::stream::iter(parts)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_says_is_taken_within_bounds() {
    let (near, _far) = testing::pair(Peer::builder(), Peer::builder().serve(LiarServer::new(Parts))).unwrap();
    let reflection = ReflectionClient::new(near.channel());
    let later = reflection.describe("later").await.unwrap();
    assert_eq!((later.methods[0].shape, later.definitions.len()), (Shape::Unknown, 0));
    for name in ["headless", "empty"] {
        assert_eq!(reflection.describe(name).await.unwrap_err().code(), Code::Internal, "{name}");
    }
    let endless = reflection.describe("endless").await.unwrap_err();
    assert_eq!(endless.code(), Code::ResourceExhausted, "{endless}");
    let many = reflection.services().await.unwrap_err();
    assert_eq!(many.code(), Code::ResourceExhausted, "{many}");
}

#[tokio::test]
async fn a_relay_describes_what_is_behind_it_to_those_who_may_call_it() {
    let (upstream, _far) = testing::pair(Peer::builder(), serving()).unwrap();
    let behind = ReflectionClient::new(upstream.channel()).describe_all().await.unwrap();
    let relay = Router::new().describe_fallback(behind.clone()).fallback(upstream.channel());
    // What is here goes before what is behind.
    let relay = relay.reflection().unwrap().add(ScreenServer::new(Plain)).unwrap();
    let reflection = ReflectionClient::new(relay);
    let services: Vec<_> =
        reflection.services().await.unwrap().into_iter().map(|service| service.name).collect();
    assert_eq!(services, ["Screen", "Work", "muxado.Reflection", "test.Shapes"]);
    let shapes = behind.iter().find(|schema| schema.name == "test.Shapes").unwrap();
    assert_eq!(reflection.describe("test.Shapes").await.as_ref(), Ok(shapes));

    let hiding = hiding().describe_fallback([ServiceSchema::new("Secret", ServiceId::new(9))]);
    let server = hiding.fallback(upstream.channel()).listen("tcp://127.0.0.1:0").await.unwrap();
    let all = ReflectionClient::new(connect(&server, b'a').await.channel());
    assert!(names(&all).await.contains(&"Secret".to_owned()));
    let part = ReflectionClient::new(connect(&server, b'w').await.channel());
    assert_eq!(names(&part).await, ["Work", "muxado.Reflection"]);
}
