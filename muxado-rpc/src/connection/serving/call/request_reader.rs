//! Reads the request of a call.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use muxado::{ReadError, rpc::StreamExt};
use tokio::time::Instant;

use crate::{
    CallHead, Codec, Extensions, Limits, Metadata, MethodInfo, MethodRef, Request, Router, ServiceId,
    ServiceInfo, Status,
    codec::apart::Apart,
    connection::{serving::authorize::Authorize, shared::ConnectionShared},
    stream::{
        deadline::{Deadline, TimeLimit},
        half::{ReadChunks, WriteHalf},
        reader::{Bounds, MessageReader, NoMessage, over_limit},
    },
    support::{
        budget::{Purpose, Reservation},
        truncate::{brief, push_brief, push_list},
    },
    wire::{
        MessageError, QuickRequest, RequestHead, decode_request, early_head, quick_request,
        slice_payload_with,
    },
};

/// A request that is being read.
pub(super) struct RequestReader {
    target: Target,
    /// When its first frame was read: time limits count from then.
    arrived: Instant,
    reader: MessageReader,
    /// Runs until the first byte is there.
    first_byte: Option<Deadline>,
    /// What came of looking for the head before the request was whole.
    early: Option<Box<Early>>,
}

/// What came of looking for the head of a request that is not whole.
enum Early {
    /// It was not there; it is looked for again once there are more bytes than this.
    LookAgain(usize),
    Authorised(Authorised),
}

/// The head of a call that may be served.
struct Authorised {
    method: MethodRef,
    metadata: Metadata,
    extensions: Extensions,
}

/// Where the call goes: in two words, because thousands of calls may wait for their requests.
enum Target {
    Service {
        service: &'static ServiceInfo,
        has_fallback: bool,
    },
    Fallback(ServiceId),
    /// Not here; the router says what is.
    Unknown {
        id: ServiceId,
        router: Router,
    },
}

impl Target {
    #[inline]
    fn of(id: ServiceId, router: &Router) -> Self {
        let has_fallback = router.has_fallback();
        match router.service(id) {
            Some(service) => Self::Service { service, has_fallback },
            None if has_fallback => Self::Fallback(id),
            None => Self::Unknown { id, router: router.clone() },
        }
    }

    fn callee(&self) -> Result<Callee, (ServiceId, &Router)> {
        match self {
            Self::Service { service, has_fallback } => {
                Ok(Callee { service: Some(service), id: service.id(), has_fallback: *has_fallback })
            }
            Self::Fallback(id) => Ok(Callee { service: None, id: *id, has_fallback: true }),
            Self::Unknown { id, router } => Err((*id, router)),
        }
    }
}

/// Who takes the call: a service, or the fallback of the router.
#[derive(Clone, Copy)]
struct Callee {
    /// `None` for one that is not here.
    service: Option<&'static ServiceInfo>,
    id: ServiceId,
    has_fallback: bool,
}

impl Callee {
    /// Returns the method with this name.
    fn method(self, name: &str) -> Result<MethodRef, Status> {
        match self.service.and_then(|service| service.method(name)) {
            Some(method) => Ok(method.into()),
            None if self.has_fallback && name.len() <= MAX_FALLBACK_NAME => {
                Ok(MethodInfo::of_unknown(self.service, self.id, name).into())
            }
            None => Err(unknown_method(self, name)),
        }
    }
}

/// The name of the service, if that is known, else its id.
impl fmt::Display for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service {
            Some(service) => f.write_str(service.name()),
            None => write!(f, "{}", self.id),
        }
    }
}

/// What became of reading a request: nothing, if the caller has gone or sent nothing in time.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) request: Option<Request>,
    /// Why the call fails without a handler.
    pub(super) refusal: Option<(Codec, Status)>,
}

