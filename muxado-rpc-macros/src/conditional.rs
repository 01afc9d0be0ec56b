//! Attributes under `cfg_attr`, and what `cfg`s mean together with them.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::{Attribute, Meta, Path, Token, parse::Parser, parse_quote, punctuated::Punctuated};

/// Takes each `cfg_attr` apart, so that one holds one attribute, which is no `cfg_attr` itself.
pub(crate) fn flatten(attrs: Vec<Attribute>) -> Vec<Attribute> {
    let mut flat = Vec::new();
    for attr in attrs {
        match Conditional::all_in(&attr.meta, None) {
            Some(found) if attr.path().is_ident("cfg_attr") => {
                flat.extend(found.into_iter().map(|one| one.to_attribute(&attr)));
            }
            _ => flat.push(attr),
        }
    }
    flat
}

/// An attribute, and the condition under which it is there.
pub(crate) struct Conditional {
    pub(crate) predicate: Option<TokenStream>,
    pub(crate) meta: Meta,
}

impl Conditional {
    /// What [`flatten`] left of an attribute.
    pub(crate) fn of(attr: &Attribute) -> Self {
        let found = Self::all_in(&attr.meta, None).and_then(|mut found| found.pop());
        found.unwrap_or_else(|| Self { predicate: None, meta: attr.meta.clone() })
    }

    /// All attributes in this one, which stands under `outer`; `None` if it cannot be read.
    fn all_in(meta: &Meta, outer: Option<&TokenStream>) -> Option<Vec<Self>> {
        let Meta::List(list) = meta else {
            return Some(vec![Self { predicate: outer.cloned(), meta: meta.clone() }]);
        };
        if !list.path.is_ident("cfg_attr") {
            return Some(vec![Self { predicate: outer.cloned(), meta: meta.clone() }]);
        }
        let (predicate, rest) = at_comma(list.tokens.clone());
        let predicate = match outer {
            Some(outer) => quote!(all(#outer, #predicate)),
            None => predicate,
        };
        let inner = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(rest).ok()?;
        let found: Option<Vec<_>> = inner.iter().map(|meta| Self::all_in(meta, Some(&predicate))).collect();
        Some(found?.into_iter().flatten().collect())
    }

    fn to_attribute(&self, like: &Attribute) -> Attribute {
        let Self { predicate, meta } = self;
        let meta = match predicate {
            Some(predicate) => parse_quote!(cfg_attr(#predicate, #meta)),
            None => meta.clone(),
        };
        Attribute { meta, ..like.clone() }
    }
}

/// The path of an attribute that [`flatten`] has seen, inside its `cfg_attr` if it has one.
pub(crate) fn path(attr: &Attribute) -> Path {
    Conditional::of(attr).meta.path().clone()
}

/// Whether an attribute that [`flatten`] has seen is of this name.
pub(crate) fn is(attr: &Attribute, name: &str) -> bool {
    path(attr).is_ident(name)
}

/// The `cfg`s among attributes that [`flatten`] has seen.
pub(crate) fn only_cfg(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs
        .iter()
        .filter_map(|attr| {
            let Conditional { predicate, meta } = Conditional::of(attr);
            let Meta::List(list) = meta else { return None };
            if !list.path.is_ident("cfg") {
                return None;
            }
            let condition = &list.tokens;
            Some(match predicate {
                Some(predicate) => parse_quote!(#[cfg(any(not(#predicate), #condition))]),
                None => attr.clone(),
            })
        })
        .collect()
}

/// What stands in front of the first comma, and what behind it.
fn at_comma(tokens: TokenStream) -> (TokenStream, TokenStream) {
    let mut tokens = tokens.into_iter();
    let first = tokens
        .by_ref()
        .take_while(|token| !matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','))
        .collect();
    (first, tokens.collect())
}
