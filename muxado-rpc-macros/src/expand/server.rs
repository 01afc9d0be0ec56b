//! `FooServer`: a `tower::Service` that takes a request to the method it is for.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Ident, ext::IdentExt, spanned::Spanned};

use super::{
    index, located,
    params::{self, Decoding},
    respan,
};
use crate::model::{Answer, Argument, ArgumentKind, ItemsAnswer, ItemsError, Method, Service};

/// The struct.
pub(super) fn declaration(service: &Service) -> TokenStream {
    let Service { cfg, vis, ident, implementation, .. } = service;
    let private = service.private();
    let server = &service.server;
    // rustdoc finds raw identifiers without their prefix.
    let trait_name = ident.unraw();
    let docs = format!(" Serves an implementation of [`{trait_name}`]: a `tower::Service` of requests.");
    quote! {
        #(#cfg)*
        #[doc = #docs]
        ///
        /// Clones share the implementation.
        #[allow(dead_code)]
        #vis struct #server<#implementation> {
            service: #private::Arc<#implementation>,
        }
    }
}

/// Constructors and trait impls.
pub(super) fn impls(service: &Service) -> TokenStream {
    let Service { implementation, .. } = service;
    let private = service.private();
    let server = &service.server;
    let name = server.to_string();
    let constructors = constructors(service);
    let dispatch = dispatch(service);
    let bound = &service.ident;
    quote! {
        #constructors
        #dispatch

        #[automatically_derived]
        impl<#implementation: #bound> #private::NamedService for #server<#implementation> {
            const INFO: &'static #private::ServiceInfo = &__SERVICE;
        }

        #[automatically_derived]
        impl<#implementation> ::core::clone::Clone for #server<#implementation> {
            fn clone(&self) -> Self {
                Self { service: ::core::clone::Clone::clone(&self.service) }
            }
        }

        #[automatically_derived]
        impl<#implementation> ::core::fmt::Debug for #server<#implementation> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.debug_struct(#name).finish_non_exhaustive()
            }
        }
    }
}

fn constructors(service: &Service) -> TokenStream {
    let Service { vis, implementation, .. } = service;
    let private = service.private();
    let server = &service.server;
    let bound = &service.ident;
    quote! {
        impl<#implementation: #bound> #server<#implementation> {
            /// Serves `service`.
            #vis fn new(service: #implementation) -> Self {
                Self { service: #private::Arc::new(service) }
            }

            /// Serves `service`, which others may share.
            #vis fn from_arc(service: #private::Arc<#implementation>) -> Self {
                Self { service }
            }
        }
    }
}

fn dispatch(service: &Service) -> TokenStream {
    let Service { implementation, .. } = service;
    let private = service.private();
    let server = &service.server;
    let bound = &service.ident;
    let locals = Locals::new(Span::mixed_site());
    let Locals { request, service: shared, index, limit, call, .. } = &locals;
    let arms = service.methods.iter().map(|method| arm(service, method));
    quote! {
        #[automatically_derived]
        impl<#implementation: #bound> #private::Service<#private::Request> for #server<#implementation> {
            type Response = #private::Response;
            type Error = #private::Status;
            type Future = #private::BoxFuture<'static, ::core::result::Result<#private::Response, #private::Status>>;

            fn poll_ready(
                &mut self,
                _: &mut ::core::task::Context<'_>,
            ) -> ::core::task::Poll<::core::result::Result<(), #private::Status>> {
                ::core::task::Poll::Ready(::core::result::Result::Ok(()))
            }

            fn call(&mut self, mut #request: #private::Request) -> Self::Future {
                let #limit = #private::time_limit(&mut #request);
                let #shared = ::core::clone::Clone::clone(&self.service);
                let #index = if #request.method().service_id() == __SERVICE.id() {
                    #request.method().index()
                } else {
                    usize::MAX
                };
                let #call: Self::Future = match #index {
                    #(#arms)*
                    _ => #private::Box::pin(::core::future::ready(::core::result::Result::Err(
                        #private::unknown_method(&#request),
                    ))),
                };
                #private::hold(#limit, #call)
            }
        }
    }
}

