//! A chat room: the server pushes lines by calling services of its clients, over the connections that the clients made.
//!
//! ```text
//! cargo run --release -p examples --example chat
//! ```

use std::time::Duration;

use futures_util::future::try_join_all;
use muxado_rpc::{CallError, Context, Peer, Server};
use tokio::sync::{Mutex, mpsc};

/// The service of the server.
#[muxado_rpc::service]
pub trait Room {
    /// Joins the room: the caller gets all lines from now on.
    async fn join(&self, cx: &Context, name: String);
    async fn say(&self, name: &str, text: &str);
}

/// The service of each client, which the server calls.
#[muxado_rpc::service]
pub trait Guest {
    async fn hear(&self, line: &str);
}

/// Queues of lines for the guests.
#[derive(Default)]
struct Lobby(Mutex<Vec<mpsc::Sender<String>>>);

/// Lines that may wait for one guest. A guest that falls further behind is removed.
const BACKLOG: usize = 100;

impl Room for Lobby {
    async fn join(&self, cx: &Context, name: String) {
        let (lines, mut waiting) = mpsc::channel::<String>(BACKLOG);
        // A channel to this caller. It may be kept, and does not keep the connection open.
        let guest = GuestClient::new(cx.channel()).with_timeout(Duration::from_secs(5));
        // Each guest has a task: a slow guest does not delay others, and lines stay in order.
        tokio::spawn(async move {
            while let Some(line) = waiting.recv().await {
                if let Err(error) = guest.hear(&line).await {
                    println!("{name} has gone: {}", error.code());
                    return;
                }
            }
        });
        self.0.lock().await.push(lines);
    }

    async fn say(&self, name: &str, text: &str) {
        let line = format!("{name}: {text}");
        self.0.lock().await.retain(|guest| guest.try_send(line.clone()).is_ok());
    }
}

/// Passes on the lines that it gets.
struct Ear(mpsc::UnboundedSender<String>);

impl Guest for Ear {
    async fn hear(&self, line: &str) {
        let _ = self.0.send(line.to_owned());
    }
}

const NAMES: [&str; 5] = ["Ada", "Bob", "Cy", "Dee", "Eve"];
const LINES: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server =
        Server::builder().serve(RoomServer::new(Lobby::default())).listen("tcp://127.0.0.1:0").await?;
    let mut guests = Vec::new();
    for name in NAMES {
        let (heard, lines) = mpsc::unbounded_channel();
        let peer = Peer::builder().serve(GuestServer::new(Ear(heard))).connect(server.local_addr()).await?;
        let room = RoomClient::new(peer.channel());
        room.join(name.to_owned()).await?;
        guests.push((name, peer, room, lines));
    }

    // One guest disconnects. The others do not notice.
    let (_, peer, ..) = guests.remove(2);
    peer.close();

    // All other guests talk at once.
    let talks = guests.iter().map(async |(name, _, room, _)| {
        for n in 0..LINES {
            room.say(name, &format!("line {n}")).await?;
        }
        Ok::<_, CallError>(())
    });
    try_join_all(talks).await?;

    let mut first = None;
    for (name, _, _, lines) in &mut guests {
        let mut heard = Vec::new();
        while heard.len() < (NAMES.len() - 1) * LINES {
            heard.push(lines.recv().await.ok_or("a guest was left out")?);
        }
        println!("{name} heard {} lines, the last was {:?}", heard.len(), heard.last());
        assert_eq!(first.get_or_insert_with(|| heard.clone()), &heard, "all hear the same, in one order");
    }
    drop(guests);
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
