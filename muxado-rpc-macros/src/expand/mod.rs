//! From the attribute's input to the generated code. Only this file sees errors: the parts below cannot fail.

mod client;
mod params;
mod schema;
mod server;
mod service;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{quote, quote_spanned};
use syn::{Attribute, Item, ItemTrait};

use crate::{
    attr::ServiceArgs,
    lenient,
    model::{Answer, Argument, Method, Options, Service, without_own_attributes},
    validate::{self, Errors},
};

/// Expands `#[service(args)] item`. With errors, whatever can be generated still is, so that the user reads about
/// the errors and not about what is missing because of them.
pub(crate) fn service(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let args = ServiceArgs::parse(args, &mut errors);
    let code = match lenient::parse(item.clone(), &mut errors) {
        Some(Item::Trait(item)) => service_trait(args, item, &mut errors),
        Some(other) => {
            validate::not_a_trait(&other, &mut errors);
            item
        }
        None => item,
    };
    let errors = errors.to_compile_errors();
    quote!(#code #errors)
}

fn service_trait(args: ServiceArgs, mut item: ItemTrait, errors: &mut Errors) -> TokenStream {
    validate::async_trait(&mut item, errors);
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
    let schema = service.schema.then(|| schema::expand(service));
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
            #schema
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
    let infos = service.methods.iter().map(|method| infos(service, method));
    let clashes: TokenStream = service.methods.iter().map(clashes).collect();
    let described = service.schema.then(|| quote!(.described_by(__schema)));
    quote! {
        enum __Method { #(#variants),* }
        const __ID: ::core::primitive::u32 = #id;
        static __METHODS: &[#private::MethodInfo] = &[#(#infos)*];
        static __SERVICE: #private::ServiceInfo = #private::service_info(#name, __ID, __METHODS)#described;
        #clashes
    }
}

/// The entry of a method: one of several if its options depend on conditions.
fn infos(service: &Service, method: &Method) -> TokenStream {
    let (private, name) = (service.private(), &service.name);
    let (cfg, index) = (&method.cfg, index(method));
    let info = |given: &Options| {
        let (method_name, options) = (&given.name, options(service, method, given));
        quote!(#private::method_info(#name, __ID, #method_name, #index, #options))
    };
    let conditional = method.conditional.iter().map(|(predicate, given)| {
        let info = info(given);
        quote!(#(#cfg)* #[cfg(#predicate)] #info,)
    });
    let predicates = method.conditional.iter().map(|(predicate, _)| predicate);
    let otherwise = (!method.conditional.is_empty()).then(|| quote!(#[cfg(not(any(#(#predicates),*)))]));
    let info = info(&method.options);
    quote!(#(#conditional)* #(#cfg)* #otherwise #info,)
}

/// Errors where two conditions of a method's options hold at once.
fn clashes(method: &Method) -> TokenStream {
    let Method { cfg, conditional, .. } = method;
    let pairs = conditional.iter().enumerate().flat_map(|(i, (second, _))| {
        conditional[..i].iter().map(move |(first, _)| {
            quote_spanned! {method.ident.span()=>
                #(#cfg)*
                #[cfg(all(#first, #second))]
                ::core::compile_error!("a method takes one `#[method(..)]`, but two of these hold at once");
            }
        })
    });
    pairs.collect()
}

/// What differs from an ordinary unary method.
fn options(service: &Service, method: &Method, given: &Options) -> TokenStream {
    let private = service.private();
    let idempotent = given.idempotent.then(|| quote!(idempotent: true,));
    let no_cancel = given.no_cancel.then(|| quote!(no_cancel: true,));
    let context = method.takes_context().then(|| quote!(takes_context: true,));
    let timeout = given
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

/// The docs of a method's parameters, since rustdoc has no place for them on the parameters themselves.
fn parameter_docs<'a>(arguments: impl Iterator<Item = &'a Argument>) -> TokenStream {
    let entries: Vec<_> = arguments.flat_map(Argument::doc_entries).collect();
    if entries.is_empty() {
        return TokenStream::new();
    }
    quote! {
        #[doc = ""]
        #[doc = " # Parameters"]
        #[doc = ""]
        #(#entries)*
    }
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
