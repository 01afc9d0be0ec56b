//! nginx in front of a server: WebSockets beside pages, and plain TCP.

use std::{process::Command, time::Duration};

use muxado::HeartbeatConfig;
use muxado_rpc::{ClientTls, Peer, Server, WebSocketError, connect};
use tokio::time::sleep;

use crate::{
    assert_works, builder,
    openssl::Ca,
    place::{Folder, Process, free_port},
    within,
};

/// Where the module for TCP is, on Debian and where it is compiled in.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Starts nginx with what is in `http`, and TCP from a port to a server.
async fn start(folder: &Folder, port: u16, http: &str, tcp: Option<(u16, &Server)>) -> Process {
    let path = folder.path().to_str().unwrap();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths: String = kinds.iter().map(|kind| format!("{kind}_temp_path {path}/{kind};\n")).collect();
    let module = match std::path::Path::new(STREAM_MODULE).exists() {
        true => format!("load_module {STREAM_MODULE};\n"),
        false => String::new(),
    };
    let stream = tcp.map(|(port, server)| {
        let to = server.local_addr().socket_addr().unwrap();
        format!("{module}stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {to}; }} }}\n")
    });
    // The module comes before everything else.
    let text = format!(
        "{}daemon off; master_process off; pid {path}/pid; error_log stderr info;\nevents {{}}\n\
         http {{ access_log off;\n{paths}{http} }}\n",
        stream.unwrap_or_default()
    );
    let file = folder.write("nginx.conf", &text);
    let mut command = Command::new("nginx");
    command.args(["-p", path, "-e", "stderr", "-c", &file]);
    folder.start(&mut command).listening(port).await
}

/// Passes `/rpc` on to a server, as nginx's documentation says it.
fn websocket(server: &Server, timeout: &str) -> String {
    let to = server.local_addr().socket_addr().unwrap();
    format!(
        "location / {{ return 200 'a page'; }}\n\
         location /rpc {{ proxy_pass http://{to}; proxy_http_version 1.1; proxy_read_timeout {timeout};\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";\n\
         proxy_set_header X-Real-IP $remote_addr; }}\n"
    )
}

#[tokio::test]
async fn websockets_come_through_nginx_beside_pages() {
    let (folder, port) = (Folder::new("nginx"), free_port());
    let server = builder("web").listen("ws://127.0.0.1:0/rpc").await.unwrap();
    let http = format!("server {{ listen 127.0.0.1:{port};\n{} }}\n", websocket(&server, "60s"));
    let _nginx = start(&folder, port, &http, None).await;
    let peer = within(connect(format!("ws://127.0.0.1:{port}/rpc"))).await.unwrap();
    assert_works(&peer).await;
    let error = within(connect(format!("ws://127.0.0.1:{port}/"))).await.unwrap_err();
    assert!(
        matches!(WebSocketError::of(&error), Some(WebSocketError::Status { status: 200, .. })),
        "{error}"
    );
    // What nginx ends, both sides see.
    drop(_nginx);
    within(peer.closed()).await;
}

#[tokio::test]
async fn nginx_ends_tls_of_websockets() {
    let (folder, port) = (Folder::new("nginx-tls"), free_port());
    let server = builder("web").listen("ws://127.0.0.1:0/rpc").await.unwrap();
    let ca = Ca::new();
    let (cert, key) = ca.sign(&["web.example", "127.0.0.1"]);
    let (cert, key) = (folder.write("cert.pem", &cert), folder.write("key.pem", &key));
    let http = format!(
        "server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {cert}; ssl_certificate_key {key};\n{} }}\n",
        websocket(&server, "60s")
    );
    let _nginx = start(&folder, port, &http, None).await;
    let with_tls = Peer::builder().tls(ClientTls::with_ca(&ca.pem));
    let peer = within(with_tls.connect(format!("wss://127.0.0.1:{port}/rpc"))).await.unwrap();
    assert_eq!(peer.identity(), Some("web.example"));
    assert_works(&peer).await;
}

#[tokio::test]
async fn heartbeats_keep_a_websocket_that_nginx_would_end() {
    let (folder, port) = (Folder::new("nginx-idle"), free_port());
    let server = builder("web").no_heartbeat().listen("ws://127.0.0.1:0/rpc").await.unwrap();
    let http = format!("server {{ listen 127.0.0.1:{port};\n{} }}\n", websocket(&server, "1s"));
    let _nginx = start(&folder, port, &http, None).await;
    let address = format!("ws://127.0.0.1:{port}/rpc");
    let beating = HeartbeatConfig::default().interval(Duration::from_millis(200));
    let kept = within(Peer::builder().heartbeat(beating).connect(&address)).await.unwrap();
    let idle = within(Peer::builder().no_heartbeat().connect(&address)).await.unwrap();
    within(idle.closed()).await;
    sleep(Duration::from_millis(1500)).await;
    assert!(!kept.is_closed());
    assert_works(&kept).await;
}

#[tokio::test]
async fn sessions_come_through_the_stream_module_of_nginx() {
    let (folder, port, tcp) = (Folder::new("nginx-stream"), free_port(), free_port());
    let server = builder("tcp").listen("tcp://127.0.0.1:0").await.unwrap();
    let http = format!("server {{ listen 127.0.0.1:{port}; }}\n");
    let _nginx = start(&folder, port, &http, Some((tcp, &server))).await;
    let peer = within(connect(format!("tcp://127.0.0.1:{tcp}"))).await.unwrap();
    assert_works(&peer).await;
}
