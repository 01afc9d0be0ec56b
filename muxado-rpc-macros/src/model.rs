//! A service as the macro understands it: what is here can be expanded.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Block, Expr, ExprLit, FnArg, Ident, ItemTrait, Lit, LitStr, Meta, Pat, Path, Receiver,
    ReturnType, Signature, Token, TraitItem, TraitItemFn, Type, TypeParamBound, Visibility, ext::IdentExt,
    parse_quote, punctuated::Punctuated,
};

use crate::{
    attr::{MethodArgs, MethodOptions, ServiceArgs},
    conditional::{self, Conditional, flatten, only_cfg},
    types::{Lent, is_context, lent, make_stream_send, result_types, stream_parts, streaming_item},
    validate::{self, Errors},
};

/// A trait that is a service.
pub(crate) struct Service {
    pub(crate) attrs: Vec<Attribute>,
    /// The `cfg`s among the attributes: everything generated stands or falls with them.
    pub(crate) cfg: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) ident: Ident,
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    /// Name on the wire.
    pub(crate) name: LitStr,
    /// Id on the wire, if it is not the hash of the name.
    pub(crate) id: Option<u32>,
    /// Whether JSON Schemas are generated.
    pub(crate) schema: bool,
    /// Path of the runtime crate.
    pub(crate) krate: Path,
    /// Names of the two types that are generated.
    pub(crate) server: Ident,
    pub(crate) client: Ident,
    /// Type parameter of the server, and of the client: names that the trait does not mention.
    pub(crate) implementation: Ident,
    pub(crate) channel: Ident,
    pub(crate) methods: Vec<Method>,
    /// Items with errors, kept in the trait so that its implementations make no further errors.
    pub(crate) rejected: Vec<TraitItem>,
}

/// A method that can be called remotely.
pub(crate) struct Method {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) cfg: Vec<Attribute>,
    pub(crate) ident: Ident,
    /// The options that hold if no condition does.
    pub(crate) options: Options,
    /// Those that hold under a condition each.
    pub(crate) conditional: Vec<(TokenStream, Options)>,
    pub(crate) receiver: Receiver,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) answer: Answer,
    /// Default implementation.
    pub(crate) body: Option<Block>,
}

/// What is declared of a method beside its signature.
pub(crate) struct Options {
    /// Name on the wire.
    pub(crate) name: LitStr,
    pub(crate) idempotent: bool,
    pub(crate) no_cancel: bool,
    /// Time limit of calls that set none.
    pub(crate) timeout_ms: Option<u64>,
}

/// An argument of a method, after `&self`.
pub(crate) struct Argument {
    /// Its documentation, which has no place on a parameter.
    pub(crate) docs: Vec<Attribute>,
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) cfg: Vec<Attribute>,
    /// The `#[serde(..)]` attributes, which go to the field that carries it.
    pub(crate) serde: Vec<Attribute>,
    /// The `#[schemars(..)]` attributes, which say what its schema is.
    pub(crate) schemars: Vec<Attribute>,
    /// Only before a default body.
    pub(crate) mutability: Option<Token![mut]>,
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) kind: ArgumentKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgumentKind {
    /// Sent with the request.
    Value,
    /// Sent with the request, and lent on both sides: `&T` or `Option<&T>`.
    Lent,
    /// `&Context`, made by the server.
    Context,
    /// `Streaming<T>`: items that follow the request.
    Items,
}

/// What a method returns.
pub(crate) enum Answer {
    Value(Type),
    /// A type named `Result`, whose error is the application's own.
    Fallible {
        ty: Type,
        ok: TokenStream,
        error: TokenStream,
    },
    /// `impl Stream<Item = ..>`.
    Items(ItemsAnswer),
}

/// A stream that a method returns.
pub(crate) struct ItemsAnswer {
    /// As the user wrote it, but for the stream, which is `Send`.
    pub(crate) ty: Type,
    pub(crate) item: TokenStream,
    pub(crate) error: ItemsError,
}

/// Where a stream has an error of the application's own.
pub(crate) enum ItemsError {
    None,
    /// Each item is a `Result` with this error.
    InItems(TokenStream),
    /// The method returns a `Result` of a stream, with this error.
    InFront(TokenStream),
    /// The method returns a `Result` of a stream whose items are `Result`s: the error in front, and that of the items.
    Both(TokenStream, TokenStream),
}

