#[cfg(feature = "store")]
#[deprecated]
pub(crate) trait Store: Debug + ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Stays out where `write` is off.
    #[cfg(feature = "write")]
    #[expect(clippy::too_many_arguments)]
    fn write(
        &self,
        path: PathBuf,
        #[cfg(unix)]
        mode: u32,
    ) -> impl ::core::future::Future<Output = io::Result<()>> + ::core::marker::Send;
    fn r#type(
        &self,
        r#in: T,
        cx: &Context,
    ) -> impl ::core::future::Future<
        Output = Result<C, Failure>,
    > + ::core::marker::Send {
        async move { self.look_up(r#in, cx) }
    }
    #[must_use]
    fn new(&self) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
    fn with_codec(
        &self,
    ) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
}
#[cfg(feature = "store")]
/// Serves an implementation of [`Store`]: a `tower::Service` of requests.
///
/// Clones share the implementation.
#[allow(dead_code)]
pub(crate) struct StoreServer<TT> {
    service: crate::rpc::__private::Arc<TT>,
}
#[cfg(feature = "store")]
/// Client of [`Store`]: its methods, called over a channel of type `CC`.
///
/// A clone makes its calls over a clone of the channel.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
pub(crate) struct StoreClient<CC = crate::rpc::__private::Channel> {
    core: crate::rpc::__private::ClientCore<CC>,
}
#[cfg(feature = "store")]
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
        #[cfg(feature = "write")]
        write,
        r#type,
        new,
        with_codec,
    }
    const __ID: ::core::primitive::u32 = 16u32;
    static __METHODS: &[crate::rpc::__private::MethodInfo] = &[
        #[cfg(feature = "write")]
        crate::rpc::__private::method_info(
            "files.Store",
            __ID,
            "put",
            __Method::write as usize,
            crate::rpc::__private::MethodOptions::DEFAULT,
        ),
        crate::rpc::__private::method_info(
            "files.Store",
            __ID,
            "type",
            __Method::r#type as usize,
            crate::rpc::__private::MethodOptions {
                takes_context: true,
                ..crate::rpc::__private::MethodOptions::DEFAULT
            },
        ),
        crate::rpc::__private::method_info(
            "files.Store",
            __ID,
            "new",
            __Method::new as usize,
            crate::rpc::__private::MethodOptions::DEFAULT,
        ),
        crate::rpc::__private::method_info(
            "files.Store",
            __ID,
            "with_codec",
            __Method::with_codec as usize,
            crate::rpc::__private::MethodOptions::DEFAULT,
        ),
    ];
    static __SERVICE: crate::rpc::__private::ServiceInfo = crate::rpc::__private::service_info(
        "files.Store",
        __ID,
        __METHODS,
    );
    #[cfg(feature = "write")]
    #[derive(
        crate::rpc::__private::serde::Serialize,
        crate::rpc::__private::serde::Deserialize
    )]
    #[serde(
        crate = "crate::rpc::__private::serde",
        expecting = "the parameters of `put`"
    )]
    struct __params_write {
        #[serde(default)]
        path: PathBuf,
        #[cfg(unix)]
        mode: u32,
    }
    #[cfg(feature = "write")]
    #[automatically_derived]
    impl crate::rpc::__private::TakeLarge for __params_write {}
    #[derive(crate::rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "crate::rpc::__private::serde",
        expecting = "the parameters of `type`"
    )]
    struct __params_type<__P0> {
        r#in: __P0,
    }
    #[automatically_derived]
    impl crate::rpc::__private::serde::Serialize for __params_type<T> {
        fn serialize<__S: crate::rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = crate::rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                1usize,
            )?;
            crate::rpc::__private::field::<_, T>(&mut serializer, "in", &self.r#in)?;
            crate::rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl crate::rpc::__private::TakeLarge for __params_type<T> {
        fn take_large(
            &mut self,
        ) -> ::core::option::Option<crate::rpc::__private::LargeString> {
            use crate::rpc::__private::AnyLarge as _;
            <crate::rpc::__private::LargeProbe<T>>::take(&mut self.r#in)
        }
    }
    struct __Nothing {}
    #[automatically_derived]
    impl crate::rpc::__private::serde::Serialize for __Nothing {
        fn serialize<__S: crate::rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = crate::rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                0usize,
            )?;
            crate::rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl crate::rpc::__private::TakeLarge for __Nothing {}
    impl<TT: Store> StoreServer<TT> {
        /// Serves `service`.
        pub(crate) fn new(service: TT) -> Self {
            Self {
                service: crate::rpc::__private::Arc::new(service),
            }
        }
        /// Serves `service`, which others may share.
        pub(crate) fn from_arc(service: crate::rpc::__private::Arc<TT>) -> Self {
            Self { service }
        }
    }
    #[automatically_derived]
    impl<TT: Store> crate::rpc::__private::Service<crate::rpc::__private::Request>
    for StoreServer<TT> {
        type Response = crate::rpc::__private::Response;
        type Error = crate::rpc::__private::Status;
        type Future = crate::rpc::__private::BoxFuture<
            'static,
            ::core::result::Result<
                crate::rpc::__private::Response,
                crate::rpc::__private::Status,
            >,
        >;
        fn poll_ready(
            &mut self,
            _: &mut ::core::task::Context<'_>,
        ) -> ::core::task::Poll<
            ::core::result::Result<(), crate::rpc::__private::Status>,
        > {
            ::core::task::Poll::Ready(::core::result::Result::Ok(()))
        }
        fn call(&mut self, mut request: crate::rpc::__private::Request) -> Self::Future {
            let limit = crate::rpc::__private::time_limit(&mut request);
            let service = ::core::clone::Clone::clone(&self.service);
            let index = if request.method().service_id() == __SERVICE.id() {
                request.method().index()
            } else {
                usize::MAX
            };
            let call: Self::Future = match index {
                #[cfg(feature = "write")]
                index if index == __Method::write as usize => {
                    let request = crate::rpc::__private::handler_params(request);
                    crate::rpc::__private::Box::pin(async move {
                        let codec = request.codec();
                        let params: __params_write = crate::rpc::__private::decode_handler_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        {
                            use crate::rpc::__private::{AnyError as _, AnyLarge as _};
                            (<crate::rpc::__private::ErrorProbe<
                                <io::Result<()> as crate::rpc::__private::IsResult>::Err,
                            >>::unary::<
                                <io::Result<()> as crate::rpc::__private::IsResult>::Ok,
                            >()
                                .respond)(
                                codec,
                                crate::rpc::__private::result(
                                    <TT as Store>::write(
                                            &*service,
                                            params.path,
                                            #[cfg(unix)]
                                            params.mode,
                                        )
                                        .await,
                                ),
                                |error| {
                                    use crate::rpc::__private::{
                                        CodeOfAny as _, CodeOfSome as _, DisplayOfAny as _,
                                        DisplayOfSome as _,
                                    };
                                    crate::rpc::__private::Description {
                                        code: (&crate::rpc::__private::Probe::of(error))
                                            .code_of(error),
                                        message: (&crate::rpc::__private::Probe::of(error))
                                            .display_of(error),
                                    }
                                },
                                <crate::rpc::__private::LargeProbe<
                                    <io::Result<()> as crate::rpc::__private::IsResult>::Ok,
                                >>::take,
                            )
                        }
                    })
                }
                index if index == __Method::r#type as usize => {
                    crate::rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let context = crate::rpc::__private::context(&mut request);
                        let codec = request.codec();
                        let params: __params_type<T> = crate::rpc::__private::decode_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        crate::rpc::__private::with_metadata(
                            &context,
                            {
                                use crate::rpc::__private::{AnyError as _, AnyLarge as _};
                                (<crate::rpc::__private::ErrorProbe<Failure>>::unary::<C>()
                                    .respond)(
                                    codec,
                                    crate::rpc::__private::result(
                                        <TT as Store>::r#type(
                                                &*service,
                                                params.r#in,
                                                crate::rpc::__private::lend_context(&context),
                                            )
                                            .await,
                                    ),
                                    |error| {
                                        use crate::rpc::__private::{
                                            CodeOfAny as _, CodeOfSome as _, DisplayOfAny as _,
                                            DisplayOfSome as _,
                                        };
                                        crate::rpc::__private::Description {
                                            code: (&crate::rpc::__private::Probe::of(error))
                                                .code_of(error),
                                            message: (&crate::rpc::__private::Probe::of(error))
                                                .display_of(error),
                                        }
                                    },
                                    <crate::rpc::__private::LargeProbe<C>>::take,
                                )
                            },
                        )
                    })
                }
                index if index == __Method::new as usize => {
                    let request = crate::rpc::__private::handler_params(request);
                    crate::rpc::__private::Box::pin(async move {
                        let codec = request.codec();
                        ::core::mem::drop(request);
                        {
                            use crate::rpc::__private::AnyLarge as _;
                            (crate::rpc::__private::value::<()>()
                                .respond)(
                                codec,
                                &mut <TT as Store>::new(&*service).await,
                                <crate::rpc::__private::LargeProbe<()>>::take,
                            )
                        }
                    })
                }
                index if index == __Method::with_codec as usize => {
                    let request = crate::rpc::__private::handler_params(request);
                    crate::rpc::__private::Box::pin(async move {
                        let codec = request.codec();
                        ::core::mem::drop(request);
                        {
                            use crate::rpc::__private::AnyLarge as _;
                            (crate::rpc::__private::value::<()>()
                                .respond)(
                                codec,
                                &mut <TT as Store>::with_codec(&*service).await,
                                <crate::rpc::__private::LargeProbe<()>>::take,
                            )
                        }
                    })
                }
                _ => {
                    crate::rpc::__private::Box::pin(
                        ::core::future::ready(
                            ::core::result::Result::Err(
                                crate::rpc::__private::unknown_method(&request),
                            ),
                        ),
                    )
                }
            };
            crate::rpc::__private::hold(limit, call)
        }
    }
    #[automatically_derived]
    impl<TT: Store> crate::rpc::__private::NamedService for StoreServer<TT> {
        const INFO: &'static crate::rpc::__private::ServiceInfo = &__SERVICE;
    }
    #[automatically_derived]
    impl<TT> ::core::clone::Clone for StoreServer<TT> {
        fn clone(&self) -> Self {
            Self {
                service: ::core::clone::Clone::clone(&self.service),
            }
        }
    }
    #[automatically_derived]
    impl<TT> ::core::fmt::Debug for StoreServer<TT> {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.debug_struct("StoreServer").finish_non_exhaustive()
        }
    }
    impl<CC> StoreClient<CC>
    where
        CC: crate::rpc::__private::Service<
                crate::rpc::__private::Request,
                Response = crate::rpc::__private::Response,
            > + ::core::clone::Clone,
        CC::Error: ::core::convert::Into<crate::rpc::__private::BoxError>,
    {
        /// Sets how long each call may take, whatever its method says; unlimited unless set.
        #[must_use]
        pub(crate) fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self {
                core: self.core.with_timeout(timeout),
            }
        }
        /// Sets how long each call may take whose method sets no time limit of its own.
        #[must_use]
        pub(crate) fn with_default_timeout(
            self,
            timeout: ::core::time::Duration,
        ) -> Self {
            Self {
                core: self.core.with_default_timeout(timeout),
            }
        }
        /// Lets calls made by a handler take longer than what is left of the call that it serves.
        #[must_use]
        pub(crate) fn without_inherited_deadline(self) -> Self {
            Self {
                core: self.core.without_inherited_deadline(),
            }
        }
        /// Sets the metadata sent with each call; none unless set.
        #[must_use]
        pub(crate) fn with_metadata(
            self,
            metadata: crate::rpc::__private::Metadata,
        ) -> Self {
            Self {
                core: self.core.with_metadata(metadata),
            }
        }
        /// Stays out where `write` is off.
        #[cfg(feature = "write")]
        pub(crate) fn write(
            &self,
            path: PathBuf,
            #[cfg(unix)]
            mode: u32,
        ) -> crate::rpc::__private::ClientCall<
            <io::Result<()> as crate::rpc::__private::IsResult>::Ok,
            <io::Result<()> as crate::rpc::__private::IsResult>::Err,
            CC,
        > {
            self.core
                .call(
                    &__METHODS[__Method::write as usize],
                    __params_write {
                        path,
                        #[cfg(unix)]
                        mode,
                    },
                    ::core::option::Option::None,
                    {
                        use crate::rpc::__private::AnyError as _;
                        <crate::rpc::__private::ErrorProbe<
                            <io::Result<()> as crate::rpc::__private::IsResult>::Err,
                        >>::unary::<
                            <io::Result<()> as crate::rpc::__private::IsResult>::Ok,
                        >()
                            .decode
                    },
                )
        }
        /// Calls [`Store::type`].
        pub(crate) fn r#type(
            &self,
            r#in: T,
        ) -> crate::rpc::__private::ClientCall<C, Failure, CC> {
            self.core
                .call(
                    &__METHODS[__Method::r#type as usize],
                    __params_type { r#in },
                    ::core::option::Option::None,
                    {
                        use crate::rpc::__private::AnyError as _;
                        <crate::rpc::__private::ErrorProbe<Failure>>::unary::<C>().decode
                    },
                )
        }
        /// Calls [`Store::new`].
        #[must_use]
        pub(crate) fn new(
            &self,
        ) -> crate::rpc::__private::ClientCall<(), ::core::convert::Infallible, CC> {
            self.core
                .call(
                    &__METHODS[__Method::new as usize],
                    __Nothing {},
                    ::core::option::Option::None,
                    {
                        use crate::rpc::__private::AnyAnswer as _;
                        <crate::rpc::__private::AnswerProbe<()>>::check();
                        crate::rpc::__private::value::<()>().decode
                    },
                )
        }
        /// Calls [`Store::with_codec`].
        pub(crate) fn with_codec(
            &self,
        ) -> crate::rpc::__private::ClientCall<(), ::core::convert::Infallible, CC> {
            self.core
                .call(
                    &__METHODS[__Method::with_codec as usize],
                    __Nothing {},
                    ::core::option::Option::None,
                    {
                        use crate::rpc::__private::AnyAnswer as _;
                        <crate::rpc::__private::AnswerProbe<()>>::check();
                        crate::rpc::__private::value::<()>().decode
                    },
                )
        }
    }
    #[automatically_derived]
    impl<CC> crate::rpc::__private::GeneratedClient for StoreClient<CC> {}
    const _: () = crate::rpc::__private::generated_client::<StoreClient>();
    #[automatically_derived]
    impl<CC> ::core::convert::From<CC> for StoreClient<CC>
    where
        CC: crate::rpc::__private::Service<
                crate::rpc::__private::Request,
                Response = crate::rpc::__private::Response,
            > + ::core::clone::Clone,
        CC::Error: ::core::convert::Into<crate::rpc::__private::BoxError>,
    {
        fn from(channel: CC) -> Self {
            Self {
                core: crate::rpc::__private::ClientCore::new(channel),
            }
        }
    }
};
