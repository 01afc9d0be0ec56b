//! JSON as text: numbers keep all their digits, since nothing here makes binary numbers of them.

pub(crate) mod pretty;
pub(crate) mod split;
pub(crate) mod tree;