impl Service {
    /// Reads a trait. Methods that break a rule are reported and end up in `rejected`.
    pub(crate) fn from_syn(args: ServiceArgs, item: ItemTrait, errors: &mut Errors) -> Self {
        let tokens = item.to_token_stream();
        let krate = args.krate.unwrap_or_else(|| parse_quote!(::muxado_rpc));
        let attrs = flatten(item.attrs);
        let mut service = Self {
            cfg: only_cfg(&attrs),
            name: args.name.unwrap_or_else(|| wire_name(&item.ident)),
            server: args.server.unwrap_or_else(|| generated_name(&item.ident, "Server")),
            client: args.client.unwrap_or_else(|| generated_name(&item.ident, "Client")),
            attrs,
            vis: item.vis,
            ident: item.ident,
            supertraits: item.supertraits,
            id: args.id,
            schema: args.schema,
            implementation: unused_ident("T", &tokens),
            channel: unused_ident("C", &tokens),
            methods: Vec::new(),
            rejected: Vec::new(),
            krate,
        };
        for item in item.items {
            service.add(item, errors);
        }
        validate::names(&service.methods, errors);
        let mut seen: Vec<Ident> = Vec::new();
        service.methods.retain(|method| {
            let first = !method.cfg.is_empty() || !seen.contains(&method.ident);
            seen.push(method.ident.clone());
            first
        });
        service
    }

    fn add(&mut self, item: TraitItem, errors: &mut Errors) {
        let before = errors.count();
        let TraitItem::Fn(mut method) = item else {
            validate::other_item(&item, errors);
            self.rejected.push(item);
            return;
        };
        method.attrs = flatten(method.attrs);
        for input in &mut method.sig.inputs {
            if let FnArg::Typed(argument) = input {
                argument.attrs = flatten(std::mem::take(&mut argument.attrs));
            }
        }
        validate::method(&method, errors);
        validate::schemars(&method, self.schema, errors);
        let args = MethodArgs::take_from(&mut method.attrs, errors);
        validate::options(&args, &method, errors);
        if errors.count() > before {
            make_tolerable(&mut method);
            self.rejected.push(TraitItem::Fn(method));
        } else {
            self.methods.push(Method::from_syn(&args, method, &self.krate));
        }
    }

    /// Path of the module that generated code may use.
    pub(crate) fn private(&self) -> TokenStream {
        let krate = &self.krate;
        quote!(#krate::__private)
    }

    /// Path of serde, as the runtime crate has it.
    pub(crate) fn serde(&self) -> TokenStream {
        let private = self.private();
        quote!(#private::serde)
    }
}

impl Method {
    /// Reads a method that keeps every rule of [`validate::method`].
    fn from_syn(args: &MethodArgs, method: TraitItemFn, krate: &Path) -> Self {
        let Signature { ident, inputs, output, .. } = method.sig;
        let mut receiver: Receiver = parse_quote!(&self);
        let mut arguments = Vec::new();
        for input in inputs {
            match input {
                FnArg::Receiver(own) => receiver = own,
                FnArg::Typed(argument) => arguments.extend(Argument::from_syn(argument)),
            }
        }
        Self {
            cfg: only_cfg(&method.attrs),
            attrs: method.attrs,
            options: Options::of(&ident, &args.base, None),
            conditional: args
                .conditional
                .iter()
                .map(|(predicate, more)| (predicate.clone(), Options::of(&ident, &args.base, Some(more))))
                .collect(),
            ident,
            receiver,
            arguments,
            answer: Answer::from_syn(output, krate),
            body: method.default,
        }
    }

    /// The arguments that are sent.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Argument> {
        self.arguments
            .iter()
            .filter(|argument| matches!(argument.kind, ArgumentKind::Value | ArgumentKind::Lent))
    }

    /// The items that follow the request: the argument and their type.
    pub(crate) fn input(&self) -> Option<(&Argument, &Type)> {
        self.arguments.iter().find_map(|argument| Some((argument, streaming_item(&argument.ty)?)))
    }

    /// Whether the method asks for the context of the call.
    pub(crate) fn takes_context(&self) -> bool {
        self.arguments.iter().any(|argument| argument.kind == ArgumentKind::Context)
    }
}

impl Options {
    /// The options of a method with this name, and those that a condition adds.
    fn of(ident: &Ident, base: &MethodOptions, more: Option<&MethodOptions>) -> Self {
        let name = more.and_then(|more| more.name.clone()).or_else(|| base.name.clone());
        Self {
            name: name.unwrap_or_else(|| wire_name(ident)),
            idempotent: base.idempotent || more.is_some_and(|more| more.idempotent),
            no_cancel: base.no_cancel || more.is_some_and(|more| more.no_cancel),
            timeout_ms: more.and_then(|more| more.timeout_ms).or(base.timeout_ms),
        }
    }
}

impl Argument {
    fn from_syn(argument: syn::PatType) -> Option<Self> {
        let Pat::Ident(pat) = *argument.pat else { return None };
        let (serde, attrs): (Vec<_>, Vec<_>) =
            argument.attrs.into_iter().partition(|attr| conditional::is(attr, "serde"));
        let (schemars, attrs): (Vec<_>, Vec<_>) =
            attrs.into_iter().partition(|attr| conditional::is(attr, "schemars"));
        let (docs, attrs): (Vec<_>, Vec<_>) =
            attrs.into_iter().partition(|attr| conditional::is(attr, "doc"));
        let kind = match () {
            () if is_context(&argument.ty) => ArgumentKind::Context,
            () if streaming_item(&argument.ty).is_some() => ArgumentKind::Items,
            () if lent(&argument.ty).is_some() => ArgumentKind::Lent,
            () => ArgumentKind::Value,
        };
        Some(Self {
            docs,
            cfg: only_cfg(&attrs),
            attrs,
            serde,
            schemars,
            mutability: pat.mutability,
            ident: pat.ident,
            ty: *argument.ty,
            kind,
        })
    }

