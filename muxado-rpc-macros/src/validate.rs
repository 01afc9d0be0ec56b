//! The rules of a service trait, and the accumulator that reports every broken one.

use std::fmt;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{
    Attribute, Error, FnArg, Ident, Item, ItemTrait, Lifetime, Pat, PatIdent, PatType, Path, ReceiverKind,
    ReturnType, Safety, Signature, TraitItem, TraitItemFn, Type, TypeImplTrait, TypeParamBound, TypePath,
    TypeReference, TypeTraitObject,
    visit::{self, Visit},
};

use crate::{
    attr::MethodArgs,
    conditional,
    model::Method,
    types::{Lent, StreamParts, is_context, lent, peel, stream_parts, streaming_item},
};

/// Collects errors so that all of a trait are reported at once.
#[derive(Default)]
pub(crate) struct Errors {
    errors: Vec<Error>,
}

impl Errors {
    /// Adds an error that points at `tokens`.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl fmt::Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        self.errors.push(error);
    }

    pub(crate) fn extend(&mut self, errors: impl IntoIterator<Item = Error>) {
        self.errors.extend(errors);
    }

    pub(crate) fn count(&self) -> usize {
        self.errors.len()
    }

    /// Returns one `compile_error!` for each error.
    pub(crate) fn to_compile_errors(&self) -> TokenStream {
        self.errors.iter().map(Error::to_compile_error).collect()
    }
}

/// Reports an item that is no trait, by its name where it has one.
pub(crate) fn not_a_trait(item: &Item, errors: &mut Errors) {
    let message = "`#[service]` goes on a trait";
    match item {
        Item::Struct(item) => errors.at(&item.ident, message),
        Item::Enum(item) => errors.at(&item.ident, message),
        Item::Fn(item) => errors.at(&item.sig.ident, message),
        Item::Mod(item) => errors.at(&item.ident, message),
        Item::Impl(item) => errors.at(&item.self_ty, message),
        _ => errors.push(Error::new(Span::call_site(), message)),
    }
}

/// Takes out `#[async_trait]`, which would change the methods.
pub(crate) fn async_trait(item: &mut ItemTrait, errors: &mut Errors) {
    for attr in item.attrs.extract_if(.., |attr| is_async_trait(attr)) {
        errors.at(attr, ASYNC_TRAIT);
    }
}

/// Checks everything of the trait but its methods; false if it broke a rule.
pub(crate) fn head(item: &ItemTrait, errors: &mut Errors) -> bool {
    let before = errors.count();
    if let Some(token) = &item.unsafety {
        errors.at(token, "a service trait cannot be unsafe");
    }
    if let Some(token) = &item.modifiers.auto_token {
        errors.at(token, "a service trait cannot be an auto trait");
    }
    if !item.generics.params.is_empty() {
        errors.at(&item.generics, "a service trait cannot be generic: its types must be known to both peers");
    }
    if let Some(clause) = &item.generics.where_clause {
        errors.at(clause, "a where clause is not supported on a service trait");
    }
    errors.count() == before
}

/// Reports an item that is not a method.
pub(crate) fn other_item(item: &TraitItem, errors: &mut Errors) {
    match item {
        TraitItem::Const(item) => {
            errors.at(item, "associated constants are not supported in a service trait");
        }
        TraitItem::Type(item) => errors.at(item, "associated types are not supported in a service trait"),
        TraitItem::Macro(item) => errors.at(item, "macros are not supported in a service trait"),
        item => errors.at(item, "a service trait holds methods only"),
    }
}

/// Checks one method by itself.
pub(crate) fn method(method: &TraitItemFn, errors: &mut Errors) {
    let sig = &method.sig;
    if is_of_async_trait(sig) {
        return errors.at(&sig.ident, ASYNC_TRAIT);
    }
    qualifiers(sig, errors);
    generics(sig, errors);
    receiver(sig, errors);
    for argument in typed(sig) {
        pattern(&argument.pat, method.default.is_some(), errors);
        parameter(argument, errors);
    }
    for second in typed(sig).filter(|argument| is_context(&argument.ty)).skip(1) {
        errors.at(second, "a service method takes one `&Context`");
    }
    for second in typed(sig).filter(|argument| streaming_item(&argument.ty).is_some()).skip(1) {
        errors.at(second, "a service method takes one `Streaming<T>`: all its items come in one order");
    }
    if let ReturnType::Type(_, ty) = &sig.output {
        answer(ty, errors);
    }
}

fn answer(ty: &Type, errors: &mut Errors) {
    let Some(StreamParts { item, error }) = stream_parts(ty) else {
        return TypeRules { place: Place::Answer, errors }.visit_type(ty);
    };
    for ty in [Some(item), error].into_iter().flatten() {
        TypeRules { place: Place::Answer, errors }.visit_type(ty);
    }
}

