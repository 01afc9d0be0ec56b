//! A program one of whose handlers panics. What comes of it depends on how the program is built.
#![expect(clippy::panic, clippy::print_stdout, reason = "what it is for")]

use std::error::Error;

use muxado_rpc::{Code, Peer};
use tokio::io::duplex;

#[muxado_rpc::service]
trait Work {
    async fn double(&self, number: u32) -> u32;
    async fn panic(&self);
}

struct Worker;

impl Work for Worker {
    async fn double(&self, number: u32) -> u32 {
        2 * number
    }

    async fn panic(&self) {
        panic!("in a handler");
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (near, far) = duplex(1024);
    let _server = Peer::builder().serve(WorkServer::new(Worker)).server(far)?;
    let client = WorkClient::new(Peer::builder().client(near)?.channel());
    println!("{}", client.double(1).await?);
    let error = client.panic().await.err().ok_or("the handler did not panic")?;
    let code = error.status().map(muxado_rpc::Status::code);
    println!("{}", if code == Some(Code::Internal) { "internal" } else { "another code" });
    println!("{}", client.double(2).await?);
    Ok(())
}
