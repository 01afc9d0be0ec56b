//! Calls of services and methods whose names are known only at run time.

use std::{borrow::Cow, fmt, future::poll_fn, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use crate::{
    Balanced, Body, BoxChannel, BoxError, CallError, CallResponse, Channel, Codec, Metadata, MethodInfo,
    MethodRef, RawError, Reconnect, Request, Response, ServiceId, Shape, Status, Streaming,
    message::status::from_box_error,
    stream::body::{BodyStream, StreamBody},
};

/// A call of a method whose name is known only at run time: in a proxy, a gateway, a command-line tool.
///
/// Made by [`Channel::call_raw`], or by [`RawCall::new`] for any other channel. Parameters are any `Serialize`, such as a
/// `serde_json::Value`: a map by name or an array by position. Options are set first; then one of these methods makes the
/// call:
///
/// | method | returns |
/// |---|---|
/// | [`call`](Self::call) | the value, decoded |
/// | [`with_response`](Self::with_response) | the value, decoded, and metadata |
/// | [`call_bytes`](Self::call_bytes) | the value, encoded |
/// | [`items`](Self::items) | a stream of items, decoded |
/// | [`send`](Self::send) | the [`Response`]: value, error or stream, whichever the method returns, and metadata |
///
/// The errors of a method come as [`RawError`], of which code, text and encoded value are known.
///
/// ```
/// use muxado_rpc::{Codec, Peer};
/// use serde_json::{Value, json};
///
/// # #[muxado_rpc::service]
/// # pub trait Calculator { async fn add(&self, a: i64, b: i64) -> i64; }
/// # struct Exact;
/// # impl Calculator for Exact { async fn add(&self, a: i64, b: i64) -> i64 { a + b } }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (near, far) = tokio::io::duplex(1024);
/// # let server = Peer::builder().serve(CalculatorServer::new(Exact)).server(far)?;
/// let peer = Peer::builder().client(near)?;
/// let channel = peer.channel();
/// let sum: Value = channel.call_raw("Calculator", "add").params(&json!({"a": 1, "b": 2})).call().await?;
/// assert_eq!(sum, 3);
///
/// let raw = channel.call_raw("Calculator", "add").codec(Codec::Json).raw_params("[1,2]");
/// assert_eq!(&raw.call_bytes().await?[..], b"3");
/// # Ok(())
/// # }
/// ```
///
/// The method is called by the id of its service, which follows from the name, unless
/// [`service_id`](Self::service_id) sets another.
///
/// # Cancel safety
///
/// Dropping the future of a call cancels it: its stream is reset, and the peer drops the handler.
#[must_use = "a call does nothing until it is sent"]
pub struct RawCall<C = Channel> {
    channel: C,
    method: MethodRef,
    codec: Codec,
    /// `None` until they are set.
    params: Option<Params>,
    input: Option<Body>,
    timeout: Option<Duration>,
    inherits: bool,
    metadata: Metadata,
    /// What was wrong first with what was set.
    failure: Option<Status>,
}

/// The parameters of a call, as a request that has nothing else yet.
type Params = Box<Request>;

impl<C> RawCall<C> {
    /// Begins a call of this method over a channel: a [`MethodInfo`] that is made once for many calls, or one that a
    /// generated service has.
    ///
    /// ```
    /// use muxado_rpc::{MethodInfo, MethodRef, RawCall};
    ///
    /// # async fn example(channel: muxado_rpc::Reconnect) -> Result<(), Box<dyn std::error::Error>> {
    /// let add: MethodRef = MethodInfo::dynamic("Calculator", "add").into();
    /// for a in 0..10 {
    ///     let sum: i64 = RawCall::new(channel.clone(), &add).params(&(a, 1)).call().await?;
    ///     println!("{sum}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(channel: C, method: impl Into<MethodRef>) -> Self {
        Self {
            channel,
            method: method.into(),
            codec: Codec::default(),
            params: None,
            input: None,
            timeout: None,
            inherits: true,
            metadata: Metadata::new(),
            failure: None,
        }
    }

    /// Sets the codec of the call. Default [`Codec::MessagePack`]. To be set before parameters and items.
    pub fn codec(mut self, codec: Codec) -> Self {
        if (self.params.is_some() || self.input.is_some()) && codec != self.codec {
            let problem =
                format!("{}: the codec of a RawCall is set behind its parameters or items", self.method);
            self.fail(Status::invalid_argument(problem));
        }
        self.codec = codec;
        self
    }

    /// Sets the id of the service, for one that declares its own: `#[service(id = 7)]`.
    pub fn service_id(mut self, id: ServiceId) -> Self {
        self.method = MethodInfo::clone(&self.method).with_service_id(id).into();
        self
    }

    /// Says that the call may be executed twice without harm, so that a [`Reconnect`] or a retry layer may try it again
    /// although it may have been executed.
    pub fn idempotent(mut self) -> Self {
        self.method = MethodInfo::clone(&self.method).with_idempotent(true).into();
        self
    }

    /// Sets the parameters: a map by name or an array by position. Without them, a method gets none.
    ///
    /// A value that the codec cannot encode fails the call as `invalid_argument`, not executed.
    pub fn params<P: Serialize + ?Sized>(self, params: &P) -> Self {
        let request = Request::new(&self.method, self.codec, params);
        self.with_params(request)
    }

    /// Sets the parameters, which are encoded already in the codec of the call.
    ///
    /// Bytes that are not one value in that codec fail the call as `invalid_argument`, not executed.
    pub fn raw_params(self, params: impl Into<Bytes>) -> Self {
        let request = Request::from_raw(&self.method, self.codec, params);
        self.with_params(request)
    }

    fn with_params(mut self, request: Result<Request, Status>) -> Self {
        match request {
            Ok(request) => self.params = Some(Box::new(request)),
            Err(status) => self.fail(status),
        }
        self
    }

    /// Sets the items that the method takes.
    pub fn input<T, S>(mut self, items: S) -> Self
    where
        T: Serialize,
        S: Stream<Item = T> + Send + 'static,
    {
        let items = StreamBody::new(&self.method, self.codec, items);
        self.input = Some(BodyStream::local(self.codec, items));
        self
    }

    /// Sets the items that the method takes, as a body: encoded already, or one that was received.
    ///
    /// ```
    /// use futures_util::stream;
    /// use muxado_rpc::{Body, BodyFrame, Channel, Codec};
    ///
    /// # async fn example(channel: Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// let lines = ["1", "2", "3"].map(|line| BodyFrame::Item(line.into()));
    /// let body = Body::from_frames(Codec::Json, stream::iter(lines));
    /// let sum: i64 = channel.call_raw("Adder", "sum").codec(Codec::Json).body(body).call().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn body(mut self, body: Body) -> Self {
        self.input = Some(body);
        self
    }

    /// Sets how long the call may take, to the end of its stream.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets the call, if a handler makes it, take longer than what is left of the call that the handler serves.
    pub fn without_inherited_deadline(mut self) -> Self {
        self.inherits = false;
        self
    }

    /// Adds metadata, which are sent with the call.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name, value);
        self
    }

    fn fail(&mut self, status: Status) {
        if self.failure.is_none() {
            self.failure = Some(status.not_executed());
        }
    }

    /// Returns the request of the call, for who sends it by other means than this call, or many times: see
    /// [`Request::try_clone`].
    ///
    /// ```
    /// use muxado_rpc::{Channel, Response, Status};
    /// use tower::{Service, ServiceExt};
    ///
    /// async fn ask(mut channel: Channel) -> Result<Response, Status> {
    ///     let request = channel.call_raw("Calculator", "add").params(&(1, 2)).into_request()?;
    ///     channel.ready().await?.call(request).await
    /// }
    /// # let _ = ask;
    /// ```
    ///
    /// # Errors
    ///
    /// Returns what is wrong with what was set.
    pub fn into_request(self) -> Result<Request, Status> {
        Ok(self.into_parts()?.1)
    }

    /// Returns the channel, and the request of the call.
    fn into_parts(self) -> Result<(C, Request), Status> {
        let Self { channel, method, codec, params, input, timeout, inherits, metadata, failure } = self;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let mut request = match params {
            Some(request) => *request,
            None => Request::from_raw(&method, codec, codec.empty_map())?,
        };
        request.set_method_ref(method);
        request.set_body(input);
        request.set_timeout(timeout);
        request.set_inherits_deadline(inherits);
        if !metadata.is_empty() {
            *request.metadata_mut() = metadata;
        }
        Ok((channel, request))
    }

    /// States that the method returns a stream.
    fn streaming(mut self) -> Self {
        if !self.method.shape().streams_output() {
            let shape = if self.input.is_some() { Shape::Bidirectional } else { Shape::ServerStreaming };
            self.method = MethodInfo::clone(&self.method).with_shape(shape).into();
        }
        self
    }
}

