//! The serving side of one call: reads the request, runs the handler, sends the answer.

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use muxado::{Stream, StreamType, TypedStream};
use pin_project::pin_project;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    CallService, Channel, Codec, Limits, MethodInfo, Request, Response, Router, ServiceId, ServiceInfo,
    Status,
    link::Link,
    status,
    tally::Counted,
    text::shortened,
    wire::{MessageError, MessageReader, RequestHead, cut_out, decode_request, encode_answer},
};

/// What it takes to serve a call; one clone per call.
#[derive(Clone)]
pub(super) struct Handling<S> {
    reception: Reception,
    service: S,
}

/// What it takes to know what a call asks for.
#[derive(Clone)]
struct Reception {
    /// Back to the caller.
    channel: Channel,
    router: Router,
}

/// What became of reading a request.
enum Received {
    Request(Request),
    /// The call fails without a handler.
    Refused(Codec, Status),
    /// The caller has gone, or sent nothing in time.
    Nothing,
}

impl<S: CallService> Handling<S> {
    pub(super) const fn new(channel: Channel, router: Router, service: S) -> Self {
        Self { reception: Reception { channel, router }, service }
    }

    /// Serves one call. Dropping the future drops the handler and resets the stream. The permit is
    /// given back last.
    pub(super) async fn serve(self, stream: TypedStream, permit: Option<OwnedSemaphorePermit>) {
        self.serve_stream(stream.stream_type(), stream.into_inner()).await;
        drop(permit);
    }

    async fn serve_stream(self, stream_type: StreamType, mut stream: Stream) {
        let Some(link) = self.reception.channel.link().cloned() else { return };
        let mut counted = Counted::begin(&link);
        let id = ServiceId::new(stream_type.as_u32());
        let (codec, result) = match self.reception.receive(&link, id, &mut stream).await {
            Received::Request(request) => {
                let codec = request.codec();
                let Some(result) = handle(self.service, request, &link, &mut stream).await else { return };
                (codec, result)
            }
            Received::Refused(codec, status) => {
                tracing::debug!(peer = %link.peer(), "call refused: {status}");
                (codec, Err(status))
            }
            Received::Nothing => return,
        };
        counted.answer(result.is_err());
        let mut answer = encode_answer(codec, result, link.limits());
        // A caller that has gone needs no answer.
        if poll_fn(|cx| stream.poll_write_final(cx, &mut answer)).await.is_err() {
            counted.take_back();
        }
    }
}

impl Reception {
    async fn receive(&self, link: &Link, id: ServiceId, stream: &mut Stream) -> Received {
        let limits = link.limits();
        let Some(first) = first_chunk(stream, limits.first_byte_timeout).await else {
            return Received::Nothing;
        };
        let Some(service) = self.router.service(id) else {
            let codec = first.first().map_or(Codec::Json, |byte| Codec::of_first_byte(*byte));
            return Received::Refused(codec, self.router.unknown_service(id));
        };
        let mut reader = MessageReader::new(limits.max_message_size);
        match read_message(&mut reader, first, stream).await {
            Some(message) => {
                let codec = reader.codec().unwrap_or(Codec::Json);
                let request = message
                    .map_err(|error| unreadable(service, &error, limits))
                    .and_then(|message| self.request(service, codec, message, limits));
                request.map_or_else(|status| Received::Refused(codec, status), Received::Request)
            }
            None => Received::Nothing,
        }
    }

    fn request(
        &self,
        service: &'static ServiceInfo,
        codec: Codec,
        message: Bytes,
        limits: &Limits,
    ) -> Result<Request, Status> {
        let head = decode_request(codec, &message).map_err(|error| {
            Status::invalid_argument(format!("{}: not a request in {codec}: {error}", service.name()))
        })?;
        let method = service.method(&head.method).ok_or_else(|| unknown_method(service, &head.method))?;
        let (size, limit) = (head.metadata.size(), limits.max_metadata_size);
        if size > limit {
            return Err(Status::resource_exhausted(format!(
                "{method}: metadata of {size} bytes, over the serving side's limit of {limit} (Limits::max_metadata_size)"
            )));
        }
        let RequestHead { params, timeout, metadata, .. } = head;
        let params = params.map_or_else(|| codec.empty_map(), |params| cut_out(message, params));
        let mut request = Request::received(method, codec, params.into(), self.channel.clone());
        request.set_timeout(timeout);
        request.set_deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
        *request.metadata_mut() = metadata;
        Ok(request)
    }
}

