//! What every call promises, one test per promise, each in both codecs, both directions, in memory and
//! over TCP.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod tower_stack;
mod world;

use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    CallError, Code, Codec, Limits, Metadata, NamedService, Origin, Peer, RegistrationError, Response,
    ServiceId, Status,
};
use tower::{ServiceBuilder, util::MapResponseLayer};

use self::world::{Duties, DutyClient, DutyServer, End, REFUSAL, Refusal, Role, in_each_world};

/// The status of a call that must fail otherwise than by an error of its own.
fn status<T, E>(result: Result<T, CallError<E>>) -> Status {
    match result {
        Err(CallError::Status(status)) => status,
        _ => panic!("not a status"),
    }
}

/// Newer than what is served.
mod stranger {
    #[muxado_rpc::service]
    pub(crate) trait Duty {
        async fn echo(&self, text: u64) -> u64;
        async fn unheard_of(&self) -> u64;
        #[method(name = "refuse")]
        async fn refuse_to_say_why(&self) -> u64;
    }

    #[muxado_rpc::service]
    pub(crate) trait Elsewhere {
        async fn echo(&self, text: String) -> String;
    }

    pub(crate) struct Shouts;

    impl Elsewhere for Shouts {
        async fn echo(&self, text: String) -> String {
            text.to_uppercase()
        }
    }
}

#[test]
fn isolation() {
    in_each_world(End::start, async |world| {
        let newer = stranger::DutyClient::new(world.caller.channel()).with_codec(world.codec);
        let elsewhere = stranger::ElsewhereClient::new(world.caller.channel()).with_codec(world.codec);
        let hanging = world.client();
        let other = tokio::spawn(async move { hanging.work().await });
        world.duties.until_alive(1).await;
        for (failed, code) in [
            (status(newer.echo(7).await), Code::InvalidArgument),
            (status(newer.unheard_of().await), Code::Unimplemented),
            (status(elsewhere.echo("x".to_owned()).await), Code::Unimplemented),
            (status(world.client().panic().await), Code::Internal),
            (status(world.client().echo("x".repeat(20_000_000)).await), Code::ResourceExhausted),
        ] {
            assert_eq!(failed.code(), code, "{failed}");
        }
        world.duties.go_on.notify_one();
        assert_eq!(other.await.unwrap(), Ok(7));
        world.assert_unharmed().await;
    });
}

#[test]
fn errors() {
    in_each_world(End::start, async |world| {
        let own = Refusal::NotYours { owner: REFUSAL.to_owned() };
        assert_eq!(world.client().refuse().await, Err(CallError::App(own.clone())));
        let newer = stranger::DutyClient::new(world.caller.channel()).with_codec(world.codec);
        let unknown = status(newer.refuse_to_say_why().await);
        assert_eq!((unknown.code(), unknown.details()), (Code::PermissionDenied, Some(own)));
        let later = status(world.client().status().await);
        assert_eq!(
            (&later, later.details(), later.origin()),
            (&Status::aborted("later"), Some(7), Origin::Peer)
        );
        world.assert_unharmed().await;
        world.callee.close();
        let ended = world.caller.closed().await;
        assert!(ended.remote.is_some(), "{ended}");
        let refused = status(world.client().echo("x".to_owned()).await);
        assert_eq!(
            (refused.code(), refused.origin(), refused.may_have_executed()),
            (Code::Unavailable, Origin::Transport, false)
        );
    });
}

#[test]
fn deadline() {
    const LIMIT: Duration = Duration::from_millis(50);
    in_each_world(End::start, async |world| {
        let hurried = world.client().with_timeout(LIMIT);
        assert_eq!(status(hurried.hang().await).code(), Code::DeadlineExceeded);
        world.duties.until_alive(0).await;
        // Over sockets the time may even pass before the one item.
        let items: Vec<_> = hurried.stall().await.unwrap().collect().await;
        assert_eq!(items.last().unwrap().as_ref().map_err(CallError::code), Err(Code::DeadlineExceeded));
        world.duties.until_alive(0).await;

        let patient = world.client().with_timeout(Duration::from_secs(60));
        let (there, left) = (patient.time_left_there().await.unwrap(), patient.time_left().await.unwrap());
        assert!(there.is_some_and(|ms| ms <= 60_000) && left.is_some_and(|ms| ms <= 60_000));
        // There is none that nobody set.
        assert_eq!(world.client().time_left_there().await, Ok(None));
        world.assert_unharmed().await;
    });
}

