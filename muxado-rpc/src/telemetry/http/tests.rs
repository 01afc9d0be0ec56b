use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A client of an endpoint, and the end of its connection.
fn connect(builder: &HttpEndpointBuilder) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (near, far) = duplex(64 * 1024);
    let serving = tokio::spawn(builder.bounds.serve(builder.answers.clone(), far));
    (near, serving)
}

/// Sends this, and returns all that comes back.
async fn exchange(builder: &HttpEndpointBuilder, request: &str) -> String {
    let (mut near, serving) = connect(builder);
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    serving.await.unwrap();
    answer
}

async fn get(builder: &HttpEndpointBuilder, method: &str, path: &str) -> String {
    exchange(builder, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

fn assert_has(answer: &str, first: &str, body: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {first}\r\n")), "{answer}");
    assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn probes_are_answered() {
    let health = Health::new();
    let endpoint = HttpEndpoint::builder(&health).metrics(|| "up 1\n".to_owned());
    assert_has(&get(&endpoint, "GET", "/livez").await, "200 OK", "ok\n");
    assert_has(&get(&endpoint, "GET", "/readyz?verbose").await, "200 OK", "SERVING\n");
    let metrics = get(&endpoint, "GET", "/metrics").await;
    assert_has(&metrics, "200 OK", "up 1\n");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(metrics.contains("cache-control: no-store\r\n"), "{metrics}");

    health.set("", HealthStatus::Unknown);
    assert_has(&get(&endpoint, "GET", "/readyz").await, "503 Service Unavailable", "NOT_SERVING\n");
    health.clear("");
    health.set("Greeter", HealthStatus::NotServing);
    assert_has(&get(&endpoint, "GET", "/readyz").await, "200 OK", "SERVING\n");
    health.shut_down();
    assert_has(&get(&endpoint, "GET", "/readyz").await, "503 Service Unavailable", "NOT_SERVING\n");
    assert_has(&get(&endpoint, "GET", "/livez").await, "200 OK", "ok\n");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_no_body_and_other_methods_are_not_allowed() {
    let endpoint = HttpEndpoint::builder(&Health::new()).metrics(|| "up 1\n".to_owned());
    let head = get(&endpoint, "HEAD", "/metrics").await;
    assert_has(&head, "200 OK", "");
    assert!(head.contains("content-length: 5\r\n"), "{head}");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = get(&endpoint, method, "/livez").await;
        assert_has(&answer, "405 Method Not Allowed", "only GET and HEAD are allowed\n");
        assert!(answer.contains("allow: GET, HEAD\r\n"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_not_found() {
    let endpoint = HttpEndpoint::builder(&Health::new());
    for path in ["/", "/metrics", "/livez/", "/READYZ", "/../livez"] {
        let answer = get(&endpoint, "GET", path).await;
        assert_has(&answer, "404 Not Found", "not found: there are /livez, /readyz and /metrics\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_renderer_that_panics_is_an_error_of_the_scrape() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let endpoint = HttpEndpoint::builder(&Health::new()).metrics(move || {
        assert!(counted.fetch_add(1, Ordering::Relaxed) > 0, "the first one fails");
        "up 1\n".to_owned()
    });
    let failed = get(&endpoint, "GET", "/metrics").await;
    assert_has(&failed, "500 Internal Server Error", "the metrics cannot be rendered\n");
    assert_has(&get(&endpoint, "GET", "/metrics").await, "200 OK", "up 1\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_http_or_too_long_is_refused() {
    let endpoint = HttpEndpoint::builder(&Health::new());
    let garbage = exchange(&endpoint, "\x16\x03\x01 hello\r\n\r\n").await;
    assert!(garbage.starts_with("HTTP/1.1 400 "), "{garbage}");
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    let refused = exchange(&endpoint, &long).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    let many: String = (0..65).map(|number| format!("X{number}: y\r\n")).collect();
    let refused = exchange(&endpoint, &format!("GET /livez HTTP/1.1\r\n{many}\r\n")).await;
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_has_its_time() {
    let endpoint = HttpEndpoint::builder(&Health::new()).timeout(2 * SECOND);
    // One that sends nothing, one that sends a byte now and then, and one that waits between two requests.
    for begin in ["", "GET /livez HTTP/1.1\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let (begun, (mut near, serving)) = (Instant::now(), connect(&endpoint));
        near.write_all(begin.as_bytes()).await.unwrap();
        let drip = tokio::spawn(async move {
            while near.write_all(b"\r").await.is_ok() && !begin.is_empty() {
                sleep(SECOND / 2).await;
            }
            near
        });
        serving.await.unwrap();
        assert!(begun.elapsed() <= 3 * SECOND, "{begin:?}: {:?}", begun.elapsed());
        drip.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_left_after_a_while() {
    let endpoint =
        HttpEndpoint::builder(&Health::new()).timeout(2 * SECOND).metrics(|| "x".repeat(1024 * 1024));
    let (begun, (mut near, serving)) = (Instant::now(), connect(&endpoint));
    near.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    serving.await.unwrap();
    assert_eq!(begun.elapsed(), 12 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_body_is_answered_without_reading_it() {
    let endpoint = HttpEndpoint::builder(&Health::new());
    let request = "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nabc";
    assert_has(&exchange(&endpoint, request).await, "200 OK", "ok\n");
}
