//! capnp-rpc: calls of Cap'n Proto over TCP.
//!
//! `echo_capnp.rs` is generated from `echo.capnp` and kept, so that a build needs no schema compiler. After a
//! change, in the directory of both, with Cap'n Proto 0.9 or later and its own schemas installed:
//!
//! ```text
//! cargo install capnpc --version 0.27.0
//! capnp compile -orust:. echo.capnp
//! ```

mod calls;
mod confined;
#[rustfmt::skip]
#[expect(warnings, reason = "generated")]
mod echo_capnp;
mod service;

use std::{net::SocketAddr, sync::Arc};

use capnp::message::ReaderOptions;
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use send_wrapper::SendWrapper;
use tokio::{
    io::{BufReader, BufWriter},
    net::TcpStream,
    sync::mpsc::UnboundedSender,
};
use tokio_util::{
    compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt},
    task::AbortOnDropHandle,
};

use self::{calls::Items, confined::Home, echo_capnp::echo, service::Echoing};
use crate::{
    Result,
    message::Message,
    peer::{Doorplate, Layer, Peer, dial},
    workload::Workload,
};

/// The task of a connection, which ends with this.
type Task = AbortOnDropHandle<Result<(), capnp::Error>>;

/// The other end's service. Its clones can be anywhere; what they call stays on its thread.
#[derive(Clone)]
pub(crate) struct CapnpRpc(Arc<Remote>);

struct Remote {
    /// Until it is dropped, where it lives.
    client: Option<SendWrapper<echo::Client>>,
    home: Home,
    /// The connection, if it is to end with this.
    _connection: Option<Task>,
}

impl Remote {
    fn client(&self) -> &echo::Client {
        self.client.as_deref().expect("only a drop takes it")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.home.drop(self.client.take());
    }
}

impl CapnpRpc {
    /// To be called where it lives, as everything that has to do with a client.
    fn new(client: echo::Client, home: Home, connection: Option<Task>) -> Self {
        Self(Arc::new(Remote { client: Some(SendWrapper::new(client)), home, _connection: connection }))
    }

    /// Makes a call where the client lives.
    async fn call<A, C>(&self, argument: &A, call: C) -> Result<()>
    where
        A: Clone + Send + Sync + 'static,
        C: AsyncFnOnce(&echo::Client, &A) -> Result<()> + Send + 'static,
    {
        match &self.0.home {
            // As `run` would, but nothing has to be copied.
            Home::Here => SendWrapper::new(call(self.0.client(), argument)).await,
            home => {
                let (remote, argument) = (Arc::clone(&self.0), argument.clone());
                home.run(async move || call(remote.client(), &argument).await).await
            }
        }
    }
}

impl Peer for CapnpRpc {
    const NAME: &'static str = "capnp-rpc";
    const PACKAGE: &'static str = "capnp-rpc";
    const LAYER: Layer = Layer::Calls;
    const CALLS_BACK: bool = true;

    fn runs(workload: Workload) -> bool {
        super::runs_calls(workload) || super::runs_items_of_streams(workload)
    }

    async fn serve(workload: Workload, doorplate: Doorplate<Self>) -> Result<()> {
        let (home, accepted) = (Home::of_server()?, doorplate.accepted());
        let of_connections = home.clone();
        let connection = move |stream| {
            SendWrapper::new(serve_connection(stream, workload, accepted.clone(), of_connections.clone()))
        };
        home.run(|| doorplate.serve(connection)).await
    }

    async fn connect(workload: Workload, server: SocketAddr) -> Result<Self> {
        let home = Home::of_clients().await?;
        let of_client = home.clone();
        let connect = async move || {
            let mut system = system(dial(server).await?, Side::Client, workload);
            let client = system.bootstrap(Side::Server);
            let connection = AbortOnDropHandle::new(tokio::spawn(SendWrapper::new(system)));
            Ok(Self::new(client, of_client, Some(connection)))
        };
        home.run(connect).await
    }

    async fn echo(&mut self, message: &Message) -> Result<()> {
        self.call(message, calls::echo).await
    }

    async fn items(&mut self, message: &Message, count: u32) -> Result<()> {
        self.call(&Items { message: message.clone(), count }, calls::items).await
    }

    async fn items_channel(&mut self, message: &Message, count: u32) -> Result<()> {
        self.call(&Items { message: message.clone(), count }, calls::items_channel).await
    }

    async fn bidi_items(&mut self, message: &Message, count: u32) -> Result<()> {
        self.call(&Items { message: message.clone(), count }, calls::bidi_items).await
    }

    async fn never(&mut self, slot: u32) -> Result<()> {
        self.call(&slot, calls::never).await
    }
}

async fn serve_connection(
    stream: TcpStream,
    workload: Workload,
    accepted: UnboundedSender<CapnpRpc>,
    home: Home,
) -> Result<()> {
    let mut system = system(stream, Side::Server, workload);
    if let Workload::Both { .. } = workload {
        let client = system.bootstrap(Side::Client);
        accepted.send(CapnpRpc::new(client, home, None)).map_err(|_| "nobody calls back")?;
    }
    Ok(system.await?)
}

/// What runs a connection. Its streams are buffered, as its documentation advises.
fn system(stream: TcpStream, side: Side, workload: Workload) -> RpcSystem<Side> {
    let (reader, writer) = stream.into_split();
    let (reader, writer) = (BufReader::new(reader).compat(), BufWriter::new(writer).compat_write());
    let network = VatNetwork::new(reader, writer, side, ReaderOptions::new());
    let serves = side == Side::Server || matches!(workload, Workload::Both { .. });
    let service = serves.then(|| capnp_rpc::new_client::<echo::Client, _>(Echoing).client);
    RpcSystem::new(Box::new(network), service)
}