/// The first bytes of the request; `None` if the caller has gone or sends nothing in time.
async fn first_chunk(stream: &mut Stream, limit: Duration) -> Option<Bytes> {
    // As a rule they came with the service id: only else is a timer needed.
    let chunk = match poll_fn(|cx| Poll::Ready(stream.poll_read_chunk(cx, usize::MAX))).await {
        Poll::Ready(chunk) => chunk,
        Poll::Pending => match timeout(limit, stream.read_chunk()).await {
            Ok(chunk) => chunk,
            Err(_) => {
                tracing::debug!("no request within {limit:?} (Limits::first_byte_timeout)");
                return None;
            }
        },
    };
    Some(chunk.ok()?.unwrap_or_default())
}

/// The whole message, or why it is none; `None` if the caller has gone.
async fn read_message(
    reader: &mut MessageReader,
    first: Bytes,
    stream: &mut Stream,
) -> Option<Result<Bytes, MessageError>> {
    let mut chunk = first;
    loop {
        match reader.push(chunk) {
            Ok(Some(message)) => return Some(Ok(message)),
            Ok(None) => {}
            Err(error) => return Some(Err(error)),
        }
        match stream.read_chunk().await {
            Ok(Some(more)) => chunk = more,
            Ok(None) => return Some(reader.finish()),
            Err(_) => return None,
        }
    }
}

fn unreadable(service: &ServiceInfo, error: &MessageError, limits: &Limits) -> Status {
    let service = service.name();
    match error {
        MessageError::TooLarge { size } => {
            let size = size.map_or_else(|| "too many".to_owned(), |size| size.to_string());
            Status::resource_exhausted(format!(
                "{service}: a request of {size} bytes, over the serving side's limit of {} (Limits::max_message_size)",
                limits.max_message_size
            ))
        }
        MessageError::CutShort => {
            Status::invalid_argument(format!("{service}: the request ended in the middle"))
        }
        MessageError::Missing => {
            Status::invalid_argument(format!("{service}: the stream ended without a request"))
        }
    }
}

fn unknown_method(service: &ServiceInfo, name: &str) -> Status {
    let known: Vec<_> = service.methods().iter().map(MethodInfo::name).collect();
    let name = shortened(name, MAX_QUOTED_NAME);
    Status::unimplemented(format!(
        "service {} has no method {name:?}; it has: {}",
        service.name(),
        known.join(", ")
    ))
}

/// Bytes quoted of the name of a method that is not there.
const MAX_QUOTED_NAME: usize = 100;

/// Runs the handler until it is done, the time limit passes, or the caller goes; `None` if it went.
/// The handler is dropped when this returns.
async fn handle<S: CallService>(
    mut service: S,
    request: Request,
    link: &Link,
    stream: &mut Stream,
) -> Option<Result<Response, Status>> {
    let (method, time_limit) = (request.method(), request.timeout());
    let mut timer = pin!(request.deadline().map(sleep_until));
    let mut handler = pin!(Contained::new(async move {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        service.call(request).await
    }));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = handler.as_mut().poll(cx) {
            return Poll::Ready(Some(match ended {
                Ok(result) => result.map_err(|error: S::Error| status::from_box_error(error.into())),
                Err(panic) => Err(panicked(method, link, &panic)),
            }));
        }
        if stream.poll_reset(cx).is_ready() {
            tracing::debug!(%method, peer = %link.peer(), "call cancelled by the caller");
            return Poll::Ready(None);
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| Some(Err(too_late(method, time_limit)))),
            None => Poll::Pending,
        }
    })
    .await
}

fn panicked(method: &MethodInfo, link: &Link, panic: &Panicked) -> Status {
    tracing::error!(%method, peer = %link.peer(), "a handler panicked");
    link.tally().note_panic();
    match panic.message() {
        // What it says is not meant for others, unless the application says so.
        Some(message) if link.panic_messages() => {
            Status::internal(format!("{method}: the handler panicked: {message}"))
        }
        _ => Status::internal(format!("{method}: the handler panicked")),
    }
}

fn too_late(method: &MethodInfo, limit: Option<Duration>) -> Status {
    let limit = limit.unwrap_or_default();
    Status::deadline_exceeded(format!("{method}: not done within the caller's time limit of {limit:?}"))
}

/// A future whose panic is a value.
#[pin_project]
struct Contained<F> {
    #[pin]
    future: F,
}

/// What a panic left behind.
struct Panicked(Box<dyn Any + Send>);

impl Panicked {
    fn message(&self) -> Option<&str> {
        let Self(payload) = self;
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied())
    }
}

impl<F> Contained<F> {
    const fn new(future: F) -> Self {
        Self { future }
    }
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panicked>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        // After a panic the future is only dropped, so nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Panicked(payload))),
        }
    }
}
