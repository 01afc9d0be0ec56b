//! What layers see of the bodies of calls, and replace in them; layers that hold something to the end of a stream.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::stream;
use muxado_rpc::{
    Body, BodyEnd, BodyFrame, CallError, Code, Codec, Limits, Metadata, NamedService, Peer, Request,
    Response, Status, Stream,
    layers::{HoldLayer, InFlightLayer},
};
use support::{
    CODECS,
    feed::{Broken, FeedClient, FeedServer, Feeding, collect},
};
use tokio::{io::duplex, sync::Semaphore};
use tower::{Layer, ServiceBuilder, ServiceExt, load::Load, util::BoxCloneSyncService};

/// Decodes a number, adds, and encodes it again.
fn add(codec: Codec, item: &[u8], n: u64) -> bytes::Bytes {
    if codec == Codec::Json {
        return (serde_json::from_slice::<u64>(item).unwrap() + n).to_string().into();
    }
    rmp_serde::to_vec(&(rmp_serde::from_slice::<u64>(item).unwrap() + n)).unwrap().into()
}

fn add_to_items(body: Option<&mut Body>, n: u64) {
    let Some(body) = body else { return };
    let codec = body.codec();
    body.map_frames(move |frame| match frame {
        BodyFrame::Item(item) => BodyFrame::Item(add(codec, &item, n)),
        other => other,
    });
}

type Channel = BoxCloneSyncService<Request, Response, Status>;

/// A pair of peers, and a client whose calls go through `client`, then `server`.
fn pair<L>(server: L, feeding: &Feeding) -> (Peer, [Peer; 1])
where
    L: Layer<muxado_rpc::Router, Service: muxado_rpc::CallService>,
{
    let (a, b) = duplex(4096);
    let builder = Peer::builder().no_heartbeat().layer(server).serve(FeedServer::new(feeding.clone()));
    (Peer::builder().no_heartbeat().client(a).unwrap(), [builder.server(b).unwrap()])
}

#[tokio::test]
async fn a_layer_replaces_items_on_either_side_in_either_direction() {
    let layer = || {
        ServiceBuilder::new()
            .map_request(|mut request: Request| {
                add_to_items(request.body_mut(), 10);
                request
            })
            .map_response(|mut response: Response| {
                add_to_items(response.body_mut(), 100);
                response
            })
            .into_inner()
    };
    let feeding = Feeding::default();
    let (caller, _server) = pair(layer(), &feeding);
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        assert_eq!(client.sum(stream::iter([1, 2])).await, Ok(23));
        let doubled = collect(&mut client.double(stream::iter([1, 2])).await.unwrap()).await;
        assert_eq!(doubled, (vec![122, 124], None));
        // The same layer around the channel, too, and around a service in the same process.
        let client = FeedClient::new(layer().layer(caller.channel())).with_codec(codec);
        let doubled = collect(&mut client.double(stream::iter([1, 2])).await.unwrap()).await;
        assert_eq!(doubled, (vec![242, 244], None));
        let local = FeedServer::new(feeding.clone()).layered(layer());
        let doubled =
            collect(&mut FeedClient::new(local).with_codec(codec).double(stream::iter([1])).await.unwrap())
                .await;
        assert_eq!(doubled, (vec![122], None));
    }
}

#[tokio::test]
async fn a_layer_sees_metadata_errors_and_the_end() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let layer = {
        let seen = Arc::clone(&seen);
        tower::layer::layer_fn(move |service| {
            let seen = Arc::clone(&seen);
            tower::util::MapResponse::new(service, move |mut response: Response| {
                let seen = Arc::clone(&seen);
                if let Some(body) = response.body_mut() {
                    body.inspect_frames(move |frame| seen.lock().unwrap().push(frame.clone()));
                }
                response
            })
        })
    };
    let (caller, _server) = pair(layer, &Feeding::default());
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        let mut annotated = client.annotated(1).await.unwrap();
        assert_eq!(collect(&mut annotated).await, (vec![1], None));
        assert_eq!((annotated.metadata().get("k"), annotated.trailer().get("t")), (Some("v"), Some("w")));
        let seen_then = std::mem::take(&mut *seen.lock().unwrap());
        // On the serving side metadata in front belong to the response.
        let [BodyFrame::Item(item), BodyFrame::End { result: Ok(()), trailer }] = &seen_then[..] else {
            panic!("{seen_then:?}");
        };
        assert_eq!((&item[..], trailer.get("t")), (&add(codec, &zero(codec), 1)[..], Some("w")));

        let broken = collect(&mut client.broken(1).await.unwrap()).await;
        assert_eq!(broken, (vec![1], Some(CallError::App(Broken::After(1)))));
        let seen_then = std::mem::take(&mut *seen.lock().unwrap());
        let [BodyFrame::Item(_), BodyFrame::End { result: Err(CallError::App(error)), .. }] = &seen_then[..]
        else {
            panic!("{seen_then:?}");
        };
        assert_eq!((error.code(), error.decode()), (Code::OutOfRange, Ok(Broken::After(1))));
    }
}

