//! A call of every shape, and ways to stop it at any of its awaits.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{self, Poll},
};

use futures_util::{StreamExt, future::BoxFuture, stream};
use muxado_rpc::{Codec, Context, Limits, Peer, Status, Stream, Streaming};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex},
    runtime::Handle,
    task::yield_now,
};

/// Counts what is alive: handlers, their tasks, streams of items on either side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Living(Arc<AtomicUsize>);

#[derive(Debug)]
pub(crate) struct Life(Living);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Living {
    pub(crate) fn begin(&self) -> Life {
        self.0.fetch_add(1, Ordering::SeqCst);
        Life(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// Numbers with a pause before each.
    fn numbers(&self, count: u64) -> impl Stream<Item = u64> + use<> {
        let life = self.begin();
        stream::unfold((0, life), move |(n, life)| async move {
            yield_now().await;
            (n < count).then_some((n, (n + 1, life)))
        })
    }
}

#[muxado_rpc::service]
pub(crate) trait Anything {
    async fn unary(&self, n: u64) -> u64;
    async fn fails(&self) -> Result<u64, String>;
    #[method(no_cancel)]
    async fn must(&self, n: u64) -> u64;
    async fn out(&self, count: u64) -> impl Stream<Item = u64>;
    async fn sum(&self, numbers: Streaming<u64>) -> Result<u64, Status>;
    async fn both(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>>;
    /// The sum of what it gets by calls of its own back to the caller, from a task of its.
    async fn back(&self, cx: &Context, count: u64) -> Result<u64, Status>;
    async fn text(&self, text: String) -> String;
}

impl Anything for Living {
    async fn unary(&self, n: u64) -> u64 {
        let _life = self.begin();
        yield_now().await;
        n
    }

    async fn fails(&self) -> Result<u64, String> {
        let _life = self.begin();
        yield_now().await;
        Err("no".to_owned())
    }

    async fn must(&self, n: u64) -> u64 {
        let _life = self.begin();
        for _ in 0..5 {
            yield_now().await;
        }
        n
    }

    async fn out(&self, count: u64) -> impl Stream<Item = u64> {
        let life = self.begin();
        yield_now().await;
        self.numbers(count).inspect(move |_| drop(life.0.begin()))
    }

    async fn sum(&self, mut numbers: Streaming<u64>) -> Result<u64, Status> {
        let _life = self.begin();
        let mut sum = 0;
        while let Some(number) = numbers.try_next().await? {
            sum += number;
        }
        Ok(sum)
    }

    async fn both(&self, numbers: Streaming<u64>) -> impl Stream<Item = Result<u64, Status>> {
        let life = self.begin();
        numbers.map(move |number| {
            let _life = &life;
            Ok(2 * number?)
        })
    }

    async fn back(&self, cx: &Context, count: u64) -> Result<u64, Status> {
        let _life = self.begin();
        let (living, caller) = (self.clone(), AnythingClient::new(cx.channel()));
        let task = cx.spawn(async move {
            let _life = living.begin();
            total(caller.both(living.numbers(count)).await?).await
        });
        task.await.ok().flatten().unwrap_or_else(|| Err(Status::cancelled("it ended")))
    }

    async fn text(&self, text: String) -> String {
        let _life = self.begin();
        text
    }
}

/// The sum of all items.
async fn total<E>(mut items: Streaming<u64, E>) -> Result<u64, Status>
where
    Status: From<muxado_rpc::CallError<E>>,
{
    let mut sum = 0;
    while let Some(item) = items.try_next().await? {
        sum += item;
    }
    Ok(sum)
}

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Unary,
    Fails,
    Must,
    Out,
    Sum,
    Both,
    Back,
    /// A text larger than all buffers between the two.
    Text,
}

pub(crate) const KINDS: [Kind; 8] =
    [Kind::Unary, Kind::Fails, Kind::Must, Kind::Out, Kind::Sum, Kind::Both, Kind::Back, Kind::Text];

const TEXT: usize = 2000;

impl Kind {
    /// What the call comes to if it is let alone.
    pub(crate) fn outcome(self) -> Result<u64, Status> {
        match self {
            Self::Fails => Err(Status::unknown("no")),
            Self::Out | Self::Sum => Ok(10),
            Self::Both | Self::Back => Ok(20),
            Self::Unary | Self::Must => Ok(7),
            Self::Text => Ok(TEXT as u64),
        }
    }

    pub(crate) fn call(
        self,
        client: AnythingClient,
        living: &Living,
    ) -> BoxFuture<'static, Result<u64, Status>> {
        let living = living.clone();
        Box::pin(async move {
            match self {
                Self::Unary => Ok(client.unary(7).await?),
                Self::Fails => client.fails().await.map_err(|error| match error.app() {
                    Some(own) => Status::unknown(own),
                    None => error.status().cloned().unwrap_or_else(|| Status::unknown("")),
                }),
                Self::Must => Ok(client.must(7).await?),
                Self::Out => total(client.out(5).await?).await,
                Self::Sum => Ok(client.sum(living.numbers(5)).await?),
                Self::Both => total(client.both(living.numbers(5)).await?).await,
                Self::Back => Ok(client.back(5).await?),
                Self::Text => Ok(client.text("x".repeat(TEXT)).await?.len() as u64),
            }
        })
    }
}

/// A future that is dropped behind its `left`th poll, unless it is done by then.
pub(crate) struct Dropped<T> {
    future: Option<BoxFuture<'static, T>>,
    left: usize,
    every_turn: bool,
}

impl<T> Dropped<T> {
    pub(crate) fn after(polls: usize, future: BoxFuture<'static, T>) -> Self {
        Self { future: Some(future), left: polls, every_turn: false }
    }