/// The bytes of a request: those that came with its stream, then the others.
pub(super) struct Chunks<'a> {
    /// Taken by the first read; a call that waits for more of its request has none.
    pub(super) first: &'a mut Option<Bytes>,
    pub(super) stream: &'a mut WriteHalf,
}

impl ReadChunks for Chunks<'_> {
    type Error = ReadError;

    #[inline]
    fn poll_chunk(&mut self, cx: &mut Context<'_>, chunk: &mut Option<Bytes>) -> Poll<Result<(), ReadError>> {
        if self.first.is_some() {
            *chunk = self.first.take();
            return Poll::Ready(Ok(()));
        }
        match self.stream {
            WriteHalf::Whole(stream) => stream.poll_take_chunk(cx, usize::MAX, chunk),
            // The body has the other half, which is not split off before the request is whole.
            WriteHalf::Half(_) => Poll::Ready(Ok(())),
        }
    }

    fn await_rest(&self) {
        if let WriteHalf::Whole(stream) = &*self.stream {
            stream.await_rest();
        }
    }
}

impl RequestReader {
    #[inline]
    pub(super) fn new(id: ServiceId, arrived: Instant, router: &Router) -> Self {
        let target = Target::of(id, router);
        let reader = MessageReader::default();
        Self { target, arrived, reader, first_byte: None, early: None }
    }

    /// Returns the reader, which may hold bytes behind the request.
    pub(super) fn take_reader(&mut self) -> MessageReader {
        std::mem::take(&mut self.reader)
    }

    /// Returns the room that the request takes, if it was buffered.
    pub(super) fn take_reserved(&mut self) -> Option<Reservation> {
        self.reader.take_reserved()
    }

    /// Returns whether anything but the end of the stream comes behind the request, or may come.
    pub(super) fn may_go_on(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks<'_>,
        shared: &ConnectionShared,
    ) -> bool {
        if self.reader.is_over() {
            return false;
        }
        if self.reader.decoder().is_some_and(|decoder| !decoder.beginning().is_empty()) {
            return true;
        }
        let mut chunk = None;
        match (chunks.poll_chunk(cx, &mut chunk), chunk) {
            (Poll::Ready(Ok(())), None) => false,
            (Poll::Ready(Ok(())), Some(chunk)) => {
                let max_message_size = shared.limits().max_message_size;
                let bounds = Bounds {
                    max_message_size,
                    memory: Some((shared.memory(), Purpose::Request)),
                    gathers: false,
                };
                self.reader.push(chunk, bounds);
                true
            }
            (Poll::Ready(Err(_)) | Poll::Pending, _) => true,
        }
    }

