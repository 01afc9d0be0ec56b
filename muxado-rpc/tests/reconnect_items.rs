//! Calls whose answer streams, over a client that makes new connections by itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::VecDeque,
    future::ready,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use muxado::{Config, ErrorCode, Session, TypedSession};
use muxado_rpc::{CallError, Code, Codec, Peer, Reconnect, Stream};
use serde_json::{Value, json};
use support::{
    CODECS,
    feed::{collect, encode},
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, sleep},
};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[muxado_rpc::service]
trait News {
    async fn lines(&self) -> impl Stream<Item = u64>;
    #[method(idempotent)]
    async fn again(&self) -> impl Stream<Item = u64>;
}

/// What becomes of one call.
#[derive(Clone, Debug)]
enum Fate {
    /// These messages, and then a reset.
    Reset(Vec<Value>, ErrorCode),
    /// These messages.
    Answer(Vec<Value>),
    /// These messages, and then the end of the connection.
    Lost(Vec<Value>),
    /// Nothing.
    Silence,
}

use Fate::{Answer, Lost, Reset, Silence};

/// Servers that do to call after call as they are told.
#[derive(Clone)]
struct Script {
    codec: Codec,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Script {
    fn new(codec: Codec, fates: &[Fate]) -> Self {
        Self { codec, fates: Arc::new(Mutex::new(fates.to_vec().into())) }
    }

    /// A client that makes each call so many times at most.
    fn client(&self, attempts: u32) -> NewsClient<Reconnect> {
        let script = self.clone();
        let channel = Reconnect::builder()
            .peer(Peer::builder().no_heartbeat())
            .connector(move || ready(script.connect()))
            .attempts(attempts);
        NewsClient::new(channel.build().unwrap()).with_codec(self.codec)
    }

    fn connect(&self) -> io::Result<DuplexStream> {
        let (near, far) = duplex(64 * 1024);
        let (session, driver) = Session::server(far, Config::default());
        tokio::spawn(driver);
        tokio::spawn(self.clone().serve(TypedSession::new(session)));
        Ok(near)
    }

    /// Serves calls until one loses its connection.
    async fn serve(self, session: TypedSession) {
        let mut silent = Vec::new();
        while let Some(stream) = session.accept_typed().await {
            let mut stream = stream.into_inner();
            let fate = self.fates.lock().unwrap().pop_front().unwrap();
            let (Reset(messages, _) | Answer(messages) | Lost(messages)) = &fate else {
                silent.push(stream);
                continue;
            };
            stream.write_all(&encode(self.codec, messages)).await.unwrap();
            stream.flush().await.unwrap();
            sleep(MILLI).await;
            match fate {
                Reset(_, code) => stream.reset(code),
                // A caller that has read enough may have reset it.
                Answer(_) | Silence => drop(stream.shutdown().await),
                Lost(_) => return session.session().close(ErrorCode::NO_ERROR, ""),
            }
        }
    }

    /// What a call comes to, and that it was made as often as the script has fates.
    async fn play(self, attempts: u32, idempotent: bool) -> (Vec<u64>, Option<CallError>) {
        let client = self.client(attempts);
        let mut items =
            if idempotent { client.again().await.unwrap() } else { client.lines().await.unwrap() };
        let came = collect(&mut items).await;
        assert!(self.fates.lock().unwrap().is_empty(), "the call was made too rarely");
        came
    }
}

fn refused() -> Fate {
    Reset(vec![], ErrorCode::STREAM_REFUSED)
}

fn answered() -> Fate {
    Answer(vec![json!({"item": 7}), json!({"ok": null})])
}

/// Says that nothing was executed, behind these messages.
fn declined(code: &str, mut messages: Vec<Value>) -> Fate {
    messages.push(json!({"err": {"code": code, "message": "later", "executed": false}}));
    Answer(messages)
}

/// The code of a failure, and whether the call may have been executed.
fn verdict(error: Option<CallError>) -> (Code, bool) {
    let error = error.unwrap();
    (error.code(), error.may_have_executed())
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_refused_is_asked_for_again() {
    for codec in CODECS {
        for fates in [
            vec![refused(), answered()],
            vec![refused(), refused(), answered()],
            vec![declined("unavailable", vec![]), refused(), answered()],
        ] {
            assert_eq!(Script::new(codec, &fates).play(3, false).await, (vec![7], None));
        }
        let empty = Script::new(codec, &[refused(), Answer(vec![json!({"ok": null})])]);
        assert_eq!(empty.play(3, false).await, (vec![], None));
        let annotated = [json!({"metadata": {"k": "v"}}), json!({"ok": null, "metadata": {"t": "w"}})];
        let client = Script::new(codec, &[refused(), Answer(annotated.into())]).client(2);
        let mut items = client.lines().await.unwrap();
        assert_eq!(collect(&mut items).await, (vec![], None));
        assert_eq!((items.metadata().get("k"), items.trailer().get("t")), (Some("v"), Some("w")));
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_asked_for_more_often_than_allowed() {
    for codec in CODECS {
        for attempts in 1..4 {
            let script = Script::new(codec, &vec![refused(); attempts as usize]);
            let (items, error) = script.play(attempts, false).await;
            assert_eq!((items, verdict(error)), (vec![], (Code::Unavailable, false)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_or_may_have_run_is_not_asked_for_again() {
    let item = || vec![json!({"item": 7})];
    for codec in CODECS {
        for (fate, read, code, executed) in [
            (Reset(item(), ErrorCode::STREAM_REFUSED), vec![7], Code::Unavailable, true),
            (declined("unavailable", item()), vec![7], Code::Unavailable, true),
            (declined("unimplemented", vec![]), vec![], Code::Unimplemented, false),
            (Answer(vec![json!({"err": {"code": "unavailable"}})]), vec![], Code::Unavailable, true),
            (Reset(vec![], ErrorCode::INTERNAL_ERROR), vec![], Code::Unavailable, true),
            (Lost(vec![]), vec![], Code::Unavailable, true),
        ] {
            let (items, error) = Script::new(codec, &[fate]).play(3, false).await;
            assert_eq!((items, verdict(error)), (read, (code, executed)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_idempotent_stream_that_is_lost_before_its_first_item_is_asked_for_again() {
    for codec in CODECS {
        let script = Script::new(codec, &[Lost(vec![]), answered()]);
        assert_eq!(script.play(3, true).await, (vec![7], None));
        let (items, error) = Script::new(codec, &[Lost(vec![json!({"item": 7})])]).play(3, true).await;
        assert_eq!((items, verdict(error)), (vec![7], (Code::Unavailable, true)));
        // The first attempt may have been executed, whatever became of the second.
        let (items, error) = Script::new(codec, &[Lost(vec![]), refused()]).play(2, true).await;
        assert_eq!((items, verdict(error)), (vec![], (Code::Unavailable, true)));
    }
}

#[tokio::test(start_paused = true)]
async fn all_attempts_share_the_time_limit_of_the_call() {
    for codec in CODECS {
        let start = Instant::now();
        let client = Script::new(codec, &[refused(), refused(), Silence]).client(3);
        let mut items = client.with_timeout(SECOND).lines().await.unwrap();
        assert_eq!(verdict(collect(&mut items).await.1), (Code::DeadlineExceeded, true));
        assert_eq!(start.elapsed(), SECOND);
    }
}
