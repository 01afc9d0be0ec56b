//! Reads the request of a call.

use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use muxado::ReadError;
use tokio::time::Instant;

use crate::{
    Codec, MethodInfo, Request, Router, ServiceId, ServiceInfo, Status,
    connection::shared::ConnectionShared,
    stream::{
        deadline::{Deadline, TimeLimit},
        half::{ReadChunks, WriteHalf},
        reader::{Bounds, MessageReader, NoMessage, over_limit},
    },
    support::{
        budget::Reservation,
        truncate::{self, brief},
    },
    wire::{MessageError, RequestHead, decode_request, quick_request, slice_payload},
};

/// A request that is being read.
pub(super) struct RequestReader {
    service: Result<&'static ServiceInfo, Unknown>,
    /// What came with the stream.
    first: Option<Bytes>,
    reader: MessageReader,
    /// Runs until the first byte is there.
    first_byte: Option<Deadline>,
}

/// A service that is not here, and those that are.
struct Unknown {
    id: ServiceId,
    router: Router,
}

/// What became of reading a request.
pub(super) enum Received {
    Request(Request),
    /// The call fails without a handler.
    Refused(Codec, Status),
    /// The caller has gone, or sent nothing in time.
    Nothing,
}

/// The bytes of a request: those that came with its stream, then the others.
struct Chunks<'a> {
    first: &'a mut Option<Bytes>,
    stream: &'a mut WriteHalf,
}

impl ReadChunks for Chunks<'_> {
    type Error = ReadError;

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        if let Some(chunk) = self.first.take() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        match self.stream {
            WriteHalf::Whole(stream) => stream.poll_read_chunk(cx, usize::MAX),
            // The body has the other half, which is not split off before the request is whole.
            WriteHalf::Half(_) => Poll::Ready(Ok(None)),
        }
    }
}

impl RequestReader {
    pub(super) fn new(id: ServiceId, first: Option<Bytes>, router: &Router) -> Self {
        let service = router.service(id).ok_or_else(|| Unknown { id, router: router.clone() });
        Self { service, first, reader: MessageReader::default(), first_byte: None }
    }

    /// Returns the reader, which may hold bytes behind the request.
    pub(super) fn take_reader(&mut self) -> MessageReader {
        std::mem::take(&mut self.reader)
    }

    /// Returns the room that the request takes, if it was buffered.
    pub(super) fn take_reserved(&mut self) -> Option<Reservation> {
        self.reader.take_reserved()
    }

    /// Reads until the request is whole, or it is clear that it never will be.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut WriteHalf,
        shared: &Arc<ConnectionShared>,
    ) -> Poll<Received> {
        let mut chunks = Chunks { first: &mut self.first, stream };
        let received = match &self.service {
            Ok(service) => {
                let max_message_size = shared.limits().max_message_size;
                let bounds = Bounds { max_message_size, memory: Some(shared.request_memory()) };
                let read = self.reader.poll_message(cx, &mut chunks, bounds);
                read.map(|read| received(service, &self.reader, read, shared))
            }
            Err(unknown) => unknown.poll_refuse(cx, &mut chunks),
        };
        match received {
            Poll::Ready(received) => Poll::Ready(received),
            Poll::Pending => self.poll_first_byte(cx, shared).map(|()| Received::Nothing),
        }
    }

    /// Ready when the first byte did not come in time.
    fn poll_first_byte(&mut self, cx: &mut Context<'_>, shared: &ConnectionShared) -> Poll<()> {
        if self.reader.has_begun() {
            self.first_byte = None;
            return Poll::Pending;
        }
        let timeout = shared.limits().first_byte_timeout;
        if self.first_byte.is_none() {
            let limit = TimeLimit::from(Instant::now(), timeout);
            self.first_byte = limit.map(Deadline::new);
        }
        // A limit beyond the end of time is none.
        let Some(first_byte) = &mut self.first_byte else { return Poll::Pending };
        ready!(first_byte.poll_exceeded(cx));
        tracing::debug!("no request within {timeout:?} (Limits::first_byte_timeout)");
        Poll::Ready(())
    }
}

impl Unknown {
    /// Refuses a call once its codec is known: there is nobody to read on for.
    fn poll_refuse(&self, cx: &mut Context<'_>, chunks: &mut Chunks<'_>) -> Poll<Received> {
        let codec = match ready!(chunks.poll_chunk(cx)) {
            Ok(chunk) => {
                chunk.and_then(|chunk| chunk.first().copied()).map_or(Codec::Json, Codec::of_first_byte)
            }
            Err(_) => return Poll::Ready(Received::Nothing),
        };
        Poll::Ready(Received::Refused(codec, self.router.unknown_service(self.id)))
    }
}

/// What became of reading a request that came to this.
fn received(
    service: &'static ServiceInfo,
    reader: &MessageReader,
    read: Result<Bytes, NoMessage<ReadError>>,
    shared: &Arc<ConnectionShared>,
) -> Received {
    let codec = reader.codec().unwrap_or(Codec::Json);
    let request = match read {
        Ok(message) => request(service, codec, message, shared),
        Err(NoMessage::Unreadable(error)) => {
            Err(unreadable(service, &error, shared.limits().max_message_size))
        }
        Err(NoMessage::Broken(_)) => return Received::Nothing,
    };
    match request {
        Ok(request) => Received::Request(request),
        Err(status) => Received::Refused(codec, status),
    }
}

fn request(
    service: &'static ServiceInfo,
    codec: Codec,
    message: Bytes,
    shared: &Arc<ConnectionShared>,
) -> Result<Request, Status> {
    if codec == Codec::MessagePack
        && let Some((method, params)) = quick_request(&message)
        && let Some(method) = service.method_named(method)
    {
        let params = params..message.len();
        return Ok(Request::received(method, codec, slice_payload(message, params), Arc::clone(shared) as _));
    }
    let limits = shared.limits();
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
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Status::deadline_exceeded(format!("{method}: no time is left")));
    }
    let params = params.map_or_else(|| codec.empty_map().into(), |params| slice_payload(message, params));
    let mut request = Request::received(method, codec, params, Arc::clone(shared) as _);
    request.set_timeout(timeout);
    let limit = timeout.and_then(|timeout| TimeLimit::from(Instant::now(), timeout));
    request.set_deadline(limit.map(TimeLimit::at));
    if !metadata.is_empty() {
        *request.metadata_mut() = metadata;
    }
    Ok(request)
}

fn unreadable(service: &ServiceInfo, error: &MessageError, limit: usize) -> Status {
    let name = service.name();
    if let Some(status) = over_limit(error, name, "a request", "serving", limit) {
        return status;
    }
    Status::invalid_argument(match error {
        MessageError::Missing => format!("{name}: the stream ended without a request"),
        _ => format!("{name}: the request ended in the middle"),
    })
}

fn unknown_method(service: &ServiceInfo, name: &str) -> Status {
    let known = truncate::list(service.methods().iter().map(MethodInfo::name), MAX_METHODS);
    let (service, name) = (service.name(), brief(name, MAX_QUOTED_NAME));
    Status::unimplemented(format!("service {service} has no method \"{name}\"; it has: {known}"))
}

/// Bytes of the list of the methods that are there. Refusing a call must not cost more than serving it.
const MAX_METHODS: usize = 100;

/// Bytes quoted of the name of a method that is not there.
const MAX_QUOTED_NAME: usize = 80;
