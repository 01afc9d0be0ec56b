//! What the types in signatures mean.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{
    GenericArgument, Path, PathArguments, Type, TypeImplTrait, TypeParamBound, TypeReference, parse_quote,
};

/// The two types of a type named `Result`. Two arguments are taken as they are, for the sake of readable docs; the
/// server's code checks that they are indeed the two of the type. An alias like `io::Result<T>` is asked for them.
pub(crate) fn result_types(ty: &Type, krate: &Path) -> Option<(TokenStream, TokenStream)> {
    let Type::Path(path) = peel(ty) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
    Some(match two_types(&last.arguments) {
        Some((ok, error)) => (ok.to_token_stream(), error.to_token_stream()),
        None => {
            let is_result = quote!(#krate::__private::IsResult);
            (quote!(<#ty as #is_result>::Ok), quote!(<#ty as #is_result>::Err))
        }
    })
}

/// The types in `impl Stream<Item = T>`, or in a `Result` of such a stream.
pub(crate) struct StreamParts<'a> {
    pub(crate) item: &'a Type,
    pub(crate) error: Option<&'a Type>,
}

/// Returns the parts of the type of a stream that a method returns; `None` for a type that is not a stream.
pub(crate) fn stream_parts(ty: &Type) -> Option<StreamParts<'_>> {
    match peel(ty) {
        Type::ImplTrait(stream) => Some(StreamParts { item: item_of(stream)?, error: None }),
        Type::Path(path) => {
            let last = path.path.segments.last().filter(|last| last.ident == "Result")?;
            let (ok, error) = two_types(&last.arguments)?;
            let Type::ImplTrait(stream) = peel(ok) else { return None };
            Some(StreamParts { item: item_of(stream)?, error: Some(error) })
        }
        _ => None,
    }
}

/// The `T` of `impl Stream<Item = T>`.
fn item_of(stream: &TypeImplTrait) -> Option<&Type> {
    let arguments = stream.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            let last = bound.path.segments.last().filter(|last| last.ident == "Stream")?;
            Some(&last.arguments)
        }
        _ => None,
    })?;
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}

pub(crate) fn make_stream_send(ty: &mut Type) {
    match ty {
        Type::Group(group) => make_stream_send(&mut group.elem),
        Type::Paren(paren) => make_stream_send(&mut paren.elem),
        Type::ImplTrait(stream) => stream.bounds.push(parse_quote!(::core::marker::Send)),
        Type::Path(path) => {
            let last = path.path.segments.last_mut().map(|last| &mut last.arguments);
            let Some(PathArguments::AngleBracketed(arguments)) = last else { return };
            if let Some(GenericArgument::Type(ok)) = arguments.args.first_mut() {
                make_stream_send(ok);
            }
        }
        _ => {}
    }
}

/// The `T` of `Streaming<T>`, under whatever path.
pub(crate) fn streaming_item(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = peel(ty) else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Streaming")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match (arguments.args.first(), arguments.args.len()) {
        (Some(GenericArgument::Type(item)), 1) => Some(item),
        _ => None,
    }
}

/// A parameter by reference.
pub(crate) struct Lent<'a> {
    /// What the reference is to.
    pub(crate) elem: &'a Type,
    /// `Option<&T>`.
    pub(crate) optional: bool,
}

/// Returns what a parameter `&T` or `Option<&T>` refers to; `None` for any other, and for the context.
pub(crate) fn lent(ty: &Type) -> Option<Lent<'_>> {
    if is_context(ty) {
        return None;
    }
    match peel(ty) {
        Type::Reference(TypeReference { lifetime: None, mutability: None, elem, .. }) => {
            Some(Lent { elem, optional: false })
        }
        Type::Path(path) => {
            let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
            let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
            let (Some(GenericArgument::Type(inner)), 1) = (arguments.args.first(), arguments.args.len())
            else {
                return None;
            };
            match lent(inner)? {
                Lent { elem, optional: false } => Some(Lent { elem, optional: true }),
                Lent { .. } => None,
            }
        }
        _ => None,
    }
}

impl Lent<'_> {
    /// `&[u8]`, a byte string.
    pub(crate) fn is_bytes(&self) -> bool {
        let Type::Slice(slice) = peel(self.elem) else { return false };
        matches!(peel(&slice.elem), Type::Path(item) if item.path.is_ident("u8"))
    }
}

/// The type inside parentheses and the invisible groups that `macro_rules!` makes.
pub(crate) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        ty => ty,
    }
}

/// Whether this is `&Context`, under whatever path.
pub(crate) fn is_context(ty: &Type) -> bool {
    let Type::Reference(TypeReference { lifetime: None, mutability: None, elem, .. }) = peel(ty) else {
        return false;
    };
    let Type::Path(path) = peel(elem) else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "Context" && last.arguments.is_none())
}

fn two_types(arguments: &PathArguments) -> Option<(&Type, &Type)> {
    let PathArguments::AngleBracketed(arguments) = arguments else { return None };
    let mut types = arguments.args.iter().map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    let pair = (types.next()??, types.next()??);
    types.next().is_none().then_some(pair)
}
