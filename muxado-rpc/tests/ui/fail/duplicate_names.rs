#[muxado_rpc::service]
pub trait Calculator {
    async fn add(&self, a: i64) -> i64;
    async fn add(&self, a: i64, b: i64) -> i64;
    #[method(name = "add")]
    async fn plus(&self, a: i64, b: i64) -> i64;
    #[method(name = "r#type")]
    async fn raw(&self) -> i64;
    #[method(name = "type")]
    async fn cooked(&self) -> i64;
    async fn r#type(&self) -> i64;
}

fn main() {}
