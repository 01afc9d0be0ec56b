//! The options of `#[service(..)]` and `#[method(..)]`.

use std::fmt;

use proc_macro2::TokenStream;
use syn::{
    Attribute, Error, Expr, ExprLit, Ident, Lit, LitStr, Meta, Path, Token,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
};

use crate::{
    conditional::{self, Conditional},
    validate::Errors,
};

/// Ids from here on belong to the protocol: heartbeat, control, and what may join them.
const FIRST_RESERVED_ID: u32 = 0xFFFF_FF00;

const SERVICE_OPTIONS: &[&str] = &["name", "id", "client", "server", "schema", "crate"];
const METHOD_OPTIONS: &[&str] = &["name", "idempotent", "no_cancel", "timeout_ms"];

/// What `#[service(..)]` says; `None` where it leaves the default.
#[derive(Default)]
pub(crate) struct ServiceArgs {
    pub(crate) name: Option<LitStr>,
    pub(crate) id: Option<u32>,
    pub(crate) krate: Option<Path>,
    /// The names of the two types that are generated.
    pub(crate) client: Option<Ident>,
    pub(crate) server: Option<Ident>,
    /// Whether JSON Schemas are generated.
    pub(crate) schema: bool,
}

impl ServiceArgs {
    pub(crate) fn parse(args: TokenStream, errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for entry in entries(args, SERVICE_OPTIONS, errors) {
            let result = match entry.key.to_string().as_str() {
                "name" => entry.name().map(|name| parsed.name = Some(name)),
                "id" => entry.service_id().map(|id| parsed.id = Some(id)),
                "client" => entry.type_name().map(|name| parsed.client = Some(name)),
                "server" => entry.type_name().map(|name| parsed.server = Some(name)),
                "schema" => entry.schema().map(|()| parsed.schema = true),
                _ => entry.path().map(|path| parsed.krate = Some(path)),
            };
            errors.extend(result.err());
        }
        parsed
    }
}

/// What the `#[method(..)]` attributes of one method say.
#[derive(Default)]
pub(crate) struct MethodArgs {
    /// What holds under no condition.
    pub(crate) base: MethodOptions,
    /// What holds in addition under a condition: what stands in a `cfg_attr`.
    pub(crate) conditional: Vec<(TokenStream, MethodOptions)>,
}

/// The options of a method; `None` where they leave the default.
#[derive(Default, Clone)]
pub(crate) struct MethodOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) idempotent: bool,
    pub(crate) no_cancel: bool,
    pub(crate) timeout_ms: Option<u64>,
}

impl MethodArgs {
    /// Reads the `#[method(..)]`s among `attrs`, which [`flatten`](crate::conditional::flatten) has seen, and takes
    /// them out.
    pub(crate) fn take_from(attrs: &mut Vec<Attribute>, errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        let mut seen = false;
        for attr in attrs.extract_if(.., |attr| conditional::is(attr, "method")) {
            let Conditional { predicate, meta } = Conditional::of(&attr);
            if predicate.is_none() && std::mem::replace(&mut seen, true) {
                errors.at(&attr, "a method takes one `#[method(..)]`");
                continue;
            }
            let Meta::List(list) = &meta else {
                errors.at(&attr, "expected options, as in `#[method(name = \"..\")]`");
                continue;
            };
            let options = MethodOptions::parse(list.tokens.clone(), errors);
            match predicate {
                Some(predicate) => parsed.conditional.push((predicate, options)),
                None => parsed.base = options,
            }
        }
        parsed
    }

    /// All options there are.
    pub(crate) fn all(&self) -> impl Iterator<Item = &MethodOptions> {
        self.conditional.iter().map(|(_, options)| options).chain([&self.base])
    }
}

impl MethodOptions {
    fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut parsed = Self::default();
        for entry in entries(tokens, METHOD_OPTIONS, errors) {
            let result = match entry.key.to_string().as_str() {
                "name" => entry.name().map(|name| parsed.name = Some(name)),
                "timeout_ms" => entry.milliseconds().map(|ms| parsed.timeout_ms = Some(ms)),
                "idempotent" => entry.flag().map(|()| parsed.idempotent = true),
                _ => entry.flag().map(|()| parsed.no_cancel = true),
            };
            errors.extend(result.err());
        }
        parsed
    }
}

