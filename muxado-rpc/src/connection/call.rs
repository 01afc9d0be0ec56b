//! The serving side of one call: reads the request, runs the handler, sends the answer.

mod run;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use muxado::{Stream, TypedStream};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};

use self::run::Serving;
use crate::{
    CallService, Channel, Codec, Items, Limits, MethodInfo, Request, Router, ServiceId, ServiceInfo, Shape,
    Status,
    items::{self, ReadHalf, WriteHalf},
    link::Link,
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
        let id = ServiceId::new(stream.stream_type().as_u32());
        self.serve_stream(id, stream.into_inner(), Permit(permit)).await;
    }

    async fn serve_stream(self, id: ServiceId, mut stream: Stream, permit: Permit) {
        let Some(link) = self.reception.channel.link().cloned() else { return };
        let mut reader = MessageReader::new(link.limits().max_message_size);
        let request = match self.reception.receive(&link, id, &mut stream, &mut reader).await {
            Received::Request(request) => request,
            Received::Refused(codec, status) => {
                tracing::debug!(peer = %link.peer(), "call refused: {status}");
                let mut answer = encode_answer(codec, Err(status), link.limits());
                // A caller that has gone needs no answer.
                let _ = poll_fn(|cx| stream.poll_write_final(cx, &mut answer)).await;
                return;
            }
            Received::Nothing => return,
        };
        if request.method().shape() == Shape::Unary {
            Serving::new(&link, &request, WriteHalf::Whole(stream)).run(self.service, request).await;
            return;
        }
        self.serve_items(&link, request, reader, stream, permit).await;
    }

    /// Serves a call with items in it. Boxed, so that the others need no room for it.
    fn serve_items<'a>(
        self,
        link: &'a Link,
        mut request: Request,
        reader: MessageReader,
        stream: Stream,
        permit: Permit,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>
    where
        S: 'a,
    {
        Box::pin(async move {
            let permit = Arc::new(permit);
            let out = if request.method().shape().streams_input() {
                let (send, receive) = stream.into_split();
                let read = ReadHalf::Half(receive);
                let received = items::Received::new(request.method(), read, reader, link.limits());
                // Who still reads is still served.
                let received = received.keeping(Arc::clone(&permit));
                request.set_input(Some(Items::received(request.codec(), received)));
                WriteHalf::Half(send)
            } else {
                WriteHalf::Whole(stream)
            };
            Serving::new(link, &request, out).run(self.service, request).await;
            drop(permit);
        })
    }
}

/// The right to serve a call, given back when dropped.
struct Permit(#[expect(dead_code, reason = "held, not looked at")] Option<OwnedSemaphorePermit>);

impl Reception {
    async fn receive(
        &self,
        link: &Link,
        id: ServiceId,
        stream: &mut Stream,
        reader: &mut MessageReader,
    ) -> Received {
        let limits = link.limits();
        let Some(first) = first_chunk(stream, limits.first_byte_timeout).await else {
            return Received::Nothing;
        };
        let Some(service) = self.router.service(id) else {
            let codec = first.first().map_or(Codec::Json, |byte| Codec::of_first_byte(*byte));
            return Received::Refused(codec, self.router.unknown_service(id));
        };
        match read_message(reader, first, stream).await {
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
        reader.push(chunk);
        match reader.pop() {
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
