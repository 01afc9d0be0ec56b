//! A service as the macro understands it: what is here can be expanded.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote};
use syn::{
    Attribute, Block, FnArg, Ident, ItemTrait, LitStr, Pat, Path, Receiver, ReturnType, Signature, Token,
    TraitItem, TraitItemFn, Type, TypeParamBound, Visibility, ext::IdentExt, parse_quote,
    punctuated::Punctuated,
};

use crate::{
    attr::{MethodArgs, ServiceArgs},
    types::{is_context, make_stream_send, result_types, stream_parts, streaming_item},
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
    /// Path of the runtime crate.
    pub(crate) krate: Path,
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
    /// Name on the wire.
    pub(crate) name: LitStr,
    pub(crate) idempotent: bool,
    pub(crate) no_cancel: bool,
    /// Time limit of calls that set none.
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) receiver: Receiver,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) answer: Answer,
    /// Default implementation.
    pub(crate) body: Option<Block>,
}

/// An argument of a method, after `&self`.
pub(crate) struct Argument {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) cfg: Vec<Attribute>,
    /// The `#[serde(..)]` attributes, which go to the field that carries it.
    pub(crate) serde: Vec<Attribute>,
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
}

impl Service {
    /// Reads a trait. Methods that break a rule are reported and end up in `rejected`.
    pub(crate) fn from_syn(args: ServiceArgs, item: ItemTrait, errors: &mut Errors) -> Self {
        let tokens = item.to_token_stream();
        let krate = args.krate.unwrap_or_else(|| parse_quote!(::muxado_rpc));
        let mut service = Self {
            cfg: only_cfg(&item.attrs),
            name: args.name.unwrap_or_else(|| wire_name(&item.ident)),
            attrs: item.attrs,
            vis: item.vis,
            ident: item.ident,
            supertraits: item.supertraits,
            id: args.id,
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
        validate::method(&method, errors);
        let args = MethodArgs::take_from(&mut method.attrs, errors);
        validate::options(&args, &method, errors);
        if errors.count() > before {
            make_tolerable(&mut method);
            self.rejected.push(TraitItem::Fn(method));
        } else {
            self.methods.push(Method::from_syn(args, method, &self.krate));
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

    pub(crate) fn server(&self) -> Ident {
        format_ident!("{}Server", self.ident.unraw(), span = self.ident.span())
    }

    pub(crate) fn client(&self) -> Ident {
        format_ident!("{}Client", self.ident.unraw(), span = self.ident.span())
    }
}

impl Method {
    /// Reads a method that keeps every rule of [`validate::method`].
    fn from_syn(args: MethodArgs, method: TraitItemFn, krate: &Path) -> Self {
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
            name: args.name.unwrap_or_else(|| wire_name(&ident)),
            idempotent: args.idempotent,
            no_cancel: args.no_cancel,
            timeout_ms: args.timeout_ms,
            ident,
            receiver,
            arguments,
            answer: Answer::from_syn(output, krate),
            body: method.default,
        }
    }

    /// The arguments that are sent.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Argument> {
        self.arguments.iter().filter(|argument| argument.kind == ArgumentKind::Value)
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

impl Argument {
    fn from_syn(argument: syn::PatType) -> Option<Self> {
        let Pat::Ident(pat) = *argument.pat else { return None };
        let (serde, attrs): (Vec<_>, Vec<_>) =
            argument.attrs.into_iter().partition(|attr| attr.path().is_ident("serde"));
        let kind = match () {
            () if is_context(&argument.ty) => ArgumentKind::Context,
            () if streaming_item(&argument.ty).is_some() => ArgumentKind::Items,
            () => ArgumentKind::Value,
        };
        Some(Self {
            cfg: only_cfg(&attrs),
            attrs,
            serde,
            mutability: pat.mutability,
            ident: pat.ident,
            ty: *argument.ty,
            kind,
        })
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
            (Some(error), _) => (parts.item.to_token_stream(), ItemsError::InFront(error.to_token_stream())),
            (None, Some((item, error))) => (item, ItemsError::InItems(error)),
            (None, None) => (parts.item.to_token_stream(), ItemsError::None),
        };
        let mut ty = ty.clone();
        make_stream_send(&mut ty);
        Some(Self { ty, item, error })
    }
}

fn only_cfg(attrs: &[Attribute]) -> Vec<Attribute> {
    attrs.iter().filter(|attr| attr.path().is_ident("cfg")).cloned().collect()
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
            method.attrs.retain(|attr| !attr.path().is_ident("method"));
            make_tolerable(method);
        }
    }
    item
}

/// Brings a method with errors into a form that rustc has nothing to add to.
fn make_tolerable(method: &mut TraitItemFn) {
    for argument in &mut method.sig.inputs {
        if let FnArg::Typed(argument) = argument {
            argument.attrs.retain(|attr| !attr.path().is_ident("serde"));
            if method.default.is_none() {
                *argument.pat = parse_quote!(_);
            }
        }
    }
    // What mentions `Self` by value, or takes it, needs no further complaint about its size.
    method.sig.generics.make_where_clause().predicates.push(parse_quote!(Self: ::core::marker::Sized));
    method.attrs.push(parse_quote!(#[allow(async_fn_in_trait)]));
}
