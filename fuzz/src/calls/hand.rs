//! A bare muxado session that speaks with the peer under test by hand.

use std::{
    future::Future,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arbitrary::Arbitrary;
use bytes::Bytes;
use muxado::{Config, ErrorCode, ReadError, Session, Side, Stream, StreamType, TypedSession, TypedStream};
use muxado_rpc::{Codec, ServiceId};
use tokio::{
    io::DuplexStream,
    time::{sleep, timeout},
};

use super::message::{Last, Message, probe};

/// Longest time that anything may take: no input waits for more than a part of it.
const LIMIT: Duration = Duration::from_secs(600);

/// Most bytes that are written one by one.
const MOST_SINGLE: usize = 300;

/// How bytes are written, and how the stream is left.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Manner {
    piece: u8,
    leave: Leave,
    number: u8,
}

/// Most streams are finished at once: that comes up twice.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Finish,
    FinishAtOnce,
    FinishLate,
    Reset,
    Drop,
}

impl Manner {
    /// Everything at once, with the end behind it.
    pub(super) const SOUND: Self = Self { piece: 0, leave: Leave::Finish, number: 0 };

    /// So that what comes first must be kept.
    pub(super) const IN_HALVES: Self = Self { piece: 7, leave: Leave::Finish, number: 0 };

    /// Whether the stream is finished behind all bytes, and at once.
    pub(super) fn is_whole(self) -> bool {
        matches!(self.leave, Leave::Finish | Leave::FinishAtOnce)
    }

    /// The bytes as they are written.
    fn pieces(self, bytes: Vec<u8>) -> impl Iterator<Item = Bytes> {
        let most = match self.piece % 8 {
            4 if bytes.len() <= MOST_SINGLE => 1,
            5 if bytes.len() <= 40 * MOST_SINGLE => 13,
            6 => 5000,
            7 => 1 + bytes.len() / 2,
            _ => usize::MAX,
        };
        let mut rest = Bytes::from(bytes);
        std::iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(most.min(rest.len()))))
    }
}

/// What came back on a stream.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    /// How it ended; `Ok` by a FIN.
    pub(super) end: Result<(), ReadError>,
}

/// How a call by the peer is answered.
#[derive(Arbitrary, Clone, Debug)]
pub(super) struct Answer {
    messages: Vec<Message>,
    last: Last,
    manner: Manner,
    foreign: u8,
}

/// How the next calls by the peer are answered; if nothing is set, as a serving peer would.
#[derive(Clone, Debug, Default)]
pub(super) struct Script(Arc<Mutex<Option<Line>>>);

/// An answer, and the kinds of levels of the types of its method.
type Line = (Answer, Range<u8>);

impl Script {
    pub(super) fn set(&self, script: Option<Line>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    fn get(&self) -> Option<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The session, and what it answers.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    session: TypedSession,
    pub(super) script: Script,
}

impl Hand {
    /// Runs on the current runtime until the connection ends.
    pub(super) fn new(side: Side, io: DuplexStream, config: Config) -> Self {
        let (session, driver) = Session::new(side, io, config);
        tokio::spawn(driver);
        let hand = Self { session: TypedSession::new(session), script: Script::default() };
        let (accepting, script) = (hand.session.clone(), hand.script.clone());
        tokio::spawn(async move {
            while let Some(stream) = accepting.accept_typed().await {
                tokio::spawn(answer(stream, script.clone()));
            }
        });
        hand
    }

    pub(super) fn close(&self) {
        self.session.session().close(ErrorCode::NO_ERROR, "");
    }

    /// Says this on a stream of its own, and hears all that is said to it. `None` if it was left before.
    pub(super) async fn say(&self, stream_type: StreamType, bytes: Vec<u8>, manner: Manner) -> Option<Heard> {
        let stream = self.session.open_typed(stream_type).await.expect("the session lives");
        let (mut output, mut input) = stream.into_inner().into_split();
        let speaking = async move {
            for piece in manner.pieces(bytes) {
                if output.write_chunk(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            leave_late(manner).await;
            if manner.leave == Leave::Reset {
                output.reset(ErrorCode::new(u32::from(manner.number)));
            } else if manner.leave != Leave::Drop {
                // Whoever has heard enough may have reset it.
                output.finish().ok();
            }
        };
        let hearing = async move {
            let mut bytes = Vec::new();
            let end = loop {
                match input.read_chunk().await {
                    Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            Heard { bytes, end }
        };
        if matches!(manner.leave, Leave::Drop | Leave::Reset) {
            within("what is said and left", speaking).await;
            return None;
        }
        let hearing = tokio::spawn(hearing);
        within("what is said", speaking).await;
        Some(within("what is heard", hearing).await.expect("it panics nowhere"))
    }

    /// Fails unless a sound call gets its answer.
    pub(super) async fn probe(&self, codec: Codec) {
        let (request, answer) = probe(codec);
        let heard = self.say(service(), request, Manner::SOUND).await.expect("it was not left");
        assert_eq!((heard.bytes, heard.end), (answer, Ok(())), "the connection does not live");
    }
}

/// The id of the service.
pub(super) fn service() -> StreamType {
    StreamType::new(ServiceId::from_name("Nest").as_u32())
}

/// Waits for it, within limits.
pub(super) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: no end within {LIMIT:?} of virtual time"),
    }
}

async fn leave_late(manner: Manner) {
    if manner.leave == Leave::FinishLate {
        sleep(Duration::from_millis(u64::from(manner.number) * 50)).await;
    }
}

/// Answers one call by the peer, or reads its control stream.
async fn answer(stream: TypedStream, script: Script) {
    let is_control = stream.stream_type() == StreamType::CONTROL;
    let mut stream = stream.into_inner();
    if is_control {
        return hear(stream, script.get()).await;
    }
    let Ok(Some(first)) = stream.read_chunk().await else { return };
    let codec = if first[0] == b'{' { Codec::Json } else { Codec::MessagePack };
    let Some((answer, home)) = script.get() else {
        stream.write_chunk(probe(codec).1.into()).await.ok();
        stream.finish().ok();
        return;
    };
    let codec = match (answer.foreign, codec) {
        (0..20, Codec::Json) => Codec::MessagePack,
        (0..20, _) => Codec::Json,
        _ => codec,
    };
    let manner = answer.manner;
    let mut bytes: Vec<_> = answer.messages.iter().flat_map(|message| message.encode(codec, &home)).collect();
    bytes.extend(answer.last.encode(codec, &home));
    for piece in manner.pieces(bytes) {
        if stream.write_chunk(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    leave_late(manner).await;
    match manner.leave {
        Leave::Reset => stream.reset(ErrorCode::new(u32::from(manner.number))),
        Leave::Drop => {}
        _ => {
            stream.finish().ok();
            // Until the caller has said all that it wants to say.
            while let Ok(Some(_)) = stream.read_chunk().await {}
        }
    }
}

/// Takes the peer's control stream, as a rule.
async fn hear(mut stream: Stream, script: Option<Line>) {
    if let Some((answer, home)) = script {
        match answer.foreign {
            220.. => return stream.reset(ErrorCode::STREAM_REFUSED),
            200.. => drop(stream.write_chunk(answer.last.encode(Codec::Json, &home).into()).await),
            _ => {}
        }
    }
    stream.finish().ok();
    while let Ok(Some(_)) = stream.read_chunk().await {}
}
