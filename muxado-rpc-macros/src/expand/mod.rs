//! From the attribute's input to the generated code. Only this file sees errors: the parts below cannot fail.

mod client;
mod params;
mod server;
mod service;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::quote;
use syn::{Attribute, Item, ItemTrait};

use crate::{
    attr::ServiceArgs,
    model::{Answer, Argument, Method, Service, without_own_attributes},
    validate::{self, Errors},
};

/// Expands `#[service(args)] item`. With errors, whatever can be generated still is, so that the user reads about
/// the errors and not about what is missing because of them.
pub(crate) fn service(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = ServiceArgs::parse(args, &mut errors);
    let code = match syn::parse2(item.clone()) {
        Ok(Item::Trait(item)) => service_trait(args, item, &mut errors),
        Ok(other) => {
            validate::not_a_trait(&other, &mut errors);
            item
        }
        Err(error) => {
            errors.push(error);
            item
        }
    };
    let errors = errors.to_compile_errors();
    quote!(#code #errors)
}

fn service_trait(args: ServiceArgs, item: ItemTrait, errors: &mut Errors) -> TokenStream {
    if validate::head(&item, errors) {
        expand(&Service::from_syn(args, item, errors))
    } else {
        // Read for the errors of its methods; a generic client and server would only add some of their own.
        let bare = without_own_attributes(item.clone());
        Service::from_syn(args, item, errors);
        quote!(#bare)
    }
}

/// Returns all code generated for a service. The impls and their shared items are inside a `const`, so that their
/// names are not visible to the user.
fn expand(service: &Service) -> TokenStream {
    let service_trait = service::expand(service);
    let server = server::declaration(service);
    let client = client::declaration(service);
    let table = table(service);
    let params = params::expand(service);
    let server_impls = server::impls(service);
    let client_impls = client::impls(service);
    let cfg = &service.cfg;
    quote! {
        #service_trait
        #server
        #client

        #(#cfg)*
        #[allow(unused, deprecated, non_camel_case_types, clippy::all, clippy::pedantic, clippy::nursery)]
        const _: () = {
            #table
            #params
            #server_impls
            #client_impls
        };
    }
}

/// The static description of the service. An enum numbers the methods: it leaves no gap where a `cfg` removes one.
fn table(service: &Service) -> TokenStream {
    let private = service.private();
    let name = &service.name;
    let id = match service.id {
        Some(id) => quote!(#id),
        None => quote!(#private::ServiceId::from_name(#name).as_u32()),
    };
    let variants = service.methods.iter().map(|Method { cfg, ident, .. }| quote!(#(#cfg)* #ident));
    let infos = service.methods.iter().map(|method| {
        let (cfg, method_name, index) = (&method.cfg, &method.name, index(method));
        let options = options(service, method);
        quote!(#(#cfg)* #private::method_info(#name, __ID, #method_name, #index, #options))
    });
    quote! {
        enum __Method { #(#variants),* }
        const __ID: ::core::primitive::u32 = #id;
        static __METHODS: &[#private::MethodInfo] = &[#(#infos),*];
        static __SERVICE: #private::ServiceInfo = #private::service_info(#name, __ID, __METHODS);
    }
}

/// What differs from an ordinary unary method.
fn options(service: &Service, method: &Method) -> TokenStream {
    let private = service.private();
    let idempotent = method.idempotent.then(|| quote!(idempotent: true,));
    let no_cancel = method.no_cancel.then(|| quote!(no_cancel: true,));
    let context = method.takes_context().then(|| quote!(takes_context: true,));
    let timeout = method
        .timeout_ms
        .map(|ms| quote!(timeout: ::core::option::Option::Some(::core::time::Duration::from_millis(#ms)),));
    let shape = shape(service, method);
    let given: TokenStream = [shape, idempotent, no_cancel, context, timeout].into_iter().flatten().collect();
    if given.is_empty() {
        return quote!(#private::MethodOptions::DEFAULT);
    }
    quote!(#private::MethodOptions { #given ..#private::MethodOptions::DEFAULT })
}

/// Which sides stream, unless none does.
fn shape(service: &Service, method: &Method) -> Option<TokenStream> {
    let private = service.private();
    let output = matches!(method.answer, Answer::Items(_));
    let without_input = || if output { quote!(ServerStreaming) } else { quote!(Unary) };
    let Some((Argument { cfg, .. }, _)) = method.input() else {
        let shape = without_input();
        return output.then(|| quote!(shape: #private::Shape::#shape,));
    };
    let with_input = if output { quote!(Bidirectional) } else { quote!(ClientStreaming) };
    if cfg.is_empty() {
        return Some(quote!(shape: #private::Shape::#with_input,));
    }
    let (without, without_input) = (cfg_not_all(cfg), without_input());
    Some(quote! {
        #(#cfg)* shape: #private::Shape::#with_input,
        #without shape: #private::Shape::#without_input,
    })
}

/// The `cfg` of what is there instead, if one of an argument's does not hold.
fn cfg_not_all(cfg: &[Attribute]) -> TokenStream {
    let conditions = cfg.iter().filter_map(|attr| Some(&attr.meta.require_list().ok()?.tokens));
    quote!(#[cfg(not(all(#(#conditions),*)))])
}

/// Number of a method within its service.
fn index(Method { ident, .. }: &Method) -> TokenStream {
    quote!(__Method::#ident as usize)
}

/// Returns a span that points at `place` in the user's code, and resolves names at the attribute.
fn located(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// Gives all of `tokens` a position in the user's source.
fn respan(tokens: TokenStream, place: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        if let TokenTree::Group(group) = &token {
            token = Group::new(group.delimiter(), respan(group.stream(), place)).into();
        }
        token.set_span(token.span().located_at(place));
        token
    };
    tokens.into_iter().map(moved).collect()
}