    /// Polled in every turn of the runtime, and dropped behind so many of them: whatever the others
    /// have done by then.
    pub(crate) fn after_turns(turns: usize, future: BoxFuture<'static, T>) -> Self {
        Self { every_turn: true, ..Self::after(turns, future) }
    }
}

impl<T> Future for Dropped<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<T>> {
        if self.left > 0 {
            self.left -= 1;
            if let Some(future) = &mut self.future
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                self.future = None;
                return Poll::Ready(Some(output));
            }
        }
        if self.left > 0 {
            if self.every_turn {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        self.future = None;
        Poll::Ready(None)
    }
}

/// A future behind whose `left`th poll something happens, unless it is done by then. It goes on.
pub(crate) struct Disturbed<T> {
    future: BoxFuture<'static, T>,
    left: usize,
    disturb: Option<Box<dyn FnOnce() + Send>>,
}

impl<T> Disturbed<T> {
    pub(crate) fn after(
        polls: usize,
        future: BoxFuture<'static, T>,
        disturb: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self { future, left: polls, disturb: Some(Box::new(disturb)) }
    }
}

impl<T> Future for Disturbed<T> {
    /// The output, and whether it was disturbed.
    type Output = (T, bool);

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<(T, bool)> {
        if self.left == 0
            && let Some(disturb) = self.disturb.take()
        {
            disturb();
        }
        self.left = self.left.saturating_sub(1);
        self.future.as_mut().poll(cx).map(|output| (output, self.disturb.is_none()))
    }
}

/// A transport that fails from its `left`th poll on.
pub(crate) struct Cut {
    io: DuplexStream,
    pub(crate) left: Arc<AtomicUsize>,
}

impl Cut {
    fn count(&self) -> io::Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.left.store(left - 1, Ordering::SeqCst);
        Ok(())
    }
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.count()?;
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.count()?;
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        self.count()?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Two peers that serve each other, in as few bytes between them as `room`.
pub(crate) struct Rig {
    pub(crate) near: Peer,
    pub(crate) far: Peer,
    pub(crate) living: Living,
    /// Polls that the far end's transport may still take.
    pub(crate) polls_left: Arc<AtomicUsize>,
    /// Tasks of the runtime when nothing is called.
    tasks: usize,
}

impl Rig {
    pub(crate) fn new(room: usize, limits: &Limits, polls: usize) -> Self {
        let (near, far) = duplex(room);
        let (living, polls_left) = (Living::default(), Arc::new(AtomicUsize::new(polls)));
        let far = Cut { io: far, left: Arc::clone(&polls_left) };
        let builder = || {
            let builder = Peer::builder().no_heartbeat().limits(limits.clone());
            builder.serve(AnythingServer::new(living.clone()))
        };
        let near = builder().client(near).expect("one service");
        let far = builder().server(far).expect("one service");
        let tasks = Handle::current().metrics().num_alive_tasks();
        Self { near, far, living, polls_left, tasks }
    }

    pub(crate) fn client(&self, codec: Codec) -> AnythingClient {
        AnythingClient::new(self.near.channel()).with_codec(codec)
    }

    pub(crate) fn call(&self, kind: Kind, codec: Codec) -> BoxFuture<'static, Result<u64, Status>> {
        kind.call(self.client(codec), &self.living)
    }

    /// Nothing of any call is left, at either end.
    pub(crate) async fn assert_nothing_left(&self, of: &str) {
        let left = || {
            let streams = [&self.near, &self.far].map(|peer| peer.stats().streams_open);
            // A connection that has ended keeps what came before it, as long as there are handles.
            let unread = |peer: &Peer| if peer.is_closed() { 0 } else { peer.stats().bytes_unread };
            let unread = [&self.near, &self.far].map(unread);
            let tasks = Handle::current().metrics().num_alive_tasks();
            (self.living.count(), streams, unread, tasks.saturating_sub(self.tasks))
        };
        for _ in 0..MANY {
            if left() == (0, [0, 0], [0, 0], 0) {
                return;
            }
            yield_now().await;
        }
        panic!("{of} leaves behind (lives, streams, unread bytes, tasks): {:?}", left());
    }
}

/// More turns of the runtime than anything needs to end.
const MANY: usize = 10_000;
