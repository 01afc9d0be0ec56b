//! Tower layers around one service: authentication, a rate limit, a time limit, traces, retries.
//!
//! ```text
//! cargo run -p examples --example middleware
//! ```
//!
//! The server takes calls with the right word in their metadata: three calls a second, each for half a second at most.
//! The client adds the word, repeats calls that were not executed, and belongs to one trace. The program checks the
//! results and prints the spans of both sides.

use std::time::{Duration, Instant};

use muxado_rpc::{
    Code, Peer, Request, Server, Status,
    layers::{AddMetadataLayer, AuthLayer, RetryPolicy, TimeoutLayer, TraceContext, TraceLayer},
};
use tower::{ServiceBuilder, buffer::BufferLayer, limit::RateLimitLayer, retry::RetryLayer};
use tracing_subscriber::fmt::format::FmtSpan;

#[muxado_rpc::service]
pub trait Weather {
    /// Returns the temperature at a place, in degrees.
    async fn temperature(&self, place: &str) -> Result<i32, Status>;
    /// Takes `ms` milliseconds.
    async fn forecast(&self, ms: u64) -> String;
    /// Returns the id of the trace that the call belongs to.
    async fn trace(&self) -> Option<String>;
}

struct Station;

impl Weather for Station {
    async fn temperature(&self, place: &str) -> Result<i32, Status> {
        if place == "the sun" { Err(Status::out_of_range("too hot")) } else { Ok(21) }
    }

    async fn forecast(&self, ms: u64) -> String {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        "rain".to_owned()
    }

    async fn trace(&self) -> Option<String> {
        Some(TraceContext::current()?.trace_id())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().compact().with_span_events(FmtSpan::CLOSE).init();
    let knows_the_word = |request: &mut Request| {
        let known = request.metadata_mut().remove("word").as_deref() == Some("sesame");
        async move { if known { Ok(()) } else { Err(Status::unauthenticated("say the word")) } }
    };
    let layers = ServiceBuilder::new()
        .layer(TraceLayer::server())
        .layer(AuthLayer::new(knows_the_word))
        // A rate limit cannot be cloned. The buffer lets all connections share it.
        .layer(BufferLayer::new(64))
        .layer(RateLimitLayer::new(3, Duration::from_secs(1)))
        .layer(TimeoutLayer::new(Duration::from_millis(500)));
    let server = Server::builder()
        .layer(layers)
        .serve(WeatherServer::new(Station))
        .listen("tcp://127.0.0.1:0")
        .await?;
    let peer = Peer::builder().connect(server.local_addr()).await?;

    let stranger = WeatherClient::new(peer.channel());
    let refused = stranger.temperature("here").await.expect_err("it does not know the word");
    assert_eq!(refused.code(), Code::Unauthenticated);

    let channel = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::new(3)))
        .layer(TraceLayer::client().peer_info(peer.peer_info().clone()))
        .layer(AddMetadataLayer::new([("word", "sesame")].into()))
        .service(peer.channel());
    let weather = WeatherClient::new(channel);
    assert_eq!(weather.temperature("here").await?, 21);
    let hot = weather.temperature("the sun").await.expect_err("nobody can measure that");
    assert_eq!(hot.code(), Code::OutOfRange);
    let late = weather.forecast(10_000).await.expect_err("it takes too long");
    assert_eq!(late.code(), Code::DeadlineExceeded);

    let begin = Instant::now();
    for _ in 0..7 {
        assert_eq!(weather.forecast(0).await?, "rain");
    }
    assert!(begin.elapsed() >= Duration::from_millis(900), "the rate is limited");

    let context = TraceContext::root();
    let served = context.clone().scope(weather.trace()).await?;
    assert_eq!(served, Some(context.trace_id()), "the trace goes across the connection");

    let stats = server.call_stats();
    println!("{} calls, {} of them answered with a status", stats.started, stats.failed);
    assert!(server.shutdown(Duration::from_secs(1)).await.is_clean());
    println!("as expected");
    Ok(())
}
