//! The body of a response: made by a handler that may borrow from its service, its parameters and
//! its context, so that the stream it returns lives inside the handler's own future.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use futures_core::Stream;
use serde::Serialize;

use crate::{
    Codec, Context, MethodInfo, Response, Status,
    message::{
        app_error::Description,
        limits::SendLimit,
        response::{Failure, Outcome},
    },
    stream::body::{BodySource, BodyStream, Step, encode, fill},
    support::panics,
};

/// Runs a handler that returns a stream: `handler` puts its items into the sink.
///
/// Ready once the handler has its stream, or has failed.
pub(crate) async fn serve<F, H>(
    method: &'static MethodInfo,
    codec: Codec,
    context: Option<Context>,
    handler: F,
) -> Result<Response, Status>
where
    F: FnOnce(ItemSink) -> H,
    H: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let shared = Arc::new(Mutex::new(Shared::default()));
    let sink = ItemSink { method, codec, shared: Arc::clone(&shared) };
    let handler: Handler = Box::pin(handler(sink));
    let mut serving = Serving { handler: Some(handler), end: None, context, shared };
    poll_fn(|cx| serving.poll_open(cx)).await;
    match serving.end.take() {
        // It failed before the first item: that is an answer by itself.
        Some(Err(Failure::App(error))) => {
            let mut response = Response::of_app_error(codec, error);
            if let Some(context) = &serving.context {
                context.add_metadata_to(&mut response);
            }
            Ok(response)
        }
        Some(Err(Failure::Status(status))) => Err(status),
        Some(Err(Failure::Panic(panic))) => panic.resume(),
        end => {
            serving.end = end;
            let metadata = serving.context.as_ref().map(Context::take_metadata).unwrap_or_default();
            let body = BodyStream::local(codec, serving);
            Ok(Response::from_outcome(codec, Outcome::Body(body)).with_metadata(metadata))
        }
    }
}

/// Where a handler's items go. Generated code fills it.
#[derive(Debug)]
pub struct ItemSink {
    method: &'static MethodInfo,
    codec: Codec,
    shared: Arc<Mutex<Shared>>,
}

/// What handler and sender pass each other. The handler runs while it is polled by the sender, so
/// nobody ever waits for the lock.
#[derive(Debug)]
struct Shared {
    buf: Vec<u8>,
    limit: SendLimit,
    /// The handler has its stream.
    open: bool,
}

impl Default for Shared {
    fn default() -> Self {
        // The limit becomes that of the connection with the first item that is sent.
        Self { buf: Vec::new(), limit: SendLimit::LARGEST, open: false }
    }
}

impl ItemSink {
    /// Sends all items of a stream.
    pub async fn send_all<S, T>(self, stream: S) -> Result<(), Failure>
    where
        S: Stream<Item = T>,
        T: Serialize,
    {
        let (method, codec) = (self.method, self.codec);
        self.send_with(stream, |item, limit, buf| encode(method, codec, limit, item, buf)).await
    }

    /// Sends all items of a stream up to the first error.
    pub async fn send_results<S, T, E>(
        self,
        stream: S,
        describe: fn(&E) -> Description,
    ) -> Result<(), Failure>
    where
        S: Stream<Item = Result<T, E>>,
        T: Serialize,
        E: Serialize + 'static,
    {
        let (method, codec) = (self.method, self.codec);
        self.send_with(stream, |item, limit, buf| match item {
            Ok(item) => encode(method, codec, limit, item, buf),
            Err(error) => Err(Failure::of_error(codec, error, describe)),
        })
        .await
    }

    /// Sends all items of a stream whose errors cannot be.
    pub async fn send_unfailing<S, T>(self, stream: S) -> Result<(), Failure>
    where
        S: Stream<Item = Result<T, Infallible>>,
        T: Serialize,
    {
        let (method, codec) = (self.method, self.codec);
        self.send_with(stream, |item, limit, buf| match item {
            Ok(item) => encode(method, codec, limit, item, buf),
            Err(never) => match *never {},
        })
        .await
    }

    async fn send_with<S: Stream>(
        self,
        stream: S,
        mut encode: impl FnMut(&S::Item, SendLimit, &mut Vec<u8>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut stream = pin!(stream);
        lock(&self.shared).open = true;
        // The first poll is the sender's, who has set its limit by then.
        let mut opened = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut opened, true) {
                return Poll::Pending;
            }
            let mut lent = Lent::take(&self.shared);
            let limit = lent.limit;
            fill(stream.as_mut(), cx, &mut lent.buf, |item, buf| encode(item, limit, buf))
        })
        .await
    }
}

/// The buffer, out of the lock while user code runs. A panic of its loses no item before.
struct Lent<'a> {
    shared: &'a Mutex<Shared>,
    buf: Vec<u8>,
    limit: SendLimit,
}

impl<'a> Lent<'a> {
    fn take(shared: &'a Mutex<Shared>) -> Self {
        let mut locked = lock(shared);
        let (buf, limit) = (std::mem::take(&mut locked.buf), locked.limit);
        Self { shared, buf, limit }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        lock(self.shared).buf = std::mem::take(&mut self.buf);
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic of the user's leaves nothing half done in here.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

type Handler = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A handler and the items it has made.
struct Serving {
    handler: Option<Handler>,
    end: Option<Result<(), Failure>>,
    /// Where the handler puts metadata.
    context: Option<Context>,
    shared: Arc<Mutex<Shared>>,
}

impl Serving {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    fn poll_handler(&mut self, cx: &mut task::Context<'_>) {
        let Some(handler) = &mut self.handler else { return };
        let end = match panics::catch(|| handler.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(end)) => end,
            Err(panic) => Err(Failure::Panic(panic)),
        };
        let dropped = panics::catch(|| self.handler = None);
        self.end = Some(match (end, dropped) {
            (Ok(()) | Err(Failure::App(_) | Failure::Status(_)), Err(panic)) => Err(Failure::Panic(panic)),
            (end, _) => end,
        });
    }

    fn poll_open(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        self.poll_handler(cx);
        if self.end.is_some() || self.lock().open { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl BodySource for Serving {
    fn poll_fill(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        limit: SendLimit,
        buf: &mut Vec<u8>,
    ) -> Poll<Step> {
        {
            let mut shared = self.lock();
            shared.limit = limit;
            std::mem::swap(&mut shared.buf, buf);
        }
        if self.end.is_none() {
            self.poll_handler(cx);
        }
        std::mem::swap(&mut self.lock().buf, buf);
        if !buf.is_empty() {
            return Poll::Ready(Step::Filled);
        }
        match self.end.take() {
            Some(end) => {
                let trailer = self.context.as_ref().map(Context::take_trailer).unwrap_or_default();
                Poll::Ready(Step::End(end, trailer))
            }
            None => Poll::Pending,
        }
    }
}
