//! `#[derive(AppError)]`: a code for each kind of an application's error.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Fields, Ident, Path, spanned::Spanned};

use crate::validate::Errors;

/// Expands the derive.
pub(crate) fn derive(input: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let code = match syn::parse2::<DeriveInput>(input) {
        Ok(input) => implementation(&input, &mut errors),
        Err(error) => {
            errors.push(error);
            TokenStream::new()
        }
    };
    let errors = errors.to_compile_errors();
    quote!(#code #errors)
}

fn implementation(input: &DeriveInput, errors: &mut Errors) -> TokenStream {
    let krate = krate(&input.attrs, errors);
    let code = |attrs: &[Attribute], errors: &mut Errors| {
        let code = code(attrs, errors).unwrap_or_else(|| Ident::new("Unknown", input.ident.span()));
        quote!(#krate::Code::#code)
    };
    let body = match &input.data {
        Data::Struct(_) => code(&input.attrs, errors),
        Data::Enum(data) if data.variants.is_empty() => quote!(match *self {}),
        Data::Enum(data) => {
            let arms: TokenStream = data
                .variants
                .iter()
                .map(|variant| {
                    let ident = &variant.ident;
                    let fields = match &variant.fields {
                        Fields::Unit => TokenStream::new(),
                        Fields::Named(_) => quote!({ .. }),
                        Fields::Unnamed(_) => quote!((..)),
                    };
                    refuse_options(&variant.attrs, errors);
                    let code = code(&variant.attrs, errors);
                    quote!(Self::#ident #fields => #code,)
                })
                .collect();
            quote!(match self { #arms })
        }
        Data::Union(_) => {
            errors.at(&input.ident, "`AppError` is derived for structs and enums");
            return TokenStream::new();
        }
    };
    let ident = &input.ident;
    let (generics, arguments, clause) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #generics #krate::AppError for #ident #arguments #clause {
            fn code(&self) -> #krate::Code {
                #body
            }

            fn to_status(&self) -> #krate::Status {
                use #krate::__private::{DetailsOfAny as _, DetailsOfSome as _, DisplayOfAny as _, DisplayOfSome as _};
                let status = #krate::__private::derived_status(
                    <Self as #krate::AppError>::code(self),
                    (&#krate::__private::Probe::of(self)).display_of(self),
                );
                (&#krate::__private::Probe::of(self)).details_of(self, status)
            }
        }
    }
}

/// The `#[code(..)]` among some attributes.
fn code(attrs: &[Attribute], errors: &mut Errors) -> Option<Ident> {
    let mut found = None;
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("code")) {
        if found.is_some() {
            errors.at(attr, "an error has one `#[code(..)]`");
            continue;
        }
        match attr.parse_args::<Ident>() {
            Ok(code) => found = Some(code),
            Err(_) => errors.at(attr, "expected a code, as in `#[code(NotFound)]`"),
        }
    }
    found
}

/// The options are those of the type: on a variant they would mean nothing.
fn refuse_options(attrs: &[Attribute], errors: &mut Errors) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("app_error")) {
        errors.at(attr, "a variant has no options; its code is written `#[code(NotFound)]`");
    }
}

/// `#[app_error(crate = path)]`: where the runtime crate is.
fn krate(attrs: &[Attribute], errors: &mut Errors) -> TokenStream {
    let mut krate = quote!(::muxado_rpc);
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("app_error")) {
        let result = attr.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(
                    meta.error("unknown option, expected `crate`; a code is written `#[code(NotFound)]`")
                );
            }
            let path: syn::LitStr = meta.value()?.parse()?;
            let path = path.parse_with(Path::parse_mod_style)?;
            krate = quote!(#path);
            Ok(())
        });
        if let Err(error) = result {
            errors.push(syn::Error::new(attr.span(), error));
        }
    }
    krate
}
