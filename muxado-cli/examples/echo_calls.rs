//! The other end of a measurement: a server on one thread that echoes strings, as that of the project's benchmark does.
//!
//! ```text
//! cargo run --release -p muxado-cli --example echo_calls -- tcp://127.0.0.1:7000
//! muxado bench tcp://127.0.0.1:7000 Echo/echo --codec msgpack -d '["0123456789abcdef0123456789abcdef"]'
//! ```

use std::error::Error;

#[muxado_rpc::service]
trait Echo {
    async fn echo(&self, text: String) -> String;
}

struct Echoing;

impl Echo for Echoing {
    async fn echo(&self, text: String) -> String {
        text
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "tcp://127.0.0.1:7000".to_owned());
    let builder = muxado_rpc::Server::builder().serve(EchoServer::new(Echoing)).reflection();
    builder.listen(address.as_str()).await?.wait().await;
    Ok(())
}