/// Checks the options of a method against its signature.
pub(crate) fn options(args: &MethodArgs, method: &TraitItemFn, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &method.sig.output else { return };
    if args.all().any(|options| options.no_cancel) && stream_parts(ty).is_some() {
        errors.at(ty, "`no_cancel` is for methods that return one value: a stream ends when it is not read");
    }
}

/// Checks that what is said of schemas has an effect.
pub(crate) fn schemars(method: &TraitItemFn, has_schema: bool, errors: &mut Errors) {
    for argument in typed(&method.sig) {
        for attr in argument.attrs.iter().filter(|attr| conditional::is(attr, "schemars")) {
            if !has_schema {
                errors.at(attr, "`#[schemars(..)]` is for the schemas of `#[muxado_rpc::service(schema)]`");
            } else if is_context(&argument.ty) || streaming_item(&argument.ty).is_some() {
                errors.at(attr, "`#[schemars(..)]` is for parameters that are sent with the request");
            }
        }
    }
}

/// Checks the methods against each other.
pub(crate) fn names(methods: &[Method], errors: &mut Errors) {
    for (i, method) in methods.iter().enumerate() {
        // Two methods under a `cfg` each may exclude one another; rustc finds them if they don't.
        let mut rivals =
            methods[..i].iter().filter(|earlier| earlier.cfg.is_empty() || method.cfg.is_empty());
        if rivals.clone().any(|earlier| earlier.ident == method.ident) {
            errors.at(&method.ident, format_args!("method `{}` is defined twice", method.ident));
        } else if let Some(rival) = rivals.find(|earlier| {
            // Names under a condition may exclude one another, too.
            let settled = earlier.conditional.is_empty() && method.conditional.is_empty();
            settled && earlier.options.name.value() == method.options.name.value()
        }) {
            let (name, rival) = (method.options.name.value(), &rival.ident);
            errors.at(
                &method.options.name,
                format_args!("the name \"{name}\" on the wire is taken by method `{rival}`"),
            );
        }
    }
}

/// `#[async_trait]`, whatever its path.
fn is_async_trait(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "async_trait")
}

const ASYNC_TRAIT: &str = "a service has no `#[async_trait]`, neither on the trait nor on its implementations: \
    their methods are plain `async fn`s";

/// Whether `#[async_trait]` has been at work on a method.
fn is_of_async_trait(sig: &Signature) -> bool {
    sig.generics.lifetimes().any(|lifetime| lifetime.lifetime.ident == "async_trait")
}

fn qualifiers(sig: &Signature, errors: &mut Errors) {
    if sig.asyncness.is_none() {
        errors.at(sig.fn_token, format_args!("a service method is async: write `async fn {}`", sig.ident));
    }
    if let Some(token) = &sig.constness {
        errors.at(token, "a service method cannot be const");
    }
    match &sig.safety {
        Safety::Default => {}
        Safety::Unsafe(token) => errors.at(token, "a service method cannot be unsafe"),
        Safety::Safe(token) => errors.at(token, "a service method cannot be marked as safe"),
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "a service method cannot have an ABI");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "a service method cannot be variadic");
    }
}

fn generics(sig: &Signature, errors: &mut Errors) {
    if !sig.generics.params.is_empty() {
        errors.at(&sig.generics, "a service method cannot be generic: its types must be known to both peers");
    }
    if let Some(clause) = &sig.generics.where_clause {
        errors.at(clause, "a where clause is not supported on a service method");
    }
}

fn receiver(sig: &Signature, errors: &mut Errors) {
    let Some(receiver) = sig.receiver() else {
        errors.at(&sig.ident, format_args!("missing `&self`: write `async fn {}(&self, ..)`", sig.ident));
        return;
    };
    match &receiver.kind {
        ReceiverKind::Reference(_, None, None) => {}
        ReceiverKind::Reference(_, _, Some(_)) => errors.at(
            receiver,
            "a service method takes `&self`: calls run at the same time, keep state behind a lock",
        ),
        _ => errors.at(receiver, "a service method takes `&self`"),
    }
}

fn typed(sig: &Signature) -> impl Iterator<Item = &PatType> {
    sig.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(argument) => Some(argument),
        FnArg::Receiver(_) => None,
    })
}

fn pattern(pat: &Pat, has_body: bool, errors: &mut Errors) {
    match pat {
        Pat::Ident(PatIdent { by_ref: None, mutability: None, subpat: None, .. }) => {}
        Pat::Ident(PatIdent { by_ref: None, mutability: Some(_), subpat: None, .. }) if has_body => {}
        pat => errors.at(pat, "a parameter needs a plain name: it is sent under that name"),
    }
}

