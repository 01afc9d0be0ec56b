pub struct Opaque;

#[muxado_rpc::service]
pub trait Store {
    async fn put(&self, key: String, value: Vec<Opaque>);
}

fn main() {}
