//! A server to try the command `muxado` on: it describes itself, and has a method of every shape.
//!
//! ```text
//! cargo run --release -p examples --example parcels -- serve tcp://127.0.0.1:7000
//! muxado describe tcp://127.0.0.1:7000
//! ```
//!
//! README.md has a session with it. Without arguments it calls itself, and ends.

use std::{collections::BTreeMap, env, error::Error, sync::Mutex};

use futures_util::{StreamExt, stream};
use muxado_rpc::{AppError, Health, Server, ServerBuilder, Stream, Streaming, schema::schemars::JsonSchema};
use serde::{Deserialize, Serialize};

/// A parcel on its way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
pub struct Parcel {
    /// The place it goes to.
    to: String,
    grams: u32,
    /// How fast it has to be.
    #[serde(default)]
    speed: Speed,
}

/// How fast a parcel has to be.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
#[serde(rename_all = "lowercase")]
pub enum Speed {
    #[default]
    Slow,
    Express,
}

/// Why a parcel is not taken.
#[derive(Debug, AppError, thiserror::Error, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
pub enum Refused {
    #[code(OutOfRange)]
    #[error("over {limit} g")]
    TooHeavy { limit: u32 },
    #[code(NotFound)]
    #[error("there is no such place")]
    NoSuchPlace,
}

/// Takes parcels, and says where they are.
#[muxado_rpc::service(schema)]
pub trait Post {
    /// Takes a parcel. Returns its number.
    async fn send(&self, parcel: &Parcel) -> Result<u64, Refused>;
    /// Says where a parcel has been, to where it is.
    #[method(idempotent)]
    async fn follow(
        &self,
        /// The number that `send` returned.
        number: u64,
    ) -> impl Stream<Item = String>;
    /// Weighs parcels together, in grams.
    #[method(idempotent)]
    async fn weigh(&self, parcels: Streaming<Parcel>) -> u64;
    /// Answers each number with the place the parcel goes to, as soon as it comes.
    #[method(idempotent)]
    async fn whereto(&self, numbers: Streaming<u64>) -> impl Stream<Item = Option<String>>;
}

/// The office, with the parcels that it has taken by their numbers.
#[derive(Default)]
pub struct Office {
    parcels: Mutex<BTreeMap<u64, Parcel>>,
}

impl Office {
    fn place(&self, number: u64) -> Option<String> {
        let parcels = self.parcels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        parcels.get(&number).map(|parcel| parcel.to.clone())
    }
}

impl Post for Office {
    async fn send(&self, parcel: &Parcel) -> Result<u64, Refused> {
        match parcel {
            Parcel { grams: 30_001.., .. } => return Err(Refused::TooHeavy { limit: 30_000 }),
            Parcel { to, .. } if to.is_empty() => return Err(Refused::NoSuchPlace),
            Parcel { .. } => {}
        }
        let mut parcels = self.parcels.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let number = parcels.len() as u64 + 1;
        parcels.insert(number, parcel.clone());
        Ok(number)
    }

    async fn follow(&self, number: u64) -> impl Stream<Item = String> {
        let places =
            self.place(number).map(|to| ["taken".to_owned(), "on the road".to_owned(), format!("in {to}")]);
        stream::iter(places.into_iter().flatten())
    }

    async fn weigh(&self, mut parcels: Streaming<Parcel>) -> u64 {
        let mut grams = 0;
        while let Ok(Some(parcel)) = parcels.try_next().await {
            grams += u64::from(parcel.grams);
        }
        grams
    }

    async fn whereto(&self, numbers: Streaming<u64>) -> impl Stream<Item = Option<String>> {
        numbers.filter_map(async |number| Some(self.place(number.ok()?)))
    }
}

/// The server, which is still to listen.
pub fn server() -> ServerBuilder {
    Server::builder().serve(PostServer::new(Office::default())).reflection().health(&Health::new())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => {
            let address = if address.contains(':') && !address.contains("//") {
                format!("tcp://{address}")
            } else {
                address.to_owned()
            };
            let server = server().listen(address).await?;
            println!("serving on {}", server.local_addr());
            tokio::signal::ctrl_c().await?;
            Ok(())
        }
        [] => call_itself().await,
        _ => Err("usage: parcels [serve ADDRESS]".into()),
    }
}

async fn call_itself() -> Result<(), Box<dyn Error>> {
    let server = server().listen("tcp://127.0.0.1:0").await?;
    let peer = muxado_rpc::connect(server.local_addr()).await?;
    let post = PostClient::new(peer.channel());
    let number = post.send(&Parcel { to: "Oslo".to_owned(), grams: 500, speed: Speed::Express }).await?;
    let mut places = post.follow(number).await?;
    while let Some(place) = places.try_next().await? {
        println!("{number}: {place}");
    }
    Ok(())
}
