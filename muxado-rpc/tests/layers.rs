//! The layers that come with the crate.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use muxado_rpc::{
    Backoff, Code, Limits, Peer, Request, Response, Status,
    layers::{AddMetadataLayer, AuthLayer, RetryPolicy},
};
use support::{CODECS, Pair, WorkClient, WorkServer, Worker};
use tokio::{io::duplex, time::Instant};
use tower::{Layer, Service, ServiceBuilder, layer::layer_fn, retry::RetryLayer, timeout::TimeoutLayer};

const SECOND: Duration = Duration::from_secs(1);

/// A client whose server has this layer around its services.
macro_rules! behind {
    ($layer:expr) => {{
        let (near, far) = duplex(64 * 1024);
        let far =
            Peer::builder().layer($layer).serve(WorkServer::new(Worker::default())).server(far).unwrap();
        (Peer::builder().client(near).unwrap(), far)
    }};
}

// ---------------------------------------------------------------- authentication

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_allowed_reaches_no_handler() {
    let auth = AuthLayer::new(|request: &mut Request| {
        let (token, method) = (request.metadata_mut().remove("token"), request.method_ref());
        async move {
            // As a look-up elsewhere does.
            tokio::time::sleep(SECOND).await;
            match token.as_deref() {
                Some("admin") => Ok(()),
                Some(_) if method.name() == "metadata" => Ok(()),
                Some(user) => Err(Status::permission_denied(format!("{user} may not {}", method.name()))),
                None => Err(Status::unauthenticated("who are you?").with_details(&7)),
            }
        }
    });
    let (near, far) = behind!(auth);
    for codec in CODECS {
        let nobody = WorkClient::new(near.channel()).with_codec(codec);
        let status = Status::from(nobody.hanging().await.unwrap_err());
        assert_eq!(status, Status::unauthenticated("who are you?"));
        assert_eq!(status.details(), Some(7));
        let user = nobody.clone().with_metadata([("token", "eve"), ("other", "x")].into());
        assert_eq!(
            Status::from(user.hanging().await.unwrap_err()),
            Status::permission_denied("eve may not hanging")
        );
        // The check took the token out.
        assert_eq!(user.metadata().await.unwrap(), ["other=x"]);
        let admin = nobody.clone().with_metadata([("token", "admin")].into());
        assert_eq!(admin.hanging().await, Ok(0));
        let hurried = admin.with_timeout(SECOND / 2);
        assert_eq!(hurried.hanging().await.unwrap_err().code(), Code::DeadlineExceeded);
    }
    assert_eq!(far.call_stats().served, 4);
}

#[tokio::test]
async fn what_a_check_gives_is_found_by_the_handler() {
    #[muxado_rpc::service]
    trait Who {
        async fn am_i(&self, cx: &muxado_rpc::Context) -> Option<String>;
    }

    struct User(String);
    struct Door;

    impl Who for Door {
        async fn am_i(&self, cx: &muxado_rpc::Context) -> Option<String> {
            Some(cx.extension::<User>()?.0.clone())
        }
    }

    let auth = AuthLayer::new(|request: &mut Request| {
        let name = request.metadata_mut().remove("name").unwrap_or_default();
        std::future::ready(Ok(User(name)))
    });
    let client = WhoClient::new(auth.layer(WhoServer::new(Door)));
    let eve = client.with_metadata([("name", "eve")].into());
    assert_eq!(eve.am_i().await, Ok(Some("eve".to_owned())));
}

#[tokio::test]
async fn a_check_that_panics_hurts_its_call_only() {
    let auth = AuthLayer::new(|request: &mut Request| {
        assert!(request.method().name() != "panic", "in the check");
        std::future::ready(Ok(()))
    });
    let (near, _far) = behind!(auth);
    let client = WorkClient::new(near.channel());
    assert_eq!(client.panic().await.unwrap_err().code(), Code::Internal);
    assert_eq!(client.hanging().await, Ok(0));
}

// ---------------------------------------------------------------- metadata

#[tokio::test]
async fn metadata_is_added_and_that_of_the_call_stays() {
    let pair = Pair::new();
    let count = AtomicU32::new(0);
    let channel = ServiceBuilder::new()
        .layer(AddMetadataLayer::new([("tenant", "blue"), ("user", "nobody")].into()))
        .layer(AddMetadataLayer::with(move |request| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            [("call", format!("{} {number}", request.method().name()))].into()
        }))
        .service(pair.near.channel());
    let client = WorkClient::new(channel).with_metadata([("user", "eve")].into());
    assert_eq!(client.metadata().await.unwrap(), ["user=eve", "tenant=blue", "call=metadata 0"]);
    assert_eq!(client.metadata().await.unwrap(), ["user=eve", "tenant=blue", "call=metadata 1"]);
}

// ---------------------------------------------------------------- retries

