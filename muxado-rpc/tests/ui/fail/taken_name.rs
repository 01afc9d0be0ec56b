//! The generated types have names that may be taken. `client = ..` and `server = ..` give them others.

pub struct ChatClient;

#[muxado_rpc::service]
pub trait Chat {
    async fn say(&self, text: &str);
}

#[muxado_rpc::service(client = "text", server = a::path)]
pub trait Wrong {
    async fn say(&self, text: &str);
}

fn main() {}