#[test]
fn cancellation() {
    let one_at_a_time = |end: End| {
        let limits = Limits::default().max_in_flight(1).max_streaming_calls(1);
        end.start_with(|builder| builder.limits(limits))
    };
    in_each_world(one_at_a_time, async |world| {
        let client = world.client();
        let call = tokio::spawn(async move { client.hang().await });
        // The handler and its task.
        world.duties.until_alive(2).await;
        call.abort();
        // The only place is free again when nothing of the call is left, and not before.
        assert_eq!(world.client().alive().await, Ok(0));
        let mut items = world.client().stall().await.unwrap();
        assert_eq!(items.try_next().await, Ok(Some(1)));
        let alive = world.client().alive().await;
        drop(items);
        let mut items = world.client().stall().await.unwrap();
        assert_eq!(items.try_next().await, Ok(Some(1)));
        assert_eq!(world.client().alive().await, alive);
        drop(items);
        world.duties.until_alive(0).await;
        drop(world.client().hang());
        world.assert_unharmed().await;
    });
}

#[test]
fn streams() {
    in_each_world(End::start, async |world| {
        let client = world.client();
        let all: Vec<_> = client.count(10_000).await.unwrap().map(Result::unwrap).collect().await;
        assert_eq!(all, (1..=10_000).collect::<Vec<_>>());
        assert_eq!(client.sum(stream::iter(1..=10_000)).await, Ok(50_005_000));
        let mut doubled = client.double(stream::iter([1, 2])).await.unwrap();
        assert_eq!((doubled.try_next().await, doubled.try_next().await), (Ok(Some(2)), Ok(Some(4))));
        assert_eq!((doubled.try_next().await, doubled.try_next().await), (Ok(None), Ok(None)));

        let mut refused = client.count_then_refuse(1).await.unwrap();
        assert_eq!(refused.try_next().await, Ok(Some(1)));
        assert!(matches!(refused.next().await, Some(Err(CallError::App(Refusal::NotYours { .. })))));
        assert!(refused.next().await.is_none(), "an error is the last item");

        // The call is there before any item, and whoever does not read holds up nobody.
        let (unread, _silent) =
            (client.count(u64::MAX).await.unwrap(), client.double(stream::pending()).await);
        assert_eq!(client.echo("x".to_owned()).await.as_deref(), Ok("x"));
        drop((unread, _silent));
        world.assert_unharmed().await;

        let mut cut = client.stall().await.unwrap();
        assert_eq!(cut.try_next().await, Ok(Some(1)));
        world.callee.close();
        assert_eq!(status(cut.try_next().await).code(), Code::Unavailable, "no end but a stated one");
    });
}

#[test]
fn metadata() {
    in_each_world(End::start, async |world| {
        let seen = Arc::new(Mutex::new(Metadata::new()));
        let see = Arc::clone(&seen);
        let channel = ServiceBuilder::new()
            .layer(MapResponseLayer::new(move |response: Response| {
                see.lock().unwrap().clone_from(response.metadata());
                response
            }))
            .service(world.caller.channel());
        let client = DutyClient::new(channel).with_codec(world.codec).with_metadata([("k", "v")].into());
        assert_eq!(client.metadata().await.unwrap().as_deref(), Some("v"));
        assert_eq!(client.annotated(1).await, Ok(1));
        assert_eq!(*seen.lock().unwrap(), Metadata::from([("k", "v"), ("t", "w")]));
        let mut items = client.annotated_items().await.unwrap();
        assert_eq!((items.try_next().await, items.try_next().await), (Ok(Some(1)), Ok(None)));
        assert_eq!((items.metadata().get("k"), items.trailer().get("t")), (Some("v"), Some("w")));

        let large = Metadata::from([("k", "v".repeat(16 * 1024))]);
        let refused = status(world.client().with_metadata(large).metadata().await);
        assert_eq!((refused.code(), refused.may_have_executed()), (Code::ResourceExhausted, false));
        assert_eq!(status(client.annotated(16 * 1024).await).code(), Code::Internal);
        world.assert_unharmed().await;
    });
}

#[test]
fn limits() {
    let limited = |end: End| {
        // The caller may send more than the callee takes, and the callee more than the caller does.
        let bytes = if end.role == Role::Caller { 8 << 20 } else { 100_000 };
        end.start_with(|builder| builder.limits(Limits::default().max_message_size(bytes).max_in_flight(1)))
    };
    in_each_world(limited, async |world| {
        let own = status(world.client().echo("x".repeat(9 << 20)).await);
        assert_eq!((own.origin(), own.may_have_executed()), (Origin::Local, false));
        assert!(own.message().contains("this side's limit of 8388608 (Limits::max_message_size)"), "{own}");
        let theirs = status(world.client().echo("x".repeat(1 << 20)).await);
        assert_eq!((theirs.code(), theirs.origin()), (Code::ResourceExhausted, Origin::Peer));
        assert!(theirs.message().contains("limit of 100000 (Limits::max_message_size)"), "{theirs}");

        // One call at a time: the second is not refused, it waits.
        let first = world.client();
        let first = tokio::spawn(async move { first.work().await });
        world.duties.until_alive(1).await;
        let second = world.client();
        let mut second = pin!(second.alive());
        for _ in 0..100 {
            assert!(poll_once(second.as_mut()).await.is_none());
        }
        world.duties.go_on.notify_one();
        assert_eq!((first.await.unwrap(), second.await), (Ok(7), Ok(0)));
        world.assert_unharmed().await;
    });
}

