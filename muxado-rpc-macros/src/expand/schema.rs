//! What describes the service: a function that is there with `#[service(schema)]` only.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, Ident, Lit, LitStr, Meta, MetaNameValue, Token, ext::IdentExt, parse_quote,
    punctuated::Punctuated, spanned::Spanned,
};

use super::{index, located, params};
use crate::{
    conditional::{self, Conditional},
    model::{Answer, Argument, ArgumentKind, ItemsAnswer, ItemsError, Method, Service},
};

/// The function, and what returns its description to users.
pub(super) fn expand(service: &Service) -> TokenStream {
    let Service { vis, server, attrs, .. } = service;
    let private = service.private();
    let parameters = service.methods.iter().map(|method| structs(service, method));
    let docs = docs(attrs);
    let deprecated = deprecated(attrs, &quote!(service));
    let methods = service.methods.iter().map(|method| self::method(service, method));
    quote! {
        #(#parameters)*
        fn __schema() -> #private::ServiceSchema {
            let mut service = #private::SchemaBuilder::new(&__SERVICE, #docs);
            #deprecated
            #(#methods)*
            service.finish()
        }

        // One type stands for all, so that it need not be named.
        impl #server<()> {
            /// Returns the description of the service: its methods, and JSON Schemas of what they take and return.
            #vis fn schema() -> #private::ServiceSchema {
                __schema()
            }
        }
    }
}

