//! The trait, as the user wrote it but for the futures, which are `Send`.

use proc_macro2::TokenStream;
use quote::quote;

use super::parameter_docs;
use crate::model::{Argument, Method, Service};

pub(super) fn expand(service: &Service) -> TokenStream {
    let Service { attrs, vis, ident, supertraits, rejected, .. } = service;
    let supertraits = supertraits.iter();
    let methods = service.methods.iter().map(method);
    quote! {
        #(#attrs)*
        #vis trait #ident: #(#supertraits +)* ::core::marker::Send + ::core::marker::Sync + 'static {
            #(#methods)*
            #(#rejected)*
        }
    }
}

fn method(method: &Method) -> TokenStream {
    let Method { attrs, ident, receiver, body, .. } = method;
    let arguments = method.arguments.iter().map(|argument| {
        let Argument { attrs, mutability, ident, ty, .. } = argument;
        quote!(#(#attrs)* #mutability #ident: #ty)
    });
    let docs = parameter_docs(method.arguments.iter());
    let answer = method.answer.ty();
    let body = match body {
        Some(block) => quote!({ async move #block }),
        None => quote!(;),
    };
    quote! {
        #(#attrs)*
        #docs
        fn #ident(#receiver, #(#arguments),*) -> impl ::core::future::Future<Output = #answer> + ::core::marker::Send
        #body
    }
}