/// Polls once, then lets other tasks run.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    tokio::task::yield_now().await;
    match polled {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Long enough for whatever is told to go on.
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn drain() {
    in_each_world(End::start, async |world| {
        let client = world.client();
        let running = tokio::spawn(async move { client.work().await });
        world.duties.until_alive(1).await;
        let mut shutdown = pin!(world.callee.shutdown(HOUR));
        assert_eq!(poll_once(shutdown.as_mut()).await, None);
        let refused = status(world.client().echo("x".to_owned()).await);
        assert_eq!((refused.code(), refused.may_have_executed()), (Code::Unavailable, false));
        world.duties.go_on.notify_one();
        assert_eq!(running.await.unwrap(), Ok(7));
        assert!(shutdown.await.is_clean(), "all had finished");
        world.duties.until_alive(0).await;
    });
    in_each_world(End::start, async |world| {
        let client = world.client();
        let running = tokio::spawn(async move { client.hang().await });
        world.duties.until_alive(2).await;
        assert!(!world.callee.shutdown(Duration::from_millis(20)).await.is_clean(), "one had not finished");
        let cut = status(running.await.unwrap());
        assert_eq!((cut.code(), cut.may_have_executed()), (Code::Unavailable, true));
        world.duties.until_alive(0).await;
    });
}

/// The service as it will be; see `evolution` for all rules.
#[muxado_rpc::service(name = "Duty")]
trait Later {
    async fn echo(&self, text: String, #[serde(default)] loud: bool) -> String;
    async fn whisper(&self, text: String) -> String;
}

#[test]
fn evolution() {
    in_each_world(End::start, async |world| {
        let later = LaterClient::new(world.caller.channel()).with_codec(world.codec);
        assert_eq!(later.echo("x".to_owned(), true).await.as_deref(), Ok("x"));
        assert_eq!(status(later.whisper("x".to_owned()).await).code(), Code::Unimplemented);
        world.assert_unharmed().await;
    });
}

#[test]
fn codec() {
    in_each_world(End::start, async |world| {
        for codec in [Codec::Json, Codec::MessagePack] {
            let codecs = Arc::new(Mutex::new(None));
            let seen = Arc::clone(&codecs);
            let channel = ServiceBuilder::new()
                .layer(MapResponseLayer::new(move |response: Response| {
                    *seen.lock().unwrap() = Some(response.codec());
                    response
                }))
                .service(world.caller.channel());
            let client = DutyClient::new(channel).with_codec(codec);
            assert_eq!(client.echo("x".to_owned()).await.as_deref(), Ok("x"));
            assert_eq!(*codecs.lock().unwrap(), Some(codec));
        }
        world.assert_unharmed().await;
    });
}

#[test]
fn identity() {
    let both =
        |end: End| end.start_with(|builder| builder.serve(stranger::ElsewhereServer::new(stranger::Shouts)));
    in_each_world(both, async |world| {
        let elsewhere = stranger::ElsewhereClient::new(world.caller.channel()).with_codec(world.codec);
        let duty = world.client();
        let (plain, loud) = tokio::join!(duty.echo("x".to_owned()), elsewhere.echo("x".to_owned()));
        assert_eq!((plain.as_deref(), loud.as_deref()), (Ok("x"), Ok("X")));
        world.assert_unharmed().await;
    });
    let id = <DutyServer<Duties> as NamedService>::INFO.id();
    assert_eq!(id, ServiceId::from_name("Duty"));
    let duty = || DutyServer::new(Duties::default());
    let (io, _other) = tokio::io::duplex(1);
    let twice = Peer::builder().serve(duty()).serve(duty()).client(io);
    assert!(matches!(twice, Err(RegistrationError::DuplicateId { id: of, .. }) if of == id));
}

#[test]
fn nothing_comes_of_a_call_that_is_not_polled() {
    in_each_world(End::start, async |world| {
        drop(world.client().hang());
        drop(world.client().sum(stream::pending()));
        let mut waiting = pin!(pending::<()>());
        assert!(poll_once(waiting.as_mut()).await.is_none());
        assert_eq!(world.caller.stats().streams_opened, 0);
        world.assert_unharmed().await;
    });
}
