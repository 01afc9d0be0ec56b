//! A place to connect to in memory, for clients that make new connections by themselves.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use muxado_rpc::{
    Peer, Reconnect,
    reconnect::{Connector, ReconnectBuilder},
};
use tokio::{
    io::{DuplexStream, duplex},
    time::Instant,
};

use super::{WorkClient, WorkServer, Worker};

/// A place to connect to, in memory: it may be down, and keeps the far ends of its connections.
#[derive(Clone, Default)]
pub struct Place {
    pub worker: Worker,
    down: Arc<AtomicBool>,
    far: Arc<Mutex<Vec<Peer>>>,
    asked_at: Arc<Mutex<Vec<Instant>>>,
}

impl Place {
    pub fn down() -> Self {
        let place = Self::default();
        place.set_down(true);
        place
    }

    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub fn connector(&self) -> impl Connector {
        let place = self.clone();
        move || std::future::ready(place.accept())
    }

    pub fn accept(&self) -> io::Result<DuplexStream> {
        self.asked_at.lock().unwrap().push(Instant::now());
        if self.down.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (near, far) = duplex(64 * 1024);
        let far = Peer::builder().serve(WorkServer::new(self.worker.clone())).server(far).unwrap();
        self.far.lock().unwrap().push(far);
        Ok(near)
    }

    pub fn far(&self, index: usize) -> Peer {
        self.far.lock().unwrap()[index].clone()
    }

    /// How many connections it took.
    pub fn connections(&self) -> usize {
        self.far.lock().unwrap().len()
    }

    /// How often it was asked for a connection.
    pub fn asked(&self) -> usize {
        self.asked_at.lock().unwrap().len()
    }

    pub fn pauses(&self) -> Vec<Duration> {
        self.asked_at.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Ends the connection without a word, as a crash does.
    pub fn crash(&self, index: usize) {
        self.far(index).close();
    }
}

pub fn to(place: &Place) -> ReconnectBuilder {
    Reconnect::builder().connector(place.connector())
}

pub fn client(channel: &Reconnect) -> WorkClient<Reconnect> {
    WorkClient::new(channel.clone())
}

pub async fn assert_answers(client: &WorkClient<Reconnect>) {
    assert_eq!(client.echo("alive".to_owned()).await.as_deref(), Ok("alive"));
}
