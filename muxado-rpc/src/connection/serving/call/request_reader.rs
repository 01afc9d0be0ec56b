//! Reads the request of a call.

use std::{
    ptr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    CallHead, Codec, Extensions, Limits, Metadata, MethodInfo, Request, Router, ServiceId, ServiceInfo,
    Status,
    connection::{serving::authorize::Authorize, shared::ConnectionShared},
    stream::{
        deadline::{Deadline, TimeLimit},
        half::{ReadChunks, WriteHalf},
        reader::{Bounds, MessageReader, NoMessage, over_limit},
    },
    support::{
        budget::{Purpose, Reservation},
        truncate::{push_brief, push_list},
    },
    wire::{
        MessageDecoder, MessageError, RequestHead, decode_request, early_head, quick_request, slice_payload,
    },
};

/// A request that is being read.
pub(super) struct RequestReader {
    service: Result<&'static ServiceInfo, Unknown>,
    /// What came with the stream.
    first: Option<Bytes>,
    reader: MessageReader,
    /// Runs until the first byte is there.
    first_byte: Option<Deadline>,
    early: Early,
}

/// What is known of a request before it is whole.
#[derive(Default)]
struct Early {
    /// The head that was authorised.
    authorised: Option<Box<Authorised>>,
    /// With how many bytes the head is looked for again.
    look_at: usize,
}

/// The head of a call that may be served.
struct Authorised {
    method: &'static MethodInfo,
    metadata: Metadata,
    extensions: Extensions,
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
    service: &'static ServiceInfo,
    early: &'a mut Early,
    shared: &'a ConnectionShared,
}

/// Why there are no more bytes of a request.
enum Broken {
    Stream,
    /// Its head is refused.
    Refused(Status),
}

impl ReadChunks for Chunks<'_> {
    type Error = Broken;

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        poll_chunk(cx, self.first, self.stream)
    }

    fn look(&mut self, beginning: &mut MessageDecoder) -> Result<(), Broken> {
        self.early.authorise(self.service, beginning, self.shared).map_err(Broken::Refused)
    }
}

fn poll_chunk(
    cx: &mut Context<'_>,
    first: &mut Option<Bytes>,
    stream: &mut WriteHalf,
) -> Poll<Result<Option<Bytes>, Broken>> {
    if let Some(chunk) = first.take() {
        return Poll::Ready(Ok(Some(chunk)));
    }
    match stream {
        WriteHalf::Whole(stream) => stream.poll_read_chunk(cx, usize::MAX).map_err(|_| Broken::Stream),
        // The body has the other half, which is not split off before the request is whole.
        WriteHalf::Half(_) => Poll::Ready(Ok(None)),
    }
}

impl Early {
    /// Has the call authorised once its head is there, if that is in front of the parameters.
    fn authorise(
        &mut self,
        service: &'static ServiceInfo,
        decoder: &mut MessageDecoder,
        shared: &ConnectionShared,
    ) -> Result<(), Status> {
        let Some(authorize) = shared.authorize() else { return Ok(()) };
        let (codec, beginning) = (decoder.codec().unwrap_or(Codec::Json), decoder.beginning());
        if self.authorised.is_some() || beginning.len() <= self.look_at {
            return Ok(());
        }
        let Some(RequestHead { method, metadata, .. }) = early_head(codec, beginning) else {
            // Who sends it byte by byte has it looked at a few times, not for each of them.
            self.look_at = 2 * beginning.len();
            return Ok(());
        };
        let method = service.method(&method).ok_or_else(|| unknown_method(service, &method))?;
        check_metadata_size(method, &metadata, shared.limits())?;
        let authorised = authorise(authorize, method, codec, metadata, decoder.told_size(), shared)?;
        self.authorised = Some(Box::new(authorised));
        decoder.authorise();
        Ok(())
    }
}

