//! What is recorded of calls, and published of connections.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use muxado_rpc::{
    Balanced, CallService, Codec, Limits, MethodInfo, Peer, PeerBuilder, Reconnect, Request, Response,
    Server, Shape, Status, Stream, Streaming,
    layers::{DURATION_BUCKETS, MetricsLayer},
    telemetry::{Prometheus, PrometheusRecorder, Sampler},
};
use quanta::{Clock, Mock};
use support::{WorkClient, WorkServer, Worker};
use tokio::{io::duplex, time::sleep};
use tower::{Layer, Service, ServiceBuilder, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// The recorder of one test: that of its thread, on which all its tasks run.
fn recorder() -> (&'static PrometheusRecorder, metrics::LocalRecorderGuard<'static>) {
    let recorder = &*Box::leak(Box::new(Prometheus::builder().build()));
    (recorder, metrics::set_default_local_recorder(recorder))
}

/// The lines of a metric that have all these labels, and their values.
fn lines(text: &str, name: &str, labels: &[(&str, &str)]) -> Vec<(String, f64)> {
    let has = |line: &str| labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")));
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let found = text.lines().filter(of_name).filter(|line| has(line));
    found.map(|line| (line.to_owned(), line.rsplit(' ').next().unwrap().parse().unwrap())).collect()
}

/// The sum over all series with these labels.
fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    lines(text, name, labels).iter().map(|(_, value)| value).sum()
}

/// How many calls of a side and method ended so.
fn ended(recorder: &PrometheusRecorder, side: &str, method: &str, code: &str) -> f64 {
    let name = format!("rpc_{side}_call_duration_seconds_count");
    let labels = [("rpc_method", method), ("rpc_response_status_code", code), ("rpc_system_name", "muxado")];
    sum(&recorder.prometheus().render(), &name, &labels)
}

/// How many calls of a side were recorded.
fn all(recorder: &PrometheusRecorder, side: &str) -> f64 {
    sum(&recorder.prometheus().render(), &format!("rpc_{side}_call_duration_seconds_count"), &[])
}

/// Lets tasks that were woken do what they have to.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn pair(serving: PeerBuilder<impl Layer<muxado_rpc::Router, Service: CallService>>) -> (Peer, Peer) {
    let (near, far) = duplex(64 * 1024);
    (Peer::builder().client(near).unwrap(), serving.server(far).unwrap())
}

fn measured<S>(
    inner: S,
) -> impl Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + use<S>
where
    S: Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync,
{
    MetricsLayer::client().layer(inner)
}

/// The time by which the calls of a test are measured.
#[derive(Clone)]
struct Measure {
    clock: Clock,
    mock: Arc<Mock>,
}

impl Measure {
    fn new() -> Self {
        let (clock, mock) = Clock::mock();
        Self { clock, mock }
    }

    /// Returns a client and the peer that serves it, both measured by this.
    fn numbers(
        &self,
    ) -> (
        NumbersClient<
            impl Service<Request, Response = Response, Error = Status, Future: Send> + Clone + Send + Sync + use<>,
        >,
        Peer,
    ) {
        let (server, client) = (MetricsLayer::server(), MetricsLayer::client());
        let numbers = NumbersServer::new(Fingers(Arc::clone(&self.mock)));
        let (near, far) = pair(Peer::builder().layer(server.clock(self.clock.clone())).serve(numbers));
        (NumbersClient::new(client.clock(self.clock.clone()).layer(near.channel())), far)
    }
}

#[muxado_rpc::service]
trait Numbers {
    async fn pause(&self, ms: u64);
    async fn count(&self, to: u32) -> impl Stream<Item = u32>;
    async fn sum(&self, numbers: Streaming<u32>) -> u32;
}

struct Fingers(Arc<Mock>);

