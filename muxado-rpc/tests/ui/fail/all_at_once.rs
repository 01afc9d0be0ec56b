//! Every error of the trait is reported, and nothing besides: implementation, server and client stay usable.

use muxado_rpc::{CallError, service};

#[service(nam = "calc")]
pub trait Calculator {
    async fn add(&self, a: i64, b: i64) -> i64;
    async fn name(&self, prefix: &'static str) -> String;
    async fn reset(&mut self);
    fn version(&self) -> u32;
    #[method(naem = "minus")]
    async fn subtract(&self, a: i64, b: i64) -> i64;
}

struct Calc;

impl Calculator for Calc {
    async fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    async fn name(&self, prefix: &'static str) -> String {
        prefix.to_owned()
    }

    async fn reset(&mut self) {}

    fn version(&self) -> u32 {
        1
    }

    async fn subtract(&self, a: i64, b: i64) -> i64 {
        a - b
    }
}

async fn three() -> Result<i64, CallError> {
    CalculatorClient::new(CalculatorServer::new(Calc)).add(1, 2).await
}

fn main() {
    drop(three());
}
