//! The same over TCP, with tasks on several threads and the real clock.

use muxado::{Config, Session, Side};
use ngrok_muxado::{Accept, MuxadoSession, OpenClose, Session as _};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::peers::{ask, exchange, limited, serve_ours, serve_theirs, start_theirs};

async fn connect(ours: Side) -> (Session, MuxadoSession) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near.unwrap(), far.unwrap());
    near.set_nodelay(true).unwrap();
    far.set_nodelay(true).unwrap();
    let (session, driver) = Session::new(ours, near, Config::default());
    tokio::spawn(driver);
    (session, start_theirs(ours, far))
}

async fn check(ours: Side) {
    let (session, theirs) = connect(ours).await;
    let (mut opener, mut acceptor) = theirs.split();

    // 2 MiB each way on a stream of each side, at the same time.
    let mut tasks = JoinSet::new();
    tasks.spawn(exchange(session.open().await.unwrap(), 2 << 20, 1, 2));
    tasks.spawn(exchange(opener.open().await.unwrap(), 2 << 20, 3, 4));
    tasks.spawn(exchange(session.accept().await.expect("their stream"), 2 << 20, 4, 3));
    tasks.spawn(exchange(acceptor.accept().await.expect("our stream"), 2 << 20, 2, 1));
    finish(tasks).await;

    // 100 streams of each side, at the same time.
    tokio::spawn(serve_theirs(acceptor));
    tokio::spawn(serve_ours(session.clone()));
    let mut tasks = JoinSet::new();
    for n in 0..100_u32 {
        let (session, text) = (session.clone(), n.to_be_bytes());
        tasks.spawn(async move { assert_eq!(ask(session.open().await.unwrap(), &text).await, text) });
        let stream = opener.open().await.unwrap();
        tasks.spawn(async move { assert_eq!(ask(stream, &text).await, text) });
    }
    finish(tasks).await;
}

async fn finish(mut tasks: JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_is_client() {
    limited(check(Side::Client)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_is_server() {
    limited(check(Side::Server)).await;
}
