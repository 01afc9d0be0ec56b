//! An echo server on muxado streams, and a client for it.
//!
//! ```text
//! cargo run --release -p examples --example echo -- serve 127.0.0.1:7000
//! cargo run --release -p examples --example echo -- ping 127.0.0.1:7000
//! ```
//!
//! The server sends the bytes of each stream back as they arrive, and finishes the stream when its input ends. It runs
//! until it is killed. The client sends a few megabytes on many streams at a time, checks what comes back, and exits.

use std::{env, io, process::ExitCode, time::Instant};

use bytes::Bytes;
use muxado::{Config, ErrorCode, Session, Stream};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["serve", addr] => serve(addr).await,
        ["ping", addr] => ping(addr).await,
        _ => {
            eprintln!("usage: echo serve ADDR | echo ping ADDR");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(addr: &str) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (tcp, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // For instance out of file descriptors: existing connections go on.
                eprintln!("accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        tokio::spawn(async move {
            if let Err(error) = serve_connection(tcp).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn serve_connection(tcp: TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let (session, driver) = Session::server(tcp, Config::default());
    let driver = tokio::spawn(driver);
    while let Some(stream) = session.accept().await {
        tokio::spawn(echo(stream));
    }
    driver.await?.map_err(io::Error::other)
}

/// Sends bytes back, chunk by chunk. A stream that fails does not affect others.
async fn echo(mut stream: Stream) -> io::Result<()> {
    while let Some(chunk) = stream.read_chunk().await? {
        stream.write_chunk(chunk).await?;
    }
    stream.finish()?;
    Ok(())
}

/// Streams that the client opens.
const STREAMS: usize = 64;

/// Bytes that each of them carries.
const BYTES: usize = 256 * 1024;

async fn ping(addr: &str) -> io::Result<()> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let (session, driver) = Session::client(tcp, Config::default());
    let driver = tokio::spawn(driver);

    let mut stream = session.open().await?;
    let started = Instant::now();
    stream.write_chunk(Bytes::from_static(b"hello")).await?;
    stream.finish()?;
    let answer = read_all(&mut stream).await?;
    println!("{:?} after {:?}", String::from_utf8_lossy(&answer), started.elapsed());
    check(&answer, b"hello")?;

    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..STREAMS {
        let session = session.clone();
        tasks.spawn(async move { ping_stream(&session, number).await });
    }
    while let Some(result) = tasks.join_next().await {
        result??;
    }
    let megabytes = (STREAMS * BYTES) as f64 / 1e6;
    let seconds = started.elapsed().as_secs_f64();
    println!("{STREAMS} streams, {megabytes:.1} MB each way, {:.0} MB/s each way", megabytes / seconds);

    session.close(ErrorCode::NO_ERROR, "done");
    driver.await?.map_err(io::Error::other)
}

/// Sends one stream's bytes while it reads what comes back.
async fn ping_stream(session: &Session, number: usize) -> io::Result<()> {
    let message = Bytes::from(vec![number as u8; BYTES]);
    let (mut send, mut recv) = session.open().await?.into_split();
    let sending = async {
        send.write_chunk(message.clone()).await?;
        send.finish()
    };
    let receiving = async {
        let mut answer = Vec::new();
        while let Some(chunk) = recv.read_chunk().await? {
            answer.extend_from_slice(&chunk);
        }
        Ok::<_, io::Error>(answer)
    };
    let (sent, answer) = tokio::join!(sending, receiving);
    sent?;
    check(&answer?, &message)
}

async fn read_all(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.read_chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all)
}

fn check(answer: &[u8], expected: &[u8]) -> io::Result<()> {
    if answer == expected {
        return Ok(());
    }
    Err(io::Error::other(format!("{} bytes came back, not the {} sent", answer.len(), expected.len())))
}
