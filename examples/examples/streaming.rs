//! The four shapes of a method: one value, a stream in, a stream out, and both.
//!
//! A file is sent to a vault, which hashes it, and fetched again, part by part. The file is the one given as an
//! argument, or this program itself.
//!
//! ```text
//! cargo run --release -p examples --example streaming [-- FILE]
//! ```

use std::{collections::HashMap, env, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use muxado_rpc::{AppError, CallError, Peer, Server, Status, Streaming};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

/// A store of files. The signatures alone say what streams.
#[muxado_rpc::service]
pub trait Vault {
    /// Unary: one value in, one value out.
    async fn size(&self, name: &str) -> Result<usize, NoSuchFile>;
    /// A stream in: takes the parts of a file. Returns its hash.
    async fn store(&self, name: &str, parts: Streaming<Bytes>) -> Result<String, Status>;
    /// A stream out: returns the parts of a file. Whether the file exists is known before the first part.
    async fn fetch(&self, name: &str) -> Result<impl Stream<Item = Bytes>, NoSuchFile>;
    /// Both: takes parts, and returns the hash so far after each.
    async fn hash(&self, parts: Streaming<Bytes>) -> impl Stream<Item = Result<String, Status>>;
}

/// The error of a file that does not exist. A caller that does not know this type sees a `not_found` status.
#[derive(Debug, PartialEq, AppError, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[code(NotFound)]
#[error("there is no file {0:?}")]
pub struct NoSuchFile(String);

#[derive(Default)]
struct Memory(Mutex<HashMap<String, Vec<Bytes>>>);

impl Vault for Memory {
    async fn size(&self, name: &str) -> Result<usize, NoSuchFile> {
        let files = self.0.lock().await;
        Ok(files.get(name).ok_or_else(|| NoSuchFile(name.to_owned()))?.iter().map(Bytes::len).sum())
    }

    async fn store(&self, name: &str, mut parts: Streaming<Bytes>) -> Result<String, Status> {
        let (mut stored, mut hash) = (Vec::new(), Sha256::new());
        // If the caller disconnects midway, this is an error, not the end: nothing is stored.
        while let Some(part) = parts.try_next().await? {
            hash.update(&part);
            stored.push(part);
        }
        self.0.lock().await.insert(name.to_owned(), stored);
        Ok(hex(hash))
    }

    async fn fetch(&self, name: &str) -> Result<impl Stream<Item = Bytes>, NoSuchFile> {
        let file = self.0.lock().await.get(name).cloned();
        Ok(stream::iter(file.ok_or_else(|| NoSuchFile(name.to_owned()))?))
    }

    async fn hash(&self, parts: Streaming<Bytes>) -> impl Stream<Item = Result<String, Status>> {
        let mut hash = Sha256::new();
        parts.map(move |part| {
            hash.update(part?);
            Ok(hex(hash.clone()))
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = env::args_os().nth(1).map_or_else(env::current_exe, |path| Ok(path.into()))?;
    let file = Bytes::from(tokio::fs::read(&path).await?);
    let (size, expected) = (file.len(), hex(Sha256::new_with_prefix(&file)));
    let parts: Vec<Bytes> = file.chunks(PART).map(|part| file.slice_ref(part)).collect();

    let server =
        Server::builder().serve(VaultServer::new(Memory::default())).listen("tcp://127.0.0.1:0").await?;
    let peer = Peer::builder().connect(server.local_addr()).await?;
    let vault = VaultClient::new(peer.channel());

    // The client takes any stream. It is polled as fast as the vault reads.
    let outgoing = stream::iter(parts.clone()).enumerate().map(move |(sent, part)| {
        eprint!("\r[{:<40}]", "#".repeat(40 * (sent * PART + part.len()) / size));
        part
    });
    assert_eq!(vault.store("copy", outgoing).await?, expected, "the vault has another file");
    assert_eq!(vault.size("copy").await?, size);
    println!("\nstored {size} bytes, sha256 {expected}");

    let fetched: Vec<Bytes> = vault.fetch("copy").await?.try_collect().await?;
    assert!(fetched.concat() == file, "another file came back");
    println!("fetched the same");

    let hashes: Vec<String> = vault.hash(stream::iter(parts)).await?.try_collect().await?;
    assert_eq!((hashes.len(), hashes.last()), (size.div_ceil(PART), Some(&expected)));
    println!("{} hashes on the way, the last one is the same", hashes.len());

    assert_eq!(vault.size("none").await, Err(CallError::App(NoSuchFile("none".to_owned()))));
    server.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Bytes of a part: much less than a window, so that several are on their way.
const PART: usize = 64 * 1024;

fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}
