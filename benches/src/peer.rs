//! What the harness asks of an implementation, so that it can be measured.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};

use crate::{
    Result, arena, fleet, message::Message, pipe::Pipe, sample::Sample, slice::Slice, workload::Workload,
};

/// One implementation, as its client handle: clones use the same connection.
///
/// To add one: a file under `peers` that implements this, and a line in the list there.
pub(crate) trait Peer: Clone + Send + Sync + 'static {
    /// Its name in tables and on the command line.
    const NAME: &'static str;
    /// Its package, by whose version it is known.
    const PACKAGE: &'static str;
    /// With what it is compared.
    const LAYER: Layer;
    /// Whether the accepting end of a connection also calls over it.
    const CALLS_BACK: bool = false;
    /// Whether it asks tokio for the time, and not the system, of anything that matters.
    const TOKIO_CLOCK: bool = true;

    /// Whether the workload makes sense for it.
    fn runs(workload: Workload) -> bool;

    /// Serves any number of connections until it is dropped; it says where by `doorplate`.
    fn serve(workload: Workload, doorplate: Doorplate<Self>) -> impl Future<Output = Result<()>> + Send;

    /// Makes a connection, with `TCP_NODELAY`.
    fn connect(workload: Workload, server: SocketAddr) -> impl Future<Output = Result<Self>> + Send;

    /// Sends the message one way over a stream of a session between the ends of a link, and waits until
    /// the other side, which checks it, says that it has come.
    fn transfer(
        _workload: Workload,
        _near: Pipe,
        _far: Pipe,
        _message: Arc<Message>,
    ) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer has no streams".into()) }
    }

    /// Sends the message, by a call or over a stream of its own, and checks what comes back.
    fn echo(&mut self, message: &Message) -> impl Future<Output = Result<()>> + Send;

    /// Echoes the message by a call whose parameter is borrowed, by the client and by the handler.
    fn borrowed(&mut self, _message: &Message) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer lends no parameters".into()) }
    }

    /// Echoes the message by a call with the workload's time limit, whose handler waits for a task of
    /// [`Hop`](crate::hop::Hop).
    fn hop(&mut self, _message: &Message) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer has no handler that waits".into()) }
    }

    /// Echoes the message by a call with the workload's time limit, whose handler is [`Hop::nap`](crate::hop::Hop::nap).
    fn sleep(&mut self, _message: &Message) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer has no handler that sleeps".into()) }
    }

    /// Opens a stream, has the message echoed over it, and keeps it open at both ends.
    fn hold(&mut self, _message: &Message) -> impl Future<Output = Result<Held>> + Send {
        async { Err("this peer has no idle streams".into()) }
    }

    /// Makes a call that is answered by a stream of so many copies of the message.
    fn items(&mut self, _message: &Message, _count: u32) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer streams no items".into()) }
    }

    /// Makes a call that is answered by a stream of so many copies, which a task of the server sends through a channel.
    fn items_channel(&mut self, _message: &Message, _count: u32) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer streams no items of a channel".into()) }
    }

    /// Makes a call that takes a stream of so many copies of the message, and gives each back.
    fn bidi_items(&mut self, _message: &Message, _count: u32) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer streams no items both ways".into()) }
    }

    /// Makes a call that is never answered; its handler is [`forever`](crate::waiting::forever).
    fn never(&mut self, _slot: u32) -> impl Future<Output = Result<()>> + Send {
        async { Err("this peer has no call to cancel".into()) }
    }
}

/// A stream that stays open until it is dropped.
pub(crate) type Held = Box<dyn Send>;

/// What kind of thing a peer is. Each is compared with ours of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    /// It makes calls.
    Calls,
    /// It makes streams.
    Streams,
    /// It is what both run on.
    Transport,
}

/// A peer without its type, for lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) layer: Layer,
    pub(crate) runs: fn(Workload) -> bool,
    pub(crate) measure: fn(Slice) -> Result<Sample>,
    /// Is the server, where that is a process of its own.
    pub(crate) serve: fn(Workload) -> Result<()>,
}

impl Entry {
    pub(crate) const fn of<P: Peer>() -> Self {
        Self {
            name: P::NAME,
            package: P::PACKAGE,
            layer: P::LAYER,
            runs: P::runs,
            measure: arena::measure::<P>,
            serve: fleet::serve::<P>,
        }
    }
}

/// By which a server says where it can be reached, and gives its side of connections to call.
#[derive(Debug)]
pub(crate) struct Doorplate<P> {
    address: oneshot::Sender<SocketAddr>,
    accepted: mpsc::UnboundedSender<P>,
}

impl<P> Doorplate<P> {
    /// A doorplate, where to read it, and the clients of connections that the server accepts.
    pub(crate) fn new() -> (Self, oneshot::Receiver<SocketAddr>, mpsc::UnboundedReceiver<P>) {
        let (address, reader) = oneshot::channel();
        let (accepted, clients) = mpsc::unbounded_channel();
        (Self { address, accepted }, reader, clients)
    }

    /// Takes clients of accepted connections, of peers that call back.
    pub(crate) fn accepted(&self) -> mpsc::UnboundedSender<P> {
        self.accepted.clone()
    }

    /// For a server that has a listener of its own.
    pub(crate) fn hang(self, address: SocketAddr) {
        // Nobody reads it when the client has given up.
        let _ = self.address.send(address);
    }

    /// Listens on any port of the loopback.
    pub(crate) async fn listen(self) -> Result<TcpListener> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        self.hang(listener.local_addr()?);
        Ok(listener)
    }

    /// Listens, and runs `connection` in a task for each that comes.
    pub(crate) async fn serve<F>(self, connection: impl Fn(TcpStream) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let listener = self.listen().await?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends is for its client to say.
            tokio::spawn(connection(stream));
        }
    }
}

/// Connects with `TCP_NODELAY`.
pub(crate) async fn dial(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
