//! A server under test: whatever it is asked, it answers, and serves on.

use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use muxado::{Config, Side, StreamType};
use muxado_rpc::{Codec, Peer};
use tokio::{io::duplex, task::JoinSet, time::sleep};

use super::{
    check::{Words, check_answer, has_control},
    codec,
    hand::{Answer, Hand, Manner, service, within},
    is_traced,
    message::{Last, Message, Request, framed},
    service::{NestServer, Nesting},
    take_limits,
    told::Told,
    value::{ANY, list, map, string},
};

/// Acts of one input.
const MOST_ACTS: usize = 24;

/// Bytes on their way in one direction.
const PIPE: usize = 64 * 1024;

/// One thing that the caller does.
#[derive(Arbitrary, Clone, Debug)]
enum Act {
    Call {
        request: Request,
        messages: Vec<Message>,
        last: Last,
        packed: bool,
        manner: Manner,
    },
    Raw {
        to: u8,
        bytes: Vec<u8>,
        manner: Manner,
    },
    /// On its control stream, or on one more of the kind.
    Tell {
        lines: Vec<Told>,
        manner: Manner,
    },
    /// What it answers when it is called itself.
    Script(Answer),
    Wait {
        ms: u16,
    },
    /// Everything so far comes to its end.
    Settle,
}

struct World {
    hand: Hand,
    peer: Peer,
    nesting: Nesting,
    running: JoinSet<Said>,
    /// Streams that the server may take for calls.
    opened: u64,
    answered: u64,
}

/// What became of a stream.
enum Said {
    Answered,
    Other,
}

pub(super) async fn run(input: &mut Unstructured<'_>) {
    let limits = take_limits(input);
    let (near, far) = duplex(PIPE);
    let nesting = Nesting::default();
    let builder = Peer::builder().limits(limits).no_heartbeat().serve(NestServer::new(nesting.clone()));
    let peer = builder.server(far).expect("one service");
    let hand = Hand::new(Side::Client, near, Config::default());
    let mut world = World { hand, peer, nesting, running: JoinSet::new(), opened: 0, answered: 0 };
    for _ in 0..MOST_ACTS {
        if input.is_empty() {
            break;
        }
        let Ok(act) = Act::arbitrary(input) else { break };
        if is_traced() {
            eprintln!("{act:?}");
        }
        world.apply(act).await;
    }
    world.end().await;
}

impl World {
    async fn apply(&mut self, act: Act) {
        match act {
            Act::Call { request, messages, last, packed, manner } => {
                let codec = codec(packed);
                let home = &request.method().home;
                let mut bytes = request.encode(codec);
                bytes.extend(messages.iter().flat_map(|message| message.encode(codec, home)));
                bytes.extend(last.encode_end(codec, home));
                let words = match request.method().name {
                    "relay" | "gather" | "chat" => Words::Anybodys,
                    _ => Words::Ours,
                };
                self.say(service(), bytes, manner, words);
            }
            Act::Raw { to, bytes, manner } => self.raw(to, bytes, manner),
            Act::Tell { lines, manner } => {
                let bytes: Vec<_> = lines.iter().flat_map(Told::encode).collect();
                let hand = self.hand.clone();
                // If it is not the first, it is refused without being looked at.
                self.opened += 1;
                self.running.spawn(async move {
                    hand.say(StreamType::CONTROL, bytes, manner).await;
                    Said::Other
                });
            }
            Act::Script(answer) => self.hand.script.set(Some((answer, ANY))),
            Act::Wait { ms } => sleep(Duration::from_millis(u64::from(ms % 4096))).await,
            Act::Settle => self.settle().await,
        }
    }

    fn raw(&mut self, to: u8, bytes: Vec<u8>, manner: Manner) {
        let stream_type = match to {
            0..200 => service(),
            200..220 => StreamType::new(7),
            220..240 => StreamType::new(0xFFFF_FF00),
            _ => {
                let hand = self.hand.clone();
                self.running.spawn(async move {
                    hand.say(StreamType::HEARTBEAT, bytes, manner).await;
                    Said::Other
                });
                return;
            }
        };
        self.say(stream_type, bytes, manner, Words::Ours);
    }

    /// Makes a call of these bytes, whose answer is checked.
    fn say(&mut self, stream_type: StreamType, bytes: Vec<u8>, manner: Manner, words: Words) {
        self.opened += 1;
        let hand = self.hand.clone();
        self.running.spawn(async move {
            let first = bytes.first().copied();
            let Some(heard) = hand.say(stream_type, bytes, manner).await else { return Said::Other };
            let Some(first) = first.filter(|_| manner.is_whole()) else { return Said::Other };
            assert_eq!(heard.end, Ok(()), "a call without an answer");
            let codec = if first == b'{' { Codec::Json } else { Codec::MessagePack };
            check_answer(codec, &heard.bytes, words);
            Said::Answered
        });
    }

    async fn settle(&mut self) {
        while let Some(said) = within("a call", self.running.join_next()).await {
            match said {
                Ok(Said::Answered) => self.answered += 1,
                Ok(Said::Other) => {}
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        if let Some(remote) = self.peer.known_capabilities() {
            let _ = (remote.services(), remote.codecs(), remote.drain_grace());
            assert!(!has_control(&format!("{remote:?}")), "control characters are shown: {remote:?}");
        }
        for codec in [Codec::Json, Codec::MessagePack] {
            self.hand.probe(codec).await;
            self.opened += 1;
            self.answered += 1;
        }
    }

    /// Nothing is left, and every call is counted once.
    async fn end(mut self) {
        self.settle().await;
        // What was left open by its caller is given up by then.
        sleep(Duration::from_secs(60)).await;
        self.check_room().await;
        let (stats, calls) = (self.peer.stats(), self.peer.call_stats());
        assert_eq!((stats.streams_open, stats.bytes_unread, stats.bytes_unsent), (0, 0, 0), "{stats:?}");
        assert_eq!((calls.in_flight(), self.nesting.alive()), (0, 0), "{calls:?}");
        self.hand.close();
        within("the connection", self.peer.closed()).await;
        let calls = self.peer.call_stats();
        assert_eq!(calls.started, calls.answered() + calls.cancelled + calls.cut, "{calls:?}");
        assert_eq!(calls.panicked, 0, "{calls:?}");
        assert!(self.answered <= calls.answered() && calls.started <= self.opened, "{calls:?}");
    }

    /// The room for requests is all there: one that needs much of it is served.
    async fn check_room(&mut self) {
        let codec = Codec::MessagePack;
        let value = string(codec, &"x".repeat(900));
        let request = list(codec, &[string(codec, "json"), map(codec, &[("value", value.clone())])]);
        let request = framed(codec, request);
        let heard = self.hand.say(service(), request, Manner::IN_HALVES).await.expect("it was not left");
        self.opened += 1;
        self.answered += 1;
        assert_eq!(heard.end, Ok(()));
        assert!(heard.bytes.ends_with(&value[5..]), "no room: {}", heard.bytes.escape_ascii());
    }
}
