//! A trait in which something cannot be read: what can be is still made use of.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::quote;
use syn::{Item, ItemTrait, TraitItem};

use crate::validate::Errors;

/// Reads an item. In a trait, what cannot be read is reported and left out, so that it takes nothing else along.
pub(crate) fn parse(item: TokenStream, errors: &mut Errors) -> Option<Item> {
    match syn::parse2(item.clone()) {
        Ok(item) => Some(item),
        Err(error) => {
            let found = trait_by_items(item, errors).map(Item::Trait);
            if found.is_none() {
                errors.push(error);
            }
            found
        }
    }
}

fn trait_by_items(item: TokenStream, errors: &mut Errors) -> Option<ItemTrait> {
    let mut head: Vec<TokenTree> = item.into_iter().collect();
    let Some(TokenTree::Group(body)) = head.pop() else { return None };
    let head: TokenStream = head.into_iter().collect();
    let mut item: ItemTrait = syn::parse2(quote!(#head {})).ok()?;
    for piece in pieces(body.stream()) {
        match syn::parse2::<TraitItem>(piece) {
            Ok(read) => item.items.push(read),
            Err(error) => errors.push(error),
        }
    }
    Some(item)
}

/// The items of a trait: each ends with a semicolon, or with the body of a function.
fn pieces(body: TokenStream) -> Vec<TokenStream> {
    let (mut pieces, mut piece, mut in_function) = (Vec::new(), Vec::new(), false);
    for token in body {
        let ends = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => in_function && group.delimiter() == Delimiter::Brace,
            TokenTree::Ident(ident) => {
                in_function |= ident == "fn";
                false
            }
            TokenTree::Literal(_) => false,
        };
        piece.push(token);
        if ends {
            pieces.push(std::mem::take(&mut piece).into_iter().collect());
            in_function = false;
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.into_iter().collect());
    }
    pieces
}
