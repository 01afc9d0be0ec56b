//! The floor: bytes over TCP, one connection for each exchange that is under way.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::net::TcpStream;

use super::io;
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer, dial},
    workload::Workload,
};

/// Connections without anything on them.
#[derive(Clone)]
pub(crate) struct RawTcp {
    server: SocketAddr,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

impl RawTcp {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer for RawTcp {
    const NAME: &'static str = "raw-tcp";
    const PACKAGE: &'static str = "tokio";
    const LAYER: Layer = Layer::Transport;

    fn runs(workload: Workload) -> bool {
        matches!(
            workload,
            Workload::Unary { in_flight: 1, .. }
                | Workload::Payload { .. }
                | Workload::Connect
                | Workload::Echo { .. }
        )
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        doorplate.serve(|stream| io::serve(stream, workload.size())).await
    }

    async fn connect(_workload: Workload, server: SocketAddr) -> Result<Self> {
        Ok(Self { server, idle: Arc::default() })
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        let idle = self.idle().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => dial(self.server).await?,
        };
        io::ping(&mut stream, message).await?;
        self.idle().push(stream);
        Ok(())
    }
}
