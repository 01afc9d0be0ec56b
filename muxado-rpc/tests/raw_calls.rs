//! Calls of services and methods whose names are known only at run time.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use futures_util::stream;
use muxado_rpc::{
    Body, BodyFrame, CallError, Channel, Code, Codec, Executed, MethodInfo, MethodRef, NamedService, Peer,
    RawCall, RawError, Reconnect, Request, Response, Router, ServiceId, Shape, Status,
};
use serde_json::{Value, json};
use support::{
    CODECS, DivideError, WorkClient, WorkServer, Worker,
    feed::{Broken, FeedServer, Feeding, collect},
};
use tokio::{io::duplex, time::Instant};

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Order {
    id: u64,
    price: f64,
    discount: Option<i8>,
    note: Option<String>,
    lines: Vec<(String, u32)>,
    kind: Kind,
}

#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Kind {
    Plain,
    Gift { to: String },
}

#[muxado_rpc::service]
trait Shop {
    async fn order(&self, order: Order, urgent: bool) -> Result<Order, Order>;
}

struct Open;

impl Shop for Open {
    async fn order(&self, order: Order, urgent: bool) -> Result<Order, Order> {
        if urgent { Err(order) } else { Ok(order) }
    }
}

/// A service with an id of its own.
#[muxado_rpc::service(id = 7)]
trait Seven {
    async fn seven(&self) -> u32;
}

struct Always;

impl Seven for Always {
    async fn seven(&self) -> u32 {
        7
    }
}

struct Pair {
    caller: Peer,
    _server: Peer,
    feeding: Feeding,
    worker: Worker,
}

impl Pair {
    fn new() -> Self {
        let (a, b) = duplex(4096);
        let (feeding, worker) = (Feeding::default(), Worker::default());
        let server = Peer::builder()
            .no_heartbeat()
            .serve(FeedServer::new(feeding.clone()))
            .serve(WorkServer::new(worker.clone()))
            .serve(SevenServer::new(Always))
            .serve(ShopServer::new(Open))
            .server(b)
            .unwrap();
        let caller = Peer::builder().no_heartbeat().client(a).unwrap();
        Self { caller, _server: server, feeding, worker }
    }

    fn call(&self, codec: Codec, service: &str, method: &str) -> RawCall {
        self.caller.channel().call_raw(service.to_owned(), method.to_owned()).codec(codec)
    }
}

