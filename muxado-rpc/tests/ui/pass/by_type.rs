//! Types that are called like those of this crate mean what they are.

#![deny(warnings, missing_docs, unused_qualifications)]

use muxado_rpc::Status;
use serde::{Deserialize, Serialize};

mod own {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Streaming {
        On,
        Off,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Context(pub(crate) u8);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) struct BoxStream(pub(crate) u8);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Result<T> {
        Win(T),
        Loss,
    }
}

use own::{Context as Settings, Result as Outcome, Streaming};

/// The two types that are generated have other names, because these are taken.
#[muxado_rpc::service(client = GameCalls, server = GameService)]
trait Game {
    async fn switch(&self, mode: Streaming) -> Streaming;
    async fn modes(&self, modes: Vec<Streaming>) -> Option<Streaming>;
    async fn by_value(&self, context: own::Context) -> own::Context;
    async fn by_reference(&self, context: &Settings) -> u8;
    async fn boxed(&self, stream: own::BoxStream) -> own::BoxStream;
    async fn play(&self) -> Outcome<u8>;
    async fn fails(&self) -> Result<Outcome<u8>, Status>;
}

#[derive(Debug, Serialize, Deserialize)]
struct GameClient {
    name: String,
}

#[derive(Debug)]
struct GameServer;

impl Game for GameServer {
    async fn switch(&self, mode: Streaming) -> Streaming {
        mode
    }

    async fn modes(&self, mut modes: Vec<Streaming>) -> Option<Streaming> {
        modes.pop()
    }

    async fn by_value(&self, context: own::Context) -> own::Context {
        context
    }

    async fn by_reference(&self, context: &Settings) -> u8 {
        context.0
    }

    async fn boxed(&self, stream: own::BoxStream) -> own::BoxStream {
        stream
    }

    async fn play(&self) -> Outcome<u8> {
        Outcome::Win(1)
    }

    async fn fails(&self) -> Result<Outcome<u8>, Status> {
        Ok(Outcome::Loss)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let game = GameCalls::new(GameService::new(GameServer));
    assert_eq!(game.switch(Streaming::On).await.unwrap(), Streaming::On);
    assert_eq!(game.modes(vec![Streaming::Off]).await.unwrap(), Some(Streaming::Off));
    assert_eq!(game.by_value(own::Context(3)).await.unwrap(), own::Context(3));
    assert_eq!(game.by_reference(&own::Context(4)).await.unwrap(), 4);
    assert_eq!(game.boxed(own::BoxStream(5)).await.unwrap(), own::BoxStream(5));
    assert_eq!(game.play().await.unwrap(), Outcome::Win(1));
    assert_eq!(game.fails().await.unwrap(), Outcome::Loss);
    let player = GameClient { name: String::new() };
    assert!(player.name.is_empty());
}