/// Fails so many calls with a status before it lets one through.
#[derive(Clone)]
struct Failing<S> {
    inner: S,
    left: Arc<AtomicU32>,
    status: fn() -> Status,
    times: Arc<Mutex<Vec<Instant>>>,
}

impl<S> Service<Request> for Failing<S>
where
    S: Service<Request, Response = Response, Error = Status, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Status;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response, Status>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.times.lock().unwrap().push(Instant::now());
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match before {
            Ok(_) => Box::pin(std::future::ready(Err((self.status)()))),
            Err(_) => Box::pin(self.inner.call(request)),
        }
    }
}

/// What came of a call through a retry layer, and how many attempts there were.
async fn retried(policy: RetryPolicy, failures: u32, status: fn() -> Status) -> (Code, usize) {
    let pair = Pair::new();
    let times = Arc::new(Mutex::new(Vec::new()));
    let failing = layer_fn(|inner| Failing {
        inner,
        left: Arc::new(AtomicU32::new(failures)),
        status,
        times: Arc::clone(&times),
    });
    let channel =
        ServiceBuilder::new().layer(RetryLayer::new(policy)).layer(failing).service(pair.near.channel());
    let client = WorkClient::new(channel).with_timeout(SECOND);
    let code = client.hanging().await.map_or_else(|error| error.code(), |_| Code::Unknown);
    let attempts = times.lock().unwrap().len();
    (code, attempts)
}

/// What a call meets whose peer is going away.
fn not_executed() -> Status {
    let (near, _) = duplex(1);
    let peer = Peer::builder().client(near).unwrap();
    peer.close();
    let mut channel = peer.channel();
    let ready = channel.poll_ready(&mut Context::from_waker(std::task::Waker::noop()));
    let Poll::Ready(Err(status)) = ready else { panic!("not closed") };
    status
}

#[tokio::test(start_paused = true)]
async fn what_was_not_executed_is_tried_again_within_bounds() {
    // A success shows as `Unknown` here.
    assert_eq!(retried(RetryPolicy::new(3), 2, not_executed).await, (Code::Unknown, 3));
    assert_eq!(retried(RetryPolicy::new(3), 3, not_executed).await, (Code::Unavailable, 3));
    assert_eq!(retried(RetryPolicy::new(1), 1, not_executed).await, (Code::Unavailable, 1));
    let maybe = || Status::unavailable("of the peer's own");
    assert_eq!(retried(RetryPolicy::new(3), 1, maybe).await, (Code::Unavailable, 1));
    let exhausted = || Status::resource_exhausted("");
    assert_eq!(retried(RetryPolicy::new(3), 1, exhausted).await, (Code::ResourceExhausted, 1));
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_the_time_limit_of_the_call() {
    let begin = Instant::now();
    let slow = Backoff::default().base(Duration::from_secs(1000)).max(Duration::from_secs(1000));
    let (code, attempts) = retried(RetryPolicy::new(1000).backoff(slow), 1000, not_executed).await;
    assert_eq!(code, Code::Unavailable);
    assert!(attempts < 10 && begin.elapsed() <= SECOND, "{attempts} in {:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn retries_work_around_layers_that_box_errors() {
    let pair = Pair::new();
    let left = Arc::new(AtomicU32::new(2));
    let failing = layer_fn(|inner| Failing {
        inner,
        left: Arc::clone(&left),
        status: not_executed,
        times: Arc::default(),
    });
    let channel = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::new(5)))
        .layer(TimeoutLayer::new(SECOND))
        .layer(failing)
        .service(pair.near.channel());
    let client = WorkClient::new(channel);
    assert_eq!(client.hanging().await, Ok(0));
    assert_eq!(client.hang().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_full_server_refuses_is_tried_until_there_is_room() {
    let (near, far) = duplex(64 * 1024);
    let worker = Worker::default();
    let far = Peer::builder()
        .config(muxado::Config::default().accept_backlog(1))
        .limits(Limits::default().max_in_flight(1))
        .serve(WorkServer::new(worker.clone()))
        .server(far)
        .unwrap();
    let near = Peer::builder().client(near).unwrap();
    let plain = WorkClient::new(near.channel());
    let policy = RetryPolicy::new(20);
    let patient = WorkClient::new(RetryLayer::new(policy).layer(near.channel()));
    let hanging = tokio::spawn({
        let client = plain.clone();
        async move { client.hang().await }
    });
    worker.until_hanging(1).await;
    let _waiting = tokio::spawn({
        let client = plain.clone();
        async move { client.hanging().await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let refused = plain.hanging().await.unwrap_err();
    assert_eq!((refused.code(), refused.may_have_executed()), (Code::Unavailable, false));
    let call = tokio::spawn(async move { patient.hanging().await });
    tokio::time::sleep(SECOND).await;
    hanging.abort();
    assert_eq!(call.await.unwrap(), Ok(0));
    assert!(far.stats().streams_refused > 2);
}
