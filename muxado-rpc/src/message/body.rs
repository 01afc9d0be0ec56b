//! The body of a streaming call, as layers see it.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{CallError, Code, Codec, Metadata, RawError};

/// The body of a streaming call: the stream of items after a request or a response, encoded, and still to come.
///
/// A streaming call is not over when its [`Response`](crate::Response) is there. A layer learns of its end with
/// [`on_end`](Self::on_end), which costs next to nothing. It sees each item, and can replace what goes on, with
/// [`inspect_frames`](Self::inspect_frames), [`map_frames`](Self::map_frames) and [`wrap`](Self::wrap).
///
/// A body is a stream of [frames](BodyFrame), and can be made of one ([`from_frames`](Self::from_frames)) or of values
/// ([`from_items`](Self::from_items)).
///
/// ```
/// use muxado_rpc::{Response, Status};
///
/// fn watch(mut response: Response) -> Response {
///     if let Some(body) = response.body_mut() {
///         body.on_end(|end| println!("the stream ended: {end:?}"));
///     }
///     response
/// }
/// # let _ = watch;
/// ```
pub struct Body {
    engine: Box<dyn BodyEngine>,
}

/// How a [`Body`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyEnd {
    /// All items came.
    Complete,
    /// It ended with an error of this code.
    Failed(Code),
    /// It was dropped before its end.
    Dropped,
}

/// A part of a [`Body`]. Items are encoded in the codec of the body.
///
/// ```
/// use futures_util::{StreamExt, stream};
/// use muxado_rpc::{Body, BodyFrame, Codec, Status};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut body = Body::from_items(Codec::Json, stream::iter([1, 2]).map(Ok::<_, Status>));
/// body.map_frames(|frame| match frame {
///     BodyFrame::Item(item) if &item[..] == b"2" => BodyFrame::Item("22".into()),
///     other => other,
/// });
/// assert_eq!(body.next_frame().await, Some(BodyFrame::Item("1".into())));
/// assert_eq!(body.next_frame().await, Some(BodyFrame::Item("22".into())));
/// assert!(matches!(body.next_frame().await, Some(BodyFrame::End { result: Ok(()), .. })));
/// assert_eq!(body.next_frame().await, None);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFrame {
    /// An item: one value in the codec of the body.
    Item(Bytes),
    /// Metadata in front of the items of a response.
    Metadata(Metadata),
    /// The end; nothing follows it.
    End {
        /// Whether all items came, or why they did not.
        result: Result<(), CallError<RawError>>,
        /// Metadata behind the items of a response.
        trailer: Metadata,
    },
}

/// What is called with the end of a body.
pub(crate) type Hook = Box<dyn FnOnce(BodyEnd) + Send>;

/// What makes or receives the items of a body, which is the business of the room above.
pub(crate) trait BodyEngine: Any + Send + Sync {
    /// Returns the codec of the items.
    fn codec(&self) -> Codec;

    /// Has a hook called once, at the end.
    fn on_end(&mut self, hook: Hook);

    /// Returns the next frame; `None` after the end.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>>;

    /// Returns a word for where the items come from.
    fn kind(&self) -> &'static str;
}

impl Body {
    pub(crate) fn new(engine: impl BodyEngine) -> Self {
        Self { engine: Box::new(engine) }
    }

    /// Calls `hook` when the body has ended or is dropped.
    pub fn on_end(&mut self, hook: impl FnOnce(BodyEnd) + Send + 'static) {
        self.engine.on_end(Box::new(hook));
    }

    /// Returns the codec of the items.
    pub fn codec(&self) -> Codec {
        self.engine.codec()
    }

    /// Returns the next frame; `None` after the end.
    ///
    /// The body of a request whose [shape is unknown](crate::Shape::Unknown) and that turns out to have none ends without
    /// an [end](BodyFrame::End).
    ///
    /// # Cancel safety
    ///
    /// No frame is lost if the future is dropped.
    pub async fn next_frame(&mut self) -> Option<BodyFrame> {
        poll_fn(|cx| self.poll_frame(cx)).await
    }

    /// Polls for the next frame; see [`next_frame`](Self::next_frame).
    ///
    /// # Panics
    ///
    /// Resumes a panic of what makes the items on this side.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        self.engine.poll_frame(cx)
    }

    /// Returns the engine, which is of this type.
    pub(crate) fn into_engine<E: BodyEngine>(self) -> Box<E> {
        let engine: Box<dyn Any> = self.engine;
        engine.downcast().expect("all bodies of this crate have the same engine")
    }

    /// Returns a reference to the engine, which is of this type.
    pub(crate) fn engine_mut<E: BodyEngine>(&mut self) -> &mut E {
        let engine: &mut dyn Any = &mut *self.engine;
        engine.downcast_mut().expect("all bodies of this crate have the same engine")
    }
}

impl Stream for Body {
    type Item = BodyFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        self.poll_frame(cx)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("codec", &self.codec())
            .field("source", &self.engine.kind())
            .finish_non_exhaustive()
    }
}
