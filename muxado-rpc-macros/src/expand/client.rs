//! `FooClient`: a method of the trait becomes a call.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, ext::IdentExt, spanned::Spanned};

use super::{cfg_not_all, index, located, parameter_docs, params};
use crate::{
    conditional,
    model::{Answer, Argument, ArgumentKind, ItemsAnswer, ItemsError, Method, Service},
    types::streaming_item,
};

/// The struct.
pub(super) fn declaration(service: &Service) -> TokenStream {
    let Service { cfg, vis, ident, channel, .. } = service;
    let private = service.private();
    let client = &service.client;
    let trait_name = ident.unraw();
    let docs =
        format!(" Client of [`{trait_name}`]: its methods, called over a channel of type `{channel}`.");
    quote! {
        #(#cfg)*
        #[doc = #docs]
        ///
        /// A clone makes its calls over a clone of the channel.
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #[allow(dead_code)]
        #vis struct #client<#channel = #private::Channel> {
            core: #private::ClientCore<#channel>,
        }
    }
}

/// Helpers and methods.
pub(super) fn impls(service: &Service) -> TokenStream {
    let Service { channel, .. } = service;
    let private = service.private();
    let client = &service.client;
    let bounds = quote! {
        #channel: #private::Service<#private::Request, Response = #private::Response> + ::core::clone::Clone,
        #channel::Error: ::core::convert::Into<#private::BoxError>,
    };
    let helpers = helpers(service);
    let methods = service.methods.iter().map(|method| self::method(service, method));
    quote! {
        impl<#channel> #client<#channel>
        where
            #bounds
        {
            #helpers
            #(#methods)*
        }

        #[automatically_derived]
        impl<#channel> #private::GeneratedClient for #client<#channel> {}
        const _: () = #private::generated_client::<#client>();

        #[automatically_derived]
        impl<#channel> ::core::convert::From<#channel> for #client<#channel>
        where
            #bounds
        {
            fn from(channel: #channel) -> Self {
                Self { core: #private::ClientCore::new(channel) }
            }
        }
    }
}

/// `new` and the `with_*` family, each unless the trait has a method of that name.
fn helpers(service: &Service) -> TokenStream {
    let Service { vis, channel, .. } = service;
    let private = service.private();
    let new = quote! {
        /// Makes calls over `channel`.
        #vis fn new(channel: #channel) -> Self {
            Self { core: #private::ClientCore::new(channel) }
        }
    };
    let with_codec = quote! {
        /// Sets the codec of the calls; MessagePack unless set.
        #[must_use]
        #vis fn with_codec(self, codec: #private::Codec) -> Self {
            Self { core: self.core.with_codec(codec) }
        }
    };
    let with_timeout = quote! {
        /// Sets how long each call may take, whatever its method says; unlimited unless set.
        #[must_use]
        #vis fn with_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self { core: self.core.with_timeout(timeout) }
        }
    };
    let with_default_timeout = quote! {
        /// Sets how long each call may take whose method sets no time limit of its own.
        #[must_use]
        #vis fn with_default_timeout(self, timeout: ::core::time::Duration) -> Self {
            Self { core: self.core.with_default_timeout(timeout) }
        }
    };
    let without_inherited_deadline = quote! {
        /// Lets calls made by a handler take longer than what is left of the call that it serves.
        #[must_use]
        #vis fn without_inherited_deadline(self) -> Self {
            Self { core: self.core.without_inherited_deadline() }
        }
    };
    let with_metadata = quote! {
        /// Sets the metadata sent with each call; none unless set.
        #[must_use]
        #vis fn with_metadata(self, metadata: #private::Metadata) -> Self {
            Self { core: self.core.with_metadata(metadata) }
        }
    };
    let all = [
        ("new", new),
        ("with_codec", with_codec),
        ("with_timeout", with_timeout),
        ("with_default_timeout", with_default_timeout),
        ("without_inherited_deadline", without_inherited_deadline),
        ("with_metadata", with_metadata),
    ];
    let taken = |name: &str| service.methods.iter().any(|method| method.ident.unraw() == name);
    all.into_iter().filter(|(name, _)| !taken(name)).map(|(_, helper)| helper).collect()
}

