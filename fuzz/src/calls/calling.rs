//! A client under test: whatever it is answered, its calls end, and the next ones work.

use std::{fmt, future::Future, time::Duration};

use arbitrary::{Arbitrary, Unstructured};
use futures_util::stream;
use muxado::{Config, Side, StreamType};
use muxado_rpc::{CallError, Codec, Peer, Streaming};
use serde_json::Value;
use tokio::{io::duplex, task::JoinSet, time::sleep};

use super::{
    check::check_error,
    codec,
    hand::{Answer, Hand, Manner, within},
    is_traced,
    message::METHODS,
    service::{Adjacent, Chain, Expr, Flat, Internal, NestClient, Node, Plain, Tree, Untagged},
    take_limits,
    told::Told,
};

/// Acts of one input.
const MOST_ACTS: usize = 24;

/// Bytes on their way in one direction.
const PIPE: usize = 64 * 1024;

/// One thing that is done.
#[derive(Arbitrary, Clone, Debug)]
enum Act {
    Call {
        method: u8,
        packed: bool,
        answer: Answer,
        most: u8,
        limited: u8,
    },
    /// By the side that serves.
    Tell {
        lines: Vec<Told>,
        manner: Manner,
    },
    Wait {
        ms: u16,
    },
}

pub(super) async fn run(input: &mut Unstructured<'_>) {
    let limits = take_limits(input);
    let (near, far) = duplex(PIPE);
    let peer = Peer::builder().limits(limits).no_heartbeat().client(near).expect("no service");
    let hand = Hand::new(Side::Server, far, Config::default());
    let mut telling = JoinSet::new();
    for _ in 0..MOST_ACTS {
        if input.is_empty() {
            break;
        }
        let Ok(act) = Act::arbitrary(input) else { break };
        if is_traced() {
            eprintln!("{act:?}");
        }
        match act {
            Act::Call { method, packed, answer, most, limited } => {
                let method = method % METHODS.len() as u8;
                let home = METHODS[usize::from(method)].home.clone();
                hand.script.set(Some((answer, home)));
                let client = NestClient::new(peer.channel()).with_codec(codec(packed));
                // Some calls are given up, and some have a limit of their own.
                let client = if limited < 50 { client.with_timeout(Duration::from_secs(3)) } else { client };
                within("a call", call(&client, method, usize::from(most % 8))).await;
                hand.script.set(None);
                probe(&peer).await;
            }
            Act::Tell { lines, manner } => {
                let bytes: Vec<_> = lines.iter().flat_map(Told::encode).collect();
                let hand = hand.clone();
                telling.spawn(async move { hand.say(StreamType::CONTROL, bytes, manner).await });
                let _ = peer.known_capabilities().map(|remote| remote.services());
            }
            Act::Wait { ms } => sleep(Duration::from_millis(u64::from(ms % 4096))).await,
        }
    }
    while within("the control stream", telling.join_next()).await.is_some() {}
    end(&hand, &peer).await;
}

/// Nothing is left.
async fn end(hand: &Hand, peer: &Peer) {
    probe(peer).await;
    sleep(Duration::from_secs(60)).await;
    let stats = peer.stats();
    assert_eq!((stats.streams_open, stats.bytes_unread, stats.bytes_unsent), (0, 0, 0), "{stats:?}");
    hand.close();
    within("the connection", peer.closed()).await;
}

/// Calls that are answered as they should be.
async fn probe(peer: &Peer) {
    for codec in [Codec::Json, Codec::MessagePack] {
        let client = NestClient::new(peer.channel()).with_codec(codec);
        let answer = within("a sound call", client.eval(Expr::True)).await;
        assert_eq!(answer, Ok(1), "the connection does not live");
    }
}

/// Makes a call of this number; of a stream of items, up to `most` are taken.
async fn call(client: &NestClient, method: u8, most: usize) {
    let items = || stream::iter([Expr::True, Expr::True]);
    match method {
        0 => one(client.eval(Expr::True)).await,
        1 => one(client.echo(Expr::True)).await,
        2 => one(client.chain(Chain::default())).await,
        3 => one(client.internal(Internal::Leaf)).await,
        4 => one(client.adjacent(Adjacent::Unit)).await,
        5 => one(client.untagged(Untagged::Number(1))).await,
        6 => one(client.flat(Flat::default())).await,
        7 => one(client.json(Value::Null)).await,
        8 => one(client.tree(Tree::default())).await,
        9 => one(client.node(Node::default())).await,
        10 => one(client.plain(Plain::default())).await,
        11 => one(client.fail(Value::Null)).await,
        12 => one(client.relay(Value::Null)).await,
        13 => one(client.gather(items())).await,
        14 => one(client.count(stream::iter([Internal::Leaf]))).await,
        15 => one(client.ignore(stream::iter([Chain::default()]))).await,
        16 => many(client.spread(Internal::Leaf), most).await,
        17 => many(client.chat(stream::iter([Untagged::Number(1)])), most).await,
        18 => many(client.nodes(Node::default()), most).await,
        _ => many(client.chains(), most).await,
    }
}

async fn one<T, E>(call: impl Future<Output = Result<T, CallError<E>>>) {
    if let Err(error) = call.await {
        check_error(&error);
    }
}

async fn many<T, E, F: fmt::Debug>(
    call: impl Future<Output = Result<Streaming<T, E>, CallError<F>>>,
    most: usize,
) {
    let mut items = match call.await {
        Ok(items) => items,
        Err(error) => return check_error(&error),
    };
    for _ in 0..=most {
        match items.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                check_error(&error);
                assert!(items.next().await.is_none(), "items behind an error");
                return;
            }
            None => {
                assert!(items.next().await.is_none(), "items behind the end");
                return;
            }
        }
    }
}