impl RequestReader {
    pub(super) fn new(id: ServiceId, first: Option<Bytes>, router: &Router) -> Self {
        let service = router.service(id).ok_or_else(|| Unknown { id, router: router.clone() });
        Self { service, first, reader: MessageReader::default(), first_byte: None, early: Early::default() }
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
        let received = match &self.service {
            Ok(service) => {
                let Self { first, reader, early, .. } = self;
                let mut chunks = Chunks { first, stream, service, early, shared };
                let purpose =
                    if shared.authorize().is_none() { Purpose::Request } else { Purpose::Unauthorised };
                let max_message_size = shared.limits().max_message_size;
                let bounds = Bounds { max_message_size, memory: Some((shared.memory(), purpose)) };
                let read = reader.poll_message(cx, &mut chunks, bounds);
                read.map(|read| received(service, reader, read, early, shared))
            }
            Err(unknown) => unknown.poll_refuse(cx, &mut self.first, stream),
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
    fn poll_refuse(
        &self,
        cx: &mut Context<'_>,
        first: &mut Option<Bytes>,
        stream: &mut WriteHalf,
    ) -> Poll<Received> {
        let codec = match ready!(poll_chunk(cx, first, stream)) {
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
    reader: &mut MessageReader,
    read: Result<Bytes, NoMessage<Broken>>,
    early: &mut Early,
    shared: &Arc<ConnectionShared>,
) -> Received {
    let codec = reader.codec().unwrap_or(Codec::Json);
    let request = match read {
        Ok(message) => {
            let size = message.len();
            request(service, codec, message, shared).and_then(|mut request| {
                authorise_whole(&mut request, size, early.authorised.take(), shared)?;
                if let Some(decoder) = reader.decoder() {
                    decoder.authorise();
                }
                Ok(request)
            })
        }
        Err(NoMessage::Unreadable(error)) => {
            Err(unreadable(service, &error, shared.limits().max_message_size))
        }
        Err(NoMessage::Evicted(error)) => {
            note_evicted(&error, shared);
            Err(unreadable(service, &error, shared.limits().max_message_size))
        }
        Err(NoMessage::Broken(Broken::Refused(status))) => Err(status),
        Err(NoMessage::Broken(Broken::Stream)) => return Received::Nothing,
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
    let head = decode_request(codec, &message).map_err(|error| {
        Status::invalid_argument(format!("{}: not a request in {codec}: {error}", service.name()))
    })?;
    let method = service.method(&head.method).ok_or_else(|| unknown_method(service, &head.method))?;
    check_metadata_size(method, &head.metadata, shared.limits())?;
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

/// Says in the log that a request that was half sent had to go.
fn note_evicted(error: &MessageError, shared: &ConnectionShared) {
    if let MessageError::NoRoom(exhausted) = error
        && let Some(line) = shared.log().admit()
    {
        let (peer, suppressed) = (shared.peer(), line.suppressed);
        tracing::warn!(%peer, suppressed, "a call is ended: its request, half sent, has {exhausted}");
    }
}

fn check_metadata_size(method: &MethodInfo, metadata: &Metadata, limits: &Limits) -> Result<(), Status> {
    let (size, limit) = (metadata.size(), limits.max_metadata_size);
    if size <= limit {
        return Ok(());
    }
    Err(Status::resource_exhausted(format!(
        "{method}: metadata of {size} bytes, over the serving side's limit of {limit} (Limits::max_metadata_size)"
    )))
}

/// Has the call authorised, unless that is done.
#[inline]
fn authorise_whole(
    request: &mut Request,
    size: usize,
    early: Option<Box<Authorised>>,
    shared: &ConnectionShared,
) -> Result<(), Status> {
    let Some(authorize) = shared.authorize() else { return Ok(()) };
    // Behind the parameters another method may have been named.
    let early = early.filter(|early| ptr::eq(early.method, request.method()));
    let authorised = match early {
        Some(early) => *early,
        None => {
            let (metadata, _) = request.take_extras();
            authorise(authorize, request.method(), request.codec(), metadata, Some(size), shared)?
        }
    };
    *request.metadata_mut() = authorised.metadata;
    *request.extensions_mut() = authorised.extensions;
    Ok(())
}

fn authorise(
    authorize: &Authorize,
    method: &'static MethodInfo,
    codec: Codec,
    metadata: Metadata,
    size: Option<usize>,
    shared: &ConnectionShared,
) -> Result<Authorised, Status> {
    let (extensions, peer) = (Extensions::new(), shared.peer());
    let mut head = CallHead { method, codec, metadata, extensions, peer, size };
    authorize.check(&mut head)?;
    Ok(Authorised { method, metadata: head.metadata, extensions: head.extensions })
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
    let known = service.methods().iter().map(MethodInfo::name);
    // In one piece of memory: a peer may ask for what is not there as often as it likes.
    let mut text = String::with_capacity(service.name().len() + MAX_QUOTED_NAME + MAX_METHODS + 40);
    text.extend(["service ", service.name(), " has no method \""]);
    push_brief(&mut text, name, MAX_QUOTED_NAME);
    text.push_str("\"; it has: ");
    push_list(&mut text, known, MAX_METHODS);
    Status::unimplemented(text)
}

/// Bytes of the list of the methods that are there. Refusing a call must not cost more than serving it.
const MAX_METHODS: usize = 100;

/// Bytes quoted of the name of a method that is not there.
const MAX_QUOTED_NAME: usize = 80;
