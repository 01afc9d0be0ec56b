trait Store: ::core::marker::Send + ::core::marker::Sync + 'static {
    ///
    /// # Parameters
    ///
    /// * `key`: Where it is kept.
    /// * `value`: What is kept: any bytes,
    ///   empty ones included.
    fn put(
        &self,
        key: &str,
        value: &[u8],
        tags: &[String],
        note: Option<&Note>,
    ) -> impl ::core::future::Future<Output = u64> + ::core::marker::Send;
    /// Finds.
    #[cfg_attr(feature = "fast", cfg(unix))]
    fn find(
        &self,
        prefix: &str,
        limit: u32,
    ) -> impl ::core::future::Future<
        Output = Result<
            impl Stream<Item = Result<Note, Lost>> + ::core::marker::Send,
            Lost,
        >,
    > + ::core::marker::Send;
    fn scan(
        &self,
        cx: &Context,
        prefix: &str,
    ) -> impl ::core::future::Future<
        Output = Result<impl Stream<Item = u8> + ::core::marker::Send, Lost>,
    > + ::core::marker::Send;
    #[allow(async_fn_in_trait)]
    async fn lines<'async_trait>(
        &self,
    ) -> Pin<Box<dyn Future<Output = u8> + 'async_trait>>
    where
        Self: ::core::marker::Sized;
}
/// Serves an implementation of [`Store`]: a `tower::Service` of requests.
///
/// Clones share the implementation.
#[allow(dead_code)]
struct StoreService<T> {
    service: ::muxado_rpc::__private::Arc<T>,
}
/// Client of [`Store`]: its methods, called over a channel of type `C`.
///
/// A clone makes its calls over a clone of the channel.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
struct StoreCalls<C = ::muxado_rpc::__private::Channel> {
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
        put,
        #[cfg(any(not(feature = "fast"), unix))]
        find,
        scan,
    }
    const __ID: ::core::primitive::u32 = ::muxado_rpc::__private::ServiceId::from_name(
            "Store",
        )
        .as_u32();
    static __METHODS: &[::muxado_rpc::__private::MethodInfo] = &[
        ::muxado_rpc::__private::method_info(
            "Store",
            __ID,
            "put",
            __Method::put as usize,
            ::muxado_rpc::__private::MethodOptions::DEFAULT,
        ),
        #[cfg(any(not(feature = "fast"), unix))]
        #[cfg(feature = "fast")]
        ::muxado_rpc::__private::method_info(
            "Store",
            __ID,
            "find",
            __Method::find as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::ServerStreaming,
                idempotent: true,
                timeout: ::core::option::Option::Some(
                    ::core::time::Duration::from_millis(5u64),
                ),
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
        #[cfg(any(not(feature = "fast"), unix))]
        #[cfg(not(any(feature = "fast")))]
        ::muxado_rpc::__private::method_info(
            "Store",
            __ID,
            "find",
            __Method::find as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::ServerStreaming,
                idempotent: true,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
        ::muxado_rpc::__private::method_info(
            "Store",
            __ID,
            "scan",
            __Method::scan as usize,
            ::muxado_rpc::__private::MethodOptions {
                shape: ::muxado_rpc::__private::Shape::ServerStreaming,
                takes_context: true,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
    ];
    static __SERVICE: ::muxado_rpc::__private::ServiceInfo = ::muxado_rpc::__private::service_info(
        "Store",
        __ID,
        __METHODS,
    );
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `put`"
    )]
    struct __params_put<__P0, __P1, __P2, __P3> {
        /// Where it is kept.
        key: __P0,
        /// What is kept: any bytes,
        /// empty ones included.
        value: __P1,
        tags: __P2,
        note: __P3,
    }
    #[automatically_derived]
    impl<'__lent> ::muxado_rpc::__private::serde::Serialize
    for __params_put<
        &'__lent str,
        &'__lent [u8],
        &'__lent [String],
        ::core::option::Option<&'__lent Note>,
    > {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                4usize,
            )?;
            ::muxado_rpc::__private::lent_field::<
                _,
                str,
            >(&mut serializer, "key", self.key)?;
            ::muxado_rpc::__private::bytes_field(&mut serializer, "value", self.value)?;
            ::muxado_rpc::__private::lent_field::<
                _,
                [String],
            >(&mut serializer, "tags", self.tags)?;
            ::muxado_rpc::__private::lent_some_field::<
                _,
                Note,
            >(&mut serializer, "note", self.note)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl<'__lent> ::muxado_rpc::__private::TakeLarge
    for __params_put<
        &'__lent str,
        &'__lent [u8],
        &'__lent [String],
        ::core::option::Option<&'__lent Note>,
    > {}
    #[cfg(any(not(feature = "fast"), unix))]
    #[derive(::muxado_rpc::__private::serde::Serialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `find`"
    )]
    struct __lent_find<'__lent> {
        #[cfg_attr(feature = "old", serde(default))]
        prefix: &'__lent str,
        limit: u32,
        #[serde(skip)]
        __lent: ::core::marker::PhantomData<&'__lent ()>,
    }
    #[cfg(any(not(feature = "fast"), unix))]
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __lent_find<'_> {}
    #[cfg(any(not(feature = "fast"), unix))]
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `find`"
    )]
    struct __params_find {
        #[cfg_attr(feature = "old", serde(default))]
        prefix: <str as ::muxado_rpc::__private::Lend>::Owned,
        limit: u32,
    }
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `scan`"
    )]
    struct __params_scan<__P0> {
        prefix: __P0,
    }
    #[automatically_derived]
    impl<'__lent> ::muxado_rpc::__private::serde::Serialize
    for __params_scan<&'__lent str> {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                1usize,
            )?;
            ::muxado_rpc::__private::lent_field::<
                _,
                str,
            >(&mut serializer, "prefix", self.prefix)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl<'__lent> ::muxado_rpc::__private::TakeLarge for __params_scan<&'__lent str> {}
    impl<T: Store> StoreService<T> {
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
    impl<T: Store> ::muxado_rpc::__private::Service<::muxado_rpc::__private::Request>
    for StoreService<T> {
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
                index if index == __Method::put as usize => {
                    let request = ::muxado_rpc::__private::handler_params(request);
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let codec = request.codec();
                        ::muxado_rpc::__private::release(&mut request);
                        let params: __params_put<
                            <str as ::muxado_rpc::__private::Lend>::Held<'_>,
                            ::muxado_rpc::__private::HeldBytes<'_>,
                            <[String] as ::muxado_rpc::__private::Lend>::Held<'_>,
                            ::core::option::Option<
                                <Note as ::muxado_rpc::__private::Lend>::Held<'_>,
                            >,
                        > = ::muxado_rpc::__private::decode_in_place(
                            &__METHODS[__Method::put as usize],
                            codec,
                            ::muxado_rpc::__private::lend_params(&request),
                        )?;
                        {
                            use ::muxado_rpc::__private::AnyLarge as _;
                            (::muxado_rpc::__private::value::<u64>()
                                .respond)(
                                codec,
                                &mut <T as Store>::put(
                                        &*service,
                                        <str as ::muxado_rpc::__private::Lend>::lend(&params.key),
                                        ::muxado_rpc::__private::HeldBytes::lend(&params.value),
                                        <[String] as ::muxado_rpc::__private::Lend>::lend(
                                            &params.tags,
                                        ),
                                        ::muxado_rpc::__private::lend_some::<Note>(&params.note),
                                    )
                                    .await,
                                <::muxado_rpc::__private::LargeProbe<u64>>::take,
                            )
                        }
                    })
                }
                #[cfg(any(not(feature = "fast"), unix))]
                index if index == __Method::find as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let codec = request.codec();
                        let params: __params_find = ::muxado_rpc::__private::decode_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        ::muxado_rpc::__private::serve_items(
                                &__METHODS[__Method::find as usize],
                                codec,
                                ::core::option::Option::None,
                                move |sink| async move {
                                    use ::muxado_rpc::__private::AnyError as _;
                                    match ::muxado_rpc::__private::result(
                                        <T as Store>::find(
                                                &*service,
                                                ::core::borrow::Borrow::<str>::borrow(&params.prefix),
                                                params.limit,
                                            )
                                            .await,
                                    ) {
                                        ::core::result::Result::Ok(stream) => {
                                            <::muxado_rpc::__private::ErrorProbe<
                                                Lost,
                                            >>::send::<
                                                _,
                                                Note,
                                            >(
                                                    sink,
                                                    stream,
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
                                        }
                                        ::core::result::Result::Err(error) => {
                                            let fail = <::muxado_rpc::__private::ErrorProbe<
                                                Lost,
                                            >>::streams::<Note>()
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
                index if index == __Method::scan as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let context = ::muxado_rpc::__private::context(&mut request);
                        let codec = request.codec();
                        let payload = ::muxado_rpc::__private::into_params(request);
                        ::muxado_rpc::__private::serve_items(
                                &__METHODS[__Method::scan as usize],
                                codec,
                                ::core::option::Option::Some(
                                    ::core::clone::Clone::clone(&context),
                                ),
                                move |sink| async move {
                                    use ::muxado_rpc::__private::AnyError as _;
                                    let params: __params_scan<
                                        <str as ::muxado_rpc::__private::Lend>::Held<'_>,
                                    > = ::muxado_rpc::__private::decode_in_place(
                                        &__METHODS[__Method::scan as usize],
                                        codec,
                                        &payload,
                                    )?;
                                    match ::muxado_rpc::__private::result(
                                        <T as Store>::scan(
                                                &*service,
                                                ::muxado_rpc::__private::lend_context(&context),
                                                <str as ::muxado_rpc::__private::Lend>::lend(&params.prefix),
                                            )
                                            .await,
                                    ) {
                                        ::core::result::Result::Ok(stream) => {
                                            sink.send_all::<_, u8>(stream).await
                                        }
                                        ::core::result::Result::Err(error) => {
                                            let fail = <::muxado_rpc::__private::ErrorProbe<
                                                Lost,
                                            >>::streams::<u8>()
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
    impl<T: Store> ::muxado_rpc::__private::NamedService for StoreService<T> {
        const INFO: &'static ::muxado_rpc::__private::ServiceInfo = &__SERVICE;
    }
    #[automatically_derived]
    impl<T> ::core::clone::Clone for StoreService<T> {
        fn clone(&self) -> Self {
            Self {
                service: ::core::clone::Clone::clone(&self.service),
            }
        }
    }
    #[automatically_derived]
    impl<T> ::core::fmt::Debug for StoreService<T> {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.debug_struct("StoreService").finish_non_exhaustive()
        }
    }
    impl<C> StoreCalls<C>
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
        /// Calls [`Store::put`].
        ///
        /// # Parameters
        ///
        /// * `key`: Where it is kept.
        /// * `value`: What is kept: any bytes,
        ///   empty ones included.
        fn put(
            &self,
            key: &str,
            value: &[u8],
            tags: &[String],
            note: Option<&Note>,
        ) -> ::muxado_rpc::__private::ClientCall<u64, ::core::convert::Infallible, C> {
            self.core
                .call(
                    &__METHODS[__Method::put as usize],
                    __params_put {
                        key,
                        value,
                        tags,
                        note,
                    },
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyAnswer as _;
                        <::muxado_rpc::__private::AnswerProbe<u64>>::check();
                        ::muxado_rpc::__private::value::<u64>().decode
                    },
                )
        }
        /// Finds.
        #[cfg_attr(feature = "fast", cfg(unix))]
        fn find(
            &self,
            prefix: &str,
            limit: u32,
        ) -> ::muxado_rpc::__private::ClientCall<
            ::muxado_rpc::__private::Streaming<Note, Lost>,
            Lost,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::find as usize],
                    __lent_find {
                        prefix,
                        limit,
                        __lent: ::core::marker::PhantomData,
                    },
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyError as _;
                        ::muxado_rpc::__private::same_error::<Lost, Lost>();
                        <::muxado_rpc::__private::ErrorProbe<Lost>>::streams::<Note>()
                            .decode
                    },
                )
        }
        /// Calls [`Store::scan`].
        fn scan(
            &self,
            prefix: &str,
        ) -> ::muxado_rpc::__private::ClientCall<
            ::muxado_rpc::__private::Streaming<u8, Lost>,
            Lost,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::scan as usize],
                    __params_scan { prefix },
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyError as _;
                        <::muxado_rpc::__private::ErrorProbe<Lost>>::streams::<u8>()
                            .decode
                    },
                )
        }
    }
    #[automatically_derived]
    impl<C> ::muxado_rpc::__private::GeneratedClient for StoreCalls<C> {}
    const _: () = ::muxado_rpc::__private::generated_client::<StoreCalls>();
    #[automatically_derived]
    impl<C> ::core::convert::From<C> for StoreCalls<C>
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
::core::compile_error! {
    "a service has no `#[async_trait]`, neither on the trait nor on its implementations: their methods are plain `async fn`s"
}
