//! Streams of items: all shapes, both codecs, both directions; ends of every kind.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod flow;

use std::time::Duration;

use flow::{Broken, CODECS, FlowClient, FlowServer, Flowing, collect, pair, pair_with};
use futures_util::stream;
use muxado_rpc::{CallError, Code, Limits, Shape};
use tokio::sync::mpsc;

#[tokio::test]
async fn items_come_in_order_and_end() {
    let pair = pair();
    for client in pair.clients() {
        for to in [0, 1, 10_000] {
            let (items, error) = collect(client.count(to).await.unwrap()).await;
            assert_eq!((items, error), ((1..=to).collect::<Vec<_>>(), None));
        }
    }
}

#[tokio::test]
async fn an_error_of_the_method_is_the_last_item() {
    let pair = pair();
    for client in pair.clients() {
        let (items, error) = collect(client.count_then_fail(3).await.unwrap()).await;
        assert_eq!((items, error), (vec![1, 2, 3], Some(CallError::App(Broken::After(3)))));
    }
}

#[tokio::test]
async fn a_method_may_fail_before_its_stream() {
    let pair = pair();
    for client in pair.clients() {
        let (items, error) = collect(client.count_if_even(3).await.unwrap()).await;
        assert_eq!((items, error), (vec![], Some(CallError::App(Broken::After(0)))));
        assert_eq!(collect(client.count_if_even(2).await.unwrap()).await, (vec![1, 2], None));
    }
}

#[tokio::test]
async fn items_of_a_request_arrive_beside_plain_parameters() {
    let pair = pair();
    for client in pair.clients() {
        assert_eq!(client.sum(stream::iter(1..=10_000)).await.unwrap(), 50_005_000);
        assert_eq!(client.sum(stream::empty()).await.unwrap(), 0);
        assert_eq!(client.sum_from(1, stream::iter([2, 3]), 10).await.unwrap(), 51);
    }
}

