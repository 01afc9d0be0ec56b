//! Sessions inside axum: WebSockets on a route beside pages.

use std::net::SocketAddr;

use axum::{
    Extension,
    extract::{ConnectInfo, OriginalUri, ws::WebSocketUpgrade},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use tower_layer::Layer;

use crate::{
    CallService, PeerBuilder, PeerInfo, Router, WebSocketIo, WebSocketRequest,
    transport::websocket::{MAX_MESSAGE, MAX_WRITE_BUFFER, READ_BUFFER},
};

/// Returns a route of axum that runs a session over each WebSocket: RPC on the same port as pages.
///
/// Clients connect to the route with `ws://host:port/path`, or `wss://` behind a proxy that ends TLS. Each connection is
/// configured by the builder, as the side that accepts; see [`axum_upgrade`]. Handlers find path and headers as a
/// [`WebSocketRequest`] in [`PeerInfo::extensions`], and the address of the client in [`PeerInfo`] if the application is
/// served with `into_make_service_with_connect_info::<SocketAddr>()`; what the builder says of the peer is kept besides.
///
/// A page of another site may not connect, as with [`Bind`](crate::Bind): the header `Origin`, which browsers send, has
/// to name the host and port of the header `Host`, or the answer is 403. An application that decides otherwise calls
/// [`axum_upgrade`] in a handler of its own.
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use muxado_rpc::{Peer, axum_route};
///
/// # #[muxado_rpc::service]
/// # pub trait Greeter { async fn hello(&self, name: String) -> String; }
/// # struct Polite;
/// # impl Greeter for Polite { async fn hello(&self, name: String) -> String { name } }
/// # async fn example() -> std::io::Result<()> {
/// let rpc = Peer::builder().serve(GreeterServer::new(Polite));
/// let app = Router::new().route("/", get(async || "a page")).route("/rpc", axum_route(rpc));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// axum::serve(listener, app).await
/// # }
/// ```
pub fn axum_route<L, S>(peer: PeerBuilder<L>) -> MethodRouter<S>
where
    L: Layer<Router, Service: CallService> + Clone + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    any(
        move |from: Option<Extension<ConnectInfo<SocketAddr>>>,
              OriginalUri(uri): OriginalUri,
              headers: HeaderMap,
              upgrade: WebSocketUpgrade| {
            let from = from.map(|Extension(ConnectInfo(address))| address);
            let answer = answer(peer.clone(), from, &uri, &headers, upgrade);
            async { answer }
        },
    )
}

fn answer<L>(
    peer: PeerBuilder<L>,
    from: Option<SocketAddr>,
    uri: &Uri,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response
where
    L: Layer<Router, Service: CallService> + Send + 'static,
{
    let path = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    let request = WebSocketRequest::new(path, headers.collect());
    if request.is_of_other_site(&[]) {
        return (StatusCode::FORBIDDEN, "a page of another site asks for this WebSocket").into_response();
    }
    let mut info = peer.known_peer().cloned().unwrap_or_default();
    if let Some(from) = from {
        let identity = info.identity().map(str::to_owned);
        let mut addressed = PeerInfo::new(format!("ws://{from}"));
        std::mem::swap(addressed.extensions_mut(), info.extensions_mut());
        info = identity.into_iter().fold(addressed, PeerInfo::with_identity);
    }
    info.extensions_mut().insert(request);
    axum_upgrade(upgrade, peer.peer_info(info))
}

/// Answers a request for a WebSocket, and runs a session over it, as the side that accepts. For a handler of axum that
/// decides first who may connect, or says by [`PeerBuilder::peer_info`] who it is; see [`axum_route`] for one that does not.
///
/// The connection runs in a task of its own, until its peer or the builder's services end it. Messages and frames are
/// taken up to 1 MiB; a subprotocol `muxado.1` is agreed to. When axum shuts down gracefully it does not wait for WebSockets.
///
/// ```no_run
/// use axum::{extract::ws::WebSocketUpgrade, http::{HeaderMap, StatusCode}, response::{IntoResponse, Response}};
/// use muxado_rpc::{Peer, PeerInfo, axum_upgrade};
///
/// async fn rpc(headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
///     let Some(user) = headers.get("x-user").and_then(|user| user.to_str().ok()) else {
///         return StatusCode::UNAUTHORIZED.into_response();
///     };
///     axum_upgrade(upgrade, Peer::builder().peer_info(PeerInfo::default().with_identity(user)))
/// }
/// # let _: axum::routing::MethodRouter = axum::routing::any(rpc);
/// ```
///
/// A handler that keeps the [`Peer`](crate::Peer), to call first or to shut it down, makes it by itself:
///
/// ```no_run
/// use axum::{extract::{State, ws::WebSocketUpgrade}, response::Response};
/// use muxado_rpc::{Peer, WebSocketIo};
/// use tokio::sync::mpsc::UnboundedSender;
///
/// async fn rpc(State(peers): State<UnboundedSender<Peer>>, upgrade: WebSocketUpgrade) -> Response {
///     upgrade.max_message_size(1 << 20).on_upgrade(async move |socket| {
///         let peer = Peer::builder().server(WebSocketIo::new(socket)).expect("no service is there twice");
///         // Whoever keeps it keeps the connection.
///         let _ = peers.send(peer);
///     })
/// }
/// # let _: axum::routing::MethodRouter<_> = axum::routing::any(rpc);
/// ```
pub fn axum_upgrade<L>(upgrade: WebSocketUpgrade, peer: PeerBuilder<L>) -> Response
where
    L: Layer<Router, Service: CallService> + Send + 'static,
{
    let upgrade = upgrade
        .protocols(["muxado.1"])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE);
    upgrade.on_upgrade(move |socket| async move {
        match peer.server(WebSocketIo::new(socket)) {
            Ok(peer) => {
                peer.closed().await;
            }
            Err(error) => tracing::error!("a WebSocket is closed: {error}"),
        }
    })
}