impl Numbers for Fingers {
    async fn pause(&self, ms: u64) {
        self.0.increment(Duration::from_millis(ms));
    }

    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        let clock = Arc::clone(&self.0);
        stream::iter(0..to).then(move |number| {
            let clock = Arc::clone(&clock);
            async move {
                sleep(SECOND).await;
                clock.increment(SECOND);
                number
            }
        })
    }

    async fn sum(&self, mut numbers: Streaming<u32>) -> u32 {
        let mut sum = 0;
        while let Some(Ok(number)) = numbers.next().await {
            sum += number;
        }
        sum
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_record_how_long_a_call_takes() {
    let (recorder, _guard) = recorder();
    let (client, _far) = Measure::new().numbers();
    for ms in [30, 30, 400] {
        client.pause(ms).await.unwrap();
    }
    let text = recorder.prometheus().render();
    for side in ["server", "client"] {
        let name = |what: &str| format!("rpc_{side}_call_duration_seconds_{what}");
        let below = |le: &str| sum(&text, &name("bucket"), &[("rpc_method", "Numbers/pause"), ("le", le)]);
        assert_eq!(
            (below("0.025"), below("0.05"), below("0.5"), below("+Inf")),
            (0.0, 2.0, 3.0, 3.0),
            "{text}"
        );
        let bounds = lines(&text, &name("bucket"), &[("rpc_method", "Numbers/pause")]).len();
        assert_eq!(bounds, DURATION_BUCKETS.len() + 1);
        let total = sum(&text, &name("sum"), &[]);
        assert!((0.4599..0.4601).contains(&total), "{total}");
        assert!(!lines(&text, &name("count"), &[])[0].0.contains("error_type"), "{text}");
        assert!(text.contains(&format!("# TYPE rpc_{side}_call_duration_seconds histogram")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_end_of_a_call_has_its_code_and_is_counted_once() {
    let (recorder, _guard) = recorder();
    let worker = Worker::default();
    let (near, _far) =
        pair(Peer::builder().layer(MetricsLayer::server()).serve(WorkServer::new(worker.clone())));
    let client = WorkClient::new(measured(near.channel()));
    client.echo("x".to_owned()).await.unwrap();
    client.divide(1.0, 0.0).await.unwrap_err();
    client.find("nobody".to_owned()).await.unwrap_err();
    client.panic().await.unwrap_err();
    client.sleep(5_000).timeout(SECOND).await.unwrap_err();
    {
        let hanging = client.hang();
        tokio::select! {
            _ = hanging => panic!("it hangs"),
            () = worker.until_hanging(1) => {}
        }
    }
    settle().await;
    let expected = [
        ("Work/echo", "ok"),
        ("Work/divide", "unknown"),
        ("Work/find", "not_found"),
        ("Work/panic", "internal"),
        ("Work/sleep", "deadline_exceeded"),
        ("Work/hang", "cancelled"),
    ];
    for side in ["server", "client"] {
        for (method, code) in expected {
            assert_eq!(ended(recorder, side, method, code), 1.0, "{side} {method} {code}");
        }
        assert_eq!(all(recorder, side), 6.0, "{side}");
    }
    let text = recorder.prometheus().render();
    let failed = lines(&text, "rpc_server_call_duration_seconds_count", &[("error_type", "not_found")]);
    assert_eq!(failed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_with_its_connection_is_counted_once() {
    let (recorder, _guard) = recorder();
    let worker = Worker::default();
    let (near, far) =
        pair(Peer::builder().layer(MetricsLayer::server()).serve(WorkServer::new(worker.clone())));
    let client = WorkClient::new(measured(near.channel()));
    let call = tokio::spawn(async move { client.hang().await });
    worker.until_hanging(1).await;
    far.close();
    assert!(call.await.unwrap().is_err());
    settle().await;
    assert_eq!(ended(recorder, "client", "Work/hang", "unavailable"), 1.0);
    assert_eq!(ended(recorder, "server", "Work/hang", "cancelled"), 1.0);
    assert_eq!((all(recorder, "client"), all(recorder, "server")), (1.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_lasts_until_its_end() {
    let (recorder, _guard) = recorder();
    let (client, _far) = Measure::new().numbers();
    let items: Vec<_> = client.count(3).await.unwrap().collect().await;
    assert_eq!(items.len(), 3);
    let total = client.sum(stream::iter([1, 2, 3])).await.unwrap();
    assert_eq!(total, 6);
    // Not read to its end, and never read at all.
    let mut left = client.count(3).await.unwrap();
    left.next().await.unwrap().unwrap();
    drop(left);
    let unread = client.count(3).await.unwrap();
    settle().await;
    drop(unread);
    // Its time is over in the middle.
    let mut late = client.count(3).timeout(SECOND + SECOND / 2).await.unwrap();
    late.next().await.unwrap().unwrap();
    late.next().await.unwrap().unwrap_err();
    drop(late);
    settle().await;
    for side in ["server", "client"] {
        assert_eq!(ended(recorder, side, "Numbers/count", "ok"), 1.0, "{side}");
        assert_eq!(ended(recorder, side, "Numbers/sum", "ok"), 1.0, "{side}");
        assert_eq!(ended(recorder, side, "Numbers/count", "cancelled"), 2.0, "{side}");
        assert_eq!(ended(recorder, side, "Numbers/count", "deadline_exceeded"), 1.0, "{side}");
        assert_eq!(all(recorder, side), 5.0, "{side}");
        let name = format!("rpc_{side}_call_duration_seconds_sum");
        let labels = [("rpc_method", "Numbers/count"), ("rpc_response_status_code", "ok")];
        let took = sum(&recorder.prometheus().render(), &name, &labels);
        assert!((3.0..3.1).contains(&took), "{side} {took}");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_unknown_methods_are_one_series() {
    let (recorder, _guard) = recorder();
    let fallback = service_fn(|request: Request| async move { Response::new(request.codec(), &1) });
    let (near, _far) = pair(Peer::builder().layer(MetricsLayer::server()).fallback(fallback));
    let mut channel = measured(near.channel());
    for number in 0..10_000 {
        let method = MethodInfo::dynamic(format!("S{}", number % 7), format!("m{number}"));
        let request = Request::new(method, Codec::MessagePack, &()).unwrap();
        channel.call(request).await.unwrap();
    }
    let text = recorder.prometheus().render();
    for side in ["server", "client"] {
        let name = format!("rpc_{side}_call_duration_seconds_count");
        let found = lines(&text, &name, &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            sum(&text, &name, &[("rpc_method", "_OTHER"), ("rpc_response_status_code", "ok")]),
            10_000.0
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_described_at_run_time_with_its_shape_has_its_name() {
    let (recorder, _guard) = recorder();
    let (near, _far) =
        pair(Peer::builder().layer(MetricsLayer::server()).serve(WorkServer::new(Worker::default())));
    let layer = MetricsLayer::client().label("server.address", "backend");
    let mut channel = ServiceBuilder::new().layer(layer).service(near.channel());
    for _ in 0..2 {
        let method = MethodInfo::dynamic("Work", "hanging").with_shape(Shape::Unary);
        channel.call(Request::new(method, Codec::Json, &()).unwrap()).await.unwrap();
    }
    assert_eq!(ended(recorder, "client", "Work/hanging", "ok"), 2.0);
    assert_eq!(ended(recorder, "server", "Work/hanging", "ok"), 2.0);
    let text = recorder.prometheus().render();
    assert_eq!(
        lines(&text, "rpc_client_call_duration_seconds_count", &[("server_address", "backend")]).len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_refused_before_the_layers_are_counted_as_failed() {
    let (recorder, _guard) = recorder();
    let (near, far) =
        pair(Peer::builder().layer(MetricsLayer::server()).serve(WorkServer::new(Worker::default())));
    near.channel().call_raw("Nobody", "nothing").send().await.unwrap_err();
    assert_eq!((all(recorder, "server"), far.call_stats().failed), (0.0, 1));
}

/// Calls of which each sets the clock: the one before has ended when the next begins.
#[tokio::test(start_paused = true)]
async fn calls_that_are_served_in_one_turn_are_measured_one_by_one() {
    let (recorder, _guard) = recorder();
    let (client, _far) = Measure::new().numbers();
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(client.pause(20).into_future())).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let text = recorder.prometheus().render();
    let below = |le: &str| sum(&text, "rpc_server_call_duration_seconds_bucket", &[("le", le)]);
    assert_eq!((below("0.01"), below("0.025")), (0.0, 20.0), "{text}");
    let total = sum(&text, "rpc_server_call_duration_seconds_sum", &[]);
    assert!((total - 0.4).abs() < 1e-9, "{total}");
}

/// Our own histograms read as those of the exporter.
#[test]
fn durations_are_rendered_as_the_exporter_renders_them() {
    let own = Prometheus::builder().label("zone", "b").build();
    let exporter = metrics_exporter_prometheus::PrometheusBuilder::new()
        .with_recommended_naming(true)
        .add_global_label("zone", "b")
        .set_buckets(&DURATION_BUCKETS)
        .unwrap()
        .build_recorder();
    let record = || {
        metrics::describe_histogram!("rpc.server.call.duration", metrics::Unit::Seconds, "How long.");
        for (method, value) in [("A/b", 0.25), ("A/b", 0.5), ("A/c", 3.0), ("A/c", 0.001), ("A/\"d\"", 64.0)]
        {
            metrics::histogram!("rpc.server.call.duration", "rpc.method" => method).record(value);
            metrics::histogram!("rpc.client.call.duration", "rpc.method" => method, "zone" => "a")
                .record(value);
        }
        metrics::counter!("orders").increment(1);
    };
    metrics::with_local_recorder(&own, record);
    metrics::with_local_recorder(&exporter, record);
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(own.prometheus().render()), sorted(exporter.handle().render()));
}

/// Publishes, and returns what there is of one that is watched.
struct Watched {
    sampler: Sampler,
    recorder: &'static PrometheusRecorder,
    role: &'static str,
}

impl Watched {
    fn value(&self, name: &str, more: &[(&str, &str)]) -> f64 {
        self.sampler.sample();
        let labels = [&[("muxado_role", self.role), ("muxado_name", "it")], more].concat();
        let text = self.recorder.prometheus().render();
        let found = lines(&text, name, &labels);
        assert_eq!(found.len(), 1, "{name} {labels:?}: {found:?}");
        found[0].1
    }
}

#[tokio::test]
async fn a_server_shows_its_connections_calls_and_memory() {
    let (recorder, _guard) = recorder();
    let worker = Worker::default();
    let limits = Limits::default().max_in_flight(1).max_request_memory(1_000_000);
    let server =
        Server::builder().serve(WorkServer::new(worker.clone())).limits(limits).max_memory(5_000_000);
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    let watched = Watched { sampler: Sampler::new(), recorder, role: "server" };
    watched.sampler.add_server("it", &server);
    assert_eq!(watched.value("muxado_connections", &[]), 0.0);

    let peer = muxado_rpc::connect(server.local_addr()).await.unwrap();
    let client = WorkClient::new(peer.channel());
    client.echo("x".repeat(1000)).await.unwrap();
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.hang().await }
    });
    worker.until_hanging(1).await;
    let second = tokio::spawn(async move { client.hang().await });
    while watched.value("muxado_calls_queued", &[]) < 1.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.call_stats().waiting, 1);
    assert_eq!(watched.value("muxado_connections", &[]), 1.0);
    assert_eq!(watched.value("muxado_calls_in_flight", &[]), 1.0);
    assert_eq!(watched.value("muxado_calls_total", &[("muxado_outcome", "served")]), 1.0);
    assert!(watched.value("muxado_streams_open", &[]) >= 2.0);
    assert!(watched.value("muxado_io_bytes_total", &[("network_io_direction", "receive")]) > 1000.0);
    assert_eq!(watched.value("muxado_memory_limit_bytes", &[("muxado_budget", "requests")]), 1_000_000.0);
    assert_eq!(watched.value("muxado_memory_limit_bytes", &[("muxado_budget", "server")]), 5_000_000.0);
    assert_eq!(watched.value("muxado_memory_used_bytes", &[("muxado_budget", "responses")]), 0.0);

    // What ended connections counted is not lost.
    let io = watched.value("muxado_io_bytes_total", &[("network_io_direction", "receive")]);
    peer.close();
    assert!(first.await.unwrap().is_err() && second.await.unwrap().is_err());
    while watched.value("muxado_connections", &[]) > 0.0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.value("muxado_calls_queued", &[]), 0.0);
    assert!(watched.value("muxado_io_bytes_total", &[("network_io_direction", "receive")]) >= io);
    drop(server);
    while format!("{:?}", watched.sampler) != "Sampler([])" {
        watched.sampler.sample();
        tokio::task::yield_now().await;
    }
    assert_eq!(watched.value("muxado_connections", &[]), 0.0);
}

#[tokio::test]
async fn a_client_shows_that_it_connects_again() {
    let (recorder, _guard) = recorder();
    let server = Server::builder().serve(WorkServer::new(Worker::default()));
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    let reconnect = Reconnect::builder().address(server.local_addr().clone()).build().unwrap();
    let watched = Watched { sampler: Sampler::new(), recorder, role: "client" };
    watched.sampler.add_reconnect("it", &reconnect);
    reconnect.connected().await.unwrap();
    assert_eq!(watched.value("muxado_client_connections_made_total", &[]), 1.0);
    assert_eq!(watched.value("muxado_client_reconnects_total", &[]), 0.0);
    assert_eq!(watched.value("muxado_client_places", &[("muxado_state", "connected")]), 1.0);
    assert!(watched.value("muxado_round_trip_seconds", &[("muxado_stat", "max")]) > 0.0);
    let sent = watched.value("muxado_io_bytes_total", &[("network_io_direction", "transmit")]);
    for peer in server.peers() {
        peer.close();
    }
    let mut states = reconnect.watch();
    while states.generation() < 2 {
        states.changed().await;
    }
    assert_eq!(watched.value("muxado_client_reconnects_total", &[]), 1.0);
    assert!(watched.value("muxado_io_bytes_total", &[("network_io_direction", "transmit")]) > sent);
    assert_eq!(watched.value("muxado_client_calls_waiting", &[]), 0.0);
}

#[tokio::test]
async fn a_balanced_client_shows_its_servers() {
    let (recorder, _guard) = recorder();
    let server = Server::builder().serve(WorkServer::new(Worker::default()));
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    // Nobody listens on the other.
    let balanced =
        Balanced::connect([server.local_addr().to_string(), "tcp://127.0.0.1:1".to_owned()]).unwrap();
    let watched = Watched { sampler: Sampler::new(), recorder, role: "client" };
    watched.sampler.add_balanced("it", &balanced);
    balanced.connected().await.unwrap();
    WorkClient::new(balanced.clone()).echo("x".to_owned()).await.unwrap();
    assert_eq!(watched.value("muxado_client_servers", &[("muxado_state", "connected")]), 1.0);
    assert_eq!(watched.value("muxado_client_servers", &[("muxado_state", "not_connected")]), 1.0);
    assert_eq!(watched.value("muxado_client_calls_pending", &[]), 0.0);
    assert_eq!(watched.value("muxado_client_connections_made_total", &[]), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_timer_publishes_again_and_again() {
    let (recorder, _guard) = recorder();
    let (near, far) = pair(Peer::builder().serve(WorkServer::new(Worker::default())));
    let sampler = Sampler::new();
    sampler.add_peer("it", &far);
    let running = tokio::spawn(sampler.run(10 * SECOND));
    sleep(SECOND).await;
    let served =
        || sum(&recorder.prometheus().render(), "muxado_calls_total", &[("muxado_outcome", "served")]);
    assert_eq!(served(), 0.0);
    WorkClient::new(near.channel()).echo("x".to_owned()).await.unwrap();
    assert_eq!(served(), 0.0);
    sleep(10 * SECOND).await;
    assert_eq!(served(), 1.0);
    running.abort();
}
