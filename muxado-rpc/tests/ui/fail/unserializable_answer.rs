pub struct Opaque;

#[muxado_rpc::service]
pub trait Store {
    async fn get(&self, key: String) -> Option<Opaque>;
    async fn find(&self, key: String) -> Result<u8, Opaque>;
}

fn main() {}
