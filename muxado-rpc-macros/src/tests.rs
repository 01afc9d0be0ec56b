//! Snapshots of the expansion, in `tests/expand/`.
//!
//! `MUXADO_RPC_EXPAND=overwrite cargo test -p muxado-rpc-macros` writes them anew; the diff is what to review.

use std::{env, fs, path::PathBuf};

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand;

/// Compares the expansion of `#[service(args)] item` with `tests/expand/<name>.rs`.
fn check(name: &str, args: TokenStream, item: TokenStream) {
    let expanded = expand::service(args, item);
    let file = syn::parse2(expanded).expect("the expansion is a sequence of items");
    let actual = prettyplease::unparse(&file);

    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "tests", "expand", &format!("{name}.rs")].iter().collect();
    if env::var("MUXADO_RPC_EXPAND").is_ok_and(|value| value == "overwrite") {
        fs::write(&path, &actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        actual == expected,
        "{} differs from the expansion below; MUXADO_RPC_EXPAND=overwrite accepts it\n{actual}",
        path.display(),
    );
}

/// The messages that `#[service(args)] item` is refused with, in order.
fn errors(args: TokenStream, item: TokenStream) -> Vec<String> {
    let expanded =
        syn::parse2::<syn::File>(expand::service(args, item)).expect("the expansion is a sequence of items");
    let message = |item: &syn::Item| match item {
        syn::Item::Macro(item)
            if item.mac.path.segments.last().is_some_and(|last| last.ident == "compile_error") =>
        {
            Some(item.mac.parse_body::<syn::LitStr>().expect("a message").value())
        }
        _ => None,
    };
    expanded.items.iter().filter_map(message).collect()
}

#[test]
fn plain_service() {
    check(
        "plain",
        quote!(),
        quote! {
            /// Does sums.
            pub trait Calculator {
                /// Adds two numbers.
                async fn add(&self, a: i64, b: i64) -> i64;
                async fn divide(&self, a: f64, b: f64) -> Result<f64, DivideError>;
                async fn whoami(&self, cx: &Context) -> String;
            }
        },
    );
}

