//! A tunnel as ngrok's: TCP ports of a machine behind a NAT are reached through a hub, over connections that the machine
//! itself has opened.
//!
//! ```text
//! cargo run --release -p examples --example tunnel
//!
//!   user ──TCP──▶ public port of the hub ══ muxado over TCP ══ agent ──TCP──▶ local service
//!                                           ◀── connects ──
//! ```
//!
//! Each connection of a user is a stream that the hub opens, and that the agent joins with a connection to its service.
//! Ends of one direction pass through as such. Nothing waits for a first byte of the user, so protocols in which the server
//! speaks first work. Probes find out within seconds that the other side is gone, without a word in the protocol.
//!
//! The program runs the hub, agents for two services, and users that check what comes back.

use std::{error::Error, io, net::SocketAddr, time::Duration};

use muxado::{Config, ErrorCode, HeartbeatConfig, Session, Stream};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream, ToSocketAddrs},
};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Takes agents. Each gets a public port, which is open for as long as the agent is there.
async fn hub(agents: TcpListener) -> Result<()> {
    loop {
        let (tcp, agent) = agents.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = serve_agent(tcp).await {
                eprintln!("agent {agent}: {error}");
            }
        });
    }
}

async fn serve_agent(tcp: TcpStream) -> Result<()> {
    let session = start(tcp, Session::server)?;
    let public = TcpListener::bind("127.0.0.1:0").await?;
    // The agent opens one stream, on which it is told where its service can be reached.
    let mut control = session.accept().await.ok_or("the agent left")?;
    control.write_all(format!("{}\n", public.local_addr()?).as_bytes()).await?;
    loop {
        tokio::select! {
            accepted = public.accept() => {
                let (user, _) = accepted?;
                let opening = session.open();
                tokio::spawn(async move { join(user, opening.await?).await });
            }
            // The port is closed with that.
            _ = session.closed() => return Ok(()),
        }
    }
}

/// Connects a local service with the hub until the session ends; returns it, and the public address of the service.
async fn agent(hub: SocketAddr, service: SocketAddr) -> Result<(Session, SocketAddr)> {
    let session = start(TcpStream::connect(hub).await?, Session::client)?;
    let mut told = String::new();
    // Reading announces the stream: nothing has to be written first.
    BufReader::new(session.open().await?).read_line(&mut told).await?;
    let mut streams = session.clone().into_listener();
    tokio::spawn(async move {
        while let Some(mut stream) = streams.accept().await {
            tokio::spawn(async move {
                match TcpStream::connect(service).await {
                    Ok(tcp) => join(tcp, stream).await,
                    Err(error) => {
                        // The user sees a connection that fails, not an orderly end.
                        stream.reset(ErrorCode::STREAM_REFUSED);
                        Err(error)
                    }
                }
            });
        }
    });
    Ok((session, told.trim().parse()?))
}

type Start = fn(TcpStream, Config) -> (Session, muxado::Driver<TcpStream>);

fn start(tcp: TcpStream, start: Start) -> io::Result<Session> {
    tcp.set_nodelay(true)?;
    let (session, driver) = start(tcp, Config::default());
    tokio::spawn(driver);
    session.keepalive(HeartbeatConfig::default().interval(Duration::from_secs(20)));
    Ok(session)
}

/// Joins a connection with a stream until both directions have ended, or one end fails.
async fn join(mut tcp: TcpStream, mut stream: Stream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    if let Err(error) = copy_bidirectional(&mut tcp, &mut stream).await {
        // Closing with unread or lost bytes must not look like an end: without linger the socket is reset.
        tcp.set_zero_linger()?;
        return Err(error);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let agents = TcpListener::bind("127.0.0.1:0").await?;
    let hub_address = agents.local_addr()?;
    tokio::spawn(hub(agents));

    let (web, public_web) = agent(hub_address, web().await?).await?;
    let (mail, public_mail) = agent(hub_address, mail().await?).await?;
    println!("the web is at {public_web}, the mail at {public_mail}");

    // HTTP: the user speaks first. A body of some megabytes goes there and back.
    let body = "0123456789abcdef".repeat(200_000);
    let request = format!("POST /echo HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let response = talk(public_web, &request).await?;
    assert!(response.starts_with("HTTP/1.0 200 OK\r\n") && response.ends_with(&body));

    // Mail: the server speaks first, and many users are served at once.
    let users = (0..50).map(|n| tokio::spawn(greeted_user(public_mail, n)));
    for user in users.collect::<Vec<_>>() {
        user.await??;
    }

    // A service that is not there is an error of its users, and of nobody else.
    let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    let (_nothing, public_nothing) = agent(hub_address, free).await?;
    let error = talk(public_nothing, "hello?").await.expect_err("nobody answers");
    println!("a service that is not there: {error}");

    // An agent that leaves takes its port along, and leaves the others alone.
    mail.close(ErrorCode::NO_ERROR, "the agent leaves");
    while TcpStream::connect(public_mail).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(talk(public_web, &request).await?.ends_with(&body));
    assert!(web.keepalive(HeartbeatConfig::default()).ping().await? < Duration::from_secs(5));
    println!("all answers were right");
    Ok(())
}

/// Sends a text; returns what comes back until the other side closes the connection, as with HTTP/1.0.
async fn talk(address: impl ToSocketAddrs, text: &str) -> io::Result<String> {
    let (mut receiving, mut sending) = TcpStream::connect(address).await?.into_split();
    let mut answer = String::new();
    tokio::try_join!(sending.write_all(text.as_bytes()), receiving.read_to_string(&mut answer))?;
    Ok(answer)
}

/// Waits for the greeting, and says something only then.
async fn greeted_user(address: SocketAddr, n: usize) -> Result<()> {
    let mut tcp = BufReader::new(TcpStream::connect(address).await?);
    let mut line = String::new();
    tcp.read_line(&mut line).await?;
    assert_eq!(line, "220 ready\n");
    tcp.write_all(format!("HELO user-{n}\n").as_bytes()).await?;
    tcp.shutdown().await?;
    let mut rest = String::new();
    tcp.read_to_string(&mut rest).await?;
    assert_eq!(rest, format!("250 HELO user-{n}\n221 bye\n"));
    Ok(())
}

/// A web server that sends bodies back.
async fn web() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let echo = axum::routing::post(async |body: axum::body::Bytes| body);
    let limit = axum::extract::DefaultBodyLimit::disable();
    let app = axum::Router::new().route("/echo", echo).layer(limit);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// A server that speaks first.
async fn mail() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut tcp = BufReader::new(tcp);
                tcp.write_all(b"220 ready\n").await?;
                let mut line = String::new();
                while tcp.read_line(&mut line).await? > 0 {
                    tcp.write_all(format!("250 {line}").as_bytes()).await?;
                    line.clear();
                }
                tcp.write_all(b"221 bye\n").await
            });
        }
    });
    Ok(address)
}
