//! Canned responses: of a server, and of a client that is called back.

use futures_util::stream;
use muxado_rpc::{CallError, Code, Codec, Peer, Status, Stream, Streaming};
use serde_json::json;

use crate::{
    program::{Running, Scratch, run, start},
    shop::{self, CustomerClient, Refused},
};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/canned.json");
const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

// What a program is written against, whose server is not there yet.

#[muxado_rpc::service]
trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn divide(&self, a: f64, b: f64) -> Result<f64, Status>;
    async fn power(&self, a: i64) -> i64;
}

#[muxado_rpc::service]
trait Log {
    async fn follow(&self) -> impl Stream<Item = String>;
}

#[muxado_rpc::service]
trait Adder {
    async fn sum(&self, numbers: Streaming<u32>) -> u32;
}

#[muxado_rpc::service(id = 77)]
trait Chat {
    async fn talk(&self, lines: Streaming<String>) -> impl Stream<Item = String>;
}

#[muxado_rpc::service]
trait Flaky {
    async fn get(&self) -> Result<bytes::Bytes, Status>;
}

/// Serves a file. Returns the program and its address.
async fn serve(file: &str, args: &[&str]) -> (Running, String) {
    let mut program = start(&[&["serve", file, "--listen", "tcp://127.0.0.1:0"], args].concat());
    let line = program.line().await;
    let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
    (program, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_tried_without_its_server_in_all_shapes_and_codecs() {
    for codec in CODECS {
        let (_program, address) = serve(EXAMPLE, &[]).await;
        let peer = muxado_rpc::connect(&*address).await.unwrap();
        let calculator = CalculatorClient::new(peer.channel()).with_codec(codec);
        assert_eq!(calculator.add(1, 2).await, Ok(3));
        let response = calculator.divide(5.0, 2.0).with_response().await;
        assert_eq!(response.metadata().get("rounded"), Some("no"));
        assert_eq!(response.into_result(), Ok(2.5));
        let status: Status = calculator.divide(5.0, 0.0).await.unwrap_err().into();
        assert_eq!((status.code(), status.message()), (Code::OutOfRange, "by zero"));
        let status: Status = calculator.power(1).await.unwrap_err().into();
        assert_eq!((status.code(), status.may_have_executed()), (Code::Unimplemented, false));
        assert!(status.message().contains("no canned response for Calculator/power"), "{status}");

        let mut log = LogClient::new(peer.channel()).with_codec(codec).follow().await.unwrap();
        assert_eq!(log.try_next().await, Ok(Some("first".to_owned())));
        assert_eq!(log.try_next().await, Ok(Some("second".to_owned())));
        let status: Status = log.try_next().await.unwrap_err().into();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "moved"));

        let adder = AdderClient::new(peer.channel()).with_codec(codec);
        assert_eq!(adder.sum(stream::iter([1, 2, 3])).await, Ok(6));

        let chat = ChatClient::new(peer.channel()).with_codec(codec);
        let mut talk = chat.talk(stream::iter(["a", "b"].map(str::to_owned))).await.unwrap();
        let mut heard = Vec::new();
        while let Some(line) = talk.try_next().await.unwrap() {
            heard.push(line);
        }
        assert_eq!(heard, ["heard", "heard", "bye"]);

        let customer = CustomerClient::new(peer.channel()).with_codec(codec);
        assert_eq!(customer.answer("name?".to_owned()).await, Ok("Eve".to_owned()));
        let refused = customer.answer("age?".to_owned()).await.unwrap_err();
        assert_eq!(refused, CallError::App(Refused::NotToYou { name: "Eve".to_owned() }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_for_some_calls_lets_a_client_try_again() {
    let (_program, address) = serve(EXAMPLE, &[]).await;
    let peer = muxado_rpc::connect(&*address).await.unwrap();
    let flaky = FlakyClient::new(peer.channel());
    let mut outcomes = Vec::new();
    for codec in [Codec::Json, Codec::MessagePack, Codec::Json, Codec::MessagePack] {
        let got = flaky.clone().with_codec(codec).get().await;
        outcomes.push(got.map_err(|error| Status::from(error).code()));
    }
    let hello = || Ok(bytes::Bytes::from_static(b"hello"));
    assert_eq!(outcomes, [Err(Code::Unavailable), Err(Code::Unavailable), hello(), hello()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bidirectional_stream_is_answered_item_by_item() {
    let (_program, address) = serve(EXAMPLE, &[]).await;
    let peer = muxado_rpc::connect(&*address).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let lines = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    let mut talk = ChatClient::new(peer.channel()).talk(lines).await.unwrap();
    for _ in 0..3 {
        sender.send("hello".to_owned()).await.unwrap();
        assert_eq!(talk.try_next().await, Ok(Some("heard".to_owned())));
    }
    drop(sender);
    assert_eq!(talk.try_next().await, Ok(Some("bye".to_owned())));
    assert_eq!(talk.try_next().await, Ok(None));
}

/// The program calls itself: what is in the file is listed, described and called as that of any server.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_canned_is_listed_and_called_by_the_program() {
    let (_program, address) = serve(EXAMPLE, &["--listen", "tcp://localhost:0"]).await;
    let list = run(&["list", &address]).await;
    for service in ["Adder", "Calculator", "Chat", "Log"] {
        assert!(list.stdout.contains(service), "{list:?}");
    }
    let add = run(&["call", &address, "Calculator/add", "-d", r#"{"a": 1, "b": 2}"#]).await;
    assert_eq!((add.code(), add.json()), (0, json!(3)), "{add:?}");
    let talk = run(&["call", &address, "Chat/talk", "-d", r#""a" "b""#]).await;
    assert_eq!((talk.code(), &*talk.stdout), (0, "\"heard\"\n\"heard\"\n\"bye\"\n"), "{talk:?}");
    let divide = run(&["call", &address, "Calculator/divide", "-d", r#"{"a": 1, "b": 0}"#]).await;
    assert_eq!(divide.code(), 64 + 11, "{divide:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_called_back_and_answers_from_the_file() {
    let (_server, address, _) = shop::open().await;
    for codec in ["json", "msgpack"] {
        let call = async |question: &str, args: &[&str]| {
            let data = json!({"question": question}).to_string();
            run(&[&["call", &*address, "Shop/ask", "-d", &data, "--codec", codec], args].concat()).await
        };
        let name = call("name?", &["--serve", EXAMPLE]).await;
        assert_eq!((name.code(), name.json()), (0, json!("Eve")), "{name:?}");
        let age = call("age?", &["--serve", EXAMPLE, "-v"]).await;
        assert_eq!((age.code(), age.json()), (0, json!("Eve refused")), "{age:?}");
        assert!(
            age.stderr.contains(r#"Customer/answer {"question":"age?"}: answered with its error"#),
            "{age:?}"
        );
        let nobody = call("name?", &[]).await;
        assert_eq!(nobody.code(), 64 + 12, "{nobody:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_is_called_back_too() {
    let (_server, address, _) = shop::open().await;
    let data = r#"{"question": "name?"}"#;
    let args = ["--calls", "50", "--warm-up", "0", "-c", "2", "--serve", EXAMPLE, "--json"];
    let figures = run(&[&["bench", &*address, "Shop/ask", "-d", data][..], &args].concat()).await.json();
    assert_eq!(figures["statuses"], json!({"ok": 50}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_is_refused_with_the_place() {
    let (_server, address, counts) = shop::open().await;
    let file = Scratch::with("wrong.json", r#"{"Shop/echo": {"error": {"code": "not_fuond"}}}"#);
    let said = format!(
        "{}: Shop/echo.error.code: there is no code `not_fuond`; did you mean `not_found`?",
        file.path()
    );
    let called = ["call", &*address, "Shop/echo", "-d", r#"["a"]"#, "--serve", file.path()];
    for args in [&["serve", file.path()][..], &called] {
        let run = run(args).await;
        assert_eq!(run.code(), 2, "{run:?}");
        assert!(run.stderr.contains(&said) && run.stdout.is_empty(), "{run:?}");
    }
    let missing = run(&["serve", "/nowhere/canned.json"]).await;
    assert!(missing.code() == 2 && missing.stderr.contains("/nowhere/canned.json: "), "{missing:?}");
    assert_eq!(*counts.calls.borrow(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_canned_responses_ends_with_a_signal() {
    let (program, address) = serve(EXAMPLE, &["-v"]).await;
    let peer = Peer::builder().connect(&*address).await.unwrap();
    assert_eq!(CalculatorClient::new(peer.channel()).add(1, 2).await, Ok(3));
    program.interrupt().await;
    let run = program.finish().await;
    assert_eq!(run.code(), 130, "{run:?}");
    assert!(run.stderr.contains(r#"Calculator/add {"a":1,"b":2}: answered"#), "{run:?}");
}
