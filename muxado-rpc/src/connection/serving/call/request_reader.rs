//! Reads the request of a call.

use std::{
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use muxado::Stream;
use pin_project::pin_project;
use tokio::time::Instant;

use crate::{
    CallHead, Codec, Extensions, Limits, Metadata, MethodInfo, Request, Router, ServiceId, ServiceInfo,
    Status,
    connection::{serving::authorize::Authorize, shared::ConnectionShared},
    support::{
        budget::{Purpose, Reservation},
        timer::Timer,
        truncate::{push_brief, push_list},
    },
    wire::{
        MessageError, MessageReader, RequestHead, decode_request, early_head, quick_request, slice_payload,
    },
};

/// A request that is being read.
pub(super) struct RequestReader {
    service: Result<&'static ServiceInfo, Unknown>,
    /// What came with the stream.
    first: Option<Bytes>,
    reader: MessageReader,
    /// Runs until the first byte is there.
    timer: Option<Pin<Box<FirstByte>>>,
    /// What was authorised before the request was whole.
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

/// By when the first byte must be there.
#[pin_project]
struct FirstByte {
    by: Option<Instant>,
    #[pin]
    timer: Timer,
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

impl RequestReader {
    pub(super) fn new(
        id: ServiceId,
        first: Option<Bytes>,
        router: &Router,
        shared: &ConnectionShared,
    ) -> Self {
        let service = router.service(id).ok_or_else(|| Unknown { id, router: router.clone() });
        let reader = MessageReader::new(shared.limits().max_message_size);
        Self { service, first, reader, timer: None, authorised: None, look_at: 0 }
    }

    /// The reader, which may hold bytes behind the request.
    pub(super) fn take_reader(&mut self, shared: &ConnectionShared) -> MessageReader {
        std::mem::replace(&mut self.reader, MessageReader::new(0)).counted(shared.memory())
    }

    /// The room that the request takes, if it was buffered.
    pub(super) fn take_reserved(&mut self) -> Option<Reservation> {
        self.reader.take_reserved()
    }

    /// Reads until the request is whole, or it is clear that it never will be.
    pub(super) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream,
        shared: &Arc<ConnectionShared>,
    ) -> Poll<Received> {
        loop {
            let read = match self.first.take() {
                Some(chunk) => Poll::Ready(Ok(Some(chunk))),
                None => stream.poll_read_chunk(cx, usize::MAX),
            };
            let message = match read {
                Poll::Ready(Ok(Some(chunk))) => match self.take(chunk, shared) {
                    Ok(Ok(None)) => continue,
                    Ok(Ok(Some(message))) => Ok(message),
                    Ok(Err(error)) => Err(error),
                    Err(status) => return Poll::Ready(Received::Refused(self.codec(), status)),
                },
                Poll::Ready(Ok(None)) => self.reader.finish(),
                Poll::Ready(Err(_)) => return Poll::Ready(Received::Nothing),
                Poll::Pending => {
                    if let Poll::Ready(error) = self.reader.poll_evicted(cx) {
                        note_evicted(&error, shared);
                        return Poll::Ready(self.received(Err(error), shared));
                    }
                    ready!(self.poll_timer(cx, shared.limits()));
                    return Poll::Ready(Received::Nothing);
                }
            };
            return Poll::Ready(self.received(message, shared));
        }
    }

    /// Takes in what came; the request, once it is whole. Fails with a status if its head is refused.
    fn take(
        &mut self,
        chunk: Bytes,
        shared: &ConnectionShared,
    ) -> Result<Result<Option<Bytes>, MessageError>, Status> {
        self.timer = None;
        match self.reader.take_whole(chunk) {
            Ok(message) => Ok(Ok(Some(message))),
            Err(chunk) => {
                let is_authorised = shared.authorize().is_none();
                let purpose = if is_authorised { Purpose::Request } else { Purpose::Unauthorised };
                self.reader.count(shared.memory(), purpose);
                self.reader.push(chunk);
                if self.service.is_err() {
                    // There is nobody to read on for.
                    return Ok(Ok(Some(Bytes::new())));
                }
                // The head mostly comes with the first piece, which need not be kept to be looked at.
                self.authorise_early(shared)?;
                let message = self.reader.pop();
                if let Ok(None) = message {
                    self.authorise_early(shared)?;
                }
                Ok(message)
            }
        }
    }

    /// Has the call authorised once its head is there, if that is in front of the parameters.
    fn authorise_early(&mut self, shared: &ConnectionShared) -> Result<(), Status> {
        let (Some(authorize), Ok(service)) = (shared.authorize(), &self.service) else { return Ok(()) };
        let (codec, beginning) = (self.codec(), self.reader.beginning());
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
        let authorised = authorise(authorize, method, codec, metadata, self.reader.told_size(), shared)?;
        self.authorised = Some(Box::new(authorised));
        self.reader.authorise();
        Ok(())
    }

    /// Ready when the first byte did not come in time.
    fn poll_timer(&mut self, cx: &mut Context<'_>, limits: &Limits) -> Poll<()> {
        if self.reader.codec().is_some() {
            return Poll::Pending;
        }
        let limit = limits.first_byte_timeout;
        let begin = || Box::pin(FirstByte { by: Instant::now().checked_add(limit), timer: Timer::default() });
        let first_byte = self.timer.get_or_insert_with(begin).as_mut().project();
        // A limit beyond the end of time is none.
        let Some(by) = *first_byte.by else { return Poll::Pending };
        ready!(first_byte.timer.poll(cx, by));
        tracing::debug!("no request within {limit:?} (Limits::first_byte_timeout)");
        Poll::Ready(())
    }

    fn codec(&self) -> Codec {
        self.reader.codec().unwrap_or(Codec::Json)
    }

    fn received(&mut self, message: Result<Bytes, MessageError>, shared: &Arc<ConnectionShared>) -> Received {
        let codec = self.codec();
        let request = match &self.service {
            Ok(service) => {
                message.map_err(|error| unreadable(service, &error, shared.limits())).and_then(|message| {
                    let size = message.len();
                    let mut request = request(service, codec, message, shared)?;
                    authorise_whole(&mut request, size, self.authorised.take(), shared)?;
                    Ok(request)
                })
            }
            Err(Unknown { id, router }) => Err(router.unknown_service(*id)),
        };
        match request {
            Ok(request) => Received::Request(request),
            Err(status) => Received::Refused(codec, status),
        }
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
        return Ok(Request::received(method, codec, slice_payload(message, params), Arc::clone(shared)));
    }
    let limits = shared.limits();
    let head = decode_request(codec, &message).map_err(|error| {
        Status::invalid_argument(format!("{}: not a request in {codec}: {error}", service.name()))
    })?;
    let method = service.method(&head.method).ok_or_else(|| unknown_method(service, &head.method))?;
    check_metadata_size(method, &head.metadata, limits)?;
    let RequestHead { params, timeout, metadata, .. } = head;
    if timeout.is_some_and(|timeout| timeout.is_zero()) {
        return Err(Status::deadline_exceeded(format!("{method}: no time is left")));
    }
    let params = params.map_or_else(|| codec.empty_map().into(), |params| slice_payload(message, params));
    let mut request = Request::received(method, codec, params, Arc::clone(shared));
    request.set_timeout(timeout);
    request.set_deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
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
        MessageError::NoRoom(exhausted) => {
            Status::resource_exhausted(format!("{service}: a request has {exhausted}"))
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
