//! What carries the parameters of each method: the client serializes it, the server deserializes it.
//!
//! As a rule it is a struct whose fields are of type parameters: the client fills it with what it is given, references
//! included, and the server with what it decodes, in place where that can be. So nothing inside what serde derives can
//! be wrong. `Serialize` is written out: it compiles faster, and a parameter that cannot be serialized is named where
//! its type stands.
//!
//! Where parameters have attributes of serde's or a `cfg`, both are derived for the types as they are. If there are
//! references among them there are two structs, one that lends for the client, and one that owns for the server.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Ident, LitStr, ext::IdentExt, spanned::Spanned};

use super::{located, respan};
use crate::{
    model::{Argument, Method, Service},
    types::Lent,
};

/// The structs of all methods.
pub(super) fn expand(service: &Service) -> TokenStream {
    let (sending, silent): (Vec<_>, Vec<_>) = service.methods.iter().partition(|method| sends(method));
    let nothing = (!silent.is_empty()).then(|| nothing(service));
    sending
        .into_iter()
        .map(|method| if plain(method) { generic(service, method) } else { attributed(service, method) })
        .chain(nothing)
        .collect()
}

/// How a server decodes the parameters of a method.
pub(super) enum Decoding {
    /// There are none.
    None,
    Owned,
    /// They borrow from the request.
    InPlace,
}

/// How the server decodes the parameters of `method`.
pub(super) fn decoding(method: &Method) -> Decoding {
    match () {
        () if !sends(method) => Decoding::None,
        () if plain(method) && lends(method) => Decoding::InPlace,
        () => Decoding::Owned,
    }
}

/// Whether `method` has parameters to send.
fn sends(method: &Method) -> bool {
    method.values().next().is_some()
}

/// Whether there is nothing but types to the parameters.
fn plain(method: &Method) -> bool {
    method.values().all(|argument| argument.serde.is_empty() && argument.cfg.is_empty())
}

/// Whether there are references among the parameters.
fn lends(method: &Method) -> bool {
    method.values().any(|argument| argument.lent().is_some())
}

/// Name of the struct that the client fills; methods without parameters share one.
pub(super) fn client_ident(method: &Method) -> Ident {
    if lends(method) && !plain(method) { named("__lent_", method) } else { server_ident(method) }
}

/// The field that the client fills beside the parameters, with its value.
pub(super) fn client_marker(method: &Method) -> Option<TokenStream> {
    (lends(method) && !plain(method)).then(|| quote!(__lent: ::core::marker::PhantomData))
}

fn server_ident(method: &Method) -> Ident {
    if sends(method) { named("__params_", method) } else { Ident::new("__Nothing", Span::call_site()) }
}

fn named(prefix: &str, method: &Method) -> Ident {
    format_ident!("{prefix}{}", method.ident.unraw(), span = Span::call_site())
}

