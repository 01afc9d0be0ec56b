//! What all generated clients have in common.

use std::time::Duration;

use futures_core::Stream;
use serde::Serialize;
use tower_service::Service;

use super::call::{ClientCall, Decode};
use crate::{
    Body, BoxError, Codec, Metadata, MethodInfo, Request, Response,
    message::payload::TakeLarge,
    stream::body::{BodyStream, StreamBody},
};

/// The part of a client that is the same for all services.
#[derive(Clone, Debug)]
pub struct ClientCore<C> {
    channel: C,
    codec: Codec,
    timeout: Option<Duration>,
    default_timeout: Option<Duration>,
    inherits: bool,
    metadata: Metadata,
}

impl<C> ClientCore<C>
where
    C: Service<Request, Response = Response> + Clone,
    C::Error: Into<BoxError>,
{
    /// Calls over this channel, in the default codec, without a time limit.
    pub const fn new(channel: C) -> Self {
        Self {
            channel,
            codec: Codec::MessagePack,
            timeout: None,
            default_timeout: None,
            inherits: true,
            metadata: Metadata::new(),
        }
    }

    /// Encodes in this codec.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Gives each call this time limit.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives this time limit to each call of a method that has none of its own.
    #[must_use]
    pub fn with_default_timeout(mut self, timeout: Duration) -> Self {
        self.default_timeout = Some(timeout);
        self
    }

    /// Lets calls out of a handler take longer than the call that the handler serves.
    #[must_use]
    pub fn without_inherited_deadline(mut self) -> Self {
        self.inherits = false;
        self
    }

    /// Sends this metadata with each call.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Calls a method. The parameters are gone once they are encoded, before the call is under way.
    pub fn call<P, T, E>(
        &self,
        method: &'static MethodInfo,
        mut params: P,
        input: Option<Body>,
        decode: Decode<T, E>,
    ) -> ClientCall<T, E, C>
    where
        P: Serialize + TakeLarge,
    {
        let large = if self.codec == Codec::MessagePack { params.take_large() } else { None };
        let request = match large {
            None => Request::new(method, self.codec, &params),
            Some(large) => Request::new_lent(method.into(), &params, large),
        };
        let request = request.map(|mut request| {
            self.set_up(&mut request, input);
            request
        });
        ClientCall::new(method, decode, self.channel.clone(), request)
    }

    /// The values of a stream, as the items of a request.
    pub fn items<T, S>(&self, method: &'static MethodInfo, stream: S) -> Option<Body>
    where
        T: Serialize,
        S: Stream<Item = T> + Send + 'static,
    {
        Some(BodyStream::local(self.codec, StreamBody::new(method, self.codec, stream)))
    }

    /// Sets what does not depend on the types of a call, so that a client's methods stay small.
    fn set_up(&self, request: &mut Request, input: Option<Body>) {
        request.set_input(input);
        let timeout = self.timeout.or_else(|| request.method().default_timeout());
        request.set_timeout(timeout.or(self.default_timeout));
        request.set_inherits_deadline(self.inherits);
        if !self.metadata.is_empty() {
            request.metadata_mut().clone_from(&self.metadata);
        }
    }
}