fn method(service: &Service, method: &Method) -> TokenStream {
    let Service { vis, .. } = service;
    let Method { ident, receiver, .. } = method;
    let private = service.private();
    let attrs = method.attrs.iter().filter(|attr| applies_to_calls(attr));
    let docs = default_docs(service, method);
    let arguments = method.arguments.iter().filter_map(|argument| {
        let Argument { attrs, ident, ty, kind, .. } = argument;
        let ty = match kind {
            ArgumentKind::Context => return None,
            ArgumentKind::Value | ArgumentKind::Lent => ty.to_token_stream(),
            ArgumentKind::Items => {
                let item = streaming_item(ty);
                quote!(impl #private::Stream<Item = #item> + ::core::marker::Send + 'static)
            }
        };
        Some(quote!(#(#attrs)* #ident: #ty))
    });
    let infallible = quote!(::core::convert::Infallible);
    let output = match &method.answer {
        Answer::Value(ty) => quote!(#ty, #infallible),
        Answer::Fallible { ok, error, .. } => quote!(#ok, #error),
        Answer::Items(ItemsAnswer { item, error, .. }) => match error {
            ItemsError::None => quote!(#private::Streaming<#item>, #infallible),
            ItemsError::InItems(error) | ItemsError::InFront(error) | ItemsError::Both(error, _) => {
                quote!(#private::Streaming<#item, #error>, #error)
            }
        },
    };
    let channel = &service.channel;
    let call = call(service, method);
    let parameters =
        parameter_docs(method.arguments.iter().filter(|argument| argument.kind != ArgumentKind::Context));
    quote! {
        #docs
        #(#attrs)*
        #parameters
        #vis fn #ident(#receiver, #(#arguments),*) -> #private::ClientCall<#output, #channel> {
            #call
        }
    }
}

/// The body.
fn call(service: &Service, method: &Method) -> TokenStream {
    let index = index(method);
    let params = params::client_ident(method);
    let fields = method.values().map(|Argument { cfg, ident, .. }| quote!(#(#cfg)* #ident,));
    let marker = params::client_marker(method);
    let decode = decode(service, method);
    let span = located(method.answer.ty().span());
    let receiver = &method.receiver.self_token;
    let none = quote!(::core::option::Option::None);
    let input = method.input().map(|(Argument { cfg, ident, .. }, item)| {
        let items = quote_spanned! {located(item.span())=>
            #receiver.core.items::<#item, _>(&__METHODS[#index], #ident)
        };
        if cfg.is_empty() {
            return items;
        }
        let without = cfg_not_all(cfg);
        quote!({ #(#cfg)* { #items } #without { #none } })
    });
    let input = input.unwrap_or(none);
    quote_spanned! {span=>
        #receiver.core.call(&__METHODS[#index], #params { #(#fields)* #marker }, #input, #decode)
    }
}

/// What makes the method's result of a response. Errors about the answer's type point at it, as it is named here.
fn decode(service: &Service, method: &Method) -> TokenStream {
    let private = service.private();
    let span = located(method.answer.ty().span());
    match &method.answer {
        Answer::Value(ty) => quote_spanned! {span=> {
            use #private::AnyAnswer as _;
            <#private::AnswerProbe<#ty>>::check();
            #private::value::<#ty>().decode
        }},
        Answer::Fallible { ok, error, .. } => quote_spanned! {span=> {
            use #private::AnyError as _;
            <#private::ErrorProbe<#error>>::unary::<#ok>().decode
        }},
        Answer::Items(ItemsAnswer { item, error, .. }) => match error {
            ItemsError::None => quote_spanned!(span=> #private::stream::<#item>()),
            ItemsError::InItems(error) | ItemsError::InFront(error) => quote_spanned! {span=> {
                use #private::AnyError as _;
                <#private::ErrorProbe<#error>>::streams::<#item>().decode
            }},
            ItemsError::Both(error, of_items) => quote_spanned! {span=> {
                use #private::AnyError as _;
                #private::same_error::<#error, #of_items>();
                <#private::ErrorProbe<#error>>::streams::<#item>().decode
            }},
        },
    }
}

/// Attributes that mean the same on the client's method. `expect` is not among them: it holds in one place only.
fn applies_to_calls(attr: &Attribute) -> bool {
    ["doc", "cfg", "deprecated", "must_use", "allow", "warn", "deny"]
        .iter()
        .any(|name| conditional::is(attr, name))
}

fn default_docs(service: &Service, method: &Method) -> Option<TokenStream> {
    let documented = method.attrs.iter().any(|attr| conditional::is(attr, "doc"));
    let docs = format!(" Calls [`{}::{}`].", service.ident.unraw(), method.ident.unraw());
    (!documented).then(|| quote!(#[doc = #docs]))
}
