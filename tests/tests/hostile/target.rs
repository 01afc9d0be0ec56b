//! What is under attack: a plain session with an application, or a peer of `muxado-rpc`.

use muxado::{Config, Session, SessionEnd, SessionError, SessionStats, Side};
use muxado_rpc::Peer;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::app::App;

/// A handle by which an attacked connection is watched.
#[derive(Clone, Debug)]
pub enum View {
    Session(Session),
    Peer(Peer),
}

impl View {
    pub fn stats(&self) -> SessionStats {
        match self {
            Self::Session(session) => session.stats(),
            Self::Peer(peer) => peer.stats(),
        }
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Self::Session(session) => session.is_closed(),
            Self::Peer(peer) => peer.is_closed(),
        }
    }

    pub async fn closed(&self) -> SessionEnd {
        match self {
            Self::Session(session) => session.closed().await,
            Self::Peer(peer) => peer.closed().await,
        }
    }
}

/// An attacked connection and its tasks.
#[derive(Debug)]
pub struct Target {
    pub view: View,
    pub side: Side,
    driver: Option<JoinHandle<Result<(), SessionError>>>,
    app: Option<JoinHandle<()>>,
}

impl Target {
    /// A session with this application, on the current runtime.
    pub fn session(side: Side, config: Config, app: &App, tcp: TcpStream) -> Self {
        let (session, driver) = Session::new(side, tcp, config);
        let driver = Some(tokio::spawn(driver));
        let app = Some(tokio::spawn(app.clone().serve(session.clone())));
        Self { view: View::Session(session), side, driver, app }
    }

    /// The serving side of calls.
    pub fn peer(peer: Peer) -> Self {
        Self { view: View::Peer(peer), side: Side::Server, driver: None, app: None }
    }

    /// Waits for the end of the session, the attacker of which is gone, and of its tasks.
    /// Says why it ended.
    pub async fn tear_down(self) -> SessionEnd {
        let end = self.view.closed().await;
        if let Some(driver) = self.driver {
            // Why it ended is asserted elsewhere.
            driver.await.expect("no input makes the driver panic").ok();
        }
        drop(self.view);
        if let Some(app) = self.app {
            app.abort();
            app.await.ok();
        }
        // Handlers that were cancelled are dropped by the runtime in its own time.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        end
    }
}
