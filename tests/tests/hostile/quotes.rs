//! Values of the wrong kind, as large as a message may be: what is said of them is short, escaped, and costs nothing.

use std::{collections::HashMap, fmt::Debug};

use allocation_counter::measure;
use muxado::{Config, Session, StreamType, TypedSession};
use muxado_rpc::{CallError, Codec, Origin, Peer, ServiceId, Status, Streaming};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    runtime::{Builder, Runtime},
};

/// Bytes of what a peer puts where something else is expected.
const LARGE: usize = 1 << 20;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Form {
    text: Option<String>,
    number: Option<u64>,
    signed: Option<i8>,
    real: Option<f32>,
    flag: Option<bool>,
    unit: Option<()>,
    list: Option<Vec<u8>>,
    pair: Option<(u8, u8)>,
    map: Option<HashMap<String, u8>>,
    flags: Option<HashMap<bool, u8>>,
    numbers: Option<HashMap<u32, u8>>,
    kind: Option<Kind>,
    tagged: Option<Tagged>,
    untagged: Option<Untagged>,
    inner: Option<Box<Form>>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Kind {
    Unit,
    Newtype(u8),
    Tuple(u8, u8),
    Struct { a: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "t")]
enum Tagged {
    A { a: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    List(Vec<u8>),
}

#[muxado_rpc::service]
trait Forms {
    async fn file(&self, form: Form) -> usize;
    async fn fetch(&self) -> Form;
    async fn check(&self) -> Result<u8, Kind>;
    async fn file_all(&self, forms: Streaming<Form>) -> Result<usize, Status>;
}

struct Clerk;

impl Forms for Clerk {
    async fn file(&self, form: Form) -> usize {
        form.text.map_or(0, |text| text.len())
    }

    async fn fetch(&self) -> Form {
        Form::default()
    }

    async fn check(&self) -> Result<u8, Kind> {
        Ok(0)
    }

    async fn file_all(&self, mut forms: Streaming<Form>) -> Result<usize, Status> {
        let mut count = 0;
        while forms.try_next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

/// A JSON string that is longer when it is quoted, and acts on a terminal.
fn large_json() -> String {
    format!("\"{}\"", "\\u001b[2J\u{202e}\\n".repeat(LARGE / 13))
}

fn large_packed() -> Vec<u8> {
    let text = "\u{1b}[2J\u{202e}\n".repeat(LARGE / 8);
    [&b"\xdb"[..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// Maps that have something large where something else is expected.
fn wrong_json() -> Vec<String> {
    let large = large_json();
    let mut wrong: Vec<_> = [
        "number", "signed", "real", "flag", "unit", "list", "pair", "map", "flags", "numbers", "kind",
        "tagged", "untagged", "inner",
    ]
    .iter()
    .map(|field| format!("{{\"{field}\":{large}}}"))
    .collect();
    wrong.extend(
        ["Unit", "Newtype", "Tuple", "Struct"].map(|kind| format!("{{\"kind\":{{\"{kind}\":{large}}}}}")),
    );
    wrong.extend([
        format!("{{{large}:1}}"),
        format!("{{\"kind\":{{{large}:1}}}}"),
        format!("{{\"flags\":{{{large}:1}}}}"),
        format!("{{\"numbers\":{{{large}:1}}}}"),
        format!("{{\"tagged\":{{\"t\":{large}}}}}"),
        format!("{{\"list\":[{large}]}}"),
        large,
    ]);
    wrong
}

fn wrong_packed() -> Vec<Vec<u8>> {
    let large = large_packed();
    let head = |text: &str| [&[0xA0 | text.len() as u8][..], text.as_bytes()].concat();
    let mut wrong: Vec<_> =
        ["number", "real", "flag", "unit", "list", "pair", "map", "kind", "tagged", "untagged", "inner"]
            .iter()
            .map(|field| [&b"\x81"[..], &head(field), &large].concat())
            .collect();
    for kind in ["Unit", "Newtype", "Tuple", "Struct"] {
        wrong.push([&b"\x81\xa4kind\x81"[..], &head(kind), &large].concat());
    }
    wrong.push([&b"\x81"[..], &large, b"\x01"].concat());
    wrong.push([&b"\x81\xa4kind\x81"[..], &large, b"\x01"].concat());
    wrong.push([&b"\x81\xa5flags\x81"[..], &large, b"\x01"].concat());
    wrong.push(large);
    wrong
}

fn framed(codec: Codec, message: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Json => [message, b"\n"].concat(),
        _ => [&(message.len() as u32).to_be_bytes()[..], message].concat(),
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime can be built")
}

/// The answer to these messages, and the most bytes that were allocated at a time until it was there.
fn answer_and_peak(messages: &[u8]) -> (String, u64) {
    let runtime = runtime();
    let mut answer = Vec::new();
    let counted = measure(|| {
        runtime.block_on(async {
            let (near, far) = duplex(1 << 20);
            let _peer = Peer::builder().serve(FormsServer::new(Clerk)).server(far).unwrap();
            let (session, driver) = Session::client(near, Config::default());
            tokio::spawn(driver);
            let forms = StreamType::new(ServiceId::from_name("Forms").as_u32());
            let stream = TypedSession::new(session).open_typed(forms).await.unwrap();
            let (mut send, mut receive) = stream.into_inner().into_split();
            let sending = async {
                // What is wrong at its beginning is not read to its end.
                let _ = send.write_all(messages).await;
                let _ = send.shutdown().await;
            };
            tokio::join!(sending, receive.read_to_end(&mut answer)).1.unwrap();
        });
    });
    (String::from_utf8_lossy(&answer).into_owned(), counted.bytes_max)
}

/// What a call comes to that is answered with this, and the most bytes until it was there.
fn status_and_peak<T, E, F>(codec: Codec, answer: &[u8], call: impl FnOnce(FormsClient) -> F) -> (Status, u64)
where
    T: Debug,
    E: Debug,
    F: Future<Output = Result<T, CallError<E>>>,
{
    let runtime = runtime();
    let mut status = None;
    let counted = measure(|| {
        runtime.block_on(async {
            let (near, far) = duplex(1 << 20);
            let (session, driver) = Session::server(far, Config::default());
            tokio::spawn(driver);
            let session = TypedSession::new(session);
            let peer = Peer::builder().client(near).unwrap();
            let client = FormsClient::new(peer.channel()).with_codec(codec);
            let serving = async {
                let mut stream = session.accept_typed().await.unwrap();
                stream.write_all(answer).await.unwrap();
                stream.shutdown().await.unwrap();
                stream
            };
            match tokio::join!(call(client), serving).0 {
                Err(CallError::Status(failed)) => status = Some(failed),
                other => panic!("no status: {other:?}"),
            }
        });
    });
    (status.expect("the call failed"), counted.bytes_max)
}

/// A text that says no more of a peer's words than it may, and nothing that acts on a terminal.
#[track_caller]
fn assert_short(text: &str) {
    assert!(text.len() <= 420, "{} bytes: {:?}", text.len(), &text[..420]);
    assert!(!text.contains(['\u{1b}', '\n', '\u{202e}']), "{text:?}");
}

/// A message in the buffer that it is gathered in, which may have grown, as it is on its way, and a text in it
/// without its escapes; and what two sessions hold.
const ROOM: u64 = 5 * LARGE as u64 + (1 << 20);

#[track_caller]
fn assert_cheap(peak: u64) {
    assert!(peak < ROOM, "{peak} bytes held at a time, {ROOM} are allowed");
}

fn check_request(codec: Codec, messages: &[u8]) {
    let (answer, peak) = answer_and_peak(messages);
    assert!(answer.contains("invalid_argument") || answer.contains("unimplemented"), "{answer:.400}");
    assert_short(answer.trim_start_matches(char::is_control).trim_end());
    assert_cheap(peak);
    let _ = codec;
}

#[test]
fn what_is_said_of_wrong_parameters_is_short() {
    for value in wrong_json() {
        let request = format!("{{\"method\":\"file\",\"params\":[{value}]}}");
        check_request(Codec::Json, &framed(Codec::Json, request.as_bytes()));
    }
    for value in wrong_packed() {
        let request = [&b"\x92\xa4file\x91"[..], &value].concat();
        check_request(Codec::MessagePack, &framed(Codec::MessagePack, &request));
    }
}

#[test]
fn what_is_said_of_a_wrong_request_is_short() {
    let (json, packed) = (large_json(), large_packed());
    for request in [
        format!("{{\"method\":\"file\",\"timeout_ms\":{json}}}"),
        format!("{{\"method\":\"file\",\"metadata\":{json}}}"),
        format!("{{\"method\":\"file\",\"metadata\":{{\"a\":[{json}]}}}}"),
        format!("{{\"method\":{json}}}"),
        format!("{{\"method\":[{json}]}}"),
        format!("{{\"method\":\"file\",\"params\":{json}}}"),
        format!("{{\"method\":\"file\"}} {json}"),
    ] {
        check_request(Codec::Json, &framed(Codec::Json, request.as_bytes()));
    }
    for request in [
        [&b"\x93\xa4file\x81\xaatimeout_ms"[..], &packed, b"\x80"].concat(),
        [&b"\x93\xa4file\x81\xa8metadata"[..], &packed, b"\x80"].concat(),
        [&b"\x92"[..], &packed, b"\x80"].concat(),
        [&b"\x92\xa4file"[..], &packed].concat(),
        [&b"\x92\xa4file\x80"[..], &packed].concat(),
    ] {
        check_request(Codec::MessagePack, &framed(Codec::MessagePack, &request));
    }
}

#[test]
fn what_is_said_of_a_wrong_item_is_short() {
    let (json, packed) = (large_json(), large_packed());
    let call = framed(Codec::Json, b"{\"method\":\"file_all\"}");
    let item = framed(Codec::Json, format!("{{\"item\":{{\"number\":{json}}}}}").as_bytes());
    check_request(Codec::Json, &[call, item].concat());
    let call = framed(Codec::MessagePack, b"\x92\xa8file_all\x80");
    let item = framed(Codec::MessagePack, &[&b"\x81\xa4item\x81\xa6number"[..], &packed].concat());
    check_request(Codec::MessagePack, &[call, item].concat());
}

fn check_status((status, peak): (Status, u64)) {
    assert!(status.message().len() <= 4096, "{} bytes are kept", status.message().len());
    assert_short(&status.to_string());
    assert_short(&format!("{status:?}"));
    assert_cheap(peak);
}

#[test]
fn what_a_client_keeps_of_a_wrong_answer_is_short() {
    for value in wrong_json() {
        let answer = framed(Codec::Json, format!("{{\"ok\":{value}}}").as_bytes());
        check_status(status_and_peak(Codec::Json, &answer, async |client: FormsClient| client.fetch().await));
    }
    for value in wrong_packed() {
        let answer = framed(Codec::MessagePack, &[&b"\x81\xa2ok"[..], &value].concat());
        check_status(status_and_peak(Codec::MessagePack, &answer, async |client: FormsClient| {
            client.fetch().await
        }));
    }
}

#[test]
fn what_a_client_keeps_of_an_error_is_short() {
    let (json, packed) = (large_json(), large_packed());
    for answer in [
        format!("{{\"err\":{{\"message\":{json}}}}}"),
        format!("{{\"err\":{{\"code\":{json}}}}}"),
        format!("{{\"err\":{{\"code\":[{json}]}}}}"),
        format!("{{\"err\":{{\"message\":{json},\"app\":true,\"details\":1}}}}"),
        format!("{{\"err\":{{\"app\":{json}}}}}"),
        format!("{{\"err\":{{\"app\":true,\"details\":{json}}}}}"),
        format!("{{\"err\":{json}}}"),
        format!("{{\"end\":{json}}}"),
    ] {
        let answer = framed(Codec::Json, answer.as_bytes());
        check_status(status_and_peak(Codec::Json, &answer, async |client: FormsClient| client.check().await));
    }
    for answer in [
        [&b"\x81\xa3err\x81\xa7message"[..], &packed].concat(),
        [&b"\x81\xa3err\x81\xa4code"[..], &packed].concat(),
        [&b"\x81\xa3err\x83\xa7details\x01\xa3app\xc3\xa7message"[..], &packed].concat(),
        [&b"\x81\xa3err\x82\xa3app\xc3\xa7details"[..], &packed].concat(),
        [&b"\x81\xa3err\x81\xa3app"[..], &packed].concat(),
        [&b"\x81\xa3err"[..], &packed].concat(),
    ] {
        let answer = framed(Codec::MessagePack, &answer);
        check_status(status_and_peak(Codec::MessagePack, &answer, async |client: FormsClient| {
            client.check().await
        }));
    }
}

/// The whole text is there for programs, up to a bound; what is shown is not.
#[test]
fn the_text_of_a_status_is_kept_and_its_beginning_shown() {
    let text = format!("\u{1b}[2J\n{}", "x".repeat(3000));
    let answer = framed(Codec::Json, serde_json::json!({"err": {"message": text}}).to_string().as_bytes());
    let (status, _) = status_and_peak(Codec::Json, &answer, async |client: FormsClient| client.fetch().await);
    assert_eq!((status.message(), status.origin()), (&*text, Origin::Peer));
    check_status((status, 0));
}
