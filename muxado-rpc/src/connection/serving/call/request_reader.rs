//! Reads the request of a call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use muxado::Stream;
use pin_project::pin_project;
use tokio::time::Instant;

use crate::{
    Codec, Limits, MethodInfo, Request, Router, ServiceId, ServiceInfo, Status,
    connection::shared::ConnectionShared,
    support::{
        budget::Reservation,
        timer::Timer,
        truncate::{self, brief},
    },
    wire::{MessageError, MessageReader, RequestHead, decode_request, quick_request, slice_payload},
};

/// A request that is being read.
pub(super) struct RequestReader {
    service: Result<&'static ServiceInfo, Unknown>,
    /// What came with the stream.
    first: Option<Bytes>,
    /// When its first frame was read: time limits count from then.
    arrived: Instant,
    reader: MessageReader,
    /// Runs until the first byte is there.
    timer: Option<Pin<Box<FirstByte>>>,
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
        arrived: Instant,
        router: &Router,
        shared: &ConnectionShared,
    ) -> Self {
        let service = router.service(id).ok_or_else(|| Unknown { id, router: router.clone() });
        let reader = MessageReader::new(shared.limits().max_message_size);
        Self { service, first, arrived, reader, timer: None }
    }

    /// The reader, which may hold bytes behind the request.
    pub(super) fn take_reader(&mut self, shared: &ConnectionShared) -> MessageReader {
        std::mem::replace(&mut self.reader, MessageReader::new(0)).counted(shared.request_memory())
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
                    Ok(None) => continue,
                    Ok(Some(message)) => Ok(message),
                    Err(error) => Err(error),
                },
                Poll::Ready(Ok(None)) => self.reader.finish(),
                Poll::Ready(Err(_)) => return Poll::Ready(Received::Nothing),
                Poll::Pending => {
                    ready!(self.poll_timer(cx, shared.limits()));
                    return Poll::Ready(Received::Nothing);
                }
            };
            return Poll::Ready(self.received(message, shared));
        }
    }

    /// Takes in what came; the request, once it is whole.
    fn take(&mut self, chunk: Bytes, shared: &ConnectionShared) -> Result<Option<Bytes>, MessageError> {
        self.timer = None;
        match self.reader.take_whole(chunk) {
            Ok(message) => Ok(Some(message)),
            Err(chunk) => {
                self.reader.count(shared.request_memory());
                self.reader.push(chunk);
                if self.service.is_err() {
                    // There is nobody to read on for.
                    return Ok(Some(Bytes::new()));
                }
                self.reader.pop()
            }
        }
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

    fn received(&self, message: Result<Bytes, MessageError>, shared: &Arc<ConnectionShared>) -> Received {
        let codec = self.codec();
        let request = match &self.service {
            Ok(service) => message
                .map_err(|error| unreadable(service, &error, shared.limits()))
                .and_then(|message| request(service, codec, message, self.arrived, shared)),
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
    arrived: Instant,
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
    let (size, limit) = (head.metadata.size(), limits.max_metadata_size);
    if size > limit {
        return Err(Status::resource_exhausted(format!(
            "{method}: metadata of {size} bytes, over the serving side's limit of {limit} (Limits::max_metadata_size)"
        )));
    }
    let RequestHead { params, timeout, depth, metadata, .. } = head;
    let deadline = timeout.and_then(|timeout| arrived.checked_add(timeout));
    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        return Err(Status::deadline_exceeded(format!("{method}: no time is left")));
    }
    let params = params.map_or_else(|| codec.empty_map().into(), |params| slice_payload(message, params));
    let mut request = Request::received(method, codec, params, Arc::clone(shared));
    request.set_timeout(timeout);
    request.set_deadline(deadline);
    request.set_depth(depth);
    if !metadata.is_empty() {
        *request.metadata_mut() = metadata;
    }
    Ok(request)
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
    let known = truncate::list(service.methods().iter().map(MethodInfo::name), MAX_METHODS);
    let (service, name) = (service.name(), brief(name, MAX_QUOTED_NAME));
    Status::unimplemented(format!("service {service} has no method \"{name}\"; it has: {known}"))
}

/// Bytes of the list of the methods that are there. Refusing a call must not cost more than serving it.
const MAX_METHODS: usize = 100;

/// Bytes quoted of the name of a method that is not there.
const MAX_QUOTED_NAME: usize = 80;
