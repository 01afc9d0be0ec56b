/// Does sums.
pub trait Calculator: ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Adds two numbers.
    fn add(
        &self,
        a: i64,
        b: i64,
    ) -> impl ::core::future::Future<Output = i64> + ::core::marker::Send;
    fn divide(
        &self,
        a: f64,
        b: f64,
    ) -> impl ::core::future::Future<
        Output = Result<f64, DivideError>,
    > + ::core::marker::Send;
    fn whoami(
        &self,
        cx: &Context,
    ) -> impl ::core::future::Future<Output = String> + ::core::marker::Send;
}
/// Serves an implementation of [`Calculator`]: a `tower::Service` of requests.
///
/// Clones share the implementation.
#[allow(dead_code)]
pub struct CalculatorServer<T> {
    service: ::muxado_rpc::__private::Arc<T>,
}
/// Client of [`Calculator`]: its methods, called over a channel of type `C`.
///
/// A clone makes its calls over a clone of the channel.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
#[allow(dead_code)]
pub struct CalculatorClient<C = ::muxado_rpc::__private::Channel> {
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
        add,
        divide,
        whoami,
    }
    const __ID: ::core::primitive::u32 = ::muxado_rpc::__private::ServiceId::from_name(
            "Calculator",
        )
        .as_u32();
    static __METHODS: &[::muxado_rpc::__private::MethodInfo] = &[
        ::muxado_rpc::__private::method_info(
            "Calculator",
            __ID,
            "add",
            __Method::add as usize,
            ::muxado_rpc::__private::MethodOptions::DEFAULT,
        ),
        ::muxado_rpc::__private::method_info(
            "Calculator",
            __ID,
            "divide",
            __Method::divide as usize,
            ::muxado_rpc::__private::MethodOptions::DEFAULT,
        ),
        ::muxado_rpc::__private::method_info(
            "Calculator",
            __ID,
            "whoami",
            __Method::whoami as usize,
            ::muxado_rpc::__private::MethodOptions {
                takes_context: true,
                ..::muxado_rpc::__private::MethodOptions::DEFAULT
            },
        ),
    ];
    static __SERVICE: ::muxado_rpc::__private::ServiceInfo = ::muxado_rpc::__private::service_info(
        "Calculator",
        __ID,
        __METHODS,
    );
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `add`"
    )]
    struct __params_add<__P0, __P1> {
        a: __P0,
        b: __P1,
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::serde::Serialize for __params_add<i64, i64> {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                2usize,
            )?;
            ::muxado_rpc::__private::field::<_, i64>(&mut serializer, "a", &self.a)?;
            ::muxado_rpc::__private::field::<_, i64>(&mut serializer, "b", &self.b)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __params_add<i64, i64> {
        fn take_large(
            &mut self,
        ) -> ::core::option::Option<::muxado_rpc::__private::LargeString> {
            use ::muxado_rpc::__private::AnyLarge as _;
            <::muxado_rpc::__private::LargeProbe<i64>>::take(&mut self.b)
        }
    }
    #[derive(::muxado_rpc::__private::serde::Deserialize)]
    #[serde(
        crate = "::muxado_rpc::__private::serde",
        expecting = "the parameters of `divide`"
    )]
    struct __params_divide<__P0, __P1> {
        a: __P0,
        b: __P1,
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::serde::Serialize for __params_divide<f64, f64> {
        fn serialize<__S: ::muxado_rpc::__private::serde::Serializer>(
            &self,
            serializer: __S,
        ) -> ::core::result::Result<__S::Ok, __S::Error> {
            let mut serializer = ::muxado_rpc::__private::serde::Serializer::serialize_struct(
                serializer,
                "params",
                2usize,
            )?;
            ::muxado_rpc::__private::field::<_, f64>(&mut serializer, "a", &self.a)?;
            ::muxado_rpc::__private::field::<_, f64>(&mut serializer, "b", &self.b)?;
            ::muxado_rpc::__private::serde::ser::SerializeStruct::end(serializer)
        }
    }
    #[automatically_derived]
    impl ::muxado_rpc::__private::TakeLarge for __params_divide<f64, f64> {
        fn take_large(
            &mut self,
        ) -> ::core::option::Option<::muxado_rpc::__private::LargeString> {
            use ::muxado_rpc::__private::AnyLarge as _;
            <::muxado_rpc::__private::LargeProbe<f64>>::take(&mut self.b)
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
    impl<T: Calculator> CalculatorServer<T> {
        /// Serves `service`.
        pub fn new(service: T) -> Self {
            Self {
                service: ::muxado_rpc::__private::Arc::new(service),
            }
        }
        /// Serves `service`, which others may share.
        pub fn from_arc(service: ::muxado_rpc::__private::Arc<T>) -> Self {
            Self { service }
        }
    }
    #[automatically_derived]
    impl<
        T: Calculator,
    > ::muxado_rpc::__private::Service<::muxado_rpc::__private::Request>
    for CalculatorServer<T> {
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
                index if index == __Method::add as usize => {
                    let request = ::muxado_rpc::__private::handler_params(request);
                    ::muxado_rpc::__private::Box::pin(async move {
                        let codec = request.codec();
                        let params: __params_add<i64, i64> = ::muxado_rpc::__private::decode_handler_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        {
                            use ::muxado_rpc::__private::AnyLarge as _;
                            (::muxado_rpc::__private::value::<i64>()
                                .respond)(
                                codec,
                                &mut <T as Calculator>::add(&*service, params.a, params.b)
                                    .await,
                                <::muxado_rpc::__private::LargeProbe<i64>>::take,
                            )
                        }
                    })
                }
                index if index == __Method::divide as usize => {
                    let request = ::muxado_rpc::__private::handler_params(request);
                    ::muxado_rpc::__private::Box::pin(async move {
                        let codec = request.codec();
                        let params: __params_divide<f64, f64> = ::muxado_rpc::__private::decode_handler_params(
                            &request,
                        )?;
                        ::core::mem::drop(request);
                        {
                            use ::muxado_rpc::__private::{AnyError as _, AnyLarge as _};
                            (<::muxado_rpc::__private::ErrorProbe<
                                DivideError,
                            >>::unary::<f64>()
                                .respond)(
                                codec,
                                ::muxado_rpc::__private::result(
                                    <T as Calculator>::divide(&*service, params.a, params.b)
                                        .await,
                                ),
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
                                <::muxado_rpc::__private::LargeProbe<f64>>::take,
                            )
                        }
                    })
                }
                index if index == __Method::whoami as usize => {
                    ::muxado_rpc::__private::Box::pin(async move {
                        let mut request = request;
                        let context = ::muxado_rpc::__private::context(&mut request);
                        let codec = request.codec();
                        ::core::mem::drop(request);
                        ::muxado_rpc::__private::with_metadata(
                            &context,
                            {
                                use ::muxado_rpc::__private::AnyLarge as _;
                                (::muxado_rpc::__private::value::<String>()
                                    .respond)(
                                    codec,
                                    &mut <T as Calculator>::whoami(
                                            &*service,
                                            ::muxado_rpc::__private::lend_context(&context),
                                        )
                                        .await,
                                    <::muxado_rpc::__private::LargeProbe<String>>::take,
                                )
                            },
                        )
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
    impl<T: Calculator> ::muxado_rpc::__private::NamedService for CalculatorServer<T> {
        const INFO: &'static ::muxado_rpc::__private::ServiceInfo = &__SERVICE;
    }
    #[automatically_derived]
    impl<T> ::core::clone::Clone for CalculatorServer<T> {
        fn clone(&self) -> Self {
            Self {
                service: ::core::clone::Clone::clone(&self.service),
            }
        }
    }
    #[automatically_derived]
    impl<T> ::core::fmt::Debug for CalculatorServer<T> {
        fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            f.debug_struct("CalculatorServer").finish_non_exhaustive()
        }
    }
    impl<C> CalculatorClient<C>
    where
        C: ::muxado_rpc::__private::Service<
                ::muxado_rpc::__private::Request,
                Response = ::muxado_rpc::__private::Response,
            > + ::core::clone::Clone,
        C::Error: ::core::convert::Into<::muxado_rpc::__private::BoxError>,
    {
        /// Makes calls over `channel`.
        pub fn new(channel: C) -> Self {
            Self {
                core: ::muxado_rpc::__private::ClientCore::new(channel),
            }
        }
        /// Sets the codec of the calls; MessagePack unless set.
        #[must_use]
        pub fn with_codec(self, codec: ::muxado_rpc::__private::Codec) -> Self {
            Self {
                core: self.core.with_codec(codec),
            }
        }
        /// Sets how long each call may take, whatever its method says; unlimited unless set.
        #[must_use]
        pub fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self {
                core: self.core.with_timeout(timeout),
            }
        }
        /// Sets how long each call may take whose method sets no time limit of its own.
        #[must_use]
        pub fn with_default_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self {
                core: self.core.with_default_timeout(timeout),
            }
        }
        /// Lets calls made by a handler take longer than what is left of the call that it serves.
        #[must_use]
        pub fn without_inherited_deadline(self) -> Self {
            Self {
                core: self.core.without_inherited_deadline(),
            }
        }
        /// Sets the metadata sent with each call; none unless set.
        #[must_use]
        pub fn with_metadata(self, metadata: ::muxado_rpc::__private::Metadata) -> Self {
            Self {
                core: self.core.with_metadata(metadata),
            }
        }
        /// Adds two numbers.
        pub fn add(
            &self,
            a: i64,
            b: i64,
        ) -> ::muxado_rpc::__private::ClientCall<i64, ::core::convert::Infallible, C> {
            self.core
                .call(
                    &__METHODS[__Method::add as usize],
                    __params_add { a, b },
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyAnswer as _;
                        <::muxado_rpc::__private::AnswerProbe<i64>>::check();
                        ::muxado_rpc::__private::value::<i64>().decode
                    },
                )
        }
        /// Calls [`Calculator::divide`].
        pub fn divide(
            &self,
            a: f64,
            b: f64,
        ) -> ::muxado_rpc::__private::ClientCall<f64, DivideError, C> {
            self.core
                .call(
                    &__METHODS[__Method::divide as usize],
                    __params_divide { a, b },
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyError as _;
                        <::muxado_rpc::__private::ErrorProbe<
                            DivideError,
                        >>::unary::<f64>()
                            .decode
                    },
                )
        }
        /// Calls [`Calculator::whoami`].
        pub fn whoami(
            &self,
        ) -> ::muxado_rpc::__private::ClientCall<
            String,
            ::core::convert::Infallible,
            C,
        > {
            self.core
                .call(
                    &__METHODS[__Method::whoami as usize],
                    __Nothing {},
                    ::core::option::Option::None,
                    {
                        use ::muxado_rpc::__private::AnyAnswer as _;
                        <::muxado_rpc::__private::AnswerProbe<String>>::check();
                        ::muxado_rpc::__private::value::<String>().decode
                    },
                )
        }
    }
    #[automatically_derived]
    impl<C> ::muxado_rpc::__private::GeneratedClient for CalculatorClient<C> {}
    const _: () = ::muxado_rpc::__private::generated_client::<CalculatorClient>();
    #[automatically_derived]
    impl<C> ::core::convert::From<C> for CalculatorClient<C>
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
