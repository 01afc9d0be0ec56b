//! Connections by their ids: at both ends, in handlers, and in the list of a server.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use muxado_rpc::{Context, Limits, Peer, PeerId, Request, Server, Status, layers::AuthLayer};
use support::{Pair, WorkClient, WorkServer, Worker, assert_alive};
use tokio::{sync::mpsc, time::Instant};

const SECOND: Duration = Duration::from_secs(1);

#[muxado_rpc::service]
trait Who {
    async fn am_i(&self, cx: &Context) -> Option<u64>;
}

#[derive(Clone)]
struct Known;

impl Who for Known {
    async fn am_i(&self, cx: &Context) -> Option<u64> {
        assert_eq!(cx.peer_id(), cx.channel().peer_id());
        cx.peer_id().map(PeerId::as_u64)
    }
}

async fn listen() -> Server {
    let server = Server::builder().serve(WhoServer::new(Known)).serve(WorkServer::new(Worker::default()));
    server.listen("tcp://127.0.0.1:0").await.unwrap()
}

async fn connect(server: &Server) -> Peer {
    let peer = Peer::builder().serve(WorkServer::new(Worker::default()));
    let peer = peer.connect(server.local_addr()).await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
    peer
}

/// Waits until the server has this many peers.
async fn until(server: &Server, count: usize) -> Vec<Peer> {
    loop {
        let peers = server.peers();
        if peers.len() == count {
            return peers;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
#[expect(clippy::mutable_key_type, reason = "they are equal by their ids")]
async fn handles_are_equal_if_their_connection_is_the_same() {
    let begin = Instant::now();
    tokio::time::sleep(SECOND).await;
    let (one, other) = (Pair::new(), Pair::new());
    assert_eq!(one.near, one.near.clone());
    assert!(one.near != other.near && one.near != one.far);
    assert_eq!((one.near.id(), Some(one.near.id())), (one.near.clone().id(), one.near.channel().peer_id()));
    assert!(one.near.id() < other.near.id());
    assert_eq!(one.near.connected_at() - begin, SECOND);
    let ids: BTreeSet<_> = [&one.near, &one.far, &other.near, &other.far].map(Peer::id).into();
    assert_eq!(ids.len(), 4);
    let counts: HashMap<Peer, u8> = [(one.near.clone(), 1), (other.near.clone(), 2)].into();
    assert_eq!((counts[&one.near], counts[&other.near]), (1, 2));
    let id = one.near.id();
    assert_eq!((id.to_string(), format!("{id:?}")), (id.as_u64().to_string(), format!("PeerId({id})")));
}

#[tokio::test]
async fn a_handler_knows_which_connection_calls_and_the_server_finds_it() {
    let server = listen().await;
    let (one, other) = (connect(&server).await, connect(&server).await);
    let ids = server.peers().iter().map(Peer::id).collect::<Vec<_>>();
    for (peer, id) in [(&one, ids[0]), (&other, ids[1])] {
        for _ in 0..2 {
            assert_eq!(WhoClient::new(peer.channel()).am_i().await.unwrap(), Some(id.as_u64()));
        }
        let found = server.peer(id).unwrap();
        let address = found.peer_info().address().unwrap();
        assert!(found.id() == id && address.starts_with("tcp://127.0.0.1:"), "{address}");
    }
    assert!(server.peer(one.id()).is_none(), "that is the id at the other end");
    // Without a connection there is none.
    assert_eq!(WhoClient::new(WhoServer::new(Known)).am_i().await.unwrap(), None);
}

#[tokio::test]
async fn a_layer_sees_which_connection_a_request_came_by() {
    let seen: Arc<Mutex<Vec<Option<PeerId>>>> = Arc::default();
    let note = Arc::clone(&seen);
    let layer = AuthLayer::new(move |request: &mut Request| {
        note.lock().unwrap().push(request.peer_id());
        std::future::ready(Ok::<_, Status>(()))
    });
    let server = Server::builder().layer(layer).serve(WorkServer::new(Worker::default()));
    let server = server.listen("tcp://127.0.0.1:0").await.unwrap();
    let _peer = connect(&server).await;
    assert_eq!(*seen.lock().unwrap(), [Some(server.peers()[0].id())]);
}

#[tokio::test]
async fn a_server_calls_all_of_its_peers() {
    let server = listen().await;
    let peers = [connect(&server).await, connect(&server).await, connect(&server).await];
    let listed = server.peers();
    assert!(listed.is_sorted_by_key(Peer::id) && listed.len() == 3);
    for peer in &listed {
        assert_alive(&WorkClient::new(peer.channel())).await;
    }
    assert!(peers.iter().all(|peer| peer.call_stats().served == 1));
    assert_eq!(server.stats().connections, 3);
}

#[tokio::test]
async fn one_is_closed_by_its_id_and_leaves_the_list() {
    let server = listen().await;
    let (one, other) = (connect(&server).await, connect(&server).await);
    let first = server.peers()[0].id();
    server.peer(first).unwrap().close();
    one.closed().await;
    let left = until(&server, 1).await;
    assert!(left[0].id() != first && server.peer(first).is_none());
    assert_alive(&WorkClient::new(other.channel())).await;
    // A peer that leaves by itself goes, too.
    drop(other);
    until(&server, 0).await;
}

#[tokio::test]
async fn a_peer_that_drains_is_called_no_more_and_still_found() {
    let server = listen().await;
    let peer = connect(&server).await;
    let client = WorkClient::new(peer.channel());
    let call = tokio::spawn(async move { client.hang().await });
    while server.call_stats().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    let id = server.peers()[0].id();
    let draining = server.peer(id).unwrap();
    let drained = tokio::spawn(async move { draining.shutdown(3600 * SECOND).await });
    until(&server, 0).await;
    let found = server.peer(id).unwrap();
    assert!(found.is_going_away() && !found.is_closed());
    found.close();
    assert!(call.await.unwrap().is_err());
    drained.await.unwrap();
    assert!(server.peer(id).is_none());
}

#[tokio::test]
async fn a_list_holds_no_connection_and_a_peer_nothing_after_its_end() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::builder()
        .serve(WorkServer::new(Worker::default()))
        .limits(Limits::default().max_connections(1))
        .on_connect(move |peer: Peer| tell.send(peer.id()).unwrap())
        .listen("tcp://127.0.0.1:0")
        .await
        .unwrap();
    let mut lists = Vec::new();
    for _ in 0..3 {
        // There is room for one at a time: the one before is gone, although it is in a list.
        let peer = connect(&server).await;
        let list = server.peers();
        assert_eq!(list.iter().map(Peer::id).collect::<Vec<_>>(), [told.recv().await.unwrap()]);
        lists.push(list);
        drop(peer);
        until(&server, 0).await;
    }
    assert!(lists.iter().flatten().all(Peer::is_closed));
    let peer = connect(&server).await;
    let list = server.peers();
    drop(server);
    peer.closed().await;
    list[0].closed().await;
}
