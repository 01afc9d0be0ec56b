//! What servers do at the path of a Unix socket: what they replace, what they remove, what they leave.
#![cfg(unix)]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    fs, io,
    os::unix::{
        self,
        fs::{FileTypeExt, MetadataExt},
        net::UnixDatagram,
    },
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use muxado_rpc::{ListenError, Peer, Server};
use support::{WorkClient, WorkServer, Worker, assert_alive};
use tokio::{net::UnixStream, task::JoinSet};

/// A directory for one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("muxado-rpc-sockets-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn address(path: &Path) -> String {
    format!("unix://{}", path.display())
}

async fn listen(path: &Path) -> Result<Server, ListenError> {
    Server::builder().serve(WorkServer::new(Worker::default())).listen(&address(path)).await
}

async fn assert_serves(path: &Path) {
    let peer = Peer::builder().connect(&address(path)).await.unwrap();
    assert_alive(&WorkClient::new(peer.channel())).await;
}

/// Asserts that no server begins at the path, that the error says so, and that what lies there is the same.
async fn assert_left(path: &Path, what: &str) {
    let id = |path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino(), found.mode())).unwrap();
    let before = id(path);
    let Err(ListenError::Io { source, address }) = listen(path).await else {
        panic!("a server listens in place of {what}");
    };
    assert_eq!(source.kind(), io::ErrorKind::AddrInUse, "{what}: {source}");
    let error = ListenError::Io { address, source }.to_string();
    assert!(error.contains(path.to_str().unwrap()) && error.contains(what), "{error}");
    assert_eq!(id(path), before);
}