    /// What is lent, if it is lent.
    pub(crate) fn lent(&self) -> Option<Lent<'_>> {
        if self.kind == ArgumentKind::Lent { lent(&self.ty) } else { None }
    }

    /// Its documentation as entries of a list.
    pub(crate) fn doc_entries(&self) -> Vec<Attribute> {
        let mut lead = format!(" * `{}`:", self.ident.unraw());
        self.docs
            .iter()
            .filter_map(|attr| {
                let Conditional { predicate, meta } = Conditional::of(attr);
                let Meta::NameValue(doc) = meta else { return None };
                let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = doc.value else { return None };
                let line = format!("{lead} {}", text.value().trim());
                "  ".clone_into(&mut lead);
                Some(match predicate {
                    Some(predicate) => parse_quote!(#[cfg_attr(#predicate, doc = #line)]),
                    None => parse_quote!(#[doc = #line]),
                })
            })
            .collect()
    }
}

impl Answer {
    fn from_syn(output: ReturnType, krate: &Path) -> Self {
        let ty = match output {
            ReturnType::Default => return Self::Value(parse_quote!(())),
            ReturnType::Type(_, ty) => *ty,
        };
        if let Some(answer) = ItemsAnswer::from_type(&ty, krate) {
            return Self::Items(answer);
        }
        match result_types(&ty, krate) {
            Some((ok, error)) => Self::Fallible { ty, ok, error },
            None => Self::Value(ty),
        }
    }

    /// The type as the user wrote it.
    pub(crate) fn ty(&self) -> &Type {
        match self {
            Self::Value(ty) | Self::Fallible { ty, .. } | Self::Items(ItemsAnswer { ty, .. }) => ty,
        }
    }
}

impl ItemsAnswer {
    fn from_type(ty: &Type, krate: &Path) -> Option<Self> {
        let parts = stream_parts(ty)?;
        let (item, error) = match (parts.error, result_types(parts.item, krate)) {
            (Some(error), Some((item, of_items))) => {
                (item, ItemsError::Both(error.to_token_stream(), of_items))
            }
            (Some(error), None) => {
                (parts.item.to_token_stream(), ItemsError::InFront(error.to_token_stream()))
            }
            (None, Some((item, error))) => (item, ItemsError::InItems(error)),
            (None, None) => (parts.item.to_token_stream(), ItemsError::None),
        };
        let mut ty = ty.clone();
        make_stream_send(&mut ty);
        Some(Self { ty, item, error })
    }
}

/// The name of a type that is generated. It stands where the trait's does, and is known to be none of the user's, so
/// that the compiler says where it comes from if there is another.
fn generated_name(ident: &Ident, what: &str) -> Ident {
    format_ident!("{}{what}", ident.unraw(), span = Span::call_site().located_at(ident.span()))
}

fn wire_name(ident: &Ident) -> LitStr {
    LitStr::new(&ident.unraw().to_string(), ident.span())
}

/// `base`, lengthened until no identifier in `tokens` equals it, so that it cannot hide a type of the user.
fn unused_ident(base: &str, tokens: &TokenStream) -> Ident {
    let mut name = base.to_owned();
    while mentions(tokens.clone(), &name) {
        name.push_str(base);
    }
    format_ident!("{name}")
}

fn mentions(tokens: TokenStream, name: &str) -> bool {
    tokens.into_iter().any(|token| match token {
        proc_macro2::TokenTree::Group(group) => mentions(group.stream(), name),
        proc_macro2::TokenTree::Ident(ident) => ident == name,
        _ => false,
    })
}

/// The trait without the attributes that only this macro knows.
pub(crate) fn without_own_attributes(mut item: ItemTrait) -> ItemTrait {
    for item in &mut item.items {
        if let TraitItem::Fn(method) = item {
            method.attrs = flatten(std::mem::take(&mut method.attrs));
            method.attrs.retain(|attr| !conditional::is(attr, "method"));
            make_tolerable(method);
        }
    }
    item
}

/// Brings a method with errors into a form that rustc has nothing to add to.
fn make_tolerable(method: &mut TraitItemFn) {
    for argument in &mut method.sig.inputs {
        if let FnArg::Typed(argument) = argument {
            argument.attrs = flatten(std::mem::take(&mut argument.attrs));
            argument
                .attrs
                .retain(|attr| !["serde", "schemars", "doc"].iter().any(|name| conditional::is(attr, name)));
            if method.default.is_none() {
                *argument.pat = parse_quote!(_);
            }
        }
    }
    // What mentions `Self` by value, or takes it, needs no further complaint about its size.
    method.sig.generics.make_where_clause().predicates.push(parse_quote!(Self: ::core::marker::Sized));
    method.attrs.push(parse_quote!(#[allow(async_fn_in_trait)]));
}