impl<C> RawCall<C>
where
    C: Service<Request, Response = Response>,
    C::Error: Into<BoxError>,
{
    /// Makes the call. Returns the response as it is: a value, an error of the method or a stream, and metadata.
    ///
    /// If the method returns a stream, the response is there with the first item.
    ///
    /// ```
    /// # async fn example(channel: muxado_rpc::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// let response = channel.call_raw("Files", "stat").params(&("/etc/hosts",)).send().await?;
    /// println!("served by {:?}", response.metadata().get("server"));
    /// let size: u64 = response.into_value()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns why there is no response. The error of the method itself is a response.
    pub async fn send(self) -> Result<Response, Status> {
        let (mut channel, request) = self.into_parts()?;
        let to_status = |error: C::Error| from_box_error(error.into());
        let ready = poll_fn(|cx| channel.poll_ready(cx)).await;
        ready.map_err(|error| to_status(error).not_executed())?;
        channel.call(request).await.map_err(to_status)
    }

    /// Makes the call. Returns the value, decoded.
    ///
    /// # Errors
    ///
    /// Returns the error of the method, or why there is no value of this type.
    pub async fn call<T: DeserializeOwned>(self) -> Result<T, CallError<RawError>> {
        let method = self.method.clone();
        decode(&method, self.send().await?)
    }

    /// Makes the call. Returns the response as a whole: its metadata, and what [`call`](Self::call) would return.
    ///
    /// ```
    /// # async fn example(channel: muxado_rpc::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// let response = channel.call_raw("Store", "get").params(&["key"]).with_response::<u32>().await;
    /// println!("version {:?}", response.metadata().get("version"));
    /// let value = response.into_result()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn with_response<T: DeserializeOwned>(self) -> CallResponse<T, RawError> {
        let method = self.method.clone();
        match self.send().await {
            Ok(mut response) => {
                let metadata = std::mem::take(response.metadata_mut());
                CallResponse::new(decode(&method, response), metadata)
            }
            Err(status) => CallResponse::new(Err(status.into()), Metadata::new()),
        }
    }

    /// Makes the call. Returns the value, encoded in the codec of the call.
    ///
    /// # Errors
    ///
    /// Returns the error of the method, or why there is no value.
    pub async fn call_bytes(self) -> Result<Bytes, CallError<RawError>> {
        self.send().await?.into_bytes()
    }

    /// Makes the call of a method that returns a stream, as soon as the request is sent. Returns the items, decoded.
    ///
    /// ```
    /// # async fn example(channel: muxado_rpc::Channel) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut lines = channel.call_raw("Log", "follow").params(&("app",)).items::<String>().await?;
    /// while let Some(line) = lines.try_next().await? {
    ///     println!("{line}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns why the call could not be made. What the method returns instead of items is the error of the stream.
    pub async fn items<T: DeserializeOwned>(self) -> Result<Streaming<T, RawError>, CallError<RawError>> {
        let call = self.streaming();
        let method = call.method.clone();
        Streaming::of_raw_response(method, call.send().await?)
    }
}

/// Decodes the value of a response.
fn decode<T: DeserializeOwned>(method: &MethodInfo, response: Response) -> Result<T, CallError<RawError>> {
    let codec = response.codec();
    let value = response.into_bytes()?;
    let what = format_args!("the answer of {method}");
    let decoded = codec.decode(&value).map_err(|error| Status::cannot_decode(what, codec, &error));
    Ok(decoded?)
}

macro_rules! call_raw {
    ($($channel:ident)*) => {
        $(
            impl $channel {
                /// Begins a call of a service and a method whose names are known only at run time; see [`RawCall`].
                pub fn call_raw(
                    &self,
                    service: impl Into<Cow<'static, str>>,
                    method: impl Into<Cow<'static, str>>,
                ) -> RawCall<Self> {
                    RawCall::new(self.clone(), MethodInfo::dynamic(service, method))
                }
            }
        )*
    };
}

call_raw!(Channel Reconnect Balanced BoxChannel);

impl<C> fmt::Debug for RawCall<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawCall")
            .field("method", &self.method)
            .field("codec", &self.codec)
            .field("timeout", &self.timeout)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}