/// Type of what the server decodes.
pub(super) fn server_type(service: &Service, method: &Method) -> TokenStream {
    let ident = server_ident(method);
    if !plain(method) {
        return ident.to_token_stream();
    }
    let types = method.values().map(|argument| match argument.lent() {
        None => argument.ty.to_token_stream(),
        Some(lent) => held(service, &lent),
    });
    quote!(#ident<#(#types),*>)
}

/// Type of what the server holds to lend it.
fn held(service: &Service, lent: &Lent<'_>) -> TokenStream {
    let private = service.private();
    let elem = lent.elem;
    let held = if lent.is_bytes() {
        quote!(#private::HeldBytes<'_>)
    } else {
        quote_spanned!(located(elem.span())=> <#elem as #private::Lend>::Held<'_>)
    };
    if lent.optional { quote!(::core::option::Option<#held>) } else { held }
}

/// What the method gets of a parameter that the server has decoded.
pub(super) fn value(service: &Service, method: &Method, argument: &Argument) -> TokenStream {
    let private = service.private();
    let (params, ident) = (Ident::new("params", Span::mixed_site()), &argument.ident);
    let Some(lent) = argument.lent() else { return quote!(#params.#ident) };
    let Lent { elem, optional } = lent;
    let span = located(elem.span());
    match (plain(method), lent.is_bytes(), optional) {
        (true, true, false) => quote!(#private::HeldBytes::lend(&#params.#ident)),
        (true, true, true) => quote!(#private::HeldBytes::lend_some(&#params.#ident)),
        (true, false, false) => quote_spanned!(span=> <#elem as #private::Lend>::lend(&#params.#ident)),
        (true, false, true) => quote_spanned!(span=> #private::lend_some::<#elem>(&#params.#ident)),
        (false, _, false) => quote_spanned!(span=> ::core::borrow::Borrow::<#elem>::borrow(&#params.#ident)),
        (false, _, true) => {
            quote_spanned!(span=> #params.#ident.as_ref().map(::core::borrow::Borrow::<#elem>::borrow))
        }
    }
}

fn nothing(service: &Service) -> TokenStream {
    let ident = Ident::new("__Nothing", Span::call_site());
    let private = service.private();
    let serialize = serialize(service, &ident, &[]);
    quote! {
        struct #ident {}
        #serialize
        #[automatically_derived]
        impl #private::TakeLarge for #ident {}
    }
}

/// A struct for parameters that are nothing but their types.
fn generic(service: &Service, method: &Method) -> TokenStream {
    let ident = server_ident(method);
    let cfg = &method.cfg;
    let values: Vec<_> = method.values().collect();
    let types: Vec<_> = (0..values.len()).map(|i| format_ident!("__P{i}")).collect();
    let fields =
        values.iter().zip(&types).map(|(Argument { ident, docs, .. }, ty)| quote!(#(#docs)* #ident: #ty));
    let derives = derive(service, method, &["Deserialize"]);
    let serialize = serialize(service, &ident, &values);
    let take_large = take_large(service, &ident, &values);
    quote! {
        #(#cfg)*
        #derives
        struct #ident<#(#types),*> { #(#fields),* }
        #(#cfg)*
        #serialize
        #(#cfg)*
        #take_large
    }
}

/// The structs of parameters some of which have attributes.
fn attributed(service: &Service, method: &Method) -> TokenStream {
    let cfg = &method.cfg;
    let fields = |lent: bool| -> TokenStream {
        let fields = method.values().map(|argument| {
            let Argument { cfg, serde, ident, docs, .. } = argument;
            let ty = own_type(service, argument, lent);
            quote!(#(#cfg)* #(#docs)* #(#serde)* #ident: #ty,)
        });
        fields.collect()
    };
    let private = service.private();
    let (ident, owned) = (server_ident(method), fields(false));
    if !lends(method) {
        let derives = derive(service, method, &["Serialize", "Deserialize"]);
        return quote! {
            #(#cfg)*
            #derives
            struct #ident { #owned }
            #(#cfg)*
            #[automatically_derived]
            impl #private::TakeLarge for #ident {}
        };
    }
    let (client, lent) = (client_ident(method), fields(true));
    let serialize = derive(service, method, &["Serialize"]);
    let deserialize = derive(service, method, &["Deserialize"]);
    quote! {
        #(#cfg)*
        #serialize
        struct #client<'__lent> {
            #lent
            #[serde(skip)]
            __lent: ::core::marker::PhantomData<&'__lent ()>,
        }
        #(#cfg)*
        #[automatically_derived]
        impl #private::TakeLarge for #client<'_> {}
        #(#cfg)*
        #deserialize
        struct #ident { #owned }
    }
}

/// Type of a parameter in a struct of its method's own: of the client if it is lent there.
pub(super) fn own_type(service: &Service, argument: &Argument, lent: bool) -> TokenStream {
    let private = service.private();
    let Some(Lent { elem, optional }) = argument.lent() else { return argument.ty.to_token_stream() };
    let ty = if lent {
        quote!(&'__lent #elem)
    } else {
        quote_spanned!(located(elem.span())=> <#elem as #private::Lend>::Owned)
    };
    if optional { quote!(::core::option::Option<#ty>) } else { ty }
}

/// The derives of serde. Their errors that are about no parameter in particular point at the method.
fn derive(service: &Service, method: &Method, traits: &[&str]) -> TokenStream {
    let serde = service.serde();
    let path = serde.to_string().replace(' ', "");
    let expecting = format!("the parameters of `{}`", method.options.name.value());
    let span = method.ident.span();
    let traits = traits.iter().map(|name| {
        let name = Ident::new(name, span);
        respan(quote!(#serde::#name), span)
    });
    quote! {
        #[derive(#(#traits),*)]
        #[serde(crate = #path, expecting = #expecting)]
    }
}

/// `TakeLarge` of what the client fills: the last parameter, unless it is lent.
fn take_large(service: &Service, ident: &Ident, values: &[&Argument]) -> TokenStream {
    let private = service.private();
    let (arguments, lifetime) = concrete(values);
    let take = values.last().filter(|last| last.lent().is_none()).map(|last| {
        let Argument { ident, ty, .. } = last;
        let span = located(ty.span());
        let private = respan(private.clone(), ty.span());
        let take = quote_spanned! {span=>
            use #private::AnyLarge as _;
            <#private::LargeProbe<#ty>>::take(&mut self.#ident)
        };
        quote! {
            fn take_large(&mut self) -> ::core::option::Option<#private::LargeString> {
                #take
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #lifetime #private::TakeLarge for #ident #arguments {
            #take
        }
    }
}

/// The types that the client fills a struct with, and the lifetime in them.
fn concrete(values: &[&Argument]) -> (Option<TokenStream>, Option<TokenStream>) {
    let types = values.iter().map(|argument| match argument.lent() {
        None => argument.ty.to_token_stream(),
        Some(Lent { elem, optional: false }) => quote!(&'__lent #elem),
        Some(Lent { elem, optional: true }) => quote!(::core::option::Option<&'__lent #elem>),
    });
    let arguments = (!values.is_empty()).then(|| quote!(<#(#types),*>));
    let lifetime = values.iter().any(|argument| argument.lent().is_some()).then(|| quote!(<'__lent>));
    (arguments, lifetime)
}

/// `Serialize` of what the client fills.
fn serialize(service: &Service, ident: &Ident, values: &[&Argument]) -> TokenStream {
    let serde = service.serde();
    let len = values.len();
    let serializer = Ident::new("serializer", Span::mixed_site());
    let fields = values.iter().map(|argument| field(service, argument, &serializer));
    let (arguments, lifetime) = concrete(values);
    quote! {
        #[automatically_derived]
        impl #lifetime #serde::Serialize for #ident #arguments {
            fn serialize<__S: #serde::Serializer>(
                &self,
                #serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                let mut #serializer = #serde::Serializer::serialize_struct(#serializer, "params", #len)?;
                #(#fields)*
                #serde::ser::SerializeStruct::end(#serializer)
            }
        }
    }
}

/// Serializes one parameter.
fn field(service: &Service, argument: &Argument, serializer: &Ident) -> TokenStream {
    let private = service.private();
    let Argument { ident, ty, .. } = argument;
    let key = LitStr::new(&ident.unraw().to_string(), ident.span());
    let span = located(ty.span());
    let private = respan(private, ty.span());
    let Some(lent) = argument.lent() else {
        return quote_spanned!(span=> #private::field::<_, #ty>(&mut #serializer, #key, &self.#ident)?;);
    };
    let Lent { elem, optional } = lent;
    match (lent.is_bytes(), optional) {
        (true, false) => quote!(#private::bytes_field(&mut #serializer, #key, self.#ident)?;),
        (true, true) => quote!(#private::bytes_some_field(&mut #serializer, #key, self.#ident)?;),
        (false, false) => {
            quote_spanned!(span=> #private::lent_field::<_, #elem>(&mut #serializer, #key, self.#ident)?;)
        }
        (false, true) => {
            quote_spanned!(span=> #private::lent_some_field::<_, #elem>(&mut #serializer, #key, self.#ident)?;)
        }
    }
}