fn zero(codec: Codec) -> Vec<u8> {
    if codec == Codec::Json { b"0".to_vec() } else { vec![0] }
}

#[tokio::test]
async fn a_layer_replaces_the_end_the_body_the_parameters_and_the_value() {
    let (a, b) = duplex(4096);
    let layer = tower::layer::layer_fn(|service| {
        let mapped = tower::util::MapRequest::new(service, |mut request: Request| {
            if request.method().name() == "one" {
                request.set_params(&[40]).unwrap();
            }
            request
        });
        tower::util::MapResponse::new(mapped, |mut response: Response| {
            let codec = response.codec();
            match response.body_mut() {
                None => {
                    let value = add(codec, response.payload(), 2);
                    response.set_raw_value(value).unwrap();
                }
                Some(body) => body.map_frames(|frame| match frame {
                    BodyFrame::End { .. } => BodyFrame::End {
                        result: Err(Status::aborted("enough").with_details(&7).into()),
                        trailer: Metadata::from([("t", "2")]),
                    },
                    other => other,
                }),
            }
            response
        })
    });
    let _server = Peer::builder()
        .no_heartbeat()
        .layer(layer)
        .serve(FeedServer::new(Feeding::default()))
        .server(b)
        .unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        assert_eq!(client.one(1).await, Ok(42));
        let mut count = client.count(2).await.unwrap();
        let (items, error) = collect(&mut count).await;
        let Some(CallError::Status(status)) = error else { panic!("no status") };
        assert_eq!((items, status.code(), status.details()), (vec![1, 2], Code::Aborted, Some(7)));
    }
}

/// Runs each poll of a body between two counts.
struct Polled {
    body: Body,
    polls: Arc<AtomicUsize>,
}

impl Stream for Polled {
    type Item = BodyFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.body.poll_frame(cx)
    }
}

