//! What relays need: both errors of a stream at once, and errors that pass on.

#![deny(warnings, missing_docs)]

use futures_util::{StreamExt, stream};
use muxado_rpc::{AppError, CallError, Code, Status, Stream, Streaming};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, AppError, Serialize, Deserialize)]
#[code(NotFound)]
struct Lost;

type Either<T> = Result<T, Lost>;

#[muxado_rpc::service]
trait Source {
    async fn lines(&self, from: u8) -> Result<impl Stream<Item = Result<u8, Lost>>, Lost>;
    async fn aliased(&self) -> Result<impl Stream<Item = aliased::Result<u8>>, Lost>;
    async fn one(&self, at: u8) -> u8;
}

mod aliased {
    pub(crate) type Result<T> = core::result::Result<T, super::Lost>;
}

struct Numbers;

impl Source for Numbers {
    async fn lines(&self, from: u8) -> Result<impl Stream<Item = Result<u8, Lost>>, Lost> {
        if from > 9 {
            return Err(Lost);
        }
        Ok(stream::iter([Ok(from), Err(Lost)]))
    }

    async fn aliased(&self) -> Result<impl Stream<Item = Either<u8>>, Lost> {
        Ok(stream::iter([Ok(1)]))
    }

    async fn one(&self, at: u8) -> u8 {
        at
    }
}

#[muxado_rpc::service]
trait Relay {
    async fn lines(&self, from: u8) -> Result<impl Stream<Item = Result<u8, Status>>, Status>;
    async fn one(&self, at: u8) -> Result<u8, Status>;
}

struct Through(SourceClient<SourceServer<Numbers>>);

impl Relay for Through {
    async fn lines(&self, from: u8) -> Result<impl Stream<Item = Result<u8, Status>>, Status> {
        let lines = self.0.lines(from).await?;
        Ok(lines.map(|line| line.map_err(Status::from)))
    }

    async fn one(&self, at: u8) -> Result<u8, Status> {
        Ok(self.0.one(at).await?)
    }
}

async fn collect<T, E>(items: Streaming<T, E>) -> Vec<Result<T, CallError<E>>> {
    items.collect().await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let source = SourceClient::new(SourceServer::new(Numbers));
    assert_eq!(source.lines(10).await.unwrap_err(), CallError::App(Lost));
    assert_eq!(collect(source.lines(3).await.unwrap()).await, [Ok(3), Err(CallError::App(Lost))]);
    assert_eq!(collect(source.aliased().await.unwrap()).await, [Ok(1)]);

    let relay = RelayClient::new(RelayServer::new(Through(source)));
    assert_eq!(relay.one(4).await.unwrap(), 4);
    let refused = relay.lines(10).await.unwrap_err();
    assert_eq!((refused.code(), refused.status().unwrap().details()), (Code::NotFound, Some(Lost)));
    let lines = collect(relay.lines(3).await.unwrap()).await;
    assert_eq!(lines[1].as_ref().unwrap_err().code(), Code::NotFound);
}