/// Leaves a socket behind that nobody has open.
fn leave_dead(path: &Path) {
    drop(unix::net::UnixListener::bind(path).unwrap());
    // A child process that another test starts has a copy of the socket until its program begins.
    while unix::net::UnixStream::connect(path).is_ok() {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn what_is_no_socket_is_an_error_and_stays() {
    let directory = Directory::new();
    let at = |name: &str| directory.join(name);
    fs::write(at("file"), "precious").unwrap();
    fs::create_dir(at("directory")).unwrap();
    fs::create_dir(at("full")).unwrap();
    fs::write(at("full").join("file"), "precious").unwrap();
    leave_dead(&at("dead"));
    let live = listen(&at("live")).await.unwrap();
    for target in ["file", "directory", "dead", "live", "nothing"] {
        let link = at(&format!("to-{target}"));
        unix::fs::symlink(at(target), &link).unwrap();
        assert_left(&link, "is a symbolic link, not a socket").await;
    }
    assert_left(&at("file"), "is a file, not a socket").await;
    assert_left(&at("directory"), "is a directory, not a socket").await;
    assert_left(&at("full"), "is a directory, not a socket").await;
    if Command::new("mkfifo").arg(at("pipe")).status().is_ok_and(|status| status.success()) {
        assert_left(&at("pipe"), "is a named pipe, not a socket").await;
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"precious");
    assert_eq!(fs::read(at("full").join("file")).unwrap(), b"precious");
    assert!(fs::symlink_metadata(at("dead")).unwrap().file_type().is_socket());
    assert!(!at("nothing").exists());
    assert_serves(&at("to-live")).await;
    drop(live);
}

#[tokio::test]
async fn a_socket_in_use_is_an_error_and_stays() {
    let directory = Directory::new();
    let path = directory.join("server");
    let server = listen(&path).await.unwrap();
    assert_left(&path, "a server is listening there already").await;
    assert_serves(&path).await;
    server.shutdown(Duration::ZERO).await;

    let path = directory.join("datagrams");
    let datagrams = UnixDatagram::bind(&path).unwrap();
    assert_left(&path, "a datagram socket is bound there").await;
    drop(datagrams);
    assert_eq!(directory.names(), ["datagrams"]);
}

#[tokio::test]
async fn a_server_whose_queue_is_full_is_alive() {
    let directory = Directory::new();
    let path = directory.join("busy");
    let _busy = tokio::net::UnixListener::bind(&path).unwrap();
    // Connections count in the queue until they are accepted, also those that have ended.
    let error = loop {
        if let Err(error) = UnixStream::connect(&path).await {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_left(&path, "a server is listening there already").await;
    let error = Peer::builder().connect(&address(&path)).await.unwrap_err().to_string();
    assert!(error.contains("has a full backlog"), "{error}");
}

#[tokio::test]
async fn a_look_at_a_server_is_no_connection_of_its() {
    let directory = Directory::new();
    let path = directory.join("server");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    assert_left(&path, "a server is listening there already").await;
    UnixStream::connect(&path).await.unwrap().try_write(b"x").unwrap();
    let (first, _) = listener.accept().await.unwrap();
    let mut bytes = [0; 2];
    first.readable().await.unwrap();
    assert_eq!(first.try_read(&mut bytes).unwrap(), 1);
}

#[tokio::test]
async fn dead_sockets_are_replaced_and_nothing_else_is_left() {
    let directory = Directory::new();
    let path = directory.join("s");
    for _ in 0..3 {
        leave_dead(&path);
        let server = listen(&path).await.unwrap();
        assert_serves(&path).await;
        assert_eq!(directory.names(), ["s"]);
        server.shutdown(Duration::ZERO).await;
        assert!(directory.names().is_empty());
        drop(UnixDatagram::bind(&path).unwrap());
        listen(&path).await.unwrap().shutdown(Duration::ZERO).await;
        assert!(directory.names().is_empty());
    }
}

#[tokio::test]
async fn a_dead_socket_with_the_longest_possible_path_is_replaced() {
    let directory = Directory::new();
    let longest = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };
    let room = longest - directory.0.as_os_str().len() - "/".len();
    // A short name in a long directory leaves no room for a longer name.
    let deep = directory.join(&"d".repeat(room - "/s".len()));
    fs::create_dir(&deep).unwrap();
    for path in [deep.join("s"), directory.join(&"s".repeat(room))] {
        leave_dead(&path);
        let server = listen(&path).await.unwrap();
        assert_serves(&path).await;
        server.shutdown(Duration::ZERO).await;
        assert!(!path.exists());
    }
    assert_eq!(fs::read_dir(&deep).unwrap().count(), 0);
}

#[tokio::test]
async fn an_ending_server_leaves_what_has_its_name_by_now() {
    let directory = Directory::new();
    let path = directory.join("s");
    let first = listen(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    let second = listen(&path).await.unwrap();
    first.shutdown(Duration::ZERO).await;
    assert_serves(&path).await;

    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    second.shutdown(Duration::ZERO).await;
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    fs::remove_file(&path).unwrap();
    let third = listen(&path).await.unwrap();
    let moved = directory.join("moved");
    fs::rename(&path, &moved).unwrap();
    unix::fs::symlink(&moved, &path).unwrap();
    third.shutdown(Duration::ZERO).await;
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
    assert!(moved.exists());
}

#[tokio::test]
async fn the_file_goes_with_a_server_that_is_dropped() {
    let directory = Directory::new();
    let path = directory.join("s");
    let server = listen(&path).await.unwrap();
    drop(server);
    assert!(!path.exists());
}

#[test]
fn the_file_goes_with_the_runtime() {
    let directory = Directory::new();
    let path = directory.join("s");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(listen(&path)).unwrap();
    assert!(path.exists());
    drop(runtime);
    assert!(!path.exists());
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_servers_that_begin_at_once_in_place_of_a_dead_socket_one_listens() {
    let directory = Directory::new();
    let path = directory.join("s");
    for _ in 0..200 {
        leave_dead(&path);
        let mut beginning = JoinSet::new();
        for _ in 0..4 {
            let path = path.clone();
            beginning.spawn(async move { listen(&path).await });
        }
        let begun = beginning.join_all().await;
        let (listening, refused): (Vec<_>, Vec<_>) = begun.into_iter().partition(Result::is_ok);
        assert_eq!(listening.len(), 1, "{refused:?}");
        assert_serves(&path).await;
        assert_eq!(directory.names(), ["s"]);
        for server in listening {
            server.unwrap().shutdown(Duration::ZERO).await;
        }
        assert!(directory.names().is_empty());
    }
}

#[tokio::test]
async fn a_path_that_no_socket_can_have_is_an_error_that_says_why() {
    let directory = Directory::new();
    let long = directory.join(&"x".repeat(200));
    let len = long.as_os_str().len().to_string();
    let listened = listen(&long).await.unwrap_err().to_string();
    let connected = Peer::builder().connect(&address(&long)).await.unwrap_err().to_string();
    for error in [listened, connected] {
        assert!(
            error.contains("the path of a Unix socket has at most 10") && error.contains(&len),
            "{error}"
        );
    }
    let missing = listen(&directory.join("none").join("s")).await.unwrap_err();
    assert!(matches!(missing, ListenError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
    let root = listen(Path::new("/")).await.unwrap_err().to_string();
    assert!(root.contains("/ is a directory, not a socket"), "{root}");
}

#[tokio::test]
async fn who_connects_is_told_what_lies_there() {
    let directory = Directory::new();
    fs::write(directory.join("file"), "").unwrap();
    leave_dead(&directory.join("dead"));
    unix::fs::symlink(directory.join("none"), directory.join("dangling")).unwrap();
    unix::fs::symlink(directory.join("file"), directory.join("link")).unwrap();
    for (name, text) in [
        ("file", "is a file, not a socket"),
        ("link", "is a file, not a socket"),
        ("dead", "no server listens at"),
        ("dangling", "is a symbolic link to nothing"),
        ("none", "No such file"),
    ] {
        let path = directory.join(name);
        let error = Peer::builder().connect(&address(&path)).await.unwrap_err().to_string();
        assert!(error.contains(text) && error.contains(path.to_str().unwrap()), "{error}");
    }
}
