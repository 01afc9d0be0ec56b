/// Talks.
#[deprecated(note = "talk to each other")]
trait Chat: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Says something.
    #[cfg_attr(feature = "old", deprecated)]
    ///
    /// # Parameters
    ///
    /// * `line`: What is said.
    fn say(
        &self,
        cx: &Context,
        line: &Line,
        note: Option<&str>,
        #[cfg(feature = "times")]
        times: u8,
        data: Bytes,
        foreign: Foreign,
    ) -> impl ::core::future::Future<
        Output = Result<u64, Failure>,
    > + ::core::marker::Send;
    #[cfg(unix)]
    fn talk(
        &self,
        lines: Streaming<Line>,
    ) -> impl ::core::future::Future<
        Output = impl Stream<Item = Line> + ::core::marker::Send,
    > + ::core::marker::Send;
}
/// Serves an implementation of [`Chat`]: a `tower::Service` of requests.
///
/// Clones share the implementation.
#[allow(dead_code)]
struct ChatServer<T> {
    service: rpc::__private::Arc<T>,
}
/// Client of [`Chat`]: its methods, called over a channel of type `C`.
///
/// A clone makes its calls over a clone of the channel.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
struct ChatClient<C = rpc::__private::Channel> {
    core: rpc::__private::ClientCore<C>,
}
#[allow(
    unused,
    deprecated,
    non_camel_case_types,
    clippy::all,
    clippy::pedantic,
    clippy::nursery
)]
const _: () = {
    enum __Method {
        say,
        #[cfg(unix)]
        talk,
    }
    const __ID: ::core::primitive::u32 = rpc::__private::ServiceId::from_name("Chat")
        .as_u32();
    static __METHODS: &[rpc::__private::MethodInfo] = &[
        rpc::__private::method_info(
            "Chat",
            __ID,
            "say",
            __Method::say as usize,
            rpc::__private::MethodOptions {
                takes_context: true,
                ..rpc::__private::MethodOptions::DEFAULT
            },
        ),
        #[cfg(unix)]
        rpc::__private::method_info(
            "Chat",
            __ID,
            "talk",
            __Method::talk as usize,
            rpc::__private::MethodOptions {
                shape: rpc::__private::Shape::Bidirectional,
                ..rpc::__private::MethodOptions::DEFAULT
            },
        ),
    ];
    static __SERVICE: rpc::__private::ServiceInfo = rpc::__private::service_info(
            "Chat",
            __ID,
            __METHODS,
        )
        .described_by(__schema);
    #[derive(rpc::__private::serde::Serialize)]
    #[serde(crate = "rpc::__private::serde", expecting = "the parameters of `say`")]
    struct __lent_say<'__lent> {
        /// What is said.
        line: &'__lent Line,
        note: ::core::option::Option<&'__lent str>,
        #[cfg(feature = "times")]
        times: u8,
        #[serde(with = "rpc::shared_bytes")]
        data: Bytes,
        foreign: Foreign,
        #[serde(skip)]
        __lent: ::core::marker::PhantomData<&'__lent ()>,
    }
    #[automatically_derived]
    impl rpc::__private::TakeLarge for __lent_say<'_> {}
    #[derive(rpc::__private::serde::Deserialize)]
    #[serde(crate = "rpc::__private::serde", expecting = "the parameters of `say`")]
    struct __params_say {
        /// What is said.
        line: <Line as rpc::__private::Lend>::Owned,
        note: ::core::option::Option<<str as rpc::__private::Lend>::Owned>,
        #[cfg(feature = "times")]
        times: u8,
        #[serde(with = "rpc::shared_bytes")]
        data: Bytes,
        foreign: Foreign,
    }
    struct __Nothing {}
    #[automatically_derived]
    impl rpc::__private::serde::Serialize for __Nothing {
        fn serialize<__S: rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                0usize,
            )?;
            rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl rpc::__private::TakeLarge for __Nothing {}
    #[derive(rpc::__private::schemars::JsonSchema)]
    #[schemars(crate = "rpc::__private::schemars")]
    struct __schema_say_3 {
        #[serde(with = "rpc::shared_bytes")]
        #[schemars(with = "Bytes")]
        data: Bytes,
    }
    #[derive(rpc::__private::schemars::JsonSchema)]
    #[schemars(crate = "rpc::__private::schemars")]
    struct __schema_say_4 {
        #[schemars(with = "String")]
        foreign: Foreign,
    }
    fn __schema() -> rpc::__private::ServiceSchema {
        let mut service = rpc::__private::SchemaBuilder::new(&__SERVICE, &[r" Talks."]);
        service.note_deprecated("talk to each other");
        {
            let mut method = rpc::__private::MethodBuilder::new(
                &mut service,
                &__METHODS[__Method::say as usize],
                &[r" Says something."],
            );
            #[cfg(feature = "old")] method.note_deprecated("");
            rpc::__private::describe_parameter::<
                Line,
            >(&mut method, "line", &[r" What is said."]);
            rpc::__private::describe_optional::<str>(&mut method, "note", &[]);
            #[cfg(feature = "times")]
            rpc::__private::describe_parameter::<u8>(&mut method, "times", &[]);
            rpc::__private::describe_attributed::<__schema_say_3>(&mut method, &[]);
            rpc::__private::describe_attributed::<__schema_say_4>(&mut method, &[]);
            rpc::__private::describe_output::<u64>(&mut method);
            {
                use rpc::__private::AnyErrorSchema as _;
                <rpc::__private::ErrorSchema<Failure>>::describe(&mut method);
            }
            method.finish();
        }
        #[cfg(unix)]
        {
            let mut method = rpc::__private::MethodBuilder::new(
                &mut service,
                &__METHODS[__Method::talk as usize],
                &[],
            );
            rpc::__private::describe_input::<Line>(&mut method);
            rpc::__private::describe_output::<Line>(&mut method);
            method.finish();
        }
        service.finish()
    }
    impl ChatServer<()> {
        /// Returns the description of the service: its methods, and JSON Schemas of what they take and return.
        fn schema() -> rpc::__private::ServiceSchema {
            __schema()
        }
    }
    impl<T: Chat> ChatServer<T> {
        /// Serves `service`.
        fn new(service: T) -> Self {
            Self {
                service: rpc::__private::Arc::new(service),
            }
        }
        /// Serves `service`, which others may share.
        fn from_arc(service: rpc::__private::Arc<T>) -> Self {
            Self { service }
        }
    }
    #[automatically_derived]
    impl<T: Chat> rpc::__private::Service<rpc::__private::Request> for ChatServer<T> {
        type Response = rpc::__private::Response;
        type Error = rpc::__private::Status;
        type Future = rpc::__private::BoxFuture<
            'static,
            ::core::result::Result<rpc::__private::Response, rpc::__private::Status>,
        >;
        fn poll_ready(
            &mut self,
            _: &mut ::core::task::Context<'_>,
        ) -> ::core::task::Poll<::core::result::Result<(), rpc::__private::Status>> {
            ::core::task::Poll::Ready(::core::result::Result::Ok(()))
        }
        fn call(&mut self, mut request: rpc::__private::Request) -> Self::Future {
            let limit = rpc::__private::time_limit(&mut request);
            let service = ::core::clone::Clone::clone(&self.service);
            let index = if request.method().service_id() == __SERVICE.id() {
                request.method().index()
            } else {
                usize::MAX
            };
            let call: Self::Future = match index {
                index if index == __Method::say as usize => {
                    rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let context = rpc::__private::context(&mut request);
                        let codec = request.codec();
                        let params: __params_say = rpc::__private::decode_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        rpc::__private::with_metadata(
                            &context,
                            {
                                use rpc::__private::{AnyError as _, AnyLarge as _};
                                (<rpc::__private::ErrorProbe<Failure>>::unary::<u64>()
                                    .respond)(
                                    codec,
                                    rpc::__private::result(
                                        <T as Chat>::say(
                                                &*service,
                                                rpc::__private::lend_context(&context),
                                                ::core::borrow::Borrow::<Line>::borrow(&params.line),
                                                params
                                                    .note
                                                    .as_ref()
                                                    .map(::core::borrow::Borrow::<str>::borrow),
                                                #[cfg(feature = "times")]
                                                params.times,
                                                params.data,
                                                params.foreign,
                                            )
                                            .await,
                                    ),
                                    |error| {
                                        use rpc::__private::{
                                            CodeOfAny as _, CodeOfSome as _, DisplayOfAny as _,
                                            DisplayOfSome as _,
                                        };
                                        rpc::__private::Description {
                                            code: (&rpc::__private::Probe::of(error)).code_of(error),
                                            message: (&rpc::__private::Probe::of(error))
                                                .display_of(error),
                                        }
                                    },
                                    <rpc::__private::LargeProbe<u64>>::take,
                                )
                            },
                        )
                    })
                }
                #[cfg(unix)]
                index if index == __Method::talk as usize => {
                    rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let items = rpc::__private::take_items::<Line>(&mut request)?;
                        let codec = request.codec();
                        ::core::mem::drop(request);
                        rpc::__private::serve_items(
                                &__METHODS[__Method::talk as usize],
                                codec,
                                ::core::option::Option::None,
                                move |sink| async move {
                                    sink.send_all::<
                                            _,
                                            Line,
                                        >(
                                            <T as Chat>::talk(
                                                    &*service,
                                                    rpc::__private::give_items::<_, Streaming<Line>>(items),
                                                )
                                                .await,
                                        )
                                        .await
                                },
                            )
                            .await
                    })
                }
                _ => {
                    rpc::__private::Box::pin(
                        ::core::future::ready(
                            ::core::result::Result::Err(
                                rpc::__private::unknown_method(&request),
                            ),
                        ),
                    )
                }
            };
            rpc::__private::hold(limit, call)
        }
    }
    #[automatically_derived]
    impl<T: Chat> rpc::__private::NamedService for ChatServer<T> {
        const INFO: &'static rpc::__private::ServiceInfo = &__SERVICE;
    }
    #[automatically_derived]
    impl<T> ::core::clone::Clone for ChatServer<T> {
        fn clone(&self) -> Self {
            Self {
                service: ::core::clone::Clone::clone(&self.service),
            }
        }
    }
    #[automatically_derived]
    impl<T> ::core::fmt::Debug for ChatServer<T> {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.debug_struct("ChatServer").finish_non_exhaustive()
        }
    }
    impl<C> ChatClient<C>
    where
        C: rpc::__private::Service<
                rpc::__private::Request,
                Response = rpc::__private::Response,
            > + ::core::clone::Clone,
        C::Error: ::core::convert::Into<rpc::__private::BoxError>,
    {
        /// Makes calls over `channel`.
        fn new(channel: C) -> Self {
            Self {
                core: rpc::__private::ClientCore::new(channel),
            }
        }
        /// Sets the codec of the calls; MessagePack unless set.
        #[must_use]
        fn with_codec(self, codec: rpc::__private::Codec) -> Self {
            Self {
                core: self.core.with_codec(codec),
            }
        }
        /// Sets how long each call may take, whatever its method says; unlimited unless set.
        #[must_use]
        fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self {
                core: self.core.with_timeout(timeout),
            }
        }
        /// Sets how long each call may take whose method sets no time limit of its own.
        #[must_use]
        fn with_default_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self {
                core: self.core.with_default_timeout(timeout),
            }
        }
        /// Lets calls made by a handler take longer than what is left of the call that it serves.
        #[must_use]
        fn without_inherited_deadline(self) -> Self {
            Self {
                core: self.core.without_inherited_deadline(),
            }
        }
        /// Sets the metadata sent with each call; none unless set.
        #[must_use]
        fn with_metadata(self, metadata: rpc::__private::Metadata) -> Self {
            Self {
                core: self.core.with_metadata(metadata),
            }
        }
        /// Says something.
        #[cfg_attr(feature = "old", deprecated)]
        ///
        /// # Parameters
        ///
        /// * `line`: What is said.
        fn say(
            &self,
            line: &Line,
            note: Option<&str>,
            #[cfg(feature = "times")]
            times: u8,
            data: Bytes,
            foreign: Foreign,
        ) -> rpc::__private::ClientCall<u64, Failure, C> {
            self.core
                .call(
                    &__METHODS[__Method::say as usize],
                    __lent_say {
                        line,
                        note,
                        #[cfg(feature = "times")]
                        times,
                        data,
                        foreign,
                        __lent: ::core::marker::PhantomData,
                    },
                    ::core::option::Option::None,
                    {
                        use rpc::__private::AnyError as _;
                        <rpc::__private::ErrorProbe<Failure>>::unary::<u64>().decode
                    },
                )
        }
        /// Calls [`Chat::talk`].
        #[cfg(unix)]
        fn talk(
            &self,
            lines: impl rpc::__private::Stream<
                Item = Line,
            > + ::core::marker::Send + 'static,
        ) -> rpc::__private::ClientCall<
            rpc::__private::Streaming<Line>,
            ::core::convert::Infallible,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::talk as usize],
                    __Nothing {},
                    self
                        .core
                        .items::<Line, _>(&__METHODS[__Method::talk as usize], lines),
                    rpc::__private::stream::<Line>(),
                )
        }
    }
    #[automatically_derived]
    impl<C> rpc::__private::GeneratedClient for ChatClient<C> {}
    const _: () = rpc::__private::generated_client::<ChatClient>();
    #[automatically_derived]
    impl<C> ::core::convert::From<C> for ChatClient<C>
    where
        C: rpc::__private::Service<
                rpc::__private::Request,
                Response = rpc::__private::Response,
            > + ::core::clone::Clone,
        C::Error: ::core::convert::Into<rpc::__private::BoxError>,
    {
        fn from(channel: C) -> Self {
            Self {
                core: rpc::__private::ClientCore::new(channel),
            }
        }
    }
};
