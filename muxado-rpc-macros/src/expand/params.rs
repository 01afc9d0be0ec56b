//! One struct per method for its parameters: the client serializes it, the server deserializes it.
//!
//! serde derives what it can only do itself. `Serialize` of a plain struct is written out instead: it compiles
//! faster, and a parameter that cannot be serialized is named where its type stands.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Ident, LitStr, ext::IdentExt, spanned::Spanned};

use super::{located, respan};
use crate::model::{Argument, Method, Service};

/// The structs of all methods.
pub(super) fn expand(service: &Service) -> TokenStream {
    let (sending, silent): (Vec<_>, Vec<_>) = service.methods.iter().partition(|method| sends(method));
    let nothing = (!silent.is_empty()).then(|| nothing(service));
    sending.into_iter().map(|method| params(service, method)).chain(nothing).collect()
}

/// Whether `method` has parameters to send.
pub(super) fn sends(method: &Method) -> bool {
    method.values().next().is_some()
}

/// Name of the struct of `method`; those without parameters share one.
pub(super) fn ident(method: &Method) -> Ident {
    if sends(method) {
        format_ident!("__params_{}", method.ident.unraw(), span = Span::call_site())
    } else {
        Ident::new("__Nothing", Span::call_site())
    }
}

fn nothing(service: &Service) -> TokenStream {
    let ident = Ident::new("__Nothing", Span::call_site());
    let serialize = serialize(service, &ident, &[]);
    quote! {
        struct #ident {}
        #serialize
    }
}

fn params(service: &Service, method: &Method) -> TokenStream {
    let ident = ident(method);
    let cfg = &method.cfg;
    let fields =
        method.values().map(|Argument { cfg, serde, ident, ty, .. }| quote!(#(#cfg)* #(#serde)* #ident: #ty));
    let values: Vec<_> = method.values().collect();
    let plain = values.iter().all(|argument| argument.serde.is_empty() && argument.cfg.is_empty());
    let (derives, serialize) = if plain {
        let serialize = serialize(service, &ident, &values);
        (derive(service, method, &["Deserialize"]), quote!(#(#cfg)* #serialize))
    } else {
        (derive(service, method, &["Serialize", "Deserialize"]), TokenStream::new())
    };
    quote! {
        #(#cfg)*
        #derives
        struct #ident { #(#fields),* }
        #serialize
    }
}

/// The derives of serde. Their errors that are about no parameter in particular point at the method.
fn derive(service: &Service, method: &Method, traits: &[&str]) -> TokenStream {
    let serde = service.serde();
    let path = serde.to_string().replace(' ', "");
    let expecting = format!("the parameters of `{}`", method.name.value());
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

/// `Serialize` of a struct of plain fields.
fn serialize(service: &Service, ident: &Ident, values: &[&Argument]) -> TokenStream {
    let serde = service.serde();
    let len = values.len();
    let serializer = Ident::new("serializer", Span::mixed_site());
    let fields = values.iter().map(|Argument { ident, ty, .. }| {
        let key = LitStr::new(&ident.unraw().to_string(), ident.span());
        let serde = respan(serde.clone(), ty.span());
        quote_spanned! {located(ty.span())=>
            #serde::ser::SerializeStruct::serialize_field::<#ty>(&mut #serializer, #key, &self.#ident)?;
        }
    });
    quote! {
        #[automatically_derived]
        impl #serde::Serialize for #ident {
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