/// The match arm of a method. All that runs user code, deserializing included, is in the future.
fn arm(service: &Service, method: &Method) -> TokenStream {
    let private = service.private();
    let Method { cfg, .. } = method;
    let number = index(method);
    let Locals { request, index, codec, payload, context, items, .. } = &Locals::new(Span::mixed_site());
    let streams = matches!(method.answer, Answer::Items(_));
    let is_plain = !method.takes_context() && method.input().is_none() && !streams;
    let is_lent = matches!(params::decoding(method), Decoding::InPlace);
    let mutable = (!is_plain || is_lent).then(|| quote!(let mut #request = #request;));
    // A call that waits in its handler holds what the future takes with it.
    let reduce = is_plain.then(|| quote!(let #request = #private::handler_params(#request);));
    let make_context =
        method.takes_context().then(|| quote!(let #context = #private::context(&mut #request);));
    let take_items = method.input().map(|(Argument { cfg, .. }, item)| {
        let take = quote_spanned! {located(item.span())=>
            let #items = #private::take_items::<#item>(&mut #request)?;
        };
        quote!(#(#cfg)* #take)
    });
    let decode = match params::decoding(method) {
        // What the method returns borrows from the parameters, too, and lives elsewhere if it is a stream.
        Decoding::InPlace if streams => quote!(let #payload = #private::into_params(#request);),
        Decoding::InPlace if is_plain => {
            let decode = decode_in_place(service, method, &quote!(#private::lend_params(&#request)));
            quote!(#private::release(&mut #request); #decode)
        }
        Decoding::InPlace => {
            let decode = decode_in_place(service, method, &quote!(&#payload));
            quote!(let #payload = #private::into_params(#request); #decode)
        }
        Decoding::Owned => {
            let (params, ty) =
                (&Locals::new(Span::mixed_site()).params, params::server_type(service, method));
            let decode = if is_plain { quote!(decode_handler_params) } else { quote!(decode_params) };
            quote_spanned! {located(method.ident.span())=>
                let #params: #ty = #private::#decode(&#request)?;
                ::core::mem::drop(#request);
            }
        }
        Decoding::None => quote!(::core::mem::drop(#request);),
    };
    let respond = respond(service, method);
    quote! {
        #(#cfg)*
        #index if #index == #number => {
            #reduce
            #private::Box::pin(async move {
                #mutable
                #make_context
                #take_items
                let #codec = #request.codec();
                #decode
                #respond
            })
        }
    }
}

/// Decodes parameters that borrow from the payload.
fn decode_in_place(service: &Service, method: &Method, payload: &TokenStream) -> TokenStream {
    let private = service.private();
    let number = index(method);
    let ty = params::server_type(service, method);
    let Locals { params, codec, .. } = &Locals::new(Span::mixed_site());
    let private = respan(private, method.ident.span());
    quote_spanned! {located(method.ident.span())=>
        let #params: #ty = #private::decode_in_place(&__METHODS[#number], #codec, #payload)?;
    }
}

/// Runs the method and encodes what it returns; errors about the answer's type point at it.
fn respond(service: &Service, method: &Method) -> TokenStream {
    let private = service.private();
    let (implementation, bound, ident) = (&service.implementation, &service.ident, &method.ident);
    let Locals { service: shared, codec, context, items, .. } = &Locals::new(Span::mixed_site());
    let arguments = method.arguments.iter().map(|argument| {
        let Argument { cfg, ty, kind, .. } = argument;
        let span = located(ty.span());
        match kind {
            ArgumentKind::Value | ArgumentKind::Lent => {
                let value = params::value(service, method, argument);
                quote!(#(#cfg)* #value)
            }
            ArgumentKind::Context => {
                let private = respan(private.clone(), ty.span());
                quote_spanned!(span=> #(#cfg)* #private::lend_context(&#context))
            }
            ArgumentKind::Items => {
                let private = respan(private.clone(), ty.span());
                quote_spanned!(span=> #(#cfg)* #private::give_items::<_, #ty>(#items))
            }
        }
    });
    let span = located(method.answer.ty().span());
    let callee = respan(quote!(<#implementation as #bound>::#ident), method.answer.ty().span());
    let call = quote_spanned!(span=> #callee(&*#shared, #(#arguments),*).await);
    let private = respan(private, method.answer.ty().span());
    let answer = match &method.answer {
        Answer::Value(ty) => quote_spanned! {span=> {
            use #private::AnyLarge as _;
            (#private::value::<#ty>().respond)(#codec, &mut #call, <#private::LargeProbe<#ty>>::take)
        }},
        Answer::Fallible { ok, error, .. } => {
            let describe = describe(service);
            quote_spanned! {span=> {
                use #private::{AnyError as _, AnyLarge as _};
                (<#private::ErrorProbe<#error>>::unary::<#ok>().respond)(
                    #codec,
                    #private::result(#call),
                    #describe,
                    <#private::LargeProbe<#ok>>::take,
                )
            }}
        }
        Answer::Items(answer) => return respond_items(service, method, answer, &call),
    };
    if method.takes_context() { quote!(#private::with_metadata(&#context, #answer)) } else { answer }
}

/// A closure that says what is known of an error: its traits are found out where its type is known.
fn describe(service: &Service) -> TokenStream {
    let private = service.private();
    let Locals { error, .. } = &Locals::new(Span::mixed_site());
    quote! {
        |#error| {
            use #private::{CodeOfAny as _, CodeOfSome as _, DisplayOfAny as _, DisplayOfSome as _};
            #private::Description {
                code: (&#private::Probe::of(#error)).code_of(#error),
                message: (&#private::Probe::of(#error)).display_of(#error),
            }
        }
    }
}

/// Runs a method that returns a stream. The stream may borrow from what the closure owns.
fn respond_items(
    service: &Service,
    method: &Method,
    answer: &ItemsAnswer,
    call: &TokenStream,
) -> TokenStream {
    let private = service.private();
    let number = index(method);
    let ItemsAnswer { item, error, .. } = answer;
    let Locals { codec, context, sink, stream, payload, error: failed, .. } =
        &Locals::new(Span::mixed_site());
    let span = located(method.answer.ty().span());
    let describe = describe(service);
    let shared_context = if method.takes_context() {
        quote!(::core::option::Option::Some(::core::clone::Clone::clone(&#context)))
    } else {
        quote!(::core::option::Option::None)
    };
    let fail = |error: &TokenStream| {
        quote_spanned! {span=>
            ::core::result::Result::Err(#failed) => {
                let fail = <#private::ErrorProbe<#error>>::streams::<#item>().fail;
                ::core::result::Result::Err(fail(#codec, #failed, #describe))
            }
        }
    };
    let send = match error {
        ItemsError::None => quote_spanned!(span=> #sink.send_all::<_, #item>(#call).await),
        ItemsError::InItems(error) => quote_spanned! {span=>
            <#private::ErrorProbe<#error>>::send::<_, #item>(#sink, #call, #describe).await
        },
        ItemsError::InFront(error) => {
            let fail = fail(error);
            quote_spanned! {span=>
                match #private::result(#call) {
                    ::core::result::Result::Ok(#stream) => #sink.send_all::<_, #item>(#stream).await,
                    #fail
                }
            }
        }
        ItemsError::Both(error, of_items) => {
            let fail = fail(error);
            quote_spanned! {span=>
                match #private::result(#call) {
                    ::core::result::Result::Ok(#stream) => {
                        <#private::ErrorProbe<#of_items>>::send::<_, #item>(#sink, #stream, #describe).await
                    }
                    #fail
                }
            }
        }
    };
    let decode = match params::decoding(method) {
        Decoding::InPlace => decode_in_place(service, method, &quote!(&#payload)),
        Decoding::Owned | Decoding::None => TokenStream::new(),
    };
    let fallible = !matches!(error, ItemsError::None);
    let probes = fallible.then(|| quote!(use #private::AnyError as _;));
    quote_spanned! {span=>
        #private::serve_items(
            &__METHODS[#number],
            #codec,
            #shared_context,
            move |#sink| async move {
                #probes
                #decode
                #send
            },
        ).await
    }
}

/// Local variables of the generated functions, invisible to the user's tokens.
struct Locals {
    request: Ident,
    service: Ident,
    index: Ident,
    limit: Ident,
    call: Ident,
    codec: Ident,
    params: Ident,
    payload: Ident,
    context: Ident,
    items: Ident,
    sink: Ident,
    stream: Ident,
    error: Ident,
}

impl Locals {
    fn new(span: Span) -> Self {
        let local = |name| Ident::new(name, span);
        Self {
            request: local("request"),
            service: local("service"),
            index: local("index"),
            limit: local("limit"),
            call: local("call"),
            codec: local("codec"),
            params: local("params"),
            payload: local("payload"),
            context: local("context"),
            items: local("items"),
            sink: local("sink"),
            stream: local("stream"),
            error: local("error"),
        }
    }
}