fn parameter(argument: &PatType, errors: &mut Errors) {
    let message = match (is_context(&argument.ty), streaming_item(&argument.ty)) {
        (true, _) => "the context is not sent: `#[serde(..)]` has no effect here",
        (false, Some(item)) => {
            TypeRules { place: Place::Item, errors }.visit_type(item);
            "items are not a field of the request: `#[serde(..)]` has no effect here"
        }
        (false, None) => {
            if let Type::Reference(ty) = peel(&argument.ty)
                && (ty.lifetime.is_some() || ty.mutability.is_some())
                && !is_named(&ty.elem, "Context")
            {
                return errors
                    .at(ty, "a reference is taken as it is, as `&str` or `&T`: without a lifetime or `mut`");
            }
            let sent = lent(&argument.ty).map_or(&*argument.ty, |Lent { elem, .. }| elem);
            return TypeRules { place: Place::Parameter, errors }.visit_type(sent);
        }
    };
    for attr in argument.attrs.iter().filter(|attr| conditional::is(attr, "serde")) {
        errors.at(attr, message);
    }
}

/// Finds in a type what cannot be sent.
struct TypeRules<'a> {
    place: Place,
    errors: &'a mut Errors,
}

#[derive(Clone, Copy)]
enum Place {
    Parameter,
    Item,
    Answer,
}

impl Place {
    fn by_value(self) -> &'static str {
        match self {
            Self::Parameter => "a reference is a parameter by itself, or in an `Option`",
            Self::Item => "items are sent by value",
            Self::Answer => "answers are sent by value",
        }
    }
}

impl<'ast> Visit<'ast> for TypeRules<'_> {
    fn visit_type_reference(&mut self, ty: &'ast TypeReference) {
        let by_value = self.place.by_value();
        match owned_instead(&ty.elem) {
            _ if is_named(&ty.elem, "Context") => {
                self.errors.at(ty, "the context is taken as `&Context`, without a lifetime or `mut`");
            }
            Some((borrowed, owned)) => {
                self.errors.at(ty, format_args!("{by_value}: use `{owned}` instead of `{borrowed}`"));
            }
            None => self.errors.at(ty, format_args!("{by_value}: use an owned type instead of a reference")),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            let by_value = self.place.by_value();
            self.errors.at(lifetime, format_args!("{by_value}: use a type that borrows nothing"));
        }
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let message = match self.place {
            Place::Parameter | Place::Item if ty.bounds.iter().any(is_stream) => {
                "a stream is taken as an argument `Streaming<T>`"
            }
            Place::Answer if ty.bounds.iter().any(is_stream) => {
                "a stream is returned as `impl Stream<Item = T>`, or as a `Result<_, E>` of that"
            }
            Place::Parameter | Place::Item => {
                "a service method cannot be generic: `impl Trait` stands for a type parameter"
            }
            Place::Answer => "a service method returns a named type, not `impl Trait`",
        };
        self.errors.at(ty, message);
    }

    fn visit_type_path(&mut self, ty: &'ast TypePath) {
        if ty.path.segments.first().is_some_and(|first| first.ident == "Self") {
            self.errors.at(ty, "`Self` cannot be sent: it is another type in the client");
        } else {
            visit::visit_type_path(self, ty);
        }
    }

    fn visit_type_trait_object(&mut self, ty: &'ast TypeTraitObject) {
        if ty.bounds.iter().any(is_stream) {
            let message = match self.place {
                Place::Parameter | Place::Item => "a stream is taken as an argument `Streaming<T>`",
                Place::Answer => {
                    "a stream is returned as `impl Stream<Item = T>`: a boxed one stands behind it in the \
                    implementation, as `stream.boxed()`"
                }
            };
            self.errors.at(ty, message);
        }
    }
}

fn is_stream(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Trait(bound) if bound.path.segments.last().is_some_and(|last| last.ident == "Stream"))
}

fn is_named(ty: &Type, name: &str) -> bool {
    matches!(peel(ty), Type::Path(ty) if ty.path.segments.last().is_some_and(|last| last.ident == name))
}

/// How to write the reference to `target`, and the owned type to use instead, where both are plain to say.
fn owned_instead(target: &Type) -> Option<(String, String)> {
    match peel(target) {
        Type::Path(ty) => {
            let name = plain_name(&ty.path)?.to_string();
            let owned = match name.as_str() {
                "str" => "String".to_owned(),
                "Path" => "PathBuf".to_owned(),
                _ => name.clone(),
            };
            Some((format!("&{name}"), owned))
        }
        Type::Slice(slice) => {
            let Type::Path(item) = peel(&slice.elem) else { return None };
            let item = plain_name(&item.path)?;
            Some((format!("&[{item}]"), format!("Vec<{item}>")))
        }
        _ => None,
    }
}

fn plain_name(path: &Path) -> Option<&Ident> {
    path.get_ident()
}
