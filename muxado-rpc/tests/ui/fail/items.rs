#[muxado_rpc::service]
pub unsafe trait Items {
    const LIMIT: u64;
    type Item;
    async fn get(&self) -> u64;
}

fn main() {}