#[tokio::test]
async fn parameters_are_any_value_by_name_or_position() {
    let pair = Pair::new();
    for codec in CODECS {
        let echo = || pair.call(codec, "Work", "echo");
        assert_eq!(echo().params(&json!({"text": "x"})).call::<Value>().await, Ok(json!("x")));
        assert_eq!(echo().params(&json!(["x"])).call::<String>().await.as_deref(), Ok("x"));
        assert_eq!(echo().params(&("x",)).call::<String>().await.as_deref(), Ok("x"));
        let divide = pair.call(codec, "Work", "divide").params(&json!({"a": 1, "b": 4}));
        assert_eq!(divide.call::<f64>().await, Ok(0.25));
        assert_eq!(pair.call(codec, "Work", "hanging").call::<usize>().await, Ok(0));
        let missing = echo().params(&json!({})).call::<String>().await.unwrap_err();
        assert_eq!(missing.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn json_values_stand_for_structures_in_either_codec() {
    let pair = Pair::new();
    for kind in [json!("Plain"), json!({"Gift": {"to": "Eve"}})] {
        let order = json!({
            "id": u64::MAX, "price": 3, "discount": -5, "note": null, "lines": [["tea", 2], ["cup", 1]], "kind": kind,
        });
        for codec in CODECS {
            let call =
                |urgent| pair.call(codec, "Shop", "order").params(&json!({"order": order, "urgent": urgent}));
            let returned: Value = call(false).call().await.unwrap();
            assert_eq!(
                (&returned["id"], &returned["lines"], &returned["kind"]),
                (&json!(u64::MAX), &order["lines"], &kind)
            );
            let known: Order = call(false).call().await.unwrap();
            assert_eq!((known.price, known.discount, known.note), (3.0, Some(-5), None));
            let Err(CallError::App(error)) = call(true).call::<Value>().await else { panic!("no error") };
            assert_eq!(error.decode::<Value>().unwrap(), returned);
        }
    }
}

#[tokio::test]
async fn bytes_go_and_come_as_they_are() {
    let pair = Pair::new();
    for (codec, params, value) in [
        (Codec::Json, &b"{\"text\":\n\"x\"}"[..], &b"\"x\""[..]),
        (Codec::MessagePack, b"\x81\xa4text\xa1x", b"\xa1x"),
    ] {
        let echo = pair.call(codec, "Work", "echo").raw_params(params);
        assert_eq!(&echo.call_bytes().await.unwrap()[..], value);
        let cut = pair.call(codec, "Work", "echo").raw_params(&params[..params.len() - 2]);
        let Err(CallError::Status(status)) = cut.call_bytes().await else { panic!("sent") };
        assert_eq!((status.code(), status.executed()), (Code::InvalidArgument, Executed::No));
        assert!(status.message().starts_with("Work.echo: the parameters are not one value in"), "{status}");
    }
}

#[tokio::test]
async fn all_four_shapes_are_called() {
    let pair = Pair::new();
    for codec in CODECS {
        let feed = |method| pair.call(codec, "Feed", method);
        assert_eq!(feed("one").params(&[5]).call::<u64>().await, Ok(5));
        let mut count = feed("count").params(&json!({"to": 1000})).items::<u64>().await.unwrap();
        assert_eq!(collect(&mut count).await.0.len(), 1000);
        assert_eq!(feed("sum").input(stream::iter(1..=1000)).call::<u64>().await, Ok(500_500));
        let mut doubled = feed("double").input(stream::iter(1..=1000)).items::<u64>().await.unwrap();
        assert_eq!(collect(&mut doubled).await, ((1..=1000).map(|n| 2 * n).collect(), None));
    }
}

#[tokio::test]
async fn what_a_method_returns_may_be_found_out() {
    let pair = Pair::new();
    for codec in CODECS {
        let feed = |method| pair.call(codec, "Feed", method);
        let one = feed("one").params(&[5]).send().await.unwrap();
        assert_eq!((one.codec(), one.into_value::<u64>()), (codec, Ok(5)));
        let count = feed("count").params(&[2]).send().await.unwrap();
        let body = count.into_body().unwrap();
        assert_eq!(values(body).await, [1, 2]);
        let doubled = feed("double").input(stream::iter([3, 4])).send().await.unwrap();
        assert_eq!(values(doubled.into_body().unwrap()).await, [6, 8]);
        let sum = feed("sum").input(stream::iter([3, 4])).send().await.unwrap();
        assert_eq!(sum.into_body().unwrap_err().into_value::<u64>(), Ok(7));
        // One value where items are expected, and the other way around.
        let mut items = feed("one").params(&[5]).items::<u64>().await.unwrap();
        assert_eq!(items.try_next().await.unwrap_err().code(), Code::Internal);
        assert_eq!(feed("count").params(&[2]).call::<u64>().await.unwrap_err().code(), Code::Internal);
    }
}

async fn values(mut body: Body) -> Vec<u64> {
    let mut values = Vec::new();
    while let Some(frame) = body.next_frame().await {
        match (frame, body.codec()) {
            (BodyFrame::Item(item), Codec::Json) => values.push(serde_json::from_slice(&item).unwrap()),
            (BodyFrame::Item(item), _) => values.push(rmp_serde::from_slice(&item).unwrap()),
            (BodyFrame::End { result, .. }, _) => assert_eq!(result, Ok(())),
            (frame, _) => panic!("{frame:?}"),
        }
    }
    values
}

#[tokio::test]
async fn items_may_be_encoded_already() {
    let pair = Pair::new();
    for (codec, item) in [(Codec::Json, &b" 7\n"[..]), (Codec::MessagePack, b"\x07")] {
        let frames = stream::iter([1, 2].map(move |_| BodyFrame::Item(item.into())));
        let sum = pair.call(codec, "Feed", "sum").body(Body::from_frames(codec, frames));
        assert_eq!(sum.call::<u64>().await, Ok(14));
        let wrong = stream::iter([BodyFrame::Item("[1".into())]);
        let error = pair.call(codec, "Feed", "sum").body(Body::from_frames(codec, wrong)).call::<u64>().await;
        assert!(error.unwrap_err().to_string().contains("not one value"), "{codec}");
    }
}

#[tokio::test]
async fn errors_of_methods_are_known_by_code_text_and_value() {
    let pair = Pair::new();
    for codec in CODECS {
        let divide = pair.call(codec, "Work", "divide").params(&(1.0, 0.0));
        let Err(CallError::App(error)) = divide.call::<f64>().await else { panic!("no error of the method") };
        assert_eq!(error.decode(), Ok(DivideError::ByZero { dividend: 1.0 }));
        assert_eq!((error.code(), error.message(), error.codec()), (Code::Unknown, "", codec));
        assert_eq!(error.decode::<u32>().unwrap_err().code(), Code::Internal);
        let status = Status::from(error);
        assert_eq!(status.details::<Value>(), Some(json!({"ByZero": {"dividend": 1.0}})));

        let mut broken = pair.call(codec, "Feed", "broken").params(&[2]).items::<u64>().await.unwrap();
        let (items, error) = collect(&mut broken).await;
        let Some(CallError::App(error)) = error else { panic!("no error of the method") };
        assert_eq!((items, error.decode()), (vec![1, 2], Ok(Broken::After(2))));
        assert_eq!(
            (error.code(), error.to_string()),
            (Code::OutOfRange, "out_of_range: broken after 2".to_owned())
        );

        let found = pair.call(codec, "Work", "find").params(&["x"]).call::<u64>().await;
        let Err(CallError::Status(status)) = found else { panic!("no status") };
        assert_eq!((status.code(), status.details::<String>().as_deref()), (Code::NotFound, Some("x")));
    }
}

#[tokio::test]
async fn unknown_names_are_refused_and_not_executed() {
    let pair = Pair::new();
    for codec in CODECS {
        for (service, method) in [("Nobody", "m"), ("Work", "nothing")] {
            let error = pair.call(codec, service, method).call::<()>().await.unwrap_err();
            assert_eq!((error.code(), error.may_have_executed()), (Code::Unimplemented, false));
            let mut items = pair.call(codec, service, method).items::<()>().await.unwrap();
            assert_eq!(items.try_next().await.unwrap_err().code(), Code::Unimplemented);
        }
    }
}

#[tokio::test]
async fn a_service_is_called_by_the_id_that_it_declares() {
    let pair = Pair::new();
    for codec in CODECS {
        let by_name = pair.call(codec, "Seven", "seven").call::<u32>().await;
        assert_eq!(by_name.unwrap_err().code(), Code::Unimplemented);
        let by_id = pair.call(codec, "Seven", "seven").service_id(ServiceId::new(7));
        assert_eq!(by_id.call::<u32>().await, Ok(7));
    }
}

#[tokio::test(start_paused = true)]
async fn options_hold_as_on_other_calls() {
    let pair = Pair::new();
    for codec in CODECS {
        let metadata = pair.call(codec, "Work", "metadata").metadata("a", "1").metadata("b", "2");
        assert_eq!(metadata.call::<Vec<String>>().await, Ok(vec!["a=1".to_owned(), "b=2".to_owned()]));
        let start = Instant::now();
        let hang = pair.call(codec, "Work", "hang").timeout(Duration::from_secs(5));
        assert_eq!(hang.call::<()>().await.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        pair.worker.until_hanging(0).await;
        let stall =
            pair.call(codec, "Feed", "large_then_stall").params(&[10]).timeout(Duration::from_secs(5));
        let mut body = stall.send().await.unwrap().into_body().unwrap();
        assert!(matches!(body.next_frame().await, Some(BodyFrame::Item(_))));
        let Some(BodyFrame::End { result: Err(error), .. }) = body.next_frame().await else {
            panic!("no end")
        };
        assert_eq!(error.code(), Code::DeadlineExceeded);
        assert_eq!((start.elapsed(), body.next_frame().await), (Duration::from_secs(10), None));
        let annotated = pair.call(codec, "Feed", "annotated").params(&[1]).send().await.unwrap();
        let mut body = annotated.into_body().unwrap();
        assert_eq!(body.next_frame().await, Some(BodyFrame::Metadata([("k", "v")].into())));
        assert!(matches!(body.next_frame().await, Some(BodyFrame::Item(_))));
        let Some(BodyFrame::End { result: Ok(()), trailer }) = body.next_frame().await else {
            panic!("no end")
        };
        assert_eq!(trailer.get("t"), Some("w"));
    }
}

#[tokio::test]
async fn a_response_as_a_whole_has_metadata_beside_value_or_error() {
    let (a, b) = duplex(4096);
    let marked = tower::service_fn(|request: Request| async move {
        let mut response = match request.method().name() {
            "value" => Response::new(request.codec(), &7)?,
            _ => Response::from_error(request.codec(), "no")?,
        };
        response.metadata_mut().insert("k", "v");
        Ok::<_, Status>(response)
    });
    let _server = Peer::builder().no_heartbeat().fallback(marked).server(b).unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let call = |method: &'static str| caller.channel().call_raw("S", method).codec(codec);
        let value = call("value").with_response::<u32>().await;
        assert_eq!((value.metadata().get("k"), value.result()), (Some("v"), Ok(&7)));
        let failed = call("error").with_response::<u32>().await;
        assert_eq!(failed.metadata().get("k"), Some("v"));
        let Err(CallError::App(error)) = failed.into_result() else { panic!("no error") };
        assert_eq!(error.decode::<String>().as_deref(), Ok("no"));
    }
}

#[tokio::test]
async fn a_codec_set_too_late_is_said() {
    let pair = Pair::new();
    let call = pair.call(Codec::Json, "Work", "echo").params(&["x"]).codec(Codec::MessagePack);
    let error = call.call::<String>().await.unwrap_err();
    assert_eq!((error.code(), error.may_have_executed()), (Code::InvalidArgument, false));
    assert!(error.to_string().contains("the codec of a RawCall"), "{error}");
}

#[tokio::test]
async fn dropping_a_call_cancels_it() {
    let pair = Pair::new();
    for codec in CODECS {
        let call = tokio::spawn(pair.call(codec, "Work", "hang").call::<()>());
        pair.worker.until_hanging(1).await;
        call.abort();
        pair.worker.until_hanging(0).await;
        let call = tokio::spawn(pair.call(codec, "Feed", "hang").input(stream::repeat(1)).send());
        pair.feeding.until_alive(1).await;
        call.abort();
        pair.feeding.until_alive(0).await;
        let response = pair.call(codec, "Feed", "large_then_stall").params(&[10]).send().await.unwrap();
        pair.feeding.until_alive(1).await;
        drop(response);
        pair.feeding.until_alive(0).await;
    }
}

#[tokio::test]
async fn a_method_described_once_is_called_often_over_any_channel() {
    let pair = Pair::new();
    let one = MethodRef::from(MethodInfo::dynamic("Feed", "one").with_shape(Shape::Unary));
    for n in 0..3 {
        assert_eq!(RawCall::new(pair.caller.channel(), &one).params(&[n]).call::<u64>().await, Ok(n));
    }
    // That of a generated service, and a router in the same process.
    let known = <FeedServer<Feeding> as NamedService>::INFO.method("one").unwrap();
    assert_eq!(RawCall::new(pair.caller.channel(), known).params(&[7]).call::<u64>().await, Ok(7));
    let router = Router::new().add(FeedServer::new(Feeding::default())).unwrap();
    for codec in CODECS {
        let call = |method| RawCall::new(router.clone(), MethodInfo::dynamic("Feed", method)).codec(codec);
        assert_eq!(call("one").params(&[7]).call::<u64>().await, Ok(7));
        assert_eq!(call("sum").input(stream::iter([1, 2])).call::<u64>().await, Ok(3));
        let mut count = call("count").params(&[2]).items::<u64>().await.unwrap();
        assert_eq!(collect(&mut count).await, (vec![1, 2], None));
        assert_eq!(call("nothing").call::<()>().await.unwrap_err().code(), Code::Unimplemented);
        let no_items = call("sum").call::<u64>().await.unwrap_err();
        assert!(no_items.to_string().contains("has no stream of items"), "{no_items}");
    }
}

#[tokio::test]
async fn a_reconnecting_client_calls_by_name_too() {
    let connect = || async {
        let (near, far) = duplex(4096);
        let server = Peer::builder().serve(FeedServer::new(Feeding::default())).server(far).unwrap();
        tokio::spawn(async move { server.closed().await });
        Ok::<_, std::io::Error>(near)
    };
    let channel = Reconnect::builder().connector(connect).build().unwrap();
    for codec in CODECS {
        let call = |method: &'static str| channel.call_raw("Feed", method).codec(codec);
        assert_eq!(call("one").params(&[7]).call::<u64>().await, Ok(7));
        let count = call("count").params(&[2]).send().await.unwrap();
        assert_eq!(values(count.into_body().unwrap()).await, [1, 2]);
        let mut count = call("count").params(&[2]).items::<u64>().await.unwrap();
        assert_eq!(collect(&mut count).await, (vec![1, 2], None));
    }
}

/// Names come and go with the calls: nothing of them is kept.
#[tokio::test]
async fn a_name_is_freed_with_its_call() {
    let pair = Pair::new();
    let info = std::sync::Arc::new(MethodInfo::dynamic("Feed", "one"));
    let call = RawCall::new(pair.caller.channel(), std::sync::Arc::clone(&info)).params(&[1]);
    assert_eq!(call.call::<u64>().await, Ok(1));
    assert_eq!(std::sync::Arc::strong_count(&info), 1);
}

/// The calls are futures that a task may own.
#[tokio::test]
async fn calls_are_spawned() {
    fn is_task<F: Future<Output = Result<u64, CallError<RawError>>> + Send + 'static>(call: F) -> F {
        call
    }
    let pair = Pair::new();
    let name = String::from("one");
    let call = is_task(pair.caller.channel().call_raw("Feed", name).params(&[1]).call());
    assert_eq!(tokio::spawn(call).await.unwrap(), Ok(1));
    let request = Request::new(MethodInfo::dynamic("Feed", "one"), Codec::Json, &[1]).unwrap();
    let response = tower::ServiceExt::oneshot(pair.caller.channel(), request).await.unwrap();
    assert_eq!(response.into_value::<u64>(), Ok(1));
    let _: (WorkClient, Channel) = (WorkClient::new(pair.caller.channel()), pair.caller.channel());
}

/// A service of which only the name is known gives back an error with a value, as one with a type does.
#[tokio::test]
async fn an_error_made_at_run_time_comes_typed_and_raw() {
    let serve = tower::service_fn(|request: Request| async move {
        let value = DivideError::ByZero { dividend: 1.0 };
        let error = RawError::encode(request.codec(), Code::OutOfRange, "not by zero", &value)?;
        Ok::<_, Status>(Response::from_raw_error(error))
    });
    for codec in CODECS {
        let (near, far) = duplex(4096);
        let _server = Peer::builder().fallback(serve).server(far).unwrap();
        let peer = Peer::builder().client(near).unwrap();
        let typed = WorkClient::new(peer.channel()).with_codec(codec).divide(1.0, 0.0).await;
        assert_eq!(typed, Err(CallError::App(DivideError::ByZero { dividend: 1.0 })));
        let raw =
            peer.channel().call_raw("Work", "divide").codec(codec).params(&[1.0, 0.0]).call_bytes().await;
        let Err(CallError::App(error)) = raw else { panic!("{raw:?}") };
        assert_eq!((error.code(), error.message()), (Code::OutOfRange, "not by zero"));
    }
}

/// A request is prepared once and sent often.
#[tokio::test]
async fn a_prepared_request_is_sent_many_times() {
    let pair = Pair::new();
    for codec in CODECS {
        let call = pair.caller.channel().call_raw("Feed", "one").codec(codec).params(&[3]);
        let prepared = call.timeout(Duration::from_secs(9)).metadata("a", "b").into_request().unwrap();
        assert_eq!(prepared.timeout(), Some(Duration::from_secs(9)));
        for _ in 0..3 {
            let request = prepared.try_clone().unwrap();
            let response = tower::ServiceExt::oneshot(pair.caller.channel(), request).await.unwrap();
            assert_eq!(response.into_value::<u64>(), Ok(3));
        }
    }
    let wrong = pair.caller.channel().call_raw("Feed", "one").codec(Codec::Json).raw_params("[1");
    assert_eq!(wrong.into_request().unwrap_err().code(), Code::InvalidArgument);
}