    /// Reads until the request is whole, or it is clear that it never will be. What came of it is in `reading` then.
    #[inline]
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks<'_>,
        shared: &Arc<ConnectionShared>,
        reading: &mut Reading,
    ) -> Poll<()> {
        let callee = match self.target.callee() {
            Ok(callee) => callee,
            Err(unknown) => {
                if poll_refuse(cx, chunks, unknown, reading).is_ready() {
                    return Poll::Ready(());
                }
                return self.poll_first_byte(cx, shared);
            }
        };
        if let Some(authorize) = shared.authorize() {
            return self.poll_guarded(cx, callee, chunks, (authorize, shared), reading);
        }
        if self.poll_read(cx, callee, chunks, (Purpose::Request, shared), reading).is_ready() {
            return Poll::Ready(());
        }
        self.poll_first_byte(cx, shared)
    }

    /// Reads a request that is to be authorised as soon as its head is there.
    fn poll_guarded(
        &mut self,
        cx: &mut Context<'_>,
        callee: Callee,
        chunks: &mut Chunks<'_>,
        (authorize, shared): (&Authorize, &Arc<ConnectionShared>),
        reading: &mut Reading,
    ) -> Poll<()> {
        if let Err(refusal) = self.authorise_first(cx, chunks, authorize, shared) {
            reading.refusal = Some(refusal);
            return Poll::Ready(());
        }
        let purpose = if self.is_authorised() { Purpose::Request } else { Purpose::Unauthorised };
        if self.poll_read(cx, callee, chunks, (purpose, shared), reading).is_ready() {
            return Poll::Ready(());
        }
        if let Err(refusal) = self.authorise_rest(authorize, shared) {
            reading.refusal = Some(refusal);
            return Poll::Ready(());
        }
        self.poll_first_byte(cx, shared)
    }

    #[inline]
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        callee: Callee,
        chunks: &mut Chunks<'_>,
        (purpose, shared): (Purpose, &Arc<ConnectionShared>),
        reading: &mut Reading,
    ) -> Poll<()> {
        let max_message_size = shared.limits().max_message_size;
        let bounds = Bounds { max_message_size, memory: Some((shared.memory(), purpose)), gathers: true };
        let mut message = None;
        let read = ready!(self.reader.poll_message(cx, chunks, bounds, &mut message));
        let result = match (read, message) {
            (Ok(()), Some(message)) => self.decode(callee, message, shared, &mut reading.request),
            (Err(NoMessage::Unreadable(error)), _) => {
                note_no_room(&error, shared);
                Err(unreadable(callee, &error, max_message_size))
            }
            (Err(NoMessage::Broken(_)) | Ok(()), _) => return Poll::Ready(()),
        };
        if let Err(status) = result {
            reading.request = None;
            reading.refusal = Some((self.reader.codec().unwrap_or(Codec::Json), status));
        }
        Poll::Ready(())
    }

    /// Puts the request that a message is into `request`.
    #[inline]
    fn decode(
        &mut self,
        callee: Callee,
        message: Bytes,
        shared: &Arc<ConnectionShared>,
        request: &mut Option<Request>,
    ) -> Result<(), Status> {
        let (codec, apart) = (self.reader.codec().unwrap_or(Codec::Json), self.reader.take_apart());
        let size = message.len() + apart.as_ref().map_or(0, Apart::extra_len);
        if let Some((method, quick)) = quick_method(callee, codec, &message) {
            let QuickRequest { timeout_ms, depth, params, .. } = quick;
            let end = message.len();
            let params = slice_payload_with(message, params..end, apart);
            let request =
                request.insert(Request::received(method.into(), codec, params, Arc::clone(shared) as _));
            if timeout_ms.is_some() || !depth.is_zero() {
                let timeout = timeout_ms.map(Duration::from_millis);
                request.set_timeout(timeout);
                let limit = timeout.and_then(|timeout| TimeLimit::from(self.arrived, timeout));
                request.set_deadline(limit.map(TimeLimit::at));
                request.set_depth(depth);
            }
        } else {
            *request = Some(decode_whole(callee, codec, (message, apart), self.arrived, shared)?);
        }
        if let (Some(authorize), Some(whole)) = (shared.authorize(), request.as_mut()) {
            authorise_whole(whole, size, self.early.take(), authorize, shared)?;
        }
        if let Some(decoder) = self.reader.decoder() {
            decoder.authorise();
        }
        Ok(())
    }

    /// Has the call authorised by the first piece of its request, which need not be kept for that.
    fn authorise_first(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &mut Chunks<'_>,
        authorize: &Authorize,
        shared: &ConnectionShared,
    ) -> Result<(), (Codec, Status)> {
        if self.reader.has_begun() {
            return Ok(());
        }
        let mut chunk = None;
        let read = chunks.poll_chunk(cx, &mut chunk);
        if let (Poll::Ready(Ok(())), Some(first)) = (read, chunk) {
            *chunks.first = Some(first.clone());
            return self.authorise_early(&first, authorize, shared);
        }
        Ok(())
    }

    /// Has the call authorised by what has been kept of its request.
    fn authorise_rest(
        &mut self,
        authorize: &Authorize,
        shared: &ConnectionShared,
    ) -> Result<(), (Codec, Status)> {
        let Some(decoder) = self.reader.decoder() else { return Ok(()) };
        if !looks_at(self.early.as_deref(), decoder.beginning()) {
            return Ok(());
        }
        let beginning = Bytes::copy_from_slice(decoder.beginning());
        self.authorise_early(&beginning, authorize, shared)?;
        if self.is_authorised()
            && let Some(decoder) = self.reader.decoder()
        {
            decoder.authorise();
        }
        Ok(())
    }

    fn is_authorised(&self) -> bool {
        matches!(self.early.as_deref(), Some(Early::Authorised(_)))
    }

    /// Has the call authorised if its head is in this beginning of its request, in front of the parameters.
    fn authorise_early(
        &mut self,
        beginning: &[u8],
        authorize: &Authorize,
        shared: &ConnectionShared,
    ) -> Result<(), (Codec, Status)> {
        let (Some(first), Ok(callee)) = (beginning.first(), self.target.callee()) else { return Ok(()) };
        if !looks_at(self.early.as_deref(), beginning) {
            return Ok(());
        }
        let codec = Codec::of_first_byte(*first);
        let Some(head) = early_head(codec, beginning) else {
            // Who sends it byte by byte has it looked at a few times, not for each of them.
            self.early = Some(Box::new(Early::LookAgain(2 * beginning.len())));
            return Ok(());
        };
        let size = told_size(codec, beginning);
        let authorised = authorise_head(callee, codec, head, size, authorize, shared);
        self.early = Some(Box::new(Early::Authorised(authorised.map_err(|status| (codec, status))?)));
        Ok(())
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

/// Refuses a call of a service that is not here once its codec is known: there is nobody to read on for.
fn poll_refuse(
    cx: &mut Context<'_>,
    chunks: &mut Chunks<'_>,
    (id, router): (ServiceId, &Router),
    reading: &mut Reading,
) -> Poll<()> {
    let mut chunk = None;
    if ready!(chunks.poll_chunk(cx, &mut chunk)).is_ok() {
        let first = chunk.and_then(|chunk| chunk.first().copied());
        let codec = first.map_or(Codec::Json, Codec::of_first_byte);
        reading.refusal = Some((codec, router.unknown_service(id)));
    }
    Poll::Ready(())
}

/// The method of a request as it is written here, and what else is in it.
#[inline]
fn quick_method(
    callee: Callee,
    codec: Codec,
    message: &[u8],
) -> Option<(&'static MethodInfo, QuickRequest<'_>)> {
    if codec != Codec::MessagePack {
        return None;
    }
    let quick = quick_request(message)?;
    Some((callee.service?.method_named(quick.method)?, quick))
}

fn decode_whole(
    callee: Callee,
    codec: Codec,
    (message, mut apart): (Bytes, Option<Apart>),
    arrived: Instant,
    shared: &Arc<ConnectionShared>,
) -> Result<Request, Status> {
    let limits = shared.limits();
    let head = decode_request(codec, &message)
        .map_err(|error| Status::invalid_argument(format!("{callee}: not a request in {codec}: {error}")))?;
    if let Some(apart) = apart.take_if(|apart| !head.params.as_ref().is_some_and(|part| apart.is_in(part))) {
        // It is in the metadata, or nothing that is known.
        return decode_whole(callee, codec, (apart.join(&message), None), arrived, shared);
    }
    let method = callee.method(&head.method)?;
    check_metadata_size(&method, &head.metadata, limits)?;
    let RequestHead { params, timeout, depth, metadata, .. } = head;
    let limit = timeout.and_then(|timeout| TimeLimit::from(arrived, timeout));
    let params =
        params.map_or_else(|| codec.empty_map().into(), |params| slice_payload_with(message, params, apart));
    let mut request = Request::received(method, codec, params, Arc::clone(shared) as _);
    request.set_timeout(timeout);
    request.set_deadline(limit.map(TimeLimit::at));
    request.set_depth(depth);
    if !metadata.is_empty() {
        *request.metadata_mut() = metadata;
    }
    Ok(request)
}

/// Says in the log that there is no room for a request, or for what was sent of it.
fn note_no_room(error: &MessageError, shared: &ConnectionShared) {
    if let MessageError::NoRoom(exhausted) = error
        && let Some(line) = shared.log().admit()
    {
        let (peer, suppressed) = (shared.peer(), line.suppressed);
        tracing::warn!(%peer, suppressed, "a call is refused: its request has {exhausted}");
    }
}

/// Returns the size of a message that is not whole, if it is told in front.
fn told_size(codec: Codec, beginning: &[u8]) -> Option<usize> {
    let (length, _) = beginning.split_first_chunk().filter(|_| codec == Codec::MessagePack)?;
    Some(u32::from_be_bytes(*length) as usize)
}

fn authorise_head(
    callee: Callee,
    codec: Codec,
    head: RequestHead<'_>,
    size: Option<usize>,
    authorize: &Authorize,
    shared: &ConnectionShared,
) -> Result<Authorised, Status> {
    let RequestHead { method, metadata, .. } = head;
    let method = callee.method(&method)?;
    check_metadata_size(&method, &metadata, shared.limits())?;
    authorise(authorize, method, codec, metadata, size, shared)
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

/// Returns whether the head is looked for in this beginning of a request.
fn looks_at(early: Option<&Early>, beginning: &[u8]) -> bool {
    match early {
        None => true,
        Some(Early::LookAgain(from)) => beginning.len() > *from,
        Some(Early::Authorised(_)) => false,
    }
}

/// Has the call authorised, unless that is done.
fn authorise_whole(
    request: &mut Request,
    size: usize,
    early: Option<Box<Early>>,
    authorize: &Authorize,
    shared: &ConnectionShared,
) -> Result<(), Status> {
    // Behind the parameters another method may have been named.
    let authorised = match early.map(|early| *early) {
        Some(Early::Authorised(early)) if early.method.is_same(&request.method_ref()) => early,
        _ => {
            let (metadata, _) = request.take_extras();
            authorise(authorize, request.method_ref(), request.codec(), metadata, Some(size), shared)?
        }
    };
    *request.metadata_mut() = authorised.metadata;
    *request.extensions_mut() = authorised.extensions;
    Ok(())
}

fn authorise(
    authorize: &Authorize,
    method: MethodRef,
    codec: Codec,
    metadata: Metadata,
    size: Option<usize>,
    shared: &ConnectionShared,
) -> Result<Authorised, Status> {
    let (extensions, peer) = (Extensions::new(), shared.peer());
    let mut head = CallHead { method: method.clone(), codec, metadata, extensions, peer, size };
    authorize.check(&mut head)?;
    Ok(Authorised { method, metadata: head.metadata, extensions: head.extensions })
}

fn unreadable(callee: Callee, error: &MessageError, limit: usize) -> Status {
    if let Some(status) = over_limit(error, callee, "a request", "serving", limit) {
        return status;
    }
    Status::invalid_argument(match error {
        MessageError::Missing => format!("{callee}: the stream ended without a request"),
        _ => format!("{callee}: the request ended in the middle"),
    })
}

fn unknown_method(callee: Callee, name: &str) -> Status {
    let Some(service) = callee.service else {
        let shown = brief(name, MAX_QUOTED_NAME);
        let limit = MAX_FALLBACK_NAME;
        return Status::unimplemented(format!(
            "{callee}: the name of the method has more than {limit} bytes: \"{shown}\""
        ));
    };
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

/// Bytes of the name of a method that a fallback is given. There is no other bound for what it may keep of it.
const MAX_FALLBACK_NAME: usize = 1024;

/// Bytes quoted of the name of a method that is not there.
const MAX_QUOTED_NAME: usize = 80;
