//! Two equal peers on one TCP connection: each opens streams to ask the other, in JSON.
//!
//! There is no RPC layer and there are no stream types: a stream carries a question and its answer, one line of JSON
//! each. Any program with a muxado library and a JSON library can be either side.
//!
//! ```text
//! cargo run --release -p examples --example json_peer
//! ```

use std::{error::Error, process::ExitCode};

use muxado::{Config, ErrorCode, Session, Stream};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A question.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Question {
    Add { a: i64, b: i64 },
    Reverse { text: String },
}

/// An answer.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Answer {
    Number(i64),
    Text(String),
}

fn answer(question: Question) -> Answer {
    match question {
        Question::Add { a, b } => Answer::Number(a + b),
        Question::Reverse { text } => Answer::Text(text.chars().rev().collect()),
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("json_peer: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (connected, accepted) = tokio::try_join!(TcpStream::connect(listener.local_addr()?), async {
        Ok(listener.accept().await?.0)
    })?;
    connected.set_nodelay(true)?;
    accepted.set_nodelay(true)?;
    let (client, driver) = Session::client(connected, Config::default());
    tokio::spawn(driver);
    let (server, driver) = Session::server(accepted, Config::default());
    tokio::spawn(driver);

    // From here on the two sides do the same.
    tokio::spawn(answer_all(client.clone()));
    tokio::spawn(answer_all(server.clone()));
    tokio::try_join!(ask_some("client", &client), ask_some("server", &server))?;

    client.close(ErrorCode::NO_ERROR, "done");
    println!("server: {}", server.closed().await);
    Ok(())
}

/// Asks questions, each on a stream of its own.
async fn ask_some(name: &str, session: &Session) -> Result<()> {
    for n in 1..=3 {
        let sum = ask(session, &Question::Add { a: n, b: 10 * n }).await?;
        println!("{name}: {n} + {} = {sum:?}", 10 * n);
        check(sum == Answer::Number(11 * n))?;
    }
    let text = ask(session, &Question::Reverse { text: format!("odaxum {name}") }).await?;
    println!("{name}: {text:?}");
    check(text == Answer::Text(format!("odaxum {name}").chars().rev().collect()))
}

async fn ask(session: &Session, question: &Question) -> Result<Answer> {
    let mut stream = session.open().await?;
    stream.write_all(&line(question)?).await?;
    stream.shutdown().await?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

/// Answers whatever the other side asks, until the session ends.
async fn answer_all(session: Session) {
    while let Some(stream) = session.accept().await {
        tokio::spawn(async move {
            if let Err(error) = answer_one(stream).await {
                eprintln!("a question went wrong: {error}");
            }
        });
    }
}

async fn answer_one(mut stream: Stream) -> Result<()> {
    let mut text = Vec::new();
    // A question may be of any length; 64 KiB of it are read.
    (&mut stream).take(64 * 1024).read_to_end(&mut text).await?;
    let question = serde_json::from_slice(&text)?;
    stream.write_all(&line(&answer(question))?).await?;
    stream.shutdown().await?;
    Ok(())
}

fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

fn check(right: bool) -> Result<()> {
    if right { Ok(()) } else { Err("that is wrong".into()) }
}
