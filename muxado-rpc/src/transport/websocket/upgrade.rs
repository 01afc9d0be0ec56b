//! The side that accepts.

use std::io;

use bytes::{BufMut, BytesMut};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{
            machine::TryParse,
            server::{Request, Response, create_response, write_response},
        },
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::Role,
    },
};

use super::{config, error::WebSocketError, request::WebSocketRequest, socket::WebSocket};
use crate::transport::{address::WebSocketUrl, connector::BoxIo, linger::linger};

/// What a server takes on one address.
#[derive(Debug)]
pub(crate) struct Upgrade {
    /// `None` if any path is.
    path: Option<String>,
    /// Sites beside the server's own whose pages may connect.
    origins: Vec<String>,
}

impl Upgrade {
    pub(crate) fn new(url: &WebSocketUrl, origins: &[String]) -> Self {
        let path = url.path.split('?').next().filter(|path| !path.is_empty());
        Self { path: path.map(str::to_owned), origins: origins.to_vec() }
    }

    /// Reads a request, and answers it. What is refused is told why, in HTTP.
    pub(crate) async fn accept(&self, mut io: BoxIo) -> io::Result<(WebSocket, WebSocketRequest)> {
        let asked = match read_request(&mut io).await? {
            Ok((request, rest)) => self.judge(&request).map(|(known, response)| (known, response, rest)),
            Err(refusal) => Err(refusal),
        };
        let (known, response, rest) = match asked {
            Ok(asked) => asked,
            Err(refusal) => return Err(refusal.tell(io).await),
        };
        let mut answer = Vec::new();
        write_response(&mut answer, &response)
            .map_err(|error| io::Error::other(format!("the answer cannot be written: {error}")))?;
        io.write_all(&answer).await?;
        io.flush().await?;
        let stream =
            WebSocketStream::from_partially_read(io, rest.into(), Role::Server, Some(config())).await;
        Ok((WebSocket::new(stream), known))
    }

    fn judge(&self, request: &Request) -> Result<(WebSocketRequest, Response), Refusal> {
        let known = known(request);
        if self.path.as_ref().is_some_and(|path| path != request.uri().path()) {
            return Err(Refusal::new("404 Not Found", "the WebSocket has another path"));
        }
        let mut response =
            create_response(request).map_err(|_| Refusal::new("426 Upgrade Required", ASK_FOR_WEBSOCKET))?;
        if known.is_of_other_site(&self.origins) {
            let problem = "a page of another site asks for it (Bind::websocket_origins)";
            return Err(Refusal::new("403 Forbidden", problem));
        }
        let asked = known.header("sec-websocket-protocol").unwrap_or_default();
        if asked.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL) {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        Ok((known, response))
    }
}

fn known(request: &Request) -> WebSocketRequest {
    let path = request.uri().path_and_query().map(ToString::to_string);
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    WebSocketRequest::new(path.unwrap_or_default(), headers.collect())
}

/// Reads the head of a request and what came with it. It is parsed once, when it is whole.
async fn read_request(io: &mut BoxIo) -> io::Result<Result<(Request, BytesMut), Refusal>> {
    let mut bytes = BytesMut::new();
    loop {
        let seen = bytes.len();
        bytes.reserve(1024);
        if io.read_buf(&mut (&mut bytes).limit(MAX_HEAD - seen)).await? == 0 {
            return Err(WebSocketError::Cut.into());
        }
        if let Some(refusal) = other_protocol(&bytes) {
            return Ok(Err(refusal));
        }
        // The end may have begun in what was read before.
        let from = seen.saturating_sub(HEAD_END.len() - 1);
        if let Some(at) = memmem::find(&bytes[from..], HEAD_END) {
            let rest = bytes.split_off(from + at + HEAD_END.len());
            let parsed = Request::try_parse(&bytes);
            return Ok(match parsed {
                Ok(Some((_, request))) => Ok((request, rest)),
                _ => Err(Refusal::new(
                    "400 Bad Request",
                    "the request is not valid, or has more than 124 headers",
                )),
            });
        }
        if bytes.len() == MAX_HEAD {
            let problem = "the request has more than 16 KiB of headers";
            return Ok(Err(Refusal::new("431 Request Header Fields Too Large", problem)));
        }
    }
}

/// Names what is no request for a WebSocket, by its first bytes.
fn other_protocol(bytes: &[u8]) -> Option<Refusal> {
    const GET: &[u8] = b"GET ";
    let len = bytes.len().min(GET.len());
    if bytes[..len] == GET[..len] {
        return None;
    }
    Some(match bytes[0] {
        0x16 => Refusal::new("400 Bad Request", "a TLS handshake: this port speaks ws://, not wss://"),
        b'A'..=b'Z' => Refusal::new("405 Method Not Allowed", ASK_FOR_WEBSOCKET),
        _ => Refusal::new("400 Bad Request", "no HTTP: this port speaks WebSocket (ws://), not tcp://"),
    })
}

/// Why a client is sent away.
struct Refusal {
    status: &'static str,
    problem: &'static str,
}

impl Refusal {
    const fn new(status: &'static str, problem: &'static str) -> Self {
        Self { status, problem }
    }

    /// Tells the client, and returns the error for the log.
    async fn tell(self, mut io: BoxIo) -> io::Error {
        let Self { status, problem } = self;
        let upgrade = match status.starts_with("426") {
            true => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n",
            false => "Connection: close\r\n",
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{upgrade}Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{problem}\n",
            problem.len() + 1
        );
        // Whatever fails here, the connection is over.
        if io.write_all(answer.as_bytes()).await.is_ok() {
            linger(io).await;
        }
        WebSocketError::Refused(problem.to_owned()).into()
    }
}

/// The subprotocol that is agreed to where it is asked for. Nobody has to.
const SUBPROTOCOL: &str = "muxado.1";

const ASK_FOR_WEBSOCKET: &str = "this is a WebSocket for muxado, and nothing else is served here";

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

const HEAD_END: &[u8] = b"\r\n\r\n";
