//! Old and new versions of one service against each other (`PROTOCOL §10.12`): in both codecs, served
//! and called from either end of a connection.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod new;
mod old;

use std::fmt::Debug;

use futures_util::stream;
use muxado_rpc::{
    AppError, CallError, CallService, Channel, Code, Codec, NamedService, Origin, Peer, RegistrationError,
    Server, Status,
};
use tokio::io::duplex;

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

/// Two ends of a connection that both serve the service, and a channel from each end, twice.
struct Ends {
    peers: [Peer; 2],
}

impl Ends {
    fn serving<S: CallService + NamedService + Sync>(service: S) -> Self {
        let (near, far) = duplex(64 * 1024);
        let near = Peer::builder().serve(service.clone()).client(near).unwrap();
        let far = Peer::builder().serve(service).server(far).unwrap();
        Self { peers: [near, far] }
    }

    fn channels(&self) -> impl Iterator<Item = (Channel, Codec)> {
        self.peers.iter().flat_map(|peer| CODECS.map(|codec| (peer.channel(), codec)))
    }
}

/// Old callers, once per codec and direction, of a new server.
fn old_callers() -> (Ends, Vec<old::LibraryClient>) {
    let ends = Ends::serving(new::LibraryServer::new(new::Shelves));
    let clients = ends.channels().map(|(channel, codec)| old::LibraryClient::new(channel).with_codec(codec));
    let clients = clients.collect();
    (ends, clients)
}

