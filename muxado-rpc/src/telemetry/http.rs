//! A small HTTP endpoint for probes and Prometheus.

use std::{convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, ToSocketAddrs},
    task::{AbortHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{Health, HealthStatus, support::panics};

/// Answers probes and scrapes over HTTP: `/livez`, `/readyz` and `/metrics`.
///
/// | path | answer |
/// |---|---|
/// | `/livez` | 200 as long as the process answers |
/// | `/readyz` | 200 while the [`Health`] it was made with [is serving](Health::is_serving), else 503; [`Server::shutdown`](crate::Server::shutdown) makes it 503 before the server begins to drain |
/// | `/metrics` | what [`metrics`](HttpEndpointBuilder::metrics) or `prometheus` of the builder gives; 404 without them |
///
/// It speaks HTTP/1.1 without TLS, takes `GET` and `HEAD` alone, and says what goes on inside the process to whoever can
/// connect: **listen on an address that only the kubelet and Prometheus reach.** What a client may cost is bounded: see
/// [`max_connections`](HttpEndpointBuilder::max_connections) and [`timeout`](HttpEndpointBuilder::timeout). A request has
/// 8 KiB and 64 headers at most.
///
/// It answers until it is dropped, also while a server beside it drains.
///
/// ```
/// use muxado_rpc::{Health, telemetry::HttpEndpoint};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let health = Health::new();
/// let endpoint = HttpEndpoint::builder(&health).listen("127.0.0.1:0").await?;
/// println!("http://{}/readyz", endpoint.local_addr());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it answers until it is dropped"]
pub struct HttpEndpoint {
    local_addr: SocketAddr,
    task: AbortHandle,
}

impl HttpEndpoint {
    /// Returns a builder of an endpoint whose `/readyz` follows this health.
    pub fn builder(health: &Health) -> HttpEndpointBuilder {
        HttpEndpointBuilder {
            answers: Answers { health: health.clone(), render: None, upkeep: None },
            bounds: Bounds { max_connections: 64, timeout: Duration::from_secs(10) },
        }
    }

    /// Returns the address it listens on. If port 0 was asked for, it has the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for HttpEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Configures an [`HttpEndpoint`]. [`HttpEndpoint::builder`] creates one.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it listens"]
pub struct HttpEndpointBuilder {
    answers: Answers,
    bounds: Bounds,
}

impl HttpEndpointBuilder {
    /// Sets what `/metrics` answers: text in the format of Prometheus, made for each scrape. It must not block for long.
    /// If it panics, the answer is 500.
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.answers.render = Some(Arc::new(render));
        self
    }

    /// Has `/metrics` answer the metrics of a recorder, which the endpoint also keeps small between scrapes.
    #[cfg(feature = "prometheus")]
    pub fn prometheus(mut self, prometheus: &super::Prometheus) -> Self {
        let own = prometheus.clone();
        self.answers.upkeep = Some(Arc::new(move || own.upkeep()));
        let own = prometheus.clone();
        self.metrics(move || own.render())
    }

    /// Sets how many connections there may be at a time, at least 1. Default 64. Further ones wait until one ends.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.bounds.max_connections = connections.max(1);
        self
    }

    /// Sets how long a client may take for the head of a request, also between two requests of one connection. A
    /// connection ends after six times that at the latest, whatever it does. Default 10 s, at least 1 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.bounds.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Listens on an address, such as `127.0.0.1:9090`, and answers from a task of the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not let it listen there.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn listen(self, address: impl ToSocketAddrs) -> io::Result<HttpEndpoint> {
        self.serve(TcpListener::bind(address).await?)
    }

    /// Answers on a socket that listens already, such as one of socket activation.
    ///
    /// # Errors
    ///
    /// Returns an error if the system does not tell the address of the socket.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn serve(self, listener: TcpListener) -> io::Result<HttpEndpoint> {
        let local_addr = listener.local_addr()?;
        let task = tokio::spawn(self.run(listener)).abort_handle();
        Ok(HttpEndpoint { local_addr, task })
    }

    async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut upkeep = interval(UPKEEP_EVERY);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < self.bounds.max_connections => match accepted {
                    Ok((socket, _)) => {
                        connections.spawn(self.bounds.serve(self.answers.clone(), socket));
                    }
                    Err(error) => {
                        tracing::debug!("the HTTP endpoint cannot accept: {error}");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = upkeep.tick() => self.answers.upkeep(),
            }
        }
    }
}

/// What one client may cost.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    max_connections: usize,
    timeout: Duration,
}

impl Bounds {
    /// Answers on one connection to its end.
    fn serve<Io>(self, answers: Answers, io: Io) -> impl Future<Output = ()> + Send + use<Io>
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let answer = move |request: Request<Incoming>| {
            let answer = answers.to(request.method(), request.uri().path());
            async move { Ok::<_, Infallible>(answer) }
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.timeout)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(io), service_fn(answer));
        async move {
            match timeout(self.timeout * LIVES, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("a connection of the HTTP endpoint has failed: {error}"),
                Err(_) => tracing::debug!("a connection of the HTTP endpoint has lasted too long"),
            }
        }
    }
}

/// What it says.
#[derive(Clone)]
struct Answers {
    health: Health,
    render: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    /// Called every few seconds.
    upkeep: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Answers {
    fn to(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let make = match path {
            "/livez" => Self::livez,
            "/readyz" => Self::readyz,
            "/metrics" if self.render.is_some() => Self::metrics,
            _ => return text(StatusCode::NOT_FOUND, "not found: there are /livez, /readyz and /metrics\n"),
        };
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        make(self)
    }

    fn livez(&self) -> Response<Full<Bytes>> {
        text(StatusCode::OK, "ok\n")
    }

    fn readyz(&self) -> Response<Full<Bytes>> {
        let (code, status) = match self.health.is_serving() {
            true => (StatusCode::OK, HealthStatus::Serving),
            false => (StatusCode::SERVICE_UNAVAILABLE, HealthStatus::NotServing),
        };
        text(code, format!("{status}\n"))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let Some(render) = &self.render else { return text(StatusCode::NOT_FOUND, "") };
        match panics::catch(|| render()) {
            Ok(metrics) => {
                let mut answer = text(StatusCode::OK, metrics);
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, format);
                answer
            }
            Err(panic) => {
                panics::discard(panic);
                text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be rendered\n")
            }
        }
    }

    fn upkeep(&self) {
        if let Some(upkeep) = &self.upkeep {
            upkeep();
        }
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { health, render, .. } = self;
        f.debug_struct("Answers").field("health", health).field("has_metrics", &render.is_some()).finish()
    }
}

fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Bytes of the head of a request: the least that hyper allows.
const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;

/// A connection lasts so many times as long as a client may take for a request.
const LIVES: u32 = 6;

const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// How long nothing is accepted after the system could not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