#[tokio::test]
async fn both_sides_talk_in_turn() {
    let pair = pair();
    for client in pair.clients() {
        let (say, said) = mpsc::unbounded_channel::<String>();
        let said = stream::unfold(said, |mut said| async { Some((said.recv().await?, said)) });
        let mut heard = client.shout(said).await.unwrap();
        for word in ["one", "two"] {
            say.send(word.to_owned()).unwrap();
            assert_eq!(heard.try_next().await.unwrap(), Some(format!("shout {word}!")));
        }
        drop(say);
        assert_eq!(heard.try_next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_handler_streams_to_and_from_its_caller() {
    let pair = pair();
    for client in pair.clients() {
        assert_eq!(client.sum_at_caller(100).await.unwrap(), 5050);
    }
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_items() {
    let pair = pair();
    for client in pair.clients() {
        assert_eq!(client.ignore(stream::pending()).await.unwrap(), 7);
        assert_eq!(client.ignore(stream::iter(0..100_000)).await.unwrap(), 7);
        assert_eq!(client.sum(stream::iter([1])).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn the_call_returns_before_the_first_item() {
    let pair = pair();
    for codec in CODECS {
        let mut items = pair.client(codec).stall().await.unwrap();
        assert_eq!(items.try_next().await.unwrap(), Some(1));
        pair.far_flow.until_alive(1).await;
        drop(items);
        pair.far_flow.until_alive(0).await;
    }
}

#[tokio::test]
async fn a_dropped_call_drops_the_handler_that_reads() {
    let pair = pair();
    for client in pair.clients() {
        let flow = [&pair.near_flow, &pair.far_flow];
        let call = tokio::spawn(async move { client.never_read(stream::repeat("x".to_owned())).await });
        tokio::select! {
            () = flow[0].until_alive(1) => {}
            () = flow[1].until_alive(1) => {}
        }
        call.abort();
        flow[0].until_alive(0).await;
        flow[1].until_alive(0).await;
    }
}

#[tokio::test]
async fn a_panic_is_an_error_and_never_an_end() {
    let pair = pair();
    for client in pair.clients() {
        let (items, error) = collect(client.panic_after(3).await.unwrap()).await;
        assert_eq!(items.len(), 3);
        let status = error.unwrap().status().cloned().unwrap();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, "Flow.panic_after: the handler panicked")
        );
    }
}

#[tokio::test]
async fn an_item_over_the_limit_ends_the_items_and_says_whose_limit_it_is() {
    let pair = pair_with(&Limits::default().max_message_size(1024));
    for client in pair.clients() {
        let (items, error) = collect(client.large(2000).await.unwrap()).await;
        assert_eq!(items, ["small"]);
        let status = error.unwrap().status().cloned().unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(
            status.message().contains("sending side's limit of 1024 (Limits::max_message_size)"),
            "{status}"
        );
        let error = client.never_read(stream::iter(["x".repeat(2000)])).await.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_no_other() {
    let pair = pair();
    for client in pair.clients() {
        let unread = client.count(u64::MAX).await.unwrap();
        let stuck = client.clone();
        let never_read =
            tokio::spawn(async move { stuck.never_read(stream::repeat("x".repeat(1000))).await });
        assert_eq!(collect(client.count(1000).await.unwrap()).await.0.len(), 1000);
        drop(unread);
        never_read.abort();
    }
}

#[tokio::test]
async fn the_end_of_the_connection_is_an_error() {
    for codec in CODECS {
        let pair = pair();
        let mut items = pair.client(codec).stall().await.unwrap();
        assert_eq!(items.try_next().await.unwrap(), Some(1));
        pair.far.close();
        let error = items.next().await.unwrap().unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        assert!(items.next().await.is_none());
        pair.far_flow.until_alive(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_holds_for_the_items_too() {
    let pair = pair();
    for codec in CODECS {
        let client = pair.client(codec).with_timeout(Duration::from_secs(5));
        let started = tokio::time::Instant::now();
        let (items, error) = collect(client.stall().await.unwrap()).await;
        assert_eq!(items, [1]);
        assert_eq!(error.unwrap().code(), Code::DeadlineExceeded);
        assert_eq!(started.elapsed().as_secs(), 5);
        pair.far_flow.until_alive(0).await;
    }
}

#[tokio::test]
async fn a_failing_stream_of_items_fails_the_call() {
    let pair = pair();
    for client in pair.clients() {
        let unsent = client.shout(stream::once(async { panic!("in the items") })).await.unwrap();
        let (_, error) = collect(unsent).await;
        assert_eq!(error.unwrap().code(), Code::Internal);
    }
}

#[tokio::test]
async fn a_client_may_stream_straight_to_a_server_in_its_process() {
    for codec in CODECS {
        let client = FlowClient::new(FlowServer::new(Flowing::default())).with_codec(codec);
        assert_eq!(collect(client.count(1000).await.unwrap()).await.0.len(), 1000);
        assert_eq!(client.sum(stream::iter(1..=4)).await.unwrap(), 10);
        let words = client.shout(stream::iter(["a".to_owned(), "b".to_owned()])).await.unwrap();
        assert_eq!(collect(words).await.0, ["shout a!", "shout b!"]);
        let error = client.count_if_even(1).await.unwrap_err();
        assert_eq!(error, CallError::App(Broken::After(0)));
    }
}

#[test]
fn methods_know_their_shape() {
    use muxado_rpc::NamedService;
    let shape = |name: &str| <FlowServer<Flowing> as NamedService>::INFO.method(name).unwrap().shape();
    assert_eq!(shape("count"), Shape::ServerStreaming);
    assert_eq!(shape("count_if_even"), Shape::ServerStreaming);
    assert_eq!(shape("sum"), Shape::ClientStreaming);
    assert_eq!(shape("shout"), Shape::Bidirectional);
}