#[tokio::test]
async fn a_layer_wraps_each_poll_and_the_first_hooks_stay() {
    let (polls, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let layer = {
        let (polls, ends) = (Arc::clone(&polls), Arc::clone(&ends));
        tower::layer::layer_fn(move |service| {
            let (polls, ends) = (Arc::clone(&polls), Arc::clone(&ends));
            tower::util::MapResponse::new(service, move |mut response: Response| {
                let (polls, inner, outer) = (Arc::clone(&polls), Arc::clone(&ends), Arc::clone(&ends));
                if let Some(body) = response.body_mut() {
                    body.on_end(move |end| inner.lock().unwrap().push(("inner", end)));
                    body.wrap(|body| Polled { body, polls });
                    body.on_end(move |end| outer.lock().unwrap().push(("outer", end)));
                }
                response
            })
        })
    };
    let feeding = Feeding::default();
    let (caller, _server) = pair(layer, &feeding);
    let client = FeedClient::new(caller.channel());
    assert_eq!(collect(&mut client.count(3).await.unwrap()).await.0.len(), 3);
    assert!(polls.load(Ordering::Relaxed) >= 4);
    let end = std::mem::take(&mut *ends.lock().unwrap());
    assert_eq!(end, [("inner", BodyEnd::Complete), ("outer", BodyEnd::Complete)]);
    let mut stalled = client.large_then_stall(10).await.unwrap();
    assert!(stalled.try_next().await.unwrap().is_some());
    drop(stalled);
    feeding.until_alive(0).await;
    while ends.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let mut end = std::mem::take(&mut *ends.lock().unwrap());
    end.sort_by_key(|(name, _)| *name);
    assert_eq!(end, [("inner", BodyEnd::Dropped), ("outer", BodyEnd::Dropped)]);
}

#[tokio::test]
async fn a_layer_that_makes_no_value_or_panics_ends_that_stream_only() {
    let layer = tower::layer::layer_fn(|service| {
        tower::util::MapResponse::new(service, |mut response: Response| {
            if let Some(body) = response.body_mut() {
                let mut count = 0;
                body.map_frames(move |frame| {
                    count += 1;
                    assert!(count < 4, "more than three");
                    if count == 3 { BodyFrame::Item("1 2".into()) } else { frame }
                });
            }
            response
        })
    });
    let (caller, server) = pair(layer, &Feeding::default());
    let client = FeedClient::new(caller.channel()).with_codec(Codec::Json);
    let (items, error) = collect(&mut client.count(3).await.unwrap()).await;
    assert_eq!(items, [1, 2]);
    assert!(error.unwrap().to_string().contains("not one value in json"));
    let client = FeedClient::new(caller.channel());
    let wrong = collect(&mut client.count(9).await.unwrap()).await.1.unwrap();
    assert!(wrong.to_string().contains("not one value in messagepack"), "{wrong}");

    let panics = tower::layer::layer_fn(|service| {
        tower::util::MapResponse::new(service, |mut response: Response| {
            if let Some(body) = response.body_mut() {
                body.inspect_frames(|_| panic!("of a layer"));
            }
            response
        })
    });
    drop((caller, server));
    let (caller, server) = pair(panics, &Feeding::default());
    let client = FeedClient::new(caller.channel());
    let error = collect(&mut client.count(3).await.unwrap()).await.1.unwrap();
    assert_eq!(error.code(), Code::Internal);
    assert_eq!(server[0].call_stats().panicked, 1);
    assert_eq!(client.one(5).await, Ok(5));
}

#[tokio::test]
async fn items_that_a_layer_makes_too_large_are_refused() {
    let (a, b) = duplex(4096);
    let layer = tower::layer::layer_fn(|service| {
        tower::util::MapResponse::new(service, |mut response: Response| {
            if let Some(body) = response.body_mut() {
                body.map_frames(|frame| match frame {
                    BodyFrame::Item(_) => BodyFrame::Item(format!("\"{}\"", "x".repeat(2000)).into()),
                    other => other,
                });
            }
            response
        })
    });
    let _server = Peer::builder()
        .no_heartbeat()
        .limits(Limits::default().max_message_size(1024))
        .layer(layer)
        .serve(FeedServer::new(Feeding::default()))
        .server(b)
        .unwrap();
    let caller = Peer::builder().no_heartbeat().client(a).unwrap();
    let client = FeedClient::new(caller.channel()).with_codec(Codec::Json);
    let error = collect(&mut client.count(3).await.unwrap()).await.1.unwrap();
    assert_eq!(error.code(), Code::ResourceExhausted);
    assert!(error.to_string().contains("max_message_size"), "{error}");
}

#[tokio::test]
async fn a_value_is_held_to_the_end_of_each_call() {
    let permits = Arc::new(Semaphore::new(1));
    let layer = {
        let permits = Arc::clone(&permits);
        HoldLayer::new(move |request: &Request| {
            let permit = Arc::clone(&permits).try_acquire_owned();
            permit.map_err(|_| Status::resource_exhausted(format!("{}: one at a time", request.method())))
        })
    };
    let feeding = Feeding::default();
    let (caller, _server) = pair(layer, &feeding);
    for codec in CODECS {
        let client = FeedClient::new(caller.channel()).with_codec(codec);
        assert_eq!(client.one(5).await, Ok(5));
        assert_eq!(permits.available_permits(), 1);
        let mut stalled = client.large_then_stall(10).await.unwrap();
        assert!(stalled.try_next().await.unwrap().is_some());
        let error = client.one(5).await.unwrap_err();
        assert_eq!((error.code(), error.may_have_executed()), (Code::ResourceExhausted, false));
        drop(stalled);
        feeding.until_alive(0).await;
        while permits.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(collect(&mut client.count(3).await.unwrap()).await.0.len(), 3);
        while permits.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn calls_count_as_in_flight_until_their_streams_end() {
    let counts = InFlightLayer::new();
    let feeding = Feeding::default();
    let (caller, _server) = pair(tower::layer::util::Identity::new(), &feeding);
    let channel = counts.layer(caller.channel());
    for codec in CODECS {
        let client = FeedClient::new(channel.clone()).with_codec(codec);
        assert_eq!(client.one(5).await, Ok(5));
        assert_eq!(counts.count(), 0);
        let first = client.large_then_stall(10).await.unwrap();
        let mut second = client.count(2).await.unwrap();
        assert_eq!((counts.count(), channel.load()), (2, 2));
        assert_eq!(collect(&mut second).await.0.len(), 2);
        assert_eq!(counts.count(), 1);
        drop(first);
        assert_eq!(counts.count(), 0);
        // A call that is never sent, and one that is given up.
        drop(client.one(5));
        assert_eq!(counts.count(), 0);
    }
    let boxed: Channel = BoxCloneSyncService::new(channel);
    let request =
        Request::new(<FeedServer<Feeding> as NamedService>::INFO.method("one").unwrap(), Codec::Json, &[1]);
    assert!(boxed.oneshot(request.unwrap()).await.is_ok());
}