/// The entries of an option list whose keys are among `known`, each at most once; the others become errors.
fn entries(tokens: TokenStream, known: &[&str], errors: &mut Errors) -> Vec<Entry> {
    let parsed = match Punctuated::<Entry, Token![,]>::parse_terminated.parse2(tokens) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    let mut accepted: Vec<Entry> = Vec::new();
    for entry in parsed {
        let key = &entry.key;
        if !known.iter().any(|name| key == name) {
            errors.at(key, format_args!("unknown option `{key}`, expected {}", OneOf(known)));
        } else if accepted.iter().any(|earlier| earlier.key == *key) {
            errors.at(key, format_args!("option `{key}` is given twice"));
        } else {
            accepted.push(entry);
        }
    }
    accepted
}

/// Displays `a`, or "one of `a`, `b`".
struct OneOf<'a>(&'a [&'a str]);

impl fmt::Display for OneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() > 1 {
            f.write_str("one of ")?;
        }
        for (i, name) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}`{name}`")?;
        }
        Ok(())
    }
}

/// `key = value`. The value is optional here so that an unknown key is named before its value is missed.
struct Entry {
    key: Ident,
    value: Option<Expr>,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Self { key, value })
    }
}

impl Entry {
    /// The value as a name on the wire.
    fn name(&self) -> syn::Result<LitStr> {
        match self.literal() {
            Some(Lit::Str(name)) if name.value().is_empty() => {
                Err(Error::new(name.span(), "a name cannot be empty"))
            }
            Some(Lit::Str(name)) => Ok(name.clone()),
            _ => Err(self.wrong_value("a string, as in `name = \"..\"`")),
        }
    }

    /// A word that says all by itself.
    fn flag(&self) -> syn::Result<()> {
        match &self.value {
            None => Ok(()),
            Some(value) => Err(Error::new_spanned(value, format!("option `{}` takes no value", self.key))),
        }
    }

    /// A word that asks for what is there with a feature only.
    fn schema(&self) -> syn::Result<()> {
        self.flag()?;
        if cfg!(feature = "schema") {
            return Ok(());
        }
        let message = "`schema` needs the feature `schema` of muxado-rpc: add it in Cargo.toml, as in \
                       `muxado-rpc = { version = \"..\", features = [\"schema\"] }`";
        Err(Error::new_spanned(&self.key, message))
    }

    fn milliseconds(&self) -> syn::Result<u64> {
        let expected = "a number of milliseconds above 0, as in `timeout_ms = 500`";
        match self.literal() {
            Some(Lit::Int(literal)) => match literal.base10_parse() {
                Ok(ms) if ms > 0 => Ok(ms),
                _ => Err(self.wrong_value(expected)),
            },
            _ => Err(self.wrong_value(expected)),
        }
    }

    /// The name of a type that is generated.
    fn type_name(&self) -> syn::Result<Ident> {
        let expected = format!("the name of a type, as in `{} = ChatCalls`", self.key);
        let name = match &self.value {
            Some(Expr::Path(path)) if path.attrs.is_empty() && path.qself.is_none() => {
                path.path.get_ident().cloned()
            }
            _ => None,
        };
        name.ok_or_else(|| self.wrong_value(expected))
    }

    fn path(&self) -> syn::Result<Path> {
        match self.literal() {
            Some(Lit::Str(path)) => path.parse_with(Path::parse_mod_style).map_err(|_| {
                Error::new(path.span(), "expected the path of a crate, as in `crate = \"muxado_rpc\"`")
            }),
            _ => Err(self.wrong_value("a string, as in `crate = \"muxado_rpc\"`")),
        }
    }

    fn service_id(&self) -> syn::Result<u32> {
        let Some(Lit::Int(literal)) = self.literal() else {
            return Err(self.wrong_value(format_args!("an integer below {FIRST_RESERVED_ID:#X}")));
        };
        let message = match literal.base10_digits().parse::<u32>() {
            Ok(id) if id < FIRST_RESERVED_ID => return Ok(id),
            Ok(_) => format!(
                "service id {literal} is reserved: ids from {FIRST_RESERVED_ID:#X} belong to the protocol"
            ),
            Err(_) => format!("service id {literal} does not fit in 32 bits"),
        };
        Err(Error::new(literal.span(), message))
    }

    fn literal(&self) -> Option<&Lit> {
        match &self.value {
            Some(Expr::Lit(ExprLit { lit, .. })) => Some(lit),
            _ => None,
        }
    }

    fn wrong_value(&self, expected: impl fmt::Display) -> Error {
        let message = format!("option `{}` needs {expected}", self.key);
        match &self.value {
            Some(value) => Error::new_spanned(value, message),
            None => Error::new_spanned(&self.key, message),
        }
    }
}