/// New callers, once per codec and direction, of an old server.
fn new_callers() -> (Ends, Vec<new::LibraryClient>) {
    let ends = Ends::serving(old::LibraryServer::new(old::Shelves));
    let clients = ends.channels().map(|(channel, codec)| new::LibraryClient::new(channel).with_codec(codec));
    let clients = clients.collect();
    (ends, clients)
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// The code of a call that fails, on a connection that goes on.
fn code<T: Debug, E: Debug + AppError>(result: Result<T, CallError<E>>) -> Code {
    result.unwrap_err().code()
}

#[tokio::test]
async fn an_added_parameter_has_its_default_or_is_ignored() {
    let (_ends, clients) = old_callers();
    for client in clients {
        assert_eq!(client.find(text("Emma")).await, Ok(text("Emma false")));
        assert_eq!(client.first().await, Ok(text("first of 0")));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        assert_eq!(client.find(text("Emma"), true).await, Ok(text("Emma")));
        assert_eq!(client.first(3).await, Ok(text("first")));
    }
}

#[tokio::test]
async fn a_removed_parameter_is_ignored_or_has_its_default() {
    let (_ends, clients) = old_callers();
    for client in clients {
        assert_eq!(client.order(text("Emma"), 2).await, Ok(text("Emma")));
        assert_eq!(client.lend(text("Emma"), text("Ada")).await, Ok(text("Emma")));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        assert_eq!(client.order(text("Emma")).await, Ok(text("0 of Emma")));
        let status = Status::from(client.lend(text("Emma")).await.unwrap_err());
        assert_eq!((status.code(), status.origin()), (Code::InvalidArgument, Origin::Peer));
        assert!(status.message().contains("missing field `to`"), "{status}");
        assert_eq!(client.find(text("Emma"), true).await, Ok(text("Emma")));
    }
}

#[tokio::test]
async fn a_renamed_parameter_needs_an_alias() {
    let (_ends, clients) = old_callers();
    for client in clients {
        assert_eq!(client.lend_to(text("Ada")).await, Ok(text("Ada")));
    }
    // Old servers want the old name: the new caller is too early.
    let (_ends, clients) = new_callers();
    for client in clients {
        assert_eq!(code(client.lend_to(text("Ada")).await), Code::InvalidArgument);
        assert_eq!(client.find(text("Emma"), true).await, Ok(text("Emma")));
    }
}

#[tokio::test]
async fn a_renamed_parameter_may_keep_its_name_on_the_wire() {
    #[muxado_rpc::service(name = "Library")]
    trait Renamed {
        async fn lend_to(&self, #[serde(rename = "to")] reader: String) -> String;
    }
    struct Desk;
    impl Renamed for Desk {
        async fn lend_to(&self, reader: String) -> String {
            reader
        }
    }
    let ends = Ends::serving(old::LibraryServer::new(old::Shelves));
    for (channel, codec) in ends.channels() {
        assert_eq!(RenamedClient::new(channel).with_codec(codec).lend_to(text("Ada")).await, Ok(text("Ada")));
    }
    let ends = Ends::serving(RenamedServer::new(Desk));
    for (channel, codec) in ends.channels() {
        let client = old::LibraryClient::new(channel).with_codec(codec);
        assert_eq!(client.lend_to(text("Ada")).await, Ok(text("Ada")));
    }
}

#[tokio::test]
async fn fields_come_and_go_and_numbers_widen() {
    let (_ends, clients) = old_callers();
    for client in clients {
        let book = old::Book { title: text("Emma"), pages: 474 };
        assert_eq!(client.add(book.clone()).await, Ok(book));
        assert_eq!(client.weigh(u32::MAX).await, Ok(u32::MAX));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        let book = |pages| new::Book { author: Some(text("Austen")), title: text("Emma"), pages };
        let without_author = new::Book { author: None, ..book(474) };
        assert_eq!(client.add(book(474)).await, Ok(without_author));
        assert_eq!(code(client.add(book(1 << 40)).await), Code::InvalidArgument);
        assert_eq!(client.weigh(7).await, Ok(7));
        assert_eq!(code(client.weigh(1 << 40).await), Code::InvalidArgument);
        assert_eq!(client.weigh(8).await, Ok(8));
    }
}

#[tokio::test]
async fn an_unknown_variant_fails_its_call_only() {
    let (_ends, clients) = old_callers();
    for client in clients {
        let status = Status::from(client.kind(old::Kind::Novel).await.unwrap_err());
        assert_eq!((status.code(), status.origin()), (Code::Internal, Origin::Local));
        let poem = old::Kind::Poem { lines: 14 };
        assert_eq!(client.kind(poem.clone()).await, Ok(poem));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        let comic = new::Kind::Comic { pictures: 9 };
        assert_eq!(code(client.kind(comic).await), Code::InvalidArgument);
        assert_eq!(client.kind(new::Kind::Novel).await, Ok(new::Kind::Novel));
    }
}

#[tokio::test]
async fn a_variant_for_all_others_stands_for_unknown_ones() {
    let (_ends, clients) = old_callers();
    for client in clients {
        assert_eq!(client.shelf(old::Shelf::Left).await, Ok(old::Shelf::Elsewhere));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        // The old server's `Elsewhere` is no name that a new one knows.
        assert_eq!(code(client.shelf(new::Shelf::Right).await), Code::Internal);
        assert_eq!(client.shelf(new::Shelf::Left).await, Ok(new::Shelf::Left));
    }
}

#[tokio::test]
async fn an_unknown_error_is_a_status_with_its_code() {
    let (_ends, clients) = old_callers();
    for client in clients {
        let missing = old::Trouble::Missing { title: text("Emma") };
        assert_eq!(client.fail(false).await, Err(CallError::App(missing)));
        let CallError::Status(status) = client.fail(true).await.unwrap_err() else { panic!("no status") };
        assert_eq!((status.code(), status.origin()), (new::LENT, Origin::Peer));
        assert_eq!(status.details(), Some(new::Trouble::Lent { to: text("Ada") }));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        let missing = new::Trouble::Missing { title: text("Emma") };
        assert_eq!(client.fail(true).await, Err(CallError::App(missing)));
        assert_eq!(AppError::code(&old::Trouble::Missing { title: text("") }), old::MISSING);
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let (_ends, clients) = old_callers();
    for client in clients {
        let status = Status::from(client.burn().await.unwrap_err());
        assert_eq!((status.code(), status.origin()), (Code::Unimplemented, Origin::Peer));
        assert!(status.message().contains("Library has no method \"burn\""), "{status}");
        assert!(!status.may_have_executed());
        assert_eq!(client.titles().await.map(|titles| titles.len()), Ok(2));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        // A new caller can do without what an old server has not.
        let error = client.catalogue().await.unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::Unimplemented, false));
        #[expect(deprecated, reason = "it is what old servers have")]
        let titles = client.names().await;
        assert_eq!(titles, Ok(vec![text("Emma")]));
    }
}

#[tokio::test]
async fn another_shape_under_the_same_name_is_an_error_of_the_call() {
    let (_ends, clients) = old_callers();
    for client in clients {
        assert_eq!(code(client.pages().await), Code::Internal);
        // What does not take the items any more answers without them.
        assert_eq!(client.read(stream::iter([1, 2])).await, Ok(7));
        assert_eq!(client.titles().await.map(|titles| titles.len()), Ok(2));
    }
    let (_ends, clients) = new_callers();
    for client in clients {
        let mut pages = client.pages().await.unwrap();
        assert_eq!(pages.try_next().await.unwrap_err().code(), Code::Internal);
        assert_eq!(code(client.read().await), Code::DataLoss);
        assert_eq!(client.find(text("Emma"), true).await, Ok(text("Emma")));
    }
}

/// Services that are known by a number, whatever they are called.
mod numbered {
    #[muxado_rpc::service(id = 7)]
    pub(crate) trait Before {
        async fn hello(&self) -> u32;
    }

    #[muxado_rpc::service(name = "another.name", id = 7)]
    pub(crate) trait After {
        async fn hello(&self) -> u32;
    }

    /// Has the id of `Library` by its own will.
    #[muxado_rpc::service(id = 0xA853_2270)]
    pub(crate) trait Intruder {
        async fn hello(&self) -> u32;
    }

    pub(crate) struct Seven;

    impl Before for Seven {
        async fn hello(&self) -> u32 {
            1
        }
    }

    impl After for Seven {
        async fn hello(&self) -> u32 {
            2
        }
    }

    impl Intruder for Seven {
        async fn hello(&self) -> u32 {
            3
        }
    }
}

#[tokio::test]
async fn a_service_with_an_id_may_be_renamed() {
    let ends = Ends::serving(numbered::AfterServer::new(numbered::Seven));
    for (channel, codec) in ends.channels() {
        assert_eq!(numbered::BeforeClient::new(channel).with_codec(codec).hello().await, Ok(2));
    }
    let ends = Ends::serving(numbered::BeforeServer::new(numbered::Seven));
    for (channel, codec) in ends.channels() {
        assert_eq!(numbered::AfterClient::new(channel).with_codec(codec).hello().await, Ok(1));
    }
}

#[tokio::test]
async fn two_services_of_one_id_are_not_served_together() {
    let library = old::LibraryServer::new(old::Shelves);
    let intruder = numbered::IntruderServer::new(numbered::Seven);
    let id = <old::LibraryServer<old::Shelves> as NamedService>::INFO.id();
    assert_eq!(<numbered::IntruderServer<numbered::Seven> as NamedService>::INFO.id(), id);
    let expected = RegistrationError::DuplicateId { id, first: "Library", second: "Intruder" };

    let (io, _other) = duplex(1024);
    let builder = Peer::builder().serve(library.clone()).serve(intruder.clone());
    assert_eq!(builder.client(io).unwrap_err(), expected);
    let (io, _other) = duplex(1024);
    let builder = Peer::builder().serve(library.clone()).serve(intruder.clone());
    assert_eq!(builder.server(io).unwrap_err(), expected);
    let builder = Server::builder().serve(library).serve(intruder);
    let error = builder.listen("tcp://127.0.0.1:0").await.unwrap_err();
    assert_eq!(error.to_string(), expected.to_string());
    assert!(error.to_string().contains("#[service(id = 7)]"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unimplemented() {
    let ends = Ends::serving(old::LibraryServer::new(old::Shelves));
    for (channel, codec) in ends.channels() {
        let stranger = numbered::BeforeClient::new(channel.clone()).with_codec(codec);
        assert_eq!(code(stranger.hello().await), Code::Unimplemented);
        let library = old::LibraryClient::new(channel).with_codec(codec);
        assert_eq!(library.first().await, Ok(text("first")));
    }
}
