trait Feed: ::core::marker::Send + ::core::marker::Sync + 'static {
    fn primes(
        &self,
        below: u64,
    ) -> impl ::core::future::Future<
        Output = impl Stream<Item = u64> + ::core::marker::Send,
    > + ::core::marker::Send;
    fn lines(
        &self,
        path: String,
    ) -> impl ::core::future::Future<
        Output = Result<impl Stream<Item = String> + ::core::marker::Send, NotFound>,
    > + ::core::marker::Send;
    fn sum(
        &self,
        cx: &Context,
        start: u64,
        numbers: Streaming<u64>,
    ) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    fn chat(
        &self,
        said: muxado_rpc::Streaming<Said>,
    ) -> impl ::core::future::Future<
        Output = impl Stream<Item = Result<Said, Left>> + ::core::marker::Send,
    > + ::core::marker::Send;
}
/// Serves an implementation of [`Feed`]: a `tower::Service` of requests.
///
/// Clones share the implementation.
#[allow(dead_code)]
struct FeedServer<T> {
    service: ::muxado_rpc::__private::Arc<T>,
}
/// Client of [`Feed`]: its methods, called over a channel of type `C`.
///
/// A clone makes its calls over a clone of the channel.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
struct FeedClient<C = ::muxado_rpc::__private::Channel> {
    core: ::muxado_rpc::__private::ClientCore<C>,
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
        primes,
        lines,
        sum,
        chat,
    }
    const __ID: ::core::primitive::u32 = ::muxado_rpc::__private::ServiceId::from_name(
            "Feed",
        )
        .as_u32();
    static __METHODS: &[::muxado_rpc::__private::MethodInfo] = &[
        ::muxado_rpc::__private::method_info(
            "Feed",
            __ID,
            "primes",
            __Method::primes as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::ServerStreaming,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
        ::muxado_rpc::__private::method_info(
            "Feed",
            __ID,
            "lines",
            __Method::lines as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::ServerStreaming,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
        ::muxado_rpc::__private::method_info(
            "Feed",
            __ID,
            "sum",
            __Method::sum as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::ClientStreaming,
                takes_context: true,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
        ::muxado_rpc::__private::method_info(
            "Feed",
            __ID,
            "chat",
            __Method::chat as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::Bidirectional,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
    ];
    static __SERVICE: ::muxado_rpc::__private::ServiceInfo = ::muxado_rpc::__private::service_info(
        "Feed",
        __ID,
        __METHODS,
    );
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `primes`"
    )]
    struct __params_primes<__P0> {
        below: __P0,
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::serde::Serialize for __params_primes<u64> {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                1usize,
            )?;
            ::muxado_rpc::__private::field::<
                _,
                u64,
            >(&mut serializer, "below", &self.below)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __params_primes<u64> {
        fn take_large(
            &mut self,
        ) -> ::core::option::Option<::muxado_rpc::__private::LargeString> {
            use ::muxado_rpc::__private::AnyLarge as _;
            <::muxado_rpc::__private::LargeProbe<u64>>::take(&mut self.below)
        }
    }
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `lines`"
    )]
    struct __params_lines<__P0> {
        path: __P0,
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::serde::Serialize for __params_lines<String> {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                1usize,
            )?;
            ::muxado_rpc::__private::field::<
                _,
                String,
            >(&mut serializer, "path", &self.path)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __params_lines<String> {
        fn take_large(
            &mut self,
        ) -> ::core::option::Option<::muxado_rpc::__private::LargeString> {
            use ::muxado_rpc::__private::AnyLarge as _;
            <::muxado_rpc::__private::LargeProbe<String>>::take(&mut self.path)
        }
    }
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `sum`"
    )]
    struct __params_sum<__P0> {
        start: __P0,
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::serde::Serialize for __params_sum<u64> {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                1usize,
            )?;
            ::muxado_rpc::__private::field::<
                _,
                u64,
            >(&mut serializer, "start", &self.start)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __params_sum<u64> {
        fn take_large(
            &mut self,
        ) -> ::core::option::Option<::muxado_rpc::__private::LargeString> {
            use ::muxado_rpc::__private::AnyLarge as _;
            <::muxado_rpc::__private::LargeProbe<u64>>::take(&mut self.start)
        }
    }
    struct __Nothing {}
    #[automatically_derived]
    impl ::muxado_rpc::__private::serde::Serialize for __Nothing {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                0usize,
            )?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __Nothing {}
    impl<T: Feed> FeedServer<T> {
        /// Serves `service`.
        fn new(service: T) -> Self {
            Self {
                service: ::muxado_rpc::__private::Arc::new(service),
            }
        }
        /// Serves `service`, which others may share.
        fn from_arc(service: ::muxado_rpc::__private::Arc<T>) -> Self {
            Self { service }
        }
    }
    #[automatically_derived]
    impl<T: Feed> ::muxado_rpc::__private::Service<::muxado_rpc::__private::Request>
    for FeedServer<T> {
        type Response = ::muxado_rpc::__private::Response;
        type Error = ::muxado_rpc::__private::Status;
        type Future = ::muxado_rpc::__private::BoxFuture<
            'static,
            ::core::result::Result<
                ::muxado_rpc::__private::Response,
                ::muxado_rpc::__private::Status,
            >,
        >;
        fn poll_ready(
            &mut self,
            _: &mut ::core::task::Context<'_>,
        ) -> ::core::task::Poll<
            ::core::result::Result<(), ::muxado_rpc::__private::Status>,
        > {
            ::core::task::Poll::Ready(::core::result::Result::Ok(()))
        }
        fn call(
            &mut self,
            mut request: ::muxado_rpc::__private::Request,
        ) -> Self::Future {
            let limit = ::muxado_rpc::__private::time_limit(&mut request);
            let service = ::core::clone::Clone::clone(&self.service);
            let index = if request.method().service_id() == __SERVICE.id() {
                request.method().index()
            } else {
                usize::MAX
            };
            let call: Self::Future = match index {
                index if index == __Method::primes as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let codec = request.codec();
                        let params: __params_primes<u64> = ::muxado_rpc::__private::decode_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        ::muxado_rpc::__private::serve_items(
                                &__METHODS[__Method::primes as usize],
                                codec,
                                ::core::option::Option::None,
                                move |sink| async move {
                                    sink.send_all::<
                                            _,
                                            u64,
                                        >(<T as Feed>::primes(&*service, params.below).await)
                                        .await
                                },
                            )
                            .await
                    })
                }
                index if index == __Method::lines as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let codec = request.codec();
                        let params: __params_lines<String> = ::muxado_rpc::__private::decode_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        ::muxado_rpc::__private::serve_items(
                                &__METHODS[__Method::lines as usize],
                                codec,
                                ::core::option::Option::None,
                                move |sink| async move {
                                    use ::muxado_rpc::__private::AnyError as _;
                                    match ::muxado_rpc::__private::result(
                                        <T as Feed>::lines(&*service, params.path).await,
                                    ) {
                                        ::core::result::Result::Ok(stream) => {
                                            sink.send_all::<_, String>(stream).await
                                        }
                                        ::core::result::Result::Err(error) => {
                                            let fail = <::muxado_rpc::__private::ErrorProbe<
                                                NotFound,
                                            >>::streams::<String>()
                                                .fail;
                                            ::core::result::Result::Err(
                                                fail(
                                                    codec,
                                                    error,
                                                    |error| {
                                                        use ::muxado_rpc::__private::{
                                                            CodeOfAny as _, CodeOfSome as _, DisplayOfAny as _,
                                                            DisplayOfSome as _,
                                                        };
                                                        ::muxado_rpc::__private::Description {
                                                            code: (&::muxado_rpc::__private::Probe::of(error))
                                                                .code_of(error),
                                                            message: (&::muxado_rpc::__private::Probe::of(error))
                                                                .display_of(error),
                                                        }
                                                    },
                                                ),
                                            )
                                        }
                                    }
                                },
                            )
                            .await
                    })
                }
                index if index == __Method::sum as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let context = ::muxado_rpc::__private::context(&mut request);
                        let items = ::muxado_rpc::__private::take_items::<
                            u64,
                        >(&mut request)?;
                        let codec = request.codec();
                        let params: __params_sum<u64> = ::muxado_rpc::__private::decode_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        ::muxado_rpc::__private::with_metadata(
                            &context,
                            {
                                use ::muxado_rpc::__private::AnyLarge as _;
                                (::muxado_rpc::__private::value::<u64>()
                                    .respond)(
                                    codec,
                                    &mut <T as Feed>::sum(
                                            &*service,
                                            ::muxado_rpc::__private::lend_context(&context),
                                            params.start,
                                            ::muxado_rpc::__private::give_items::<
                                                _,
                                                Streaming<u64>,
                                            >(items),
                                        )
                                        .await,
                                    <::muxado_rpc::__private::LargeProbe<u64>>::take,
                                )
                            },
                        )
                    })
                }
                index if index == __Method::chat as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let items = ::muxado_rpc::__private::take_items::<
                            Said,
                        >(&mut request)?;
                        let codec = request.codec();
                        ::core::mem::drop(request);
                        ::muxado_rpc::__private::serve_items(
                                &__METHODS[__Method::chat as usize],
                                codec,
                                ::core::option::Option::None,
                                move |sink| async move {
                                    use ::muxado_rpc::__private::AnyError as _;
                                    <::muxado_rpc::__private::ErrorProbe<
                                        Left,
                                    >>::send::<
                                        _,
                                        Said,
                                    >(
                                            sink,
                                            <T as Feed>::chat(
                                                    &*service,
                                                    ::muxado_rpc::__private::give_items::<
                                                        _,
                                                        muxado_rpc::Streaming<Said>,
                                                    >(items),
                                                )
                                                .await,
                                            |error| {
                                                use ::muxado_rpc::__private::{
                                                    CodeOfAny as _, CodeOfSome as _, DisplayOfAny as _,
                                                    DisplayOfSome as _,
                                                };
                                                ::muxado_rpc::__private::Description {
                                                    code: (&::muxado_rpc::__private::Probe::of(error))
                                                        .code_of(error),
                                                    message: (&::muxado_rpc::__private::Probe::of(error))
                                                        .display_of(error),
                                                }
                                            },
                                        )
                                        .await
                                },
                            )
                            .await
                    })
                }
                _ => {
                    ::muxado_rpc::__private::Box::pin(
                        ::core::future::ready(
                            ::core::result::Result::Err(
                                ::muxado_rpc::__private::unknown_method(&request),
                            ),
                        ),
                    )
                }
            };
            ::muxado_rpc::__private::hold(limit, call)
        }
    }
    #[automatically_derived]
    impl<T: Feed> ::muxado_rpc::__private::NamedService for FeedServer<T> {
        const INFO: &'static ::muxado_rpc::__private::ServiceInfo = &__SERVICE;
    }
    #[automatically_derived]
    impl<T> ::core::clone::Clone for FeedServer<T> {
        fn clone(&self) -> Self {
            Self {
                service: ::core::clone::Clone::clone(&self.service),
            }
        }
    }
    #[automatically_derived]
    impl<T> ::core::fmt::Debug for FeedServer<T> {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.debug_struct("FeedServer").finish_non_exhaustive()
        }
    }
    impl<C> FeedClient<C>
    where
        C: ::muxado_rpc::__private::Service<
                ::muxado_rpc::__private::Request,
                Response = ::muxado_rpc::__private::Response,
            > + ::core::clone::Clone,
        C::Error: ::core::convert::Into<::muxado_rpc::__private::BoxError>,
    {
        /// Makes calls over `channel`.
        fn new(channel: C) -> Self {
            Self {
                core: ::muxado_rpc::__private::ClientCore::new(channel),
            }
        }
        /// Sets the codec of the calls; MessagePack unless set.
        #[must_use]
        fn with_codec(self, codec: ::muxado_rpc::__private::Codec) -> Self {
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
        fn with_metadata(self, metadata: ::muxado_rpc::__private::Metadata) -> Self {
            Self {
                core: self.core.with_metadata(metadata),
            }
        }
        /// Calls [`Feed::primes`].
        fn primes(
            &self,
            below: u64,
        ) -> ::muxado_rpc::__private::ClientCall<
            ::muxado_rpc::__private::Streaming<u64>,
            ::core::convert::Infallible,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::primes as usize],
                    __params_primes { below },
                    ::core::option::Option::None,
                    ::muxado_rpc::__private::stream::<u64>(),
                )
        }
        /// Calls [`Feed::lines`].
        fn lines(
            &self,
            path: String,
        ) -> ::muxado_rpc::__private::ClientCall<
            ::muxado_rpc::__private::Streaming<String, NotFound>,
            NotFound,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::lines as usize],
                    __params_lines { path },
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyError as _;
                        <::muxado_rpc::__private::ErrorProbe<
                            NotFound,
                        >>::streams::<String>()
                            .decode
                    },
                )
        }
        /// Calls [`Feed::sum`].
        fn sum(
            &self,
            start: u64,
            numbers: impl ::muxado_rpc::__private::Stream<
                Item = u64,
            > + ::core::marker::Send + 'static,
        ) -> ::muxado_rpc::__private::ClientCall<u64, ::core::convert::Infallible, C> {
            self.core
                .call(
                    &__METHODS[__Method::sum as usize],
                    __params_sum { start },
                    self
                        .core
                        .items::<u64, _>(&__METHODS[__Method::sum as usize], numbers),
                    {
                        use ::muxado_rpc::__private::AnyAnswer as _;
                        <::muxado_rpc::__private::AnswerProbe<u64>>::check();
                        ::muxado_rpc::__private::value::<u64>().decode
                    },
                )
        }
        /// Calls [`Feed::chat`].
        fn chat(
            &self,
            said: impl ::muxado_rpc::__private::Stream<
                Item = Said,
            > + ::core::marker::Send + 'static,
        ) -> ::muxado_rpc::__private::ClientCall<
            ::muxado_rpc::__private::Streaming<Said, Left>,
            Left,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::chat as usize],
                    __Nothing {},
                    self
                        .core
                        .items::<Said, _>(&__METHODS[__Method::chat as usize], said),
                    {
                        use ::muxado_rpc::__private::AnyError as _;
                        <::muxado_rpc::__private::ErrorProbe<Left>>::streams::<Said>()
                            .decode
                    },
                )
        }
    }
    #[automatically_derived]
    impl<C> ::muxado_rpc::__private::GeneratedClient for FeedClient<C> {}
    const _: () = ::muxado_rpc::__private::generated_client::<FeedClient>();
    #[automatically_derived]
    impl<C> ::core::convert::From<C> for FeedClient<C>
    where
        C: ::muxado_rpc::__private::Service<
                ::muxado_rpc::__private::Request,
                Response = ::muxado_rpc::__private::Response,
            > + ::core::clone::Clone,
        C::Error: ::core::convert::Into<::muxado_rpc::__private::BoxError>,
    {
        fn from(channel: C) -> Self {
            Self {
                core: ::muxado_rpc::__private::ClientCore::new(channel),
            }
        }
    }
};