#[test]
fn service_with_every_option() {
    check(
        "options",
        quote!(name = "files.Store", id = 0x10, crate = "crate::rpc"),
        quote! {
            #[cfg(feature = "store")]
            #[deprecated]
            pub(crate) trait Store: Debug {
                /// Stays out where `write` is off.
                #[cfg(feature = "write")]
                #[expect(clippy::too_many_arguments)]
                #[method(name = "put")]
                async fn write(&self, #[serde(default)] path: PathBuf, #[cfg(unix)] mode: u32) -> io::Result<()>;
                async fn r#type(&self, r#in: T, cx: &Context) -> Result<C, Failure> {
                    self.look_up(r#in, cx)
                }
                #[must_use]
                async fn new(&self);
                async fn with_codec(&self);
            }
        },
    );
}

#[test]
fn streaming_service() {
    check(
        "streaming",
        quote!(),
        quote! {
            trait Feed {
                async fn primes(&self, below: u64) -> impl Stream<Item = u64>;
                async fn lines(&self, path: String) -> Result<impl Stream<Item = String>, NotFound>;
                async fn sum(&self, cx: &Context, start: u64, numbers: Streaming<u64>) -> u64;
                async fn chat(&self, said: muxado_rpc::Streaming<Said>) -> impl Stream<Item = Result<Said, Left>>;
            }
        },
    );
}

#[test]
fn rejected_items_stay_in_the_trait() {
    check(
        "rejected",
        quote!(nam = "calc"),
        quote! {
            trait Calculator {
                async fn add(&self, a: i64, b: i64) -> i64;
                #[method(name = "minus", id = 1)]
                async fn subtract(&mut self, #[serde(default)] a: &i64, (b, _): (i64, i64)) -> i64;
                const DIGITS: usize;
            }
        },
    );
}

#[test]
fn rejected_trait_stays() {
    check(
        "generic",
        quote!(),
        quote! {
            trait Store<T> {
                #[method(name = "set")]
                async fn put(&self, #[serde(default)] item: T);
            }
        },
    );
}

#[test]
fn every_error_is_reported() {
    let found = errors(
        quote!(nam = "calc", id = 0xFFFF_FFFF),
        quote! {
            unsafe trait Calculator<T> {
                fn add(a: i64, b: &str) -> i64;
                async fn sub(&self, (a, b): (i64, i64)) -> Pin<Box<dyn Stream<Item = i64>>>;
            }
        },
    );
    assert_eq!(
        found,
        [
            "unknown option `nam`, expected one of `name`, `id`, `client`, `server`, `schema`, `crate`",
            "service id 0xFFFF_FFFF is reserved: ids from 0xFFFFFF00 belong to the protocol",
            "a service trait cannot be unsafe",
            "a service trait cannot be generic: its types must be known to both peers",
            "a service method is async: write `async fn add`",
            "missing `&self`: write `async fn add(&self, ..)`",
            "a parameter needs a plain name: it is sent under that name",
            "a stream is returned as `impl Stream<Item = T>`: a boxed one stands behind it in the implementation, as `stream.boxed()`",
        ]
    );
}

#[test]
fn what_cannot_be_read_takes_nothing_else_along() {
    let item = quote! {
        trait Calculator {
            async fn add(&self, a: i64, b: i64) -> i64;
            async fn broken(&self, a) -> i64;
            async fn also(&self) -> i64 { 7 }
            async fn
        }
    };
    let found = errors(quote!(), item.clone());
    assert_eq!(found.len(), 2, "{found:?}");
    let expanded = expand::service(quote!(), item).to_string();
    for part in ["__params_add", "fn also", "struct CalculatorClient", "struct CalculatorServer"] {
        assert!(expanded.contains(part), "{expanded}");
    }
    assert!(!expanded.contains("broken"), "{expanded}");
}

#[test]
fn syntax_that_is_not_understood_is_kept() {
    let expanded = expand::service(quote!(), quote!(trait { async fn add(&self); }));
    let expanded = expanded.to_string();
    assert!(expanded.starts_with("trait { async fn add"), "{expanded}");
    assert!(expanded.contains("compile_error"), "{expanded}");
}

#[test]
fn references_and_attributes() {
    check(
        "lent",
        quote!(client = StoreCalls, server = StoreService),
        quote! {
            trait Store {
                async fn put(
                    &self,
                    /// Where it is kept.
                    key: &str,
                    /// What is kept: any bytes,
                    /// empty ones included.
                    value: &[u8],
                    tags: &[String],
                    note: Option<&Note>,
                ) -> u64;
                async fn lines<'async_trait>(&self) -> Pin<Box<dyn Future<Output = u8> + 'async_trait>>;
                /// Finds.
                #[cfg_attr(feature = "fast", method(timeout_ms = 5), cfg(unix))]
                #[method(idempotent)]
                async fn find(
                    &self,
                    #[cfg_attr(feature = "old", serde(default))] prefix: &str,
                    limit: u32,
                ) -> Result<impl Stream<Item = Result<Note, Lost>>, Lost>;
                async fn scan(&self, cx: &Context, prefix: &str) -> Result<impl Stream<Item = u8>, Lost>;
            }
        },
    );
}

#[cfg(feature = "schema")]
#[test]
fn service_with_schemas() {
    check(
        "schema",
        quote!(schema, crate = "rpc"),
        quote! {
            /// Talks.
            #[deprecated(note = "talk to each other")]
            trait Chat {
                /// Says something.
                #[cfg_attr(feature = "old", deprecated)]
                async fn say(
                    &self,
                    cx: &Context,
                    /// What is said.
                    line: &Line,
                    note: Option<&str>,
                    #[cfg(feature = "times")] times: u8,
                    #[serde(with = "rpc::shared_bytes")] data: Bytes,
                    #[schemars(with = "String")] foreign: Foreign,
                ) -> Result<u64, Failure>;
                #[cfg(unix)]
                async fn talk(&self, lines: Streaming<Line>) -> impl Stream<Item = Line>;
            }
        },
    );
}

#[cfg(not(feature = "schema"))]
#[test]
fn schemas_need_the_feature() {
    let found = errors(
        quote!(schema),
        quote!(
            trait Chat {}
        ),
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("`schema` needs the feature `schema` of muxado-rpc"), "{found:?}");
}
