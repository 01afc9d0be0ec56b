//! The body of a streaming call, as layers see it.

use std::{any::Any, fmt};

use crate::{Code, Codec};

/// The body of a streaming call: the stream of items after a request or a response, encoded, and still to come.
///
/// A streaming call is not over when its [`Response`](crate::Response) is there. A layer learns of its end with
/// [`on_end`](Self::on_end).
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

/// What is called with the end of a body.
pub(crate) type Hook = Box<dyn FnOnce(BodyEnd) + Send>;

/// What makes or receives the items of a body, which is the business of the room above.
pub(crate) trait BodyEngine: Any + Send + Sync {
    /// Returns the codec of the items.
    fn codec(&self) -> Codec;

    /// Has a hook called once, at the end.
    fn on_end(&mut self, hook: Hook);

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

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("codec", &self.codec())
            .field("source", &self.engine.kind())
            .finish_non_exhaustive()
    }
}