fn method(service: &Service, method: &Method) -> TokenStream {
    let private = service.private();
    let (cfg, index, docs) = (&method.cfg, index(method), docs(&method.attrs));
    let deprecated = deprecated(&method.attrs, &quote!(method));
    let parameters = method.values().enumerate().map(|(i, argument)| parameter(service, method, i, argument));
    let input = method.input().map(|(Argument { cfg, .. }, item)| {
        let input = quote_spanned!(located(item.span())=> #private::describe_input::<#item>(&mut method););
        quote!(#(#cfg)* #input)
    });
    let output = |ty: &TokenStream| {
        let span = located(method.answer.ty().span());
        quote_spanned!(span=> #private::describe_output::<#ty>(&mut method);)
    };
    let error = |ty: &TokenStream| {
        let span = located(method.answer.ty().span());
        quote_spanned! {span=>
            {
                use #private::AnyErrorSchema as _;
                <#private::ErrorSchema<#ty>>::describe(&mut method);
            }
        }
    };
    let answer = match &method.answer {
        Answer::Value(ty) => output(&ty.to_token_stream()),
        Answer::Fallible { ok, error: failure, .. } => [output(ok), error(failure)].into_iter().collect(),
        Answer::Items(ItemsAnswer { item, error: failure, .. }) => match failure {
            ItemsError::None => output(item),
            ItemsError::InItems(failure) | ItemsError::InFront(failure) | ItemsError::Both(failure, _) => {
                [output(item), error(failure)].into_iter().collect()
            }
        },
    };
    quote! {
        #(#cfg)*
        {
            let mut method = #private::MethodBuilder::new(&mut service, &__METHODS[#index], #docs);
            #deprecated
            #(#parameters)*
            #input
            #answer
            method.finish();
        }
    }
}

/// Describes a parameter: by its type, or by a struct of its own if it has attributes, which know what they mean.
fn parameter(service: &Service, method: &Method, i: usize, argument: &Argument) -> TokenStream {
    let private = service.private();
    let Argument { cfg, ident, ty, kind, .. } = argument;
    let docs = docs(&argument.docs);
    if has_attributes(argument) {
        let ident = struct_ident(method, i);
        return quote!(#(#cfg)* #private::describe_attributed::<#ident>(&mut method, #docs););
    }
    let name = LitStr::new(&ident.unraw().to_string(), ident.span());
    let described = match (kind, argument.lent()) {
        (ArgumentKind::Lent, Some(lent)) => {
            let elem = lent.elem;
            let describe = format_ident!(
                "{}",
                if lent.optional { "describe_optional" } else { "describe_parameter" },
                span = located(elem.span())
            );
            quote_spanned!(located(elem.span())=> #private::#describe::<#elem>(&mut method, #name, #docs);)
        }
        _ => quote_spanned! {located(ty.span())=>
            #private::describe_parameter::<#ty>(&mut method, #name, #docs);
        },
    };
    quote!(#(#cfg)* #described)
}

fn has_attributes(argument: &Argument) -> bool {
    !argument.serde.is_empty() || !argument.schemars.is_empty()
}

/// The structs of those parameters of a method that have attributes.
fn structs(service: &Service, method: &Method) -> TokenStream {
    let with_attributes = method.values().enumerate().filter(|(_, argument)| has_attributes(argument));
    with_attributes
        .map(|(i, argument)| {
            let private = service.private();
            let path = quote!(#private::schemars).to_string().replace(' ', "");
            let Argument { cfg, serde, schemars, ident, .. } = argument;
            let (of_method, name) = (&method.cfg, struct_ident(method, i));
            let ty = params::own_type(service, argument, false);
            let known = serde.iter().filter_map(|attr| known_with(attr, &ty));
            let known = known.filter(|_| schemars.is_empty());
            quote! {
                #(#of_method)*
                #(#cfg)*
                #[derive(#private::schemars::JsonSchema)]
                #[schemars(crate = #path)]
                struct #name {
                    #(#serde)*
                    #(#schemars)*
                    #(#known)*
                    #ident: #ty,
                }
            }
        })
        .collect()
}

/// `#[serde(with = ..)]` of bytes changes how they are copied, not what they are: the schema is that of the type.
fn known_with(attr: &Attribute, ty: &TokenStream) -> Option<Attribute> {
    let Conditional { predicate, meta } = Conditional::of(attr);
    let entries = meta.require_list().ok()?.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let module = entries.ok()?.into_iter().find_map(|entry| match entry {
        Meta::NameValue(entry) if entry.path.is_ident("with") => text(&entry.value),
        _ => None,
    })?;
    let module = module.value();
    if !["shared_bytes", "serde_bytes"].contains(&module.rsplit("::").next()?.trim()) {
        return None;
    }
    let ty = ty.to_string();
    Some(match predicate {
        Some(predicate) => parse_quote!(#[cfg_attr(#predicate, schemars(with = #ty))]),
        None => parse_quote!(#[schemars(with = #ty)]),
    })
}

fn struct_ident(method: &Method, i: usize) -> Ident {
    format_ident!("__schema_{}_{i}", method.ident.unraw(), span = proc_macro2::Span::call_site())
}

/// The lines of doc comments, as a slice.
fn docs(attrs: &[Attribute]) -> TokenStream {
    let lines = attrs.iter().filter(|attr| conditional::is(attr, "doc")).filter_map(|attr| {
        let Conditional { predicate, meta } = Conditional::of(attr);
        let Meta::NameValue(MetaNameValue { value, .. }) = meta else { return None };
        let condition = predicate.map(|predicate| quote!(#[cfg(#predicate)]));
        Some(quote!(#condition #value))
    });
    quote!(&[#(#lines),*])
}

/// What notes that something is deprecated, and why.
fn deprecated(attrs: &[Attribute], of: &TokenStream) -> TokenStream {
    let found = attrs.iter().filter(|attr| conditional::is(attr, "deprecated")).map(|attr| {
        let Conditional { predicate, meta } = Conditional::of(attr);
        let note = note(&meta).unwrap_or_else(|| LitStr::new("", attr.span()));
        let condition = predicate.map(|predicate| quote!(#[cfg(#predicate)]));
        quote!(#condition #of.note_deprecated(#note);)
    });
    found.collect()
}

/// The reason that `#[deprecated]` gives.
fn note(meta: &Meta) -> Option<LitStr> {
    match meta {
        Meta::Path(_) => None,
        Meta::NameValue(entry) => text(&entry.value),
        Meta::List(list) => {
            let entries = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
            entries.iter().find_map(|entry| match entry {
                Meta::NameValue(entry) if entry.path.is_ident("note") => text(&entry.value),
                _ => None,
            })
        }
    }
}

fn text(value: &Expr) -> Option<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.clone()),
        _ => None,
    }
}
