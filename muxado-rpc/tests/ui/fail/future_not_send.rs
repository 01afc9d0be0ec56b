//! The implementation is at fault here, and is where rustc points.

use std::{cell::Cell, rc::Rc};

#[muxado_rpc::service]
pub trait Counter {
    async fn next(&self) -> u64;
}

struct Local;

impl Counter for Local {
    async fn next(&self) -> u64 {
        let count = Rc::new(Cell::new(0));
        std::future::ready(()).await;
        count.get()
    }
}

fn main() {}
