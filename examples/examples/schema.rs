//! A server says what it serves; a second peer that knows nothing of it lists the services, and calls them.
//!
//! ```text
//! cargo run --release -p examples --example schema
//! ```
//!
//! The server has `#[service(schema)]` and `.reflection()`. The other peer, `stranger`, uses names and JSON only, as a
//! command-line tool or a gateway does. The client serves something as well, and the server describes it in turn. At the
//! end, the document of the program is written to a file and compared with that of a later version.

use std::{env, error::Error, fs};

use futures_util::stream;
use muxado_rpc::{
    AppError, CallError, Channel, Codec, Context, Peer, ReflectionClient, Server, Shape, Status, Stream,
    Streaming,
    schema::{Comparison, Document, schemars::JsonSchema},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A parcel on its way.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(crate = "muxado_rpc::schema::schemars")]
pub struct Parcel {
    /// Where it goes.
    to: String,
    grams: u32,
    /// As it was scanned.
    #[serde(default)]
    label: Vec<u8>,
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
    /// Follows a parcel.
    #[method(idempotent)]
    async fn follow(
        &self,
        /// The number that `send` returned.
        number: u64,
    ) -> impl Stream<Item = String>;
    /// Weighs parcels together.
    async fn weigh(&self, parcels: Streaming<Parcel>) -> u64;
    /// Asks the caller, which must serve a `Door`, whether somebody is at home.
    async fn ring(&self, cx: &Context) -> Result<bool, Status>;
}

/// What the client serves. It has no schemas: its names and shapes are known all the same.
#[muxado_rpc::service]
pub trait Door {
    async fn is_open(&self) -> bool;
}

struct Office;

impl Post for Office {
    async fn send(&self, parcel: &Parcel) -> Result<u64, Refused> {
        match parcel {
            Parcel { grams: 30_001.., .. } => Err(Refused::TooHeavy { limit: 30_000 }),
            Parcel { to, .. } if to.is_empty() => Err(Refused::NoSuchPlace),
            Parcel { to, .. } => Ok(to.len() as u64),
        }
    }

    async fn follow(&self, number: u64) -> impl Stream<Item = String> {
        stream::iter(["taken", "on the road", "there"].map(|place| format!("parcel {number} is {place}")))
    }

    async fn weigh(&self, mut parcels: Streaming<Parcel>) -> u64 {
        let mut grams = 0;
        while let Ok(Some(parcel)) = parcels.try_next().await {
            grams += u64::from(parcel.grams);
        }
        grams
    }

    async fn ring(&self, cx: &Context) -> Result<bool, Status> {
        // The server describes its client.
        let services = ReflectionClient::new(cx.channel()).services().await?;
        println!("server: its client serves {:?}", services.iter().map(|s| &s.name).collect::<Vec<_>>());
        DoorClient::new(cx.channel()).is_open().await.map_err(Into::into)
    }
}

struct House;

impl Door for House {
    async fn is_open(&self) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let server =
        Server::builder().serve(PostServer::new(Office)).reflection().listen("tcp://127.0.0.1:0").await?;
    let client = Peer::builder().serve(DoorServer::new(House)).reflection();
    let peer = client.connect(server.local_addr()).await?;

    list(&peer.channel()).await?;
    call(&peer.channel()).await?;
    let document = document(&peer.channel()).await?;
    compare(&document)?;
    Ok(())
}

/// Lists what the other side serves, as `describe` of a command-line tool does.
async fn list(channel: &Channel) -> Result<(), Status> {
    let reflection = ReflectionClient::new(channel.clone());
    let server = reflection.peer().await?;
    println!("{} over {:?}, codecs {:?}", server.implementation, server.transports, server.codecs);
    for service in reflection.describe_all().await? {
        println!("{}: {}", service.name, service.description.as_deref().unwrap_or_default());
        for method in &service.methods {
            let params = method.params.iter().flatten();
            let params: Vec<_> = params
                .map(|parameter| {
                    let option = if parameter.required { "" } else { "?" };
                    format!("{}{option}", parameter.name)
                })
                .collect();
            println!("  {}({}), {}", method.name, params.join(", "), method.shape);
        }
    }
    Ok(())
}

/// Calls what was found, each shape in its way.
async fn call(channel: &Channel) -> Result<(), Box<dyn Error>> {
    let service = ReflectionClient::new(channel.clone()).describe("Post").await?;
    let call = |method: &'static str| channel.call_raw("Post", method).codec(Codec::Json);
    for method in &service.methods {
        println!("{}: {}", method.name, method.shape);
    }

    // Bytes are base64 in JSON, as the schema says.
    let label = &service.definitions["Parcel"]["properties"]["label"];
    assert_eq!(label["contentEncoding"], "base64");
    let parcel = json!({"to": "Oslo", "grams": 500, "label": "AAEC"});
    let number: Value = call("send").params(&json!({"parcel": parcel})).call().await?;
    println!("send: {number}");

    let heavy = json!({"parcel": {"to": "Oslo", "grams": 31_000}});
    let refused = call("send").params(&heavy).call::<Value>().await;
    let Err(CallError::App(error)) = refused else { return Err("it is not too heavy".into()) };
    println!("send: {error}, as {}", error.decode::<Value>()?);

    let mut places = call("follow").params(&json!({"number": number})).items::<Value>().await?;
    while let Some(place) = places.try_next().await? {
        println!("follow: {place}");
    }

    let parcels = stream::iter([json!({"to": "Oslo", "grams": 500}), json!({"to": "Rome", "grams": 250})]);
    let grams: Value = call("weigh").input(parcels).call().await?;
    assert_eq!(grams, 750);
    println!("weigh: {grams}");

    assert_eq!(service.method("ring").map(|method| method.shape), Some(Shape::Unary));
    let open: Value = call("ring").call().await?;
    println!("ring: {open}");
    Ok(())
}

/// Writes one document for all services of the other side, and reads it again.
async fn document(channel: &Channel) -> Result<Document, Box<dyn Error>> {
    let mut document = Document::new("post", "1.0.0");
    for service in ReflectionClient::new(channel.clone()).describe_all().await? {
        document = document.service(service);
    }
    let path = env::temp_dir().join(format!("post-{}.openrpc.json", std::process::id()));
    document.write(&path)?;
    let read = Document::read(&path)?;
    fs::remove_file(&path)?;
    assert_eq!(read.find("Post"), Some(&PostServer::schema()));
    Ok(read)
}

/// Says what a later version would break, and for whom.
fn compare(old: &Document) -> Result<(), Box<dyn Error>> {
    let mut new = old.clone();
    "2.0.0".clone_into(&mut new.version);
    let post = new.services.iter_mut().find(|service| service.name == "Post").ok_or("no Post")?;
    post.methods.retain(|method| method.name != "weigh");
    post.definitions.insert("Parcel".to_owned(), json!({
        "type": "object",
        "properties": {"to": {"type": "string"}, "grams": {"type": "integer", "minimum": 0}, "stamp": {"type": "string"}},
        "required": ["to", "grams", "stamp"],
    }));
    let comparison = Comparison::between(old, &new);
    print!("{comparison}");
    assert!(comparison.breaks_callers());
    Ok(())
}
