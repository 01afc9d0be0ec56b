//! Prometheus scrapes servers and clients, and every query of the dashboard returns data.

use std::{fmt::Write, process::Command, time::Duration};

use muxado_rpc::{
    Balanced, Health, Peer, Reconnect, Status,
    layers::MetricsLayer,
    telemetry::{HttpEndpoint, Prometheus},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tower::ServiceBuilder;

use crate::{
    SiteClient, builder,
    place::{Folder, Process, free_port},
};

const DASHBOARD: &str = include_str!("../../../docs/grafana-dashboard.json");

/// Starts Prometheus, which scrapes this address every second.
async fn start(folder: &Folder, port: u16, target: &str) -> Process {
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nscrape_configs:\n- job_name: muxado\n  \
         static_configs: [{{ targets: ['{target}'] }}]\n"
    );
    let (config, data) = (folder.write("prometheus.yml", &config), folder.path().join("data"));
    let mut command = Command::new("prometheus");
    command
        .arg(format!("--config.file={config}"))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    folder.start(&mut command).listening(port).await
}

/// Asks Prometheus, and returns the results.
async fn query(port: u16, expression: &str) -> Vec<Value> {
    let mut encoded = String::new();
    expression.bytes().for_each(|byte| write!(encoded, "%{byte:02X}").unwrap());
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    // Prometheus is there before it can be asked.
    let Ok(answer) = serde_json::from_str::<Value>(body) else { return Vec::new() };
    assert_eq!(answer["status"], "success", "{expression}: {body}");
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Returns the queries of the dashboard, as Grafana sends them when nothing is chosen.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let mut queries: Vec<String> =
        targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    for query in &mut queries {
        for (variable, value) in [("$job", ".*"), ("$instance", ".*"), ("$__rate_interval", "10s")] {
            *query = query.replace(variable, value);
        }
        assert!(!query.contains('$'), "{query}");
    }
    queries
}

#[tokio::test]
async fn every_query_of_the_dashboard_returns_data() {
    let prometheus = Prometheus::install().unwrap();
    let server = builder("measured").layer(MetricsLayer::server()).listen("tcp://127.0.0.1:0").await.unwrap();
    let address = server.local_addr().to_string();
    let reconnect = Reconnect::builder().address(server.local_addr().clone()).build().unwrap();
    let balanced = Balanced::connect([address.clone()]).unwrap();
    let peer = Peer::builder().connect(&*address).await.unwrap();
    let sampler = prometheus.sampler();
    sampler.add_server("site", &server);
    sampler.add_reconnect("again", &reconnect);
    sampler.add_balanced("fleet", &balanced);
    sampler.add_peer("one", &peer);
    let endpoint = HttpEndpoint::builder(&Health::new()).prometheus(&prometheus).listen("127.0.0.1:0");
    let endpoint = endpoint.await.unwrap();

    let (folder, port) = (Folder::new("prometheus"), free_port());
    let _prometheus = start(&folder, port, &endpoint.local_addr().to_string()).await;
    let measured = ServiceBuilder::new().layer(MetricsLayer::client()).service(reconnect);
    let calls = async {
        let (site, other) = (SiteClient::new(measured), SiteClient::new(balanced));
        loop {
            assert_eq!(site.name().await.unwrap(), "measured");
            other.pid().await.unwrap();
            let late = site.slow().timeout(Duration::from_millis(1)).await.unwrap_err();
            assert_eq!(Status::from(late).code(), muxado_rpc::Code::DeadlineExceeded);
            sleep(Duration::from_millis(20)).await;
        }
    };
    let answers = async {
        for expression in queries() {
            while !has_numbers(&query(port, &expression).await) {
                sleep(Duration::from_millis(200)).await;
            }
        }
        let scraped = query(port, "up{job=\"muxado\"}").await;
        assert_eq!(scraped[0]["value"][1], "1");
    };
    tokio::select! {
        () = calls => {}
        done = timeout(Duration::from_secs(60), answers) => done.expect("a query returns nothing for 60 s"),
    }
}

/// Whether there is a series, and each is a number.
fn has_numbers(results: &[Value]) -> bool {
    !results.is_empty() && results.iter().all(|result| result["value"][1] != "NaN")
}
